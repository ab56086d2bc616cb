package bash

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"
)

// spillDir is where whole outputs land in the workspace.
const spillDir = ".outputs"

// spill is a workspace file with the whole output of a command, made by the
// first write. A hostile process may be at work in the workspace: everything
// goes through an os.Root, and only a file that did not exist is written.
type spill struct {
	s    *Shell
	f    *os.File
	path string // relative to the workspace
	size int64
	err  error
}

func (w *spill) Write(p []byte) (int, error) {
	if w.f == nil && w.err == nil {
		w.err = w.create()
	}
	if w.err != nil {
		return 0, w.err
	}
	if w.size+int64(len(p)) > maxSpill {
		p = p[:max(0, maxSpill-w.size)]
		w.err = fmt.Errorf("output files are limited to %d bytes", maxSpill)
	}
	n, err := w.f.Write(p)
	w.size += int64(n)
	w.err = errors.Join(w.err, err)
	return n, w.err
}

func (w *spill) create() error {
	ws, err := w.s.env.Load().Workspace()
	if err != nil {
		return err
	}
	root, err := os.OpenRoot(ws)
	if err != nil {
		return err
	}
	defer root.Close()
	info, err := root.Stat(".")
	if err != nil {
		return err
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return errors.New("the owner of the workspace is unknown")
	}
	give := os.Geteuid() == 0 && owner.Uid != 0 // else it is ours already
	if err := root.Mkdir(spillDir, 0o755); err == nil && give {
		if err := root.Lchown(spillDir, int(owner.Uid), int(owner.Gid)); err != nil {
			return err
		}
	}
	name := fmt.Sprintf("%s/bash-%s-%s.txt", spillDir, time.Now().UTC().Format("20060102-150405"), rand.Text()[:6])
	f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0o644)
	if err != nil {
		return err
	}
	if give {
		if err := f.Chown(int(owner.Uid), int(owner.Gid)); err != nil {
			f.Close()
			return err
		}
	}
	w.f, w.path = f, name
	return nil
}

// close returns the file's path, "" if there is none.
func (w *spill) close() (string, error) {
	if w.f != nil {
		w.err = errors.Join(w.err, w.f.Close())
	}
	return w.path, w.err
}
