package code

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"
)

const (
	// outputsDir is where whole outputs and images land in the workspace.
	outputsDir = ".outputs"
	maxFile    = 256 << 20
)

// file is a new file in the workspace, made by the first write. A hostile
// process may be at work there: everything goes through an os.Root, and only a
// file that did not exist is written.
type file struct {
	s    *Session
	kind string // begins its name
	ext  string // ends it
	f    *os.File
	path string // relative to the workspace
	size int64
	err  error
}

// Write never fails, so that what is printed goes on; close tells of a fault.
func (w *file) Write(p []byte) {
	if w.f == nil && w.err == nil {
		w.err = w.create()
	}
	if w.err != nil || len(p) == 0 {
		return
	}
	if w.size+int64(len(p)) > maxFile {
		p = p[:max(0, maxFile-w.size)]
		w.err = fmt.Errorf("output files are limited to %d bytes", maxFile)
	}
	n, err := w.f.Write(p)
	w.size += int64(n)
	w.err = errors.Join(w.err, err)
}

func (w *file) create() error {
	ws, err := w.s.env.Load().Workspace()
	if err != nil {
		return err
	}
	root, err := os.OpenRoot(ws)
	if err != nil {
		return err
	}
	defer root.Close()
	uid, gid, err := workspaceOwner(ws)
	if err != nil {
		return err
	}
	give := os.Geteuid() == 0 && uid != 0 // else it is ours already
	if err := root.Mkdir(outputsDir, 0o755); err == nil && give {
		if err := root.Lchown(outputsDir, uid, gid); err != nil {
			return err
		}
	}
	name := fmt.Sprintf("%s/%s-%s-%s%s", outputsDir, w.kind, time.Now().UTC().Format("20060102-150405"), rand.Text()[:6], w.ext)
	f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0o644)
	if err != nil {
		return err
	}
	if give {
		if err := f.Chown(uid, gid); err != nil {
			f.Close()
			return err
		}
	}
	w.f, w.path = f, name
	return nil
}

// close returns the file's path, "" if there is none.
func (w *file) close() (string, error) {
	if w.f != nil {
		w.err = errors.Join(w.err, w.f.Close())
	}
	return w.path, w.err
}

// workspaceOwner returns the user that the worker's processes run as.
func workspaceOwner(dir string) (uid, gid int, err error) {
	info, err := os.Stat(dir)
	if err != nil {
		return 0, 0, err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, 0, errors.New("the owner of the workspace is unknown")
	}
	return int(st.Uid), int(st.Gid), nil
}
