package jail

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
)

var (
	// ErrCannotEnforce is what every [PolicyError] wraps.
	ErrCannotEnforce = errors.New("policy cannot be enforced")
	// ErrUnavailable is what every [UnavailableError] wraps.
	ErrUnavailable = errors.New("confinement is not available")
	// ErrClosed means that the jail or host was closed, or that the jail died.
	ErrClosed = errors.New("jail: closed")
	// ErrNotFound means that the program is not in the jail's PATH, or that its
	// path does not exist inside.
	ErrNotFound = errors.New("program not found")
	// ErrWaitDelay means that the program ended well but left a process that
	// held its output open past [WaitDelay].
	ErrWaitDelay = errors.New("jail: output was still open after the program ended")
)

// PolicyError says that this host cannot enforce what a policy asks for.
type PolicyError struct {
	Limit  string // the field: "memory", "egress", …
	Reason string
	Remedy string // what to do about it
}

func (e *PolicyError) Error() string {
	return fmt.Sprintf("jail: %s: %v: %s (%s)", e.Limit, ErrCannotEnforce, e.Reason, e.Remedy)
}

// Unwrap returns [ErrCannotEnforce].
func (e *PolicyError) Unwrap() error { return ErrCannotEnforce }

// ReadOnlyError says which of [Options.ReadOnly] jails must not see, and why.
type ReadOnlyError struct {
	Path string
	Err  error
}

func (e *ReadOnlyError) Error() string { return fmt.Sprintf("%q: %v", e.Path, e.Err) }

// Unwrap returns the cause.
func (e *ReadOnlyError) Unwrap() error { return e.Err }

// UnavailableError says why a level does not work on this host and what to do.
type UnavailableError struct {
	Level  string
	Reason string
	Remedy string
	Err    error // the cause, or nil
}

func (e *UnavailableError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "jail: level %q: %v: %s", e.Level, ErrUnavailable, e.Reason)
	if e.Remedy != "" {
		b.WriteString("; ")
		b.WriteString(e.Remedy)
	}
	return b.String()
}

// Unwrap returns [ErrUnavailable] and the cause.
func (e *UnavailableError) Unwrap() []error {
	if e.Err == nil {
		return []error{ErrUnavailable}
	}
	return []error{ErrUnavailable, e.Err}
}

// ExitError says that a program ended otherwise than with status 0.
type ExitError struct {
	Code   int            // its exit status; -1 when a signal ended it
	Signal syscall.Signal // the signal that ended it; 0 when it exited
	// Lost tells that the program's own end was never seen, because its whole
	// jail went away: then Signal is SIGKILL.
	Lost bool
	// OOM tells that the program was killed, or ended with 137 as a shell does
	// whose command was, and that the kernel killed a process of the same worker
	// while it ran because memory had run out: the worker's limit's, or the
	// host's. A kill by the caller is not meant.
	OOM bool
}

func (e *ExitError) Error() string {
	s := fmt.Sprintf("exit status %d", e.Code)
	switch {
	case e.Lost:
		s = "killed with its jail"
	case e.Signal != 0:
		s = "signal: " + e.Signal.String()
	}
	if e.OOM {
		s += " (out of memory)"
	}
	return s
}

// StartError says that a program could not be started in a live jail.
type StartError struct {
	Path   string // as in [Cmd.Path], or the directory
	Reason string
	Err    error
}

func (e *StartError) Error() string { return fmt.Sprintf("exec: %q: %s", e.Path, e.Reason) }

// Unwrap returns the cause: [ErrNotFound] or the system's error number.
func (e *StartError) Unwrap() error { return e.Err }
