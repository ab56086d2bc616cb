package sandbox

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"

	"github.com/agentflow-go/sandbox/internal/jail"
	"github.com/agentflow-go/sandbox/internal/workspace"
)

// hostResources are what a Sandbox has on its host, each made on first use.
// Making them takes a while, which those who only look do not wait for.
type hostResources struct {
	store atomic.Pointer[workspace.Store]
	host  atomic.Pointer[jail.Host]
	state *workspace.Dir // of the driver, where it comes from Options; guarded by mu

	bound atomic.Int64 // bytes of each workspace, once host is there; 0: no bound

	mu     sync.Mutex // held while they are made or closed; guards closed
	closed bool
}

func (h *hostResources) workspaces(sb *Sandbox) (*workspace.Store, error) {
	if store := h.store.Load(); store != nil {
		return store, nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.workspacesLocked(sb)
}

func (h *hostResources) workspacesLocked(sb *Sandbox) (*workspace.Store, error) {
	if h.closed {
		return nil, errStopping()
	}
	if store := h.store.Load(); store != nil {
		return store, nil
	}
	store, err := workspace.Open(sb.opts.DataDir, workspace.Options{Keep: sb.opts.KeepWorkspaces, Logger: sb.opts.Logger})
	if err != nil {
		return nil, err
	}
	h.store.Store(store)
	return store, nil
}

// jails returns what starts processes. Opening it probes the host; a failure
// is tried again by the next use.
func (h *hostResources) jails(ctx context.Context, sb *Sandbox) (*jail.Host, error) {
	if host := h.host.Load(); host != nil {
		return host, nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if host := h.host.Load(); host != nil {
		return host, nil
	}
	store, err := h.workspacesLocked(sb)
	if err != nil {
		return nil, err
	}
	o := jail.Options{
		Level: sb.opts.Confine.Level, AllowDegraded: sb.opts.Confine.AllowDegraded,
		ReadOnly: sb.opts.Confine.ReadOnly, DataDir: store.Path(), MoveCgroup: sb.opts.MoveCgroup, Logger: sb.opts.Logger, Quota: store.Bounded,
	}
	if d := sb.opts.Drivers[o.Level]; d != nil {
		o.Driver = d.JailDriver(o.Level)
		if h.state, err = store.State(); err != nil {
			return nil, err
		}
		o.StateDir = h.state.Path()
	}
	host, err := jail.Open(ctx, o)
	if err != nil {
		return nil, errors.Join(jailError(err), h.leaveState())
	}
	policy := jail.Policy{Limits: jail.Limits(sb.opts.Confine.Limits)}
	if len(sb.opts.Confine.Egress.Allow) > 0 {
		policy.Proxy = func(net.Listener) {} // to be asked about only
	}
	if err := host.Check(policy); err != nil {
		return nil, errors.Join(jailError(err), host.Close(), h.leaveState())
	}
	if host.Level() == "none" {
		sb.opts.Logger.Warn("confinement is off: what workers run can read and change everything that this program can")
	}
	if limit := sb.opts.Confine.Limits.Workspace; limit > 0 && host.Quota(limit) == nil { // else it may go unenforced
		h.bound.Store(limit)
	}
	h.host.Store(host)
	return host, nil
}

// size returns how many bytes each worker's workspace has, once jails was
// called; 0: as many as there are.
func (h *hostResources) size() int64 { return h.bound.Load() }

// kept reports whether a workspace was kept for the worker.
func (h *hostResources) kept(worker string) bool {
	store := h.store.Load()
	return store != nil && store.Kept(worker)
}

// degradation says what a name of [jail.Host.Degraded] means; "" for others.
func degradation(name string) string {
	switch name {
	case "single-uid":
		return "all workers run as this program's user, and only their namespaces keep them apart; as root each has a user of its own"
	case "net-per-session":
		return "each session has a loopback of its own instead of sharing its worker's"
	case "unbounded-files":
		return "nothing bounds the number of files in a session's /tmp and /dev/shm, nor that of its terminals"
	}
	return ""
}

// level tells which driver is in force, and what it does not enforce or keep
// apart; "" before the first process.
func (h *hostResources) level(c Confinement) (string, []string) {
	host := h.host.Load()
	if host == nil {
		return "", nil
	}
	lacks := host.Unenforced(jail.Limits(c.Limits))
	if host.Level() != "none" { // which lacks everything
		for _, name := range host.Degraded() {
			lacks = append(lacks, name+": "+degradation(name))
		}
	}
	return host.Level(), lacks
}

// leaveState gives the driver's directory back. The caller holds mu.
func (h *hostResources) leaveState() error {
	d := h.state
	if h.state = nil; d == nil {
		return nil
	}
	return d.Release(false)
}

func (h *hostResources) close() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	var errs []error
	if host := h.host.Swap(nil); host != nil {
		errs = append(errs, host.Close())
	}
	errs = append(errs, h.leaveState())
	if store := h.store.Swap(nil); store != nil {
		errs = append(errs, store.Close())
	}
	return errors.Join(errs...)
}

// Probe finds out now, instead of when the first program starts, whether this
// host can enforce Options.Confine: it runs the driver once, trying forbidden
// acts. The error is [ErrCannotEnforce] with the remedy, or [ErrInvalidInput] for
// a path in Confinement.ReadOnly. A host that hangs is given up when ctx ends, or
// after a minute for each driver that is tried; the next use tries again.
func (sb *Sandbox) Probe(ctx context.Context) error {
	_, err := sb.host.jails(ctx, sb)
	return err
}

// jailError gives errors of the jail their code.
func jailError(err error) error {
	if e, ok := errors.AsType[*jail.ReadOnlyError](err); ok {
		return Errorf(ErrInvalidInput, "confinement.read_only: %w", e)
	}
	switch {
	case errors.Is(err, jail.ErrCannotEnforce), errors.Is(err, jail.ErrUnavailable):
		return &Error{Code: ErrCannotEnforce, Err: err}
	case errors.Is(err, jail.ErrClosed):
		return &Error{Code: ErrSessionLost, Err: err}
	}
	return err
}
