package term

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

type command struct{ *exec.Cmd }

func (c command) Signal(s os.Signal) error { return c.Process.Signal(s) }
func (c command) Kill() error              { return c.Process.Kill() }
func (c command) Pid() int                 { return c.Process.Pid }

// TestProgramWhoseOutputIsSlowToRender holds the rendering up for longer than
// the end of a program waits for output that does not come.
func TestProgramWhoseOutputIsSlowToRender(t *testing.T) {
	t.Parallel()
	start := func(_ context.Context, s Spec) (Process, error) {
		c := exec.Command(s.Path, s.Args...)
		c.Stdin, c.Stdout, c.Stderr = s.TTY, s.TTY, s.TTY
		c.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
		return command{c}, c.Start()
	}
	p, err := StartProgram(t.Context(), ProgramOptions{Start: start, Path: "/bin/sh", Args: []string{"-c", "stty -echo; read x; echo end"}})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	p.screen.mu.Lock()
	if _, err := p.Input(t.Context(), []byte("\n")); err != nil {
		t.Error(err)
	}
	<-p.ended
	<-time.After(1500 * time.Millisecond)
	p.screen.mu.Unlock()
	<-p.Done()
	if s := p.Screen(); strings.TrimSpace(s.Text) != "end" {
		t.Errorf("screen %q", s.Text)
	}
}
