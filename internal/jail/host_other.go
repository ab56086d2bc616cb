//go:build !linux

package jail

import (
	"context"
	"net"
	"net/netip"
	"os"
	"runtime"
)

// Host is this program's hold on confinement; see the Linux documentation.
type Host struct{}

// Driver starts the first processes of jails; see the Linux documentation.
type Driver interface{ Name() string }

// Open returns an [UnavailableError] for every known level: programs are
// confined, and their trees killed, by means that only Linux has.
func Open(_ context.Context, o Options) (*Host, error) {
	level, err := checkLevel(o.Level)
	if err != nil {
		return nil, err
	}
	return nil, &UnavailableError{Level: level, Reason: "it needs Linux, this is " + runtime.GOOS, Remedy: "run the program on Linux or in a Linux container"}
}

// Level returns "".
func (h *Host) Level() string { return "" }

// Degraded returns nil.
func (h *Host) Degraded() []string { return nil }

// Unenforced returns nil.
func (h *Host) Unenforced(Limits) []string { return nil }

// Check returns [ErrClosed]: no Host can be open here.
func (h *Host) Check(Policy) error { return ErrClosed }

// Quota returns [ErrClosed]: no Host can be open here.
func (h *Host) Quota(int64) error { return ErrClosed }

// Identity returns [ErrClosed]: no Host can be open here.
func (h *Host) Identity() (*Identity, error) { return nil, ErrClosed }

// NewJail returns [ErrClosed]: no Host can be open here.
func (h *Host) NewJail(context.Context, Policy) (*Jail, error) { return nil, ErrClosed }

// Close does nothing.
func (h *Host) Close() error { return nil }

// Identity is the host user that a worker's programs run as.
type Identity struct{ UID, GID int }

// Release does nothing.
func (id *Identity) Release() error { return nil }

// Dial returns [ErrClosed]: no Jail can be open here.
func (id *Identity) Dial(context.Context, netip.AddrPort) (net.Conn, error) { return nil, ErrClosed }

// Jail is one session's set of namespaces; see the Linux documentation.
type Jail struct{}

// Start returns [ErrClosed]: no Jail can be open here.
func (j *Jail) Start(context.Context, Cmd) (*Process, error) { return nil, ErrClosed }

// Listen returns [ErrClosed]: no Jail can be open here.
func (j *Jail) Listen(context.Context) (net.Listener, string, error) { return nil, "", ErrClosed }

// OOMKills returns -1.
func (j *Jail) OOMKills() int64 { return -1 }

// Home returns "".
func (j *Jail) Home() string { return "" }

// Done returns nil.
func (j *Jail) Done() <-chan struct{} { return nil }

// Close does nothing.
func (j *Jail) Close() error { return nil }

// Process is one program in a jail; see the Linux documentation.
type Process struct{}

// Pid returns 0.
func (p *Process) Pid() int { return 0 }

// Signal returns [ErrClosed].
func (p *Process) Signal(os.Signal) error { return ErrClosed }

// Relayed returns false.
func (p *Process) Relayed() bool { return false }

// SignalTerminal returns [ErrClosed].
func (p *Process) SignalTerminal(os.Signal) error { return ErrClosed }

// ResizeTerminal returns [ErrClosed].
func (p *Process) ResizeTerminal(int, int) error { return ErrClosed }

// Kill returns [ErrClosed].
func (p *Process) Kill() error { return ErrClosed }

// Wait returns [ErrClosed].
func (p *Process) Wait() error { return ErrClosed }

type network struct{}
