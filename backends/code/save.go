package code

import (
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/agentflow-go/sandbox"
)

const (
	// outputsDir is where whole outputs and images land in the workspace.
	outputsDir = ".outputs"
	maxFile    = 256 << 20
)

// file is a new file in the workspace, made by the first write.
type file struct {
	s    *Session
	kind string // begins its name
	ext  string // ends it
	w    *sandbox.FileWriter
	size int64
	full error // it ends before what was written does
	err  error
}

// Write never fails, so that what is printed goes on; close tells of a fault.
func (f *file) Write(p []byte) {
	if f.w == nil && f.err == nil {
		f.err = f.create()
	}
	if f.err != nil || f.full != nil || len(p) == 0 {
		return
	}
	if f.size+int64(len(p)) > maxFile {
		p = p[:max(0, maxFile-f.size)]
		f.full = fmt.Errorf("output files are limited to %d bytes", maxFile)
	}
	n, err := f.w.Write(p)
	f.size += int64(n)
	f.err = err
}

func (f *file) create() error {
	files, err := f.s.env.Load().Files()
	if err != nil {
		return err
	}
	name := fmt.Sprintf("%s/%s-%s-%s%s", outputsDir, f.kind, time.Now().UTC().Format("20060102-150405"), rand.Text()[:6], f.ext)
	f.w, err = files.Create(name, sandbox.CreateOptions{Exclusive: true, Parents: true})
	return err
}

// close finishes the file and returns its path, "" if there is none. With a path
// the error says that the file ends early.
func (f *file) close() (string, error) {
	if f.w == nil || f.err != nil {
		if f.w != nil {
			f.err = errors.Join(f.err, f.w.Close())
		}
		return "", f.err
	}
	info, err := f.w.Commit()
	if err != nil {
		return "", err
	}
	return info.Path, f.full
}
