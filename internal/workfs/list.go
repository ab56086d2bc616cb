package workfs

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"strings"
)

const (
	// maxNames is how many names of one directory are looked at.
	maxNames = 100_000
	// maxPending is how many names a walk keeps in mind.
	maxPending = 400_000
	// maxPendingBytes is how many bytes of names and targets of links.
	maxPendingBytes = 32 << 20
)

// list returns the names in a directory, sorted, and whether there are more
// than limit. It is the first ones in the directory's own order that are
// returned then.
func (d *dir) list(limit int) ([]entry, bool, error) {
	r, err := d.read()
	if err != nil {
		return nil, false, err
	}
	defer r.close()
	var list []entry
	for more := true; more && len(list) <= limit; {
		if list, more, err = r.next(d, list); err != nil {
			return nil, false, err
		}
	}
	cut := len(list) > limit
	list = list[:min(len(list), limit)]
	slices.SortFunc(list, func(a, b entry) int { return strings.Compare(a.name, b.name) })
	return list, cut, nil
}

// WalkOptions says what a walk visits.
type WalkOptions struct {
	Depth     int  // levels below the path; 1: what is directly in it; 0: all
	TypesOnly bool // only Path and the type of Mode are needed, which is much faster
	// Skipped is told of directories that could not be read, or not wholly,
	// from the goroutine of the walk; nil: nobody is.
	Skipped func(path string, err error)
}

// Walk calls fn for every entry below a directory, in lexical order, a
// directory before what is in it. Links are not followed. fn may return
// fs.SkipDir, for a directory, and fs.SkipAll. What vanishes meanwhile is left
// out, what is too deep for a path of 4096 bytes too.
func (t *Tree) Walk(ctx context.Context, path string, o WalkOptions, fn func(Info) error) error {
	var top place
	err := t.at("read", path, resolution{follow: true}, func(pl place) error {
		info, err := pl.d.lstat(pl.name)
		if err != nil {
			return err
		}
		if !info.Mode.IsDir() {
			return with(ErrNotDir, "it is a %s, not a directory", Kind(info.Mode))
		}
		top = place{path: pl.path}
		return nil
	})
	if err != nil {
		return err
	}
	w := walker{ctx: ctx, t: t, o: o, fn: fn}
	if err := w.dir(top.path, 1); err != fs.SkipAll && err != fs.SkipDir {
		return err
	}
	return nil
}

// walker is one walk. It holds one directory open at a time, however deep.
type walker struct {
	ctx     context.Context
	t       *Tree
	o       WalkOptions
	fn      func(Info) error
	pending int
	bytes   int // of pending names and targets
}

func (w *walker) dir(path string, depth int) error {
	if err := w.ctx.Err(); err != nil {
		return err
	}
	list, size, cut, err := w.read(path)
	if err != nil && depth == 1 {
		return explain("read", path, err)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		w.skipped(path, err)
	}
	if cut {
		w.skipped(path, with(ErrTooLarge, "the directory has more entries than are looked at"))
	}
	w.pending += len(list)
	w.bytes += size
	defer func() { w.pending, w.bytes = w.pending-len(list), w.bytes-size }()
	for _, info := range list {
		if err := w.ctx.Err(); err != nil {
			return err
		}
		if path != "." { // only now: a path can be longer than all the names are
			info.Path = path + "/" + info.Path
		}
		err := w.fn(info)
		if err == nil && info.Mode.IsDir() && (w.o.Depth == 0 || depth < w.o.Depth) {
			err = w.dir(info.Path, depth+1)
		}
		if err != nil && (err != fs.SkipDir || !info.Mode.IsDir()) {
			return err
		}
	}
	return nil
}

func (w *walker) skipped(path string, err error) {
	if w.o.Skipped != nil {
		w.o.Skipped(path, explain("read", path, err))
	}
}

// read describes what is in a directory, with names for paths, and tells how
// many bytes the names and targets are.
func (w *walker) read(path string) (infos []Info, size int, cut bool, err error) {
	err = w.t.id.do(func() error {
		d, err := w.t.descend(path)
		if err != nil {
			return err
		}
		defer d.close()
		var list []entry
		if list, cut, err = d.list(min(maxNames, maxPending-w.pending)); err != nil {
			return err
		}
		infos = make([]Info, 0, len(list))
		for _, e := range list {
			info := Info{Mode: e.kind}
			if !w.o.TypesOnly {
				if info, err = d.lstat(e.name); err != nil {
					continue // gone
				}
			}
			if size += len(e.name) + len(info.Target); w.bytes+size > maxPendingBytes {
				cut = true
				break
			}
			info.Path = e.name
			infos = append(infos, info)
		}
		return nil
	})
	return infos, size, cut, err
}

// descend opens the directory of a path without links, as the worker.
func (t *Tree) descend(path string) (*dir, error) {
	if len(path) > maxPath-1 {
		return nil, with(ErrPath, "the path has more than 4096 bytes")
	}
	d, err := t.root.openBelow(path)
	if err == nil || errors.Is(err, ErrClosed) {
		return d, err
	}
	// Perhaps the system does not know that call.
	d, err = t.root.openBelow("")
	if err != nil {
		return nil, err
	}
	for name := range strings.SplitSeq(path, "/") {
		sub, err := d.step(name, false)
		if err != nil {
			d.close()
			return nil, err
		}
		d = sub
	}
	return d, nil
}

// ReadDir describes what is in a directory, sorted by name, up to limit
// entries, and reports whether there are more.
func (t *Tree) ReadDir(ctx context.Context, path string, limit int) (list []Info, more bool, err error) {
	o := WalkOptions{Depth: 1, Skipped: func(string, error) { more = true }}
	err = t.Walk(ctx, path, o, func(i Info) error {
		if len(list) == limit {
			more = true
			return fs.SkipAll
		}
		list = append(list, i)
		return nil
	})
	return list, more, err
}
