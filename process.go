package sandbox

import (
	"errors"
	"io"
	"os"
	"syscall"

	"github.com/agentflow-go/sandbox/internal/jail"
)

// Cmd is a program to start with [Env.Start]. Descriptors that it names stay the
// caller's, to close once Start has returned.
type Cmd struct {
	Path string   // a path inside, relative to Dir unless absolute, or a name looked up in the jail's PATH
	Args []string // without the program's name
	Dir  string   // inside, relative to the workspace; "": the workspace
	Env  []string // added to the clean environment, inside only; later entries win

	// Stdin is what the program reads; nil: nothing. Stdout and Stderr get what
	// it writes, from one goroutine at a time, also when both are one writer;
	// nil: discarded. An *os.File is passed as it is.
	Stdin          io.Reader
	Stdout, Stderr io.Writer

	Files []*os.File // descriptors 3, 4, … inside; nothing else is passed
	// TTY is the slave side of a pty: standard streams and controlling
	// terminal. Stdin, Stdout and Stderr must then be nil.
	TTY *os.File

	// Mounts and NestedUserNS (for programs with a sandbox of their own, such
	// as Chromium) put the program into a jail of its own, which shares the
	// workspace and the loopback with the session's, but neither processes nor /tmp.
	Mounts       []Mount
	NestedUserNS bool
}

// Mount makes a host path visible to one program.
type Mount struct {
	Host     string // absolute path of a file or directory
	Inside   string // absolute; not in the way of anything that a jail has of its own
	Writable bool
}

// Process is a program started with [Env.Start]. Its methods may be called
// concurrently.
type Process struct{ p *jail.Process }

// Pid returns the process id as the worker's programs see it.
func (p *Process) Pid() int { return p.p.Pid() }

// Signal sends a signal to the program itself.
func (p *Process) Signal(s os.Signal) error { return p.p.Signal(s) }

// Relayed reports whether the program's terminal is another than Cmd.TTY, with what
// goes through it copied, as where jails have a kernel of their own. Signals that
// are sent to the one by way of its master, and its sizes, do not reach the other:
// SignalTerminal and ResizeTerminal do.
func (p *Process) Relayed() bool { return p.p.Relayed() }

// SignalTerminal sends a signal to the foreground processes of a relayed terminal.
func (p *Process) SignalTerminal(s os.Signal) error { return p.p.SignalTerminal(s) }

// ResizeTerminal changes the size of a relayed terminal.
func (p *Process) ResizeTerminal(rows, cols int) error { return p.p.ResizeTerminal(rows, cols) }

// Kill kills the program and everything it started, except what detached
// itself completely; that ends with the session.
func (p *Process) Kill() error { return p.p.Kill() }

// Wait waits for the program's end and its output; of output that a process it
// left behind still holds open, only what comes at once. The error is nil for
// exit status 0, an [*ExitError] for another end. Every call returns the same.
func (p *Process) Wait() error {
	err := p.p.Wait()
	if e, ok := errors.AsType[*jail.ExitError](err); ok {
		ee := &ExitError{Code: e.Code, Lost: e.Lost, OOM: e.OOM}
		if e.Signal != 0 {
			ee.Signal = e.Signal
		}
		return ee
	}
	return err
}

// ExitError says that a program ended otherwise than with exit status 0.
type ExitError struct {
	Code   int       // exit status; -1 when a signal ended it
	Signal os.Signal // the signal that ended it; nil when it exited
	Lost   bool      // its end was not seen, because its whole jail went away
	// OOM: it was killed, or ended with 137 as a shell does whose command was,
	// while the worker's memory limit, or the host's memory, was exhausted.
	OOM bool
}

func (e *ExitError) Error() string {
	n, _ := e.Signal.(syscall.Signal) // 0 for none
	return (&jail.ExitError{Code: e.Code, Signal: n, Lost: e.Lost, OOM: e.OOM}).Error()
}
