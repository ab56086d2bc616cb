package sandbox

import (
	"context"
	"io"
	"io/fs"

	"github.com/agentflow-go/sandbox/internal/workfs"
)

// CreateOptions says how a file is made. The zero value replaces what is there.
type CreateOptions struct {
	Mode      fs.FileMode // permissions; 0: those of the file that is replaced, else 0644
	Exclusive bool        // fail if there is something
	Parents   bool        // make the directories that are missing
	MaxBytes  int64       // more is ErrTooLarge; 0: no limit
	// Version is that of the file to replace, see File.Version: if it has
	// another by then, or is gone, the error is ErrConflict. "": replace whatever
	// is there.
	Version string
}

// MkdirOptions says how a directory is made.
type MkdirOptions struct {
	Parents bool // make those above too, and do not mind if it is there
}

// MoveOptions says how an entry is moved or copied.
type MoveOptions struct {
	Overwrite bool  // replace a file that is there; a move also an empty directory
	Parents   bool  // make the directories that are missing above the new path
	MaxBytes  int64 // the most that is copied; 0: no limit
}

// Create begins to write a file, which appears under its name, whole, when it is
// committed. The caller calls Commit or Close; until then its bytes are in the
// workspace under a name that begins with ".~".
func (f *Files) Create(path string, o CreateOptions) (*FileWriter, error) {
	w, err := f.tree.Create(path, workfs.CreateOptions(o))
	if err != nil {
		return nil, fileError(err)
	}
	return &FileWriter{w}, nil
}

// FileWriter is a file of a workspace that is being written. It belongs to one
// goroutine at a time.
type FileWriter struct{ w *workfs.Writer }

// Path returns where the file will be, relative to the workspace.
func (w *FileWriter) Path() string { return w.w.Path() }

// Write writes p.
func (w *FileWriter) Write(p []byte) (int, error) {
	n, err := w.w.Write(p)
	return n, fileError(err)
}

// Commit gives the file its name, replacing what has it at once, and closes the
// writer. After a failed Write it fails too, and nothing is replaced.
func (w *FileWriter) Commit() (FileInfo, error) {
	i, err := w.w.Commit()
	return FileInfo(i), fileError(err)
}

// Close gives up what is not committed. After Commit it does nothing.
func (w *FileWriter) Close() error { return fileError(w.w.Close()) }

// WriteFile makes a file of what src has, as Create and Commit do.
func (f *Files) WriteFile(path string, src io.Reader, o CreateOptions) (FileInfo, error) {
	i, err := f.tree.WriteFile(path, src, workfs.CreateOptions(o))
	return FileInfo(i), fileError(err)
}

// Append writes what src has to the end of a file, which is made if it is not
// there; o.Mode is for a new one, o.MaxBytes bounds what is added, and o.Exclusive
// and o.Version are not looked at. What was written before an error stays.
func (f *Files) Append(path string, src io.Reader, o CreateOptions) (FileInfo, error) {
	i, err := f.tree.Append(path, src, workfs.CreateOptions(o))
	return FileInfo(i), fileError(err)
}

// Mkdir makes a directory.
func (f *Files) Mkdir(path string, o MkdirOptions) (FileInfo, error) {
	i, err := f.tree.Mkdir(path, workfs.MkdirOptions(o))
	return FileInfo(i), fileError(err)
}

// Remove removes a file, a link (not what it leads to) or an empty directory.
func (f *Files) Remove(path string) error { return fileError(f.tree.Remove(path)) }

// RemoveAll removes an entry with all that is in it. What cannot be removed
// stays, and the first such error is returned.
func (f *Files) RemoveAll(ctx context.Context, path string) error {
	return fileError(f.tree.RemoveAll(ctx, path))
}

// Rename moves an entry; of a link the link itself.
func (f *Files) Rename(from, to string, o MoveOptions) (FileInfo, error) {
	i, err := f.tree.Rename(from, to, workfs.MoveOptions(o))
	return FileInfo(i), fileError(err)
}

// Copy copies a file or a tree to a path that does not exist or, with Overwrite,
// is a file. Links within a tree are copied as they are; FIFOs, sockets, devices
// and set-id bits are left out of it. After an error, what was copied of a tree is
// removed again.
func (f *Files) Copy(ctx context.Context, from, to string, o MoveOptions) (FileInfo, error) {
	i, err := f.tree.Copy(ctx, from, to, workfs.MoveOptions(o))
	return FileInfo(i), fileError(err)
}
