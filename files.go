package sandbox

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"time"

	"github.com/agentflow-go/sandbox/internal/workfs"
)

// Files is safe access to a worker's workspace from the host, while a hostile
// process may be at work inside. Its methods may be called concurrently.
//
// Paths are relative to the workspace, with slashes, or below /workspace/ (under
// level none also below the host directory); "." is the workspace itself. A path
// with "..", any other absolute one, an empty one and one with a NUL byte are
// refused with [ErrInvalidInput]. Symbolic links are followed where they stay in
// the workspace, and refused with [ErrDenied] where they do not. Paths that are
// given back are relative, and without links.
//
// Everything is done as the worker: with its host user (when the program is
// root), so that files belong to it and modes mean what they mean to its
// programs. Only regular files are read and written, and nothing that is opened
// can block. Bound what you read: an agent can make files of any size.
//
// A missing file is [ErrNoResults], and fs.ErrNotExist; one that is in the way
// [ErrConflict], and fs.ErrExist; a refusal by file modes [ErrDenied], and
// fs.ErrPermission; too much of something [ErrTooLarge].
type Files struct{ tree *workfs.Tree }

// FileInfo describes a file, directory, link or whatever else an entry is.
type FileInfo struct {
	Path     string      // relative to the workspace
	Size     int64       // bytes
	Mode     fs.FileMode // type and permissions
	Modified time.Time
	Target   string // of a symbolic link, as it is written
}

// Kind names the type in one word: file, directory, symlink, fifo, socket or
// device.
func (i FileInfo) Kind() string { return workfs.Kind(i.Mode) }

// Clean returns the form of a path that is relative to the workspace, or the
// error that any method would have for it. It does not look at the disk.
func (f *Files) Clean(path string) (string, error) {
	p, err := f.tree.Clean(path)
	return p, fileError(err)
}

// Stat describes what a path leads to, through links.
func (f *Files) Stat(path string) (FileInfo, error) {
	i, err := f.tree.Stat(path)
	return FileInfo(i), fileError(err)
}

// Lstat describes an entry, of a link the link itself.
func (f *Files) Lstat(path string) (FileInfo, error) {
	i, err := f.tree.Lstat(path)
	return FileInfo(i), fileError(err)
}

// Open opens a regular file for reading. The caller closes it.
func (f *Files) Open(path string) (*File, error) {
	file, err := f.tree.Open(path)
	if err != nil {
		return nil, fileError(err)
	}
	return &File{file}, nil
}

// OpenAll opens many files, as Open does, which as root is much faster than one
// at a time. For each path it returns a file, to be closed, or an error.
func (f *Files) OpenAll(paths []string) ([]*File, []error) {
	opened, errs := f.tree.OpenAll(paths)
	files := make([]*File, len(paths))
	for i, file := range opened {
		if errs[i] = fileError(errs[i]); file != nil {
			files[i] = &File{file}
		}
	}
	return files, errs
}

// ReadFile returns the content of a regular file of at most limit bytes; one
// that has more is [ErrTooLarge].
func (f *Files) ReadFile(path string, limit int64) ([]byte, error) {
	p, err := f.tree.ReadFile(path, limit)
	return p, fileError(err)
}

// File is a regular file of a workspace, open for reading: an io.ReadSeekCloser
// and io.ReaderAt. The worker's programs may change and cut it meanwhile. It
// stays usable when the session ends.
type File struct{ f *workfs.File }

// Info describes the file as it was when it was opened.
func (f *File) Info() FileInfo { return FileInfo(f.f.Info()) }

// Version returns a text without spaces or quotes that changes whenever the
// content does.
func (f *File) Version() (string, error) { return f.f.Version() }

func (f *File) Read(p []byte) (int, error)              { return f.f.Read(p) }
func (f *File) ReadAt(p []byte, off int64) (int, error) { return f.f.ReadAt(p, off) }

// Seek sets where Read goes on, as io.Seeker has it.
func (f *File) Seek(off int64, whence int) (int64, error) { return f.f.Seek(off, whence) }

// Close closes the file.
func (f *File) Close() error { return f.f.Close() }

var (
	_ io.ReadSeekCloser = (*File)(nil)
	_ io.ReaderAt       = (*File)(nil)
)

// WalkOptions says what [Files.Walk] visits. The zero value: everything.
type WalkOptions struct {
	Depth     int  // levels below the path; 1: what is directly in it; 0: all
	TypesOnly bool // fill in Path and the type of Mode only, which is much faster
	// Skipped is told of directories that could not be read, or not wholly; nil:
	// nobody is. It runs on the goroutine of the walk.
	Skipped func(path string, err error)
}

// Walk calls fn for every entry below a directory, in lexical order, a directory
// before what is in it. Links are not followed. fn may return fs.SkipDir, for a
// directory, and fs.SkipAll; any other error ends the walk and is returned, as is
// that of ctx. What vanishes meanwhile is left out. Of one directory at most
// 100,000 entries are visited.
func (f *Files) Walk(ctx context.Context, path string, o WalkOptions, fn func(FileInfo) error) error {
	skipped := func(string, error) {}
	if o.Skipped != nil {
		skipped = func(path string, err error) { o.Skipped(path, fileError(err)) }
	}
	return fileError(f.tree.Walk(ctx, path, workfs.WalkOptions{Depth: o.Depth, TypesOnly: o.TypesOnly, Skipped: skipped},
		func(i workfs.Info) error { return fn(FileInfo(i)) }))
}

// ReadDir describes what is in a directory, sorted by name, up to limit entries,
// and reports whether there are more.
func (f *Files) ReadDir(ctx context.Context, path string, limit int) (list []FileInfo, more bool, err error) {
	infos, more, err := f.tree.ReadDir(ctx, path, limit)
	for _, i := range infos {
		list = append(list, FileInfo(i))
	}
	return list, more, fileError(err)
}

// fileError gives errors of the workspace their code.
func fileError(err error) error {
	e, ok := errors.AsType[*workfs.Error](err)
	if !ok {
		return err
	}
	for _, c := range []struct {
		err  error
		code Code
	}{
		{workfs.ErrOutside, ErrDenied}, {workfs.ErrTooLarge, ErrTooLarge}, {workfs.ErrFull, ErrTooLarge},
		{workfs.ErrBusy, ErrConflict}, {workfs.ErrChanged, ErrConflict}, {workfs.ErrNotEmpty, ErrConflict}, {workfs.ErrClosed, ErrSessionLost},
		{workfs.ErrPath, ErrInvalidInput}, {workfs.ErrLinks, ErrInvalidInput}, {workfs.ErrNotRegular, ErrInvalidInput},
		{workfs.ErrIsDir, ErrInvalidInput}, {workfs.ErrNotDir, ErrInvalidInput},
		{fs.ErrNotExist, ErrNoResults}, {fs.ErrExist, ErrConflict}, {fs.ErrPermission, ErrDenied},
	} {
		if errors.Is(e, c.err) {
			return &Error{Code: c.code, Err: err}
		}
	}
	return err
}
