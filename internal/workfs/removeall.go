package workfs

import (
	"context"
	"crypto/rand"
	"errors"
	"io/fs"
)

const (
	// maxDepth is how deep a removal goes before it moves what is deeper up: a
	// tree of any depth takes so many descriptors.
	maxDepth = 32
	// maxPasses is how often a directory is read again because something
	// appeared in it meanwhile.
	maxPasses = 16
	// maxBatch is how many names are removed between two readings.
	maxBatch = 10_000
)

// RemoveAll removes an entry with all that is in it, of a link the link itself.
// Directories that their modes close are opened first, as their owner can.
// What cannot be removed stays, and the first such error is returned.
func (t *Tree) RemoveAll(ctx context.Context, path string) error {
	return t.at("delete", path, resolution{}, func(pl place) error {
		if pl.name == "." {
			return errTop
		}
		info, err := pl.d.lstat(pl.name)
		if err != nil {
			return err
		}
		if !info.Mode.IsDir() {
			return pl.d.remove(pl.name, false)
		}
		r := remover{ctx: ctx}
		r.entry(pl.d, pl.name, 0)
		return r.err
	})
}

type remover struct {
	ctx context.Context // of the one call of RemoveAll
	aux *dir            // the directory that is removed
	err error           // the first
}

func (r *remover) fail(err error) {
	if r.err == nil {
		r.err = err
	}
}

var errWriter = with(ErrBusy, "something keeps writing to it")

// entry removes one entry of d.
func (r *remover) entry(d *dir, name string, depth int) {
	for range maxPasses {
		err := d.remove(name, false)
		if err == nil || errors.Is(err, fs.ErrNotExist) {
			return
		}
		info, serr := d.lstat(name)
		if serr != nil || !info.Mode.IsDir() {
			if !errors.Is(serr, fs.ErrNotExist) {
				r.fail(err)
			}
			return
		}
		if err := d.remove(name, true); err == nil || errors.Is(err, fs.ErrNotExist) {
			return
		} else if terr := translate(err); !errors.Is(terr, ErrNotEmpty) && !errors.Is(terr, ErrNotDir) && !errors.Is(err, fs.ErrPermission) {
			r.fail(err)
			return
		} else if errors.Is(err, fs.ErrPermission) && info.Mode.Perm()&0o700 == 0o700 {
			r.fail(err) // the directory above is the one that forbids it
			return
		}
		before := r.err
		if done := r.descend(d, name, info, depth); !done || r.err != before {
			return
		}
	}
	r.fail(errWriter)
}

// descend empties a directory, or moves it up if it is deep down, and reports
// whether it may be removed now.
func (r *remover) descend(d *dir, name string, info Info, depth int) bool {
	if info.Mode.Perm()&0o700 != 0o700 {
		if err := d.unlock(name); err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, ErrNotDir) {
			r.fail(err)
			return false
		}
	}
	if depth == maxDepth {
		if err := d.rename(name, r.aux, ".~"+rand.Text()[:16], false); err != nil && !errors.Is(err, fs.ErrNotExist) {
			r.fail(err)
		}
		return false
	}
	sub, err := d.openDir(name)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrNotDir) {
		return true // swapped: the caller looks again
	}
	if err != nil {
		r.fail(err)
		return false
	}
	defer sub.close()
	if depth == 0 {
		r.aux = sub
	}
	for {
		if err := r.ctx.Err(); err != nil {
			r.fail(err)
			return false
		}
		list, cut, err := sub.list(maxBatch)
		if err != nil {
			r.fail(err)
			return false
		}
		before := r.err
		for _, e := range list {
			if r.ctx.Err() != nil {
				break
			}
			r.entry(sub, e.name, depth+1)
		}
		if r.err != before {
			return false
		}
		if !cut && (depth > 0 || len(list) == 0) {
			return true
		}
	}
}
