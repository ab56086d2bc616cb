//go:build !linux

package workfs

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"strconv"
)

// dir is a directory of the tree, by its path in an os.Root.
type dir struct {
	root *os.Root
	path string
}

func openRoot(name string) (*dir, error) {
	root, err := os.OpenRoot(name)
	if err != nil {
		return nil, err
	}
	return &dir{root, "."}, nil
}

func (d *dir) hold() bool { return true }

// close does nothing: only the tree's top holds something.
func (d *dir) close() {}

func (d *dir) shut() error { return d.root.Close() }

func (d *dir) join(name string) string { return path.Join(d.path, name) }

func (d *dir) openBelow(rel string) (*dir, error) {
	if rel == "" || rel == "." {
		return d, nil
	}
	return nil, errors.ErrUnsupported // it would follow links
}

func (d *dir) openDir(name string) (*dir, error) {
	info, err := d.lstat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode.IsDir() {
		return nil, ErrNotDir
	}
	return &dir{d.root, d.join(name)}, nil
}

func (d *dir) openFile(name string, flags int, perm uint32) (*os.File, Info, error) {
	if flags&os.O_CREATE == 0 {
		i, err := d.lstat(name)
		if err == nil {
			err = regular(i.Mode)
		}
		if err != nil {
			return nil, i, err
		}
	}
	f, err := d.root.OpenFile(d.join(name), flags, fs.FileMode(perm))
	if err != nil {
		return nil, Info{}, err
	}
	st, err := f.Stat()
	if err == nil {
		err = regular(st.Mode())
	}
	if err != nil {
		return nil, Info{}, errors.Join(err, f.Close())
	}
	return f, info(st), nil
}

func (d *dir) openFileBelow(string) (*os.File, Info, error) {
	return nil, Info{}, errors.ErrUnsupported // it would follow links
}

func (d *dir) lstat(name string) (Info, error) {
	st, err := d.root.Lstat(d.join(name))
	if err != nil {
		return Info{}, err
	}
	i := info(st)
	if i.Mode.Type() == fs.ModeSymlink {
		i.Target, _ = d.readlink(name) // it may be gone
	}
	return i, nil
}

func (d *dir) readlink(name string) (string, error) { return d.root.Readlink(d.join(name)) }
func (d *dir) mkdir(name string, perm uint32) error {
	return d.root.Mkdir(d.join(name), fs.FileMode(perm))
}
func (d *dir) symlink(target, name string) error { return d.root.Symlink(target, d.join(name)) }
func (d *dir) unlock(name string) error          { return d.root.Chmod(d.join(name), 0o700) }

func (d *dir) remove(name string, directory bool) error {
	info, err := d.lstat(name)
	if err != nil {
		return err
	}
	if info.Mode.IsDir() != directory {
		return ErrNotDir
	}
	if err := d.root.Remove(d.join(name)); err != nil {
		if list, more, lerr := (&dir{d.root, d.join(name)}).listIf(directory); lerr == nil && (more || len(list) > 0) {
			return ErrNotEmpty
		}
		return err
	}
	return nil
}

func (d *dir) listIf(directory bool) ([]entry, bool, error) {
	if !directory {
		return nil, false, nil
	}
	return d.list(1)
}

func (d *dir) rename(name string, to *dir, toName string, replace bool) error {
	if _, err := to.lstat(toName); err == nil && !replace {
		return fs.ErrExist
	}
	return d.root.Rename(d.join(name), to.join(toName))
}

// reader reads the names of a directory in batches.
type reader struct{ f *os.File }

func (d *dir) read() (*reader, error) {
	f, err := d.root.Open(d.path)
	if err != nil {
		return nil, err
	}
	return &reader{f}, nil
}

func (r *reader) close() { r.f.Close() }

func (r *reader) next(_ *dir, list []entry) (_ []entry, more bool, err error) {
	batch, err := r.f.ReadDir(512)
	for _, e := range batch {
		list = append(list, entry{e.Name(), e.Type()})
	}
	if err == io.EOF {
		return list, false, nil
	}
	return list, err == nil, err
}

func version(f *os.File) (string, error) {
	st, err := f.Stat()
	if err != nil {
		return "", err
	}
	return strconv.FormatInt(st.ModTime().UnixNano(), 36) + "-" + strconv.FormatInt(st.Size(), 36), nil
}

func info(st fs.FileInfo) Info {
	return Info{Size: st.Size(), Mode: st.Mode() & (fs.ModeType | fs.ModePerm), Modified: st.ModTime()}
}

func translate(err error) error { return err }
