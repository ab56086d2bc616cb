package workfs

import (
	"io"
	"os"
)

// File is a regular file that is open for reading. The worker's processes may
// change it meanwhile, and cut it.
type File struct {
	f    *os.File
	info Info
}

// Open opens a regular file for reading.
func (t *Tree) Open(path string) (*File, error) {
	var file *File
	err := t.id.do(func() (err error) {
		file, err = t.open(path)
		return err
	})
	return file, explain("open", path, err)
}

// Info describes the file as it was when it was opened.
func (f *File) Info() Info { return f.info }

// Version returns a text that changes whenever the content does.
func (f *File) Version() (string, error) { return version(f.f) }

func (f *File) Read(p []byte) (int, error)              { return f.f.Read(p) }
func (f *File) ReadAt(p []byte, off int64) (int, error) { return f.f.ReadAt(p, off) }
func (f *File) Seek(off int64, whence int) (int64, error) {
	return f.f.Seek(off, whence)
}

// Close closes the file.
func (f *File) Close() error { return f.f.Close() }

// ReadFile returns the content of a regular file of at most limit bytes.
func (t *Tree) ReadFile(path string, limit int64) ([]byte, error) {
	f, err := t.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if f.info.Size > limit {
		return nil, explain("read", path, with(ErrTooLarge, "it has %d bytes, more than %d", f.info.Size, limit))
	}
	// A size of 0 may be a lie.
	p := make([]byte, 0, min(f.info.Size+1, limit+1))
	for {
		if len(p) == cap(p) {
			p = append(p, 0)[:len(p)]
		}
		n, err := f.Read(p[len(p):cap(p)])
		p = p[:len(p)+n]
		if int64(len(p)) > limit {
			return nil, explain("read", path, with(ErrTooLarge, "it has more than %d bytes", limit))
		}
		if err == io.EOF {
			return p, nil
		}
		if err != nil {
			return nil, explain("read", path, err)
		}
	}
}

// Stat describes what a path leads to, through links.
func (t *Tree) Stat(path string) (Info, error) { return t.stat("stat", path, resolution{follow: true}) }

// Lstat describes an entry, of a link the link itself.
func (t *Tree) Lstat(path string) (Info, error) { return t.stat("stat", path, resolution{}) }

func (t *Tree) stat(op, path string, how resolution) (Info, error) {
	var info Info
	err := t.at(op, path, how, func(pl place) (err error) {
		info, err = pl.d.lstat(pl.name)
		info.Path = pl.path
		return err
	})
	return info, err
}

// OpenAll opens many regular files, as Open does, acting as the worker once for
// all of them: as root that is much faster. For each path it returns a file or
// an error.
func (t *Tree) OpenAll(paths []string) ([]*File, []error) {
	files, errs := make([]*File, len(paths)), make([]error, len(paths))
	err := t.id.do(func() error {
		for i, path := range paths {
			files[i], errs[i] = t.open(path)
		}
		return nil
	})
	for i := range errs {
		if err != nil && files[i] == nil && errs[i] == nil {
			errs[i] = err
		}
		errs[i] = explain("open", paths[i], errs[i])
	}
	return files, errs
}

// open opens a file, as the worker.
func (t *Tree) open(path string) (*File, error) {
	rel, err := t.Clean(path)
	if err != nil {
		return nil, err
	}
	if f, info, err := t.root.openFileBelow(rel); err == nil {
		info.Path = rel
		return &File{f, info}, nil
	}
	pl, err := t.resolve(rel, resolution{follow: true})
	if err != nil {
		return nil, err
	}
	defer pl.d.close()
	f, info, err := pl.d.openFile(pl.name, os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	info.Path = pl.path
	return &File{f, info}, nil
}
