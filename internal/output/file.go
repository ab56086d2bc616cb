package output

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"time"
)

const (
	dir     = ".outputs" // of the workspace
	maxFile = 256 << 20
)

// Create begins a file of the workspace, which must not be there. It appears
// under its name, whole, by commit; Close without commit gives it up.
type Create func(name string) (w io.WriteCloser, commit Commit, err error)

// Commit returns where in the workspace the file is now.
type Commit func() (path string, err error)

// File is a new file in .outputs, made by the first write. It belongs to one
// goroutine at a time.
type File struct {
	Kind   string // begins its name, before the time
	Ext    string // ends it, with the dot
	Create Create // nil: nothing is saved

	w      io.WriteCloser
	commit Commit
	size   int64
	full   error // it ends before what was written does
	err    error // there is none
}

// Write adds to the file, up to 256 MiB. Close tells of a fault.
func (f *File) Write(p []byte) {
	if f.w == nil && f.err == nil && f.Create != nil {
		name := fmt.Sprintf("%s/%s-%s-%s%s", dir, f.Kind, time.Now().UTC().Format("20060102-150405"), rand.Text()[:6], f.Ext)
		f.w, f.commit, f.err = f.Create(name)
	}
	if f.w == nil || f.err != nil || f.full != nil {
		return
	}
	if f.size+int64(len(p)) > maxFile {
		p = p[:maxFile-f.size]
		f.full = fmt.Errorf("output files are limited to %d bytes", maxFile)
	}
	n, err := f.w.Write(p)
	f.size += int64(n)
	f.err = err
}

// empty reports whether nothing was written yet, or tried to be.
func (f *File) empty() bool { return f.w == nil && f.err == nil }

// Close finishes the file and returns its path, "" if there is none. With a path
// the error says that the file ends early.
func (f *File) Close() (path string, err error) {
	switch {
	case f.w == nil:
		return "", f.err
	case f.err != nil:
		return "", errors.Join(f.err, f.w.Close())
	}
	if path, err = f.commit(); err != nil {
		return "", err
	}
	return path, f.full
}
