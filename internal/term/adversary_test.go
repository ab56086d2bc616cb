package term_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/agentflow-go/sandbox/internal/term"
	"github.com/agentflow-go/sandbox/internal/term/termtest"
)

func TestAdversary(t *testing.T) {
	t.Parallel()
	termtest.Run(t, func(t *testing.T, o term.Options) *term.Shell {
		o.Dir = t.TempDir() // removed when nobody is in there any more
		o.Start = startPlain(t)
		s, err := term.Open(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		return s
	})
}

type plain struct{ *exec.Cmd }

func (p plain) Signal(s os.Signal) error { return p.Process.Signal(s) }
func (p plain) Kill() error              { return p.Process.Kill() }
func (p plain) Pid() int                 { return p.Process.Pid }

// startPlain returns what starts processes without confinement. What they
// leave behind is killed at the test's end: without a jail nobody else does.
func startPlain(t testing.TB) term.StartFunc {
	mark := "TERM_TEST=" + rand.Text()
	t.Cleanup(func() {
		for deadline := time.Now().Add(time.Minute); killMarked(mark); { // what was forked meanwhile, and what is still dying
			if time.Now().After(deadline) {
				t.Error("processes that the shell left do not die")
				return
			}
		}
	})
	return func(_ context.Context, s term.Spec) (term.Process, error) {
		c := exec.Command(s.Path, s.Args...)
		c.Dir = s.Dir
		c.Env = append([]string{"PATH=/usr/local/bin:/usr/bin:/bin", "LANG=C.UTF-8", "TERM=dumb", "HOME=/nonexistent", mark}, s.Env...)
		c.ExtraFiles = s.Files
		c.Stdout, c.Stderr = s.Stdout, s.Stderr
		if s.TTY != nil {
			c.Stdin, c.Stdout, c.Stderr = s.TTY, s.TTY, s.TTY
			c.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
		}
		if err := c.Start(); err != nil {
			return nil, err
		}
		return plain{c}, nil
	}
}

// killMarked kills the processes that have mark in their environment, and reports
// whether there were any.
func killMarked(mark string) (found bool) {
	environs, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, f := range environs {
		pid, err := strconv.Atoi(strings.Split(f, "/")[2])
		if err != nil {
			continue
		}
		p, err := os.FindProcess(pid) // by a descriptor: the number may be another's soon
		if err != nil {
			continue
		}
		if env, err := os.ReadFile(f); err == nil && bytes.Contains(env, []byte(mark)) {
			found = true
			_ = p.Kill() // or it has ended
		}
		_ = p.Release()
	}
	return found
}
