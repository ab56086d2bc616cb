package sandbox

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/agentflow-go/sandbox/internal/reap"
	"golang.org/x/sync/semaphore"
)

// Sandbox runs tools for workers in this process. It is an [Executor]. Make
// one with [New] and end it with [Sandbox.Shutdown].
type Sandbox struct {
	opts   Options
	names  *nameIndex
	handle Handler // the middlewares around the call itself

	workers workerTable
	reaper  *reap.Reaper
	host    hostResources
	pool    pool
	forks   forks

	// base ends when Shutdown gives up waiting: warmups, pool refills and the
	// reaper run under it.
	base       context.Context
	cancelBase context.CancelCauseFunc
	background tasks // goroutines that Shutdown waits for

	start sync.Once
	gate  gate
	slots *semaphore.Weighted // MaxCalls; nil: no limit

	denials   denials
	sessions  atomic.Int64 // live sessions, and those being opened or closed
	abandoned atomic.Int64

	stopping    atomic.Bool   // Shutdown has begun
	shutdownErr error         // set before down is closed
	down        chan struct{} // closed when Shutdown is done
}

var _ Executor = (*Sandbox)(nil)

// New makes a Sandbox of what o.Registry holds and freezes the registry. It
// starts nothing: no goroutine, process or directory. The error joins every
// bad registration.
func New(o Options) (*Sandbox, error) {
	if o.Registry == nil {
		return nil, Errorf(ErrBadRegistration, "Options.Registry is nil; give a *sandbox.Registry with the tools")
	}
	if err := checkDrivers(o.Drivers); err != nil {
		return nil, err
	}
	if err := checkConfinement(o.Confine, slices.Collect(maps.Keys(o.Drivers))...); err != nil {
		return nil, err
	}
	if o.MaxCalls < 0 || o.MaxSessions < 0 || o.CallTimeout < 0 || o.CloseGrace < 0 {
		return nil, Errorf(ErrInvalidInput, "Options: MaxCalls, MaxSessions, CallTimeout and CloseGrace must not be negative; 0 means the default")
	}
	if i := slices.IndexFunc(o.Middleware, func(m Middleware) bool { return m == nil }); i >= 0 {
		return nil, Errorf(ErrInvalidInput, "Options.Middleware[%d] is nil; leave it out", i)
	}
	sb := &Sandbox{
		opts:   o.withDefaults(),
		names:  newNameIndex(o.Registry.tools),
		handle: chain(o.Middleware),
		reaper: reap.New(),
		down:   make(chan struct{}),
	}
	sb.gate.idle = make(chan struct{}, 1)
	sb.base, sb.cancelBase = context.WithCancelCause(context.Background())
	sb.workers.init()
	if o.MaxCalls > 0 {
		sb.slots = semaphore.NewWeighted(int64(o.MaxCalls))
	}
	if err := o.Registry.freeze(sb); err != nil {
		return nil, err
	}
	sb.pool.init(o.Registry.backends)
	return sb, nil
}

// Worker returns a handle on the worker id.
func (sb *Sandbox) Worker(id string) *Worker { return NewWorker(sb, id) }

// Start starts the Sandbox and warms the named backends up; naming none warms
// none. First use implies it. The error joins those of the backends that
// failed, which stay cold and are tried again by their next use.
func (sb *Sandbox) Start(ctx context.Context, warm ...string) error {
	if sb.gate.closed.Load() {
		return errStopping()
	}
	sb.started()
	if len(warm) == 0 {
		return nil
	}
	_, err := sb.Warmup(ctx, warm...)
	return err
}

// started starts the reaper and the pools, once.
func (sb *Sandbox) started() {
	sb.start.Do(func() {
		sb.background.Go(func() { sb.reaper.Run(sb.base) })
		sb.startPool()
	})
}

// Shutdown ends the Sandbox: it refuses new calls, lets running ones finish
// for up to CloseGrace (or until ctx ends), cancels the rest (but for typed
// calls of tools without session, which only their caller's context ends),
// closes all sessions, runs the backends' Shutdown hooks in reverse order of
// registration, and removes what it made on disk. What does not end within
// CloseGrace is left behind and logged. Errors are joined. A further Shutdown
// waits for the first and returns its error.
func (sb *Sandbox) Shutdown(ctx context.Context) error {
	if sb.stopping.CompareAndSwap(false, true) {
		sb.shutdownErr = sb.stop(ctx)
		close(sb.down)
	}
	<-sb.down
	return sb.shutdownErr
}

func (sb *Sandbox) stop(ctx context.Context) error {
	grace, cancel := context.WithTimeout(ctx, sb.opts.CloseGrace)
	defer cancel()
	sb.gate.close()
	sb.start.Do(func() {}) // nothing starts any more
	sb.gate.wait(grace)
	sb.cancelBase(errStopping())

	errs := append(sb.closeWorkers(), sb.drainPool()...)
	backends := sb.opts.Registry.backends
	for i := len(backends) - 1; i >= 0; i-- {
		errs = append(errs, sb.shutdownBackend(backends[i]))
	}
	// The reaper and warmups are bounded by base; a warmup that hangs is left
	// behind by its own watcher.
	sb.background.Wait()
	errs = append(errs, sb.host.close())
	return errors.Join(errs...)
}

func errStopping() *Error {
	return &Error{Code: ErrStopping, Message: "the sandbox is shutting down"}
}

// bounded runs f, on a context that only sb's grace period ends, and returns
// when f does or the grace period is over; then f is left behind.
func (sb *Sandbox) bounded(ctx context.Context, kind, name, session string, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), sb.opts.CloseGrace)
	done := sb.spawn(kind, name, func() error {
		defer cancel()
		return f(ctx)
	})
	// A little longer than f's own context, so that f can still say why.
	timer := time.NewTimer(sb.opts.CloseGrace + sb.opts.CloseGrace/8)
	defer timer.Stop()
	select {
	case err := <-done:
		return err
	case <-timer.C:
	}
	select { // both, where this program stood still for so long
	case err := <-done:
		return err
	default:
	}
	sb.leftBehind(kind, name, session)
	return Errorf(ErrTimeout, "%s %s did not return within %v and was left behind", kind, name, sb.opts.CloseGrace)
}
