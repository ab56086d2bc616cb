package workfs

import (
	"crypto/rand"
	"errors"
	"io"
	"io/fs"
	"os"
)

// CreateOptions says how a file is made.
type CreateOptions struct {
	Mode      fs.FileMode // permissions; 0: those of the file that is replaced, else 0644
	Exclusive bool        // fail if there is something
	Parents   bool        // make the directories that are missing
	MaxBytes  int64       // the most that is written; 0: no limit
	Version   string      // fail with ErrChanged unless the file that is replaced has it; "": whatever it has
}

// Writer writes a file that appears, whole, when it is committed. It belongs to
// one goroutine.
type Writer struct {
	t         *Tree
	o         CreateOptions
	at        place
	temporary string
	f         *os.File
	size      int64
	shown     string // the path as the caller has it
	err       error  // what went wrong before
	done      bool
}

// Create begins to write a file. The caller calls Commit or Close.
func (t *Tree) Create(path string, o CreateOptions) (*Writer, error) {
	w := &Writer{t: t, o: o, shown: path}
	err := t.at("write", path, resolution{follow: true, make: o.Parents}, func(pl place) error {
		if pl.name == "." {
			return with(ErrIsDir, "it is a directory, not a file")
		}
		old, err := pl.d.lstat(pl.name)
		switch {
		case err == nil && o.Exclusive:
			return fs.ErrExist
		case err == nil:
			if err := regular(old.Mode); err != nil {
				return err
			}
			if w.o.Mode == 0 {
				w.o.Mode = old.Mode
			}
		case !errors.Is(err, fs.ErrNotExist):
			return err
		}
		if w.o.Mode == 0 {
			w.o.Mode = 0o644
		}
		w.temporary = ".~" + rand.Text()[:16]
		f, _, err := pl.d.openFile(w.temporary, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return err
		}
		pl.d.hold() // never fails: at holds it
		w.f, w.at = f, pl
		return nil
	})
	if err != nil {
		return nil, err
	}
	return w, nil
}

// Path returns where the file will be, from the tree's top.
func (w *Writer) Path() string { return w.at.path }

// Write writes as the worker, so that its quota counts.
func (w *Writer) Write(p []byte) (int, error) {
	if w.err != nil {
		return 0, w.err
	}
	if w.done {
		return 0, explain("write", w.shown, fs.ErrClosed)
	}
	if w.o.MaxBytes > 0 && int64(len(p)) > w.o.MaxBytes-w.size {
		w.err = explain("write", w.shown, with(ErrTooLarge, "it would have more than %d bytes", w.o.MaxBytes))
		return 0, w.err
	}
	n, err := write(w.t, w.f, p)
	w.size += int64(n)
	w.err = explain("write", w.shown, err)
	return n, w.err
}

func write(t *Tree, f *os.File, p []byte) (n int, err error) {
	err = t.id.do(func() (err error) {
		n, err = f.Write(p)
		return err
	})
	return n, err
}

// Commit gives the file its name and closes the writer. After a failed write it
// fails and leaves everything as it was.
func (w *Writer) Commit() (Info, error) {
	if w.err != nil {
		err := w.err
		w.Close()
		return Info{}, err
	}
	if w.done {
		return Info{}, explain("write", w.shown, fs.ErrClosed)
	}
	var result Info
	err := w.t.id.do(func() error {
		if err := w.f.Chmod(w.o.Mode.Perm()); err != nil {
			return err
		}
		info, err := w.f.Stat()
		if err != nil {
			return err
		}
		result = Info{Path: w.at.path, Size: info.Size(), Mode: info.Mode().Perm(), Modified: info.ModTime()}
		if err := w.unchanged(); err != nil {
			return err
		}
		err = w.at.d.rename(w.temporary, w.at.d, w.at.name, !w.o.Exclusive)
		if errors.Is(err, fs.ErrNotExist) {
			err = with(ErrBusy, "what was written of it, or its directory, was removed meanwhile; try again")
		}
		return err
	})
	if err != nil {
		w.Close()
		return Info{}, explain("write", w.shown, err)
	}
	w.done = true
	w.at.d.close()
	return result, explain("write", w.shown, w.f.Close())
}

// unchanged returns ErrChanged if the file is not the one to be replaced.
func (w *Writer) unchanged() error {
	if w.o.Version == "" {
		return nil
	}
	f, _, err := w.at.d.openFile(w.at.name, os.O_RDONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return ErrChanged
	}
	if err != nil {
		return err
	}
	defer f.Close()
	now, err := version(f)
	if err == nil && now != w.o.Version {
		err = ErrChanged
	}
	return err
}

// Close gives up what is not committed. After Commit it does nothing.
func (w *Writer) Close() error {
	if w.done {
		return nil
	}
	w.done = true
	err := w.t.id.do(func() error { return w.at.d.remove(w.temporary, false) })
	if errors.Is(err, fs.ErrNotExist) {
		err = nil // the worker was faster
	}
	w.at.d.close()
	return explain("write", w.shown, errors.Join(err, w.f.Close()))
}

// chunk is how much is copied at a time.
const chunk = 256 << 10

// WriteFile makes a file of what src has, replacing what was there at once.
func (t *Tree) WriteFile(path string, src io.Reader, o CreateOptions) (Info, error) {
	w, err := t.Create(path, o)
	if err != nil {
		return Info{}, err
	}
	defer w.Close()
	if _, err := io.CopyBuffer(w, plain{src}, make([]byte, sizeFor(src))); err != nil {
		return Info{}, err
	}
	return w.Commit()
}

// plain hides the other methods of a reader, which would choose pieces of
// their own.
type plain struct{ io.Reader }

// sizeFor returns the size of a buffer that suits what src has.
func sizeFor(src io.Reader) int {
	if l, ok := src.(interface{ Len() int }); ok {
		return max(512, min(l.Len(), chunk))
	}
	return chunk
}

// Append writes what src has to the end of a file, which is made if it is not
// there. MaxBytes bounds what is added; Mode is for a new file.
func (t *Tree) Append(path string, src io.Reader, o CreateOptions) (Info, error) {
	var f *os.File
	var result Info
	if o.Mode == 0 {
		o.Mode = 0o644
	}
	err := t.at("append to", path, resolution{follow: true, make: o.Parents}, func(pl place) (err error) {
		if pl.name == "." {
			return with(ErrIsDir, "it is a directory, not a file")
		}
		result.Path = pl.path
		f, _, err = pl.d.openFile(pl.name, os.O_WRONLY|os.O_APPEND, 0)
		if errors.Is(err, fs.ErrNotExist) {
			f, _, err = pl.d.openFile(pl.name, os.O_WRONLY|os.O_APPEND|os.O_CREATE|os.O_EXCL, uint32(o.Mode.Perm()))
		}
		return err
	})
	if err != nil {
		return Info{}, err
	}
	defer f.Close()
	left, buf := o.MaxBytes, make([]byte, sizeFor(src))
	for {
		n, rerr := src.Read(buf)
		if o.MaxBytes > 0 && int64(n) > left {
			return Info{}, explain("append to", path, with(ErrTooLarge, "more than %d bytes to add", o.MaxBytes))
		}
		left -= int64(n)
		if n > 0 {
			if _, err := write(t, f, buf[:n]); err != nil {
				return Info{}, explain("append to", path, err)
			}
		}
		if rerr == io.EOF {
			break
		}
		if rerr != nil {
			return Info{}, rerr
		}
	}
	info, err := f.Stat()
	if err != nil {
		return Info{}, explain("append to", path, err)
	}
	result.Size, result.Mode, result.Modified = info.Size(), info.Mode().Perm(), info.ModTime()
	return result, nil
}
