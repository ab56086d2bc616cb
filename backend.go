package sandbox

import (
	"context"
	"encoding/json"
)

// Backend owns a kind of resource and opens one state of type S per session.
// Both methods are called concurrently for different sessions.
//
// A backend may implement further hooks: [Warmer], [Shutdowner],
// [HealthChecker] and [Binder]. They are found when it is registered; a method
// of such a name with another signature is a fault of the registration.
type Backend[S any] interface {
	// Open makes a session's state. It must return when ctx ends. If it
	// fails it must leave nothing behind; Close is then not called.
	Open(ctx context.Context, env Env) (S, error)
	// Close ends a state, exactly once per successful Open. Its context is
	// not the caller's: it ends after Options.CloseGrace, and a Close that
	// has not returned by then is left behind. Processes started through
	// Env.Start are killed after it.
	Close(ctx context.Context, s S) error
}

// Warmer is a backend with something to load before its first use. Warmup
// runs once, by Start, Warmup or first use, on a context that ends with the
// Sandbox; after a failure the next use tries again.
type Warmer interface {
	Warmup(ctx context.Context, env Env) error
}

// Shutdowner is a backend with something to release. Shutdown runs once, when
// the Sandbox shuts down and all sessions are closed, in reverse order of
// registration, whether or not the backend was ever warmed up.
type Shutdowner interface {
	Shutdown(ctx context.Context) error
}

// HealthChecker is a backend that can tell whether it still works. Status
// asks it, if it is warm.
type HealthChecker interface {
	Health(ctx context.Context) error
}

// Binder is a backend whose pooled sessions must learn whose they become. Bind
// runs once, before the session's first call. A backend with a pool and
// without Binder is told nothing.
type Binder[S any] interface {
	Bind(ctx context.Context, s S, env Env) error
}

// BackendSpec describes a backend to [AddBackend] or [AddShared].
type BackendSpec struct {
	// Name is 1 to 64 letters, digits, _ - and dots, without colon.
	Name, Description, Version string
	// Config holds the session defaults as a JSON object, overlaid key by key
	// by SessionOptions.Config.
	Config json.RawMessage
	// Serial makes the calls of one session queue, but for Concurrent tools.
	Serial bool
	// MaxSessions is how many may be open at once; past it opening fails with
	// ErrBusy. 0: no limit.
	MaxSessions int
	// Pool is how many blank sessions are kept open ahead of demand, on top of
	// those that the limits on sessions count; 0: none.
	// See Binder.
	Pool int
}

// AddBackend registers a backend with sessions. Faults are recorded in r, as
// by [AddTool].
func AddBackend[S any](r *Registry, spec BackendSpec, b Backend[S]) *Binding[S] {
	e := &backendEntry{reg: r, spec: spec, sessions: true, where: caller()}
	if b == nil {
		e.faultf("no backend given")
	} else {
		e.open = func(ctx context.Context, env Env) (any, error) { return b.Open(ctx, env) }
		e.close = func(ctx context.Context, s any) error { st, _ := s.(S); return b.Close(ctx, st) }
		e.setHooks(b)
		if binder, ok := b.(Binder[S]); ok {
			e.bind = func(ctx context.Context, s any, env Env) error {
				st, _ := s.(S)
				return binder.Bind(ctx, st, env)
			}
		} else if hasMethod(b, "Bind") {
			e.faultf("its method Bind does not fit sandbox.Binder")
		}
	}
	r.addBackend(e)
	return &Binding[S]{entry: e}
}

// AddShared registers a backend without sessions: a service with something to
// load, such as an index. w may implement Shutdowner and HealthChecker too; nil
// means there is nothing to warm up.
func AddShared(r *Registry, spec BackendSpec, w Warmer) Shared {
	e := &backendEntry{reg: r, spec: spec, where: caller()}
	if w != nil {
		e.setHooks(w)
	}
	r.addBackend(e)
	return sharedOnly{e}
}

// Binding is a registered backend, carrying the type of its session state.
type Binding[S any] struct{ entry *backendEntry }

func (b *Binding[S]) shared() *backendEntry { return b.entry }

// Shared is a registered backend as its session-less tools see it: a
// [Binding] or the result of [AddShared].
type Shared interface{ shared() *backendEntry }

type sharedOnly struct{ entry *backendEntry }

func (s sharedOnly) shared() *backendEntry { return s.entry }

// BackendFuncs is a [Backend] made of functions, for fakes and one-offs. A nil
// function does nothing and succeeds.
type BackendFuncs[S any] struct {
	OpenFunc     func(context.Context, Env) (S, error)
	CloseFunc    func(context.Context, S) error
	WarmupFunc   func(context.Context, Env) error
	ShutdownFunc func(context.Context) error
}

var (
	_ Backend[int] = BackendFuncs[int]{}
	_ Warmer       = BackendFuncs[int]{}
	_ Shutdowner   = BackendFuncs[int]{}
)

// Open calls OpenFunc.
func (f BackendFuncs[S]) Open(ctx context.Context, env Env) (s S, err error) {
	if f.OpenFunc == nil {
		return s, nil
	}
	return f.OpenFunc(ctx, env)
}

// Close calls CloseFunc.
func (f BackendFuncs[S]) Close(ctx context.Context, s S) error {
	if f.CloseFunc == nil {
		return nil
	}
	return f.CloseFunc(ctx, s)
}

// Warmup calls WarmupFunc.
func (f BackendFuncs[S]) Warmup(ctx context.Context, env Env) error {
	if f.WarmupFunc == nil {
		return nil
	}
	return f.WarmupFunc(ctx, env)
}

// Shutdown calls ShutdownFunc.
func (f BackendFuncs[S]) Shutdown(ctx context.Context) error {
	if f.ShutdownFunc == nil {
		return nil
	}
	return f.ShutdownFunc(ctx)
}
