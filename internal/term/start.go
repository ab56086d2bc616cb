package term

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
)

// Spec says what a [StartFunc] has to start.
type Spec struct {
	Path string
	Args []string // without the program's name
	Dir  string   // as the process sees it; "": the start function's choice
	Env  []string // added to the start function's clean environment

	// Files become descriptors 3, 4, … The start function does not close
	// them; the caller does, once the process is started.
	Files []*os.File

	// TTY, when set, becomes the standard streams and the controlling
	// terminal of the process, which leads a session of its own.
	TTY *os.File

	// Stdout and Stderr are used when TTY is nil; nil: the null device.
	Stdout, Stderr io.Writer
}

// Process is a started process. Wait may be called once.
type Process interface {
	Signal(os.Signal) error
	Kill() error
	Wait() error
	Pid() int // as the host sees it; 0: unknown
}

// Relayed is a [Process] whose terminal may be another one than it was given, with
// what goes through it copied. Then neither signals nor sizes reach it through the
// host's.
type Relayed interface {
	Relayed() bool
	SignalTerminal(os.Signal) error
	ResizeTerminal(rows, cols int) error
}

// relayed returns p as one that is relayed, nil if it is not.
func relayed(p Process) Relayed {
	if r, ok := p.(Relayed); ok && r.Relayed() {
		return r
	}
	return nil
}

// StartFunc starts a process. The context covers the start only.
type StartFunc func(ctx context.Context, s Spec) (Process, error)

// ExitStatus is an error that a [Process] whose Wait has no better one returns
// for a status that is not 0: the status, or 128 plus the number of the signal.
type ExitStatus int

func (s ExitStatus) Error() string { return fmt.Sprintf("exit status %d", int(s)) }

// ExitCode returns the status.
func (s ExitStatus) ExitCode() int { return int(s) }

// exitCode turns what Process.Wait returned into a shell's exit status: the
// status itself, or 128 plus the signal's number. It is -1 if err does not say.
func exitCode(err error) int {
	if err == nil {
		return 0
	}
	var ee *exec.ExitError
	if errors.As(err, &ee) {
		if ws, ok := ee.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
			return 128 + int(ws.Signal())
		}
		return ee.ExitCode()
	}
	var c interface{ ExitCode() int }
	if errors.As(err, &c) {
		return c.ExitCode()
	}
	return -1
}
