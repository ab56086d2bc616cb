package workfs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"time"
)

// MkdirOptions says how a directory is made.
type MkdirOptions struct {
	Parents bool // make those above too, and do not mind if it is there
}

// Mkdir makes a directory.
func (t *Tree) Mkdir(path string, o MkdirOptions) (Info, error) {
	var info Info
	err := t.at("make directory", path, resolution{follow: true, make: o.Parents}, func(pl place) error {
		err := fs.ErrExist
		if pl.name != "." {
			err = pl.d.mkdir(pl.name, 0o755)
		}
		if err != nil && !(o.Parents && errors.Is(err, fs.ErrExist)) {
			return err
		}
		if info, err = pl.d.lstat(pl.name); err != nil {
			return err
		}
		info.Path = pl.path
		if !info.Mode.IsDir() {
			return with(fs.ErrExist, "it exists already, and is a %s", Kind(info.Mode))
		}
		return nil
	})
	return info, err
}

// Remove removes a file, a link (not what it leads to) or an empty directory.
func (t *Tree) Remove(path string) error {
	return t.at("delete", path, resolution{}, func(pl place) error {
		if pl.name == "." {
			return errTop
		}
		info, err := pl.d.lstat(pl.name)
		if err != nil {
			return err
		}
		return pl.d.remove(pl.name, info.Mode.IsDir())
	})
}

var errTop = with(ErrPath, "it is the workspace itself")

// MoveOptions says how an entry is moved or copied.
type MoveOptions struct {
	Overwrite bool  // replace a file, or an empty directory, that is there
	Parents   bool  // make the directories that are missing above the new path
	MaxBytes  int64 // the most that is copied; 0: no limit
}

// Rename moves an entry; of a link the link itself.
func (t *Tree) Rename(from, to string, o MoveOptions) (Info, error) {
	var info Info
	relTo, err := t.Clean(to)
	if err != nil {
		return Info{}, err
	}
	err = t.at("move", from, resolution{}, func(pl place) error {
		if pl.name == "." {
			return errTop
		}
		if _, err := pl.d.lstat(pl.name); err != nil {
			return err
		}
		target, err := t.resolve(relTo, resolution{make: o.Parents})
		if err != nil {
			return explain("move to", to, err)
		}
		defer target.d.close()
		if target.name == "." {
			return explain("move to", to, with(fs.ErrExist, "it exists already"))
		}
		if strings.HasPrefix(target.path+"/", pl.path+"/") && target.path != pl.path {
			return explain("move to", to, with(ErrPath, "a directory cannot be moved into itself"))
		}
		if err := pl.d.rename(pl.name, target.d, target.name, o.Overwrite); err != nil {
			return explain("move to", to, err)
		}
		info, err = target.d.lstat(target.name)
		info.Path = target.path
		return err
	})
	return info, err
}

// Copy copies a file, a link or a tree to a path that does not exist or, with
// Overwrite, is a file. Sockets, devices and FIFOs are left out of a tree; links
// in it are copied as they are; set-id bits are not kept. After an error, what was
// copied of a tree is removed again, but for directories above it.
func (t *Tree) Copy(ctx context.Context, from, to string, o MoveOptions) (Info, error) {
	relTo, err := t.Clean(to)
	if err != nil {
		return Info{}, err
	}
	src, err := t.Lstat(from)
	if err != nil {
		return Info{}, err
	}
	if o.MaxBytes == 0 {
		o.MaxBytes = 1 << 62
	}
	c := copier{ctx: ctx, t: t, left: o.MaxBytes, limit: o.MaxBytes}
	create := CreateOptions{Exclusive: !o.Overwrite, Parents: o.Parents}
	if src.Mode.Type() == fs.ModeSymlink {
		// A link to a file stands for the file, where it can be followed.
		if target, err := t.Stat(from); err == nil {
			src = target
		}
	}
	switch src.Mode.Type() {
	case 0:
		f, err := t.Open(src.Path)
		if err != nil {
			return Info{}, err
		}
		defer f.Close()
		return c.file(f, relTo, create)
	case fs.ModeSymlink:
		if err := c.link(src, relTo, o.Parents); err != nil {
			return Info{}, err
		}
		return t.Lstat(relTo)
	case fs.ModeDir:
	default:
		return Info{}, explain("copy", from, regular(src.Mode))
	}
	if strings.HasPrefix(relTo+"/", src.Path+"/") || src.Path == "." {
		return Info{}, explain("copy to", to, errInItself)
	}
	if o.Parents {
		if i := strings.LastIndexByte(relTo, '/'); i > 0 {
			if _, err := t.Mkdir(relTo[:i], MkdirOptions{Parents: true}); err != nil {
				return Info{}, err
			}
		}
	}
	top, err := t.Mkdir(relTo, MkdirOptions{})
	if err != nil {
		return Info{}, err
	}
	if strings.HasPrefix(top.Path, src.Path+"/") { // through a link
		return Info{}, errors.Join(explain("copy to", to, errInItself), t.Remove(top.Path))
	}
	if err := c.tree(src, top); err != nil {
		// The caller's time may be over, and its disk full.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanUp)
		defer cancel()
		if kept := t.RemoveAll(ctx, top.Path); kept != nil {
			err = fmt.Errorf("%w; what was copied is still there: %w", err, kept)
		}
		return Info{}, err
	}
	return top, nil
}

// cleanUp is how long a copy that failed may take to remove what it copied.
const cleanUp = 10 * time.Second

var errInItself = with(ErrPath, "a directory cannot be copied into itself")

type copier struct {
	ctx         context.Context
	t           *Tree
	left, limit int64
}

func (c *copier) tree(src, top Info) error {
	var failed error
	o := WalkOptions{Skipped: func(_ string, err error) { failed = errors.Join(failed, err) }}
	err := c.t.Walk(c.ctx, src.Path, o, func(i Info) error {
		rel := i.Path
		if src.Path != "." {
			rel = strings.TrimPrefix(i.Path, src.Path+"/")
		}
		to := top.Path + "/" + rel
		switch i.Mode.Type() {
		case fs.ModeDir:
			_, err := c.t.Mkdir(to, MkdirOptions{})
			return err
		case fs.ModeSymlink:
			return c.link(i, to, false)
		case 0:
			f, err := c.t.Open(i.Path)
			if errors.Is(err, fs.ErrNotExist) {
				return nil // gone
			}
			if err != nil {
				return err
			}
			defer f.Close()
			_, err = c.file(f, to, CreateOptions{Exclusive: true})
			return err
		}
		return nil
	})
	return errors.Join(err, failed)
}

// link copies a symbolic link as it is.
func (c *copier) link(src Info, to string, parents bool) error {
	return c.t.at("copy to", to, resolution{make: parents}, func(pl place) error {
		return pl.d.symlink(src.Target, pl.name)
	})
}

// file copies a regular file.
func (c *copier) file(f *File, to string, o CreateOptions) (Info, error) {
	if f.info.Size > c.left {
		return Info{}, explain("copy", f.info.Path, with(ErrTooLarge, "more than %d bytes to copy", c.limit))
	}
	o.Mode = f.info.Mode
	w, err := c.t.Create(to, o)
	if err != nil {
		return Info{}, err
	}
	defer w.Close()
	buf := make([]byte, min(f.info.Size+1, chunk))
	for {
		if err := c.ctx.Err(); err != nil {
			return Info{}, err
		}
		n, err := f.Read(buf)
		if c.left -= int64(n); c.left < 0 {
			return Info{}, explain("copy", f.info.Path, with(ErrTooLarge, "more than %d bytes to copy", c.limit))
		}
		if n > 0 {
			if _, err := w.Write(buf[:n]); err != nil {
				return Info{}, err
			}
		}
		if err == io.EOF {
			return w.Commit()
		}
		if err != nil {
			return Info{}, explain("copy", f.info.Path, err)
		}
	}
}
