package bash

import (
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/agentflow-go/sandbox"
)

// spillDir is where whole outputs land in the workspace.
const spillDir = ".outputs"

// spill is a workspace file with the whole output of a command, begun by the
// first write.
type spill struct {
	s    *Shell
	f    *sandbox.FileWriter
	size int64
	err  error
}

func (w *spill) Write(p []byte) (int, error) {
	if w.f == nil && w.err == nil {
		w.f, w.err = w.create()
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

func (w *spill) create() (*sandbox.FileWriter, error) {
	files, err := w.s.env.Load().Files()
	if err != nil {
		return nil, err
	}
	name := fmt.Sprintf("%s/bash-%s-%s.txt", spillDir, time.Now().UTC().Format("20060102-150405"), rand.Text()[:6])
	return files.Create(name, sandbox.CreateOptions{Exclusive: true, Parents: true})
}

// close returns the file's path, "" if there is none.
func (w *spill) close() (string, error) {
	if w.f == nil {
		return "", w.err
	}
	info, err := w.f.Commit()
	if err != nil {
		return "", err
	}
	return info.Path, w.err
}
