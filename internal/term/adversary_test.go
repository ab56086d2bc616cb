package term_test

import (
	"context"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/agentflow-go/sandbox/internal/term"
	"github.com/agentflow-go/sandbox/internal/term/termtest"
)

func TestAdversary(t *testing.T) {
	t.Parallel()
	termtest.Run(t, func(t *testing.T, o term.Options) *term.Shell {
		o.Start = startPlain
		o.Dir = t.TempDir()
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

// startPlain starts processes without confinement.
func startPlain(ctx context.Context, s term.Spec) (term.Process, error) {
	c := exec.Command(s.Path, s.Args...)
	c.Dir = s.Dir
	c.Env = append([]string{"PATH=/usr/local/bin:/usr/bin:/bin", "LANG=C.UTF-8", "TERM=dumb", "HOME=/nonexistent"}, s.Env...)
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
