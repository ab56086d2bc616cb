package sandbox

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
)

// backendState is the part of a backend that changes.
type backendState struct {
	warm atomic.Bool
	live atomic.Int64 // sessions, those being opened or closed included

	mu      sync.Mutex // guards the rest
	warming *warming   // nil: none runs
	warmErr error      // of the last warmup
	warmEnv *owner     // what its Warmup got; nil before
}

// warming is a warmup that runs and is waited for.
type warming struct {
	done chan struct{}
	err  error // set before done is closed
}

// warmBackend makes sure that the backend is warm. Concurrent callers share
// one warmup, which no caller can cancel; each waits as long as its context
// lasts.
func (sb *Sandbox) warmBackend(ctx context.Context, b *backendEntry) error {
	if b.warm.Load() {
		return nil
	}
	sb.started()
	b.mu.Lock()
	if b.warm.Load() {
		b.mu.Unlock()
		return nil
	}
	w := b.warming
	if w == nil {
		w = &warming{done: make(chan struct{})}
		b.warming = w
		if b.warmEnv == nil {
			b.warmEnv = &owner{sb: sb, b: b, config: b.spec.Config}
		}
		go sb.runWarmup(b, w)
	}
	b.mu.Unlock()
	select {
	case <-w.done:
		return w.err
	case <-ctx.Done():
		return ended(ctx, ctx.Err())
	}
}

// runWarmup runs the hook. Nobody waits for this goroutine itself: a hook that
// does not return when the Sandbox ends is left behind.
func (sb *Sandbox) runWarmup(b *backendEntry, w *warming) {
	var err error
	switch {
	case sb.base.Err() != nil:
		err = errStopping()
	case b.warmup != nil:
		env := Env{Backend: b.spec.Name, Config: b.spec.Config, owner: b.warmEnv}
		err = <-sb.spawn("warming up", b.spec.Name, func() error { return b.warmup(sb.base, env) })
	}
	if err != nil {
		err = &Error{
			Code:    ErrBackendNotInitialized,
			Message: fmt.Sprintf("Backend not initialized: %s: %v", b.spec.Name, err),
			Data:    map[string]any{"resource_type": b.spec.Name, "details": err.Error()},
			Err:     err,
		}
	}
	b.mu.Lock()
	b.warming, b.warmErr = nil, err
	b.warm.Store(err == nil)
	b.mu.Unlock()
	w.err = err
	close(w.done)
}

// Warmup warms backends up; see [Executor].
func (sb *Sandbox) Warmup(ctx context.Context, backends ...string) (Status, error) {
	if sb.gate.closed.Load() {
		return Status{}, errStopping()
	}
	var todo []*backendEntry
	var errs []error
	if len(backends) == 0 {
		todo = sb.opts.Registry.backends
	}
	for _, name := range backends {
		b, err := sb.backend(name, false)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		todo = append(todo, b)
	}
	failures := make([]error, len(todo))
	var wg sync.WaitGroup
	for i, b := range todo {
		wg.Go(func() { failures[i] = sb.warmBackend(ctx, b) })
	}
	wg.Wait()
	status, err := sb.Status(ctx)
	return status, errors.Join(append(append(errs, failures...), err)...)
}

// shutdownBackend waits for a running warmup, runs the Shutdown hook, and
// releases what the warmup had.
func (sb *Sandbox) shutdownBackend(b *backendEntry) error {
	b.mu.Lock()
	w, env := b.warming, b.warmEnv
	b.mu.Unlock()
	if w != nil {
		if err := sb.bounded(context.Background(), "warming up", b.spec.Name, "", func(context.Context) error {
			<-w.done
			return nil
		}); err != nil {
			return err
		}
	}
	var errs []error
	if b.shutdown != nil {
		if err := sb.bounded(context.Background(), "shutting down", b.spec.Name, "", b.shutdown); err != nil {
			errs = append(errs, fmt.Errorf("shutting down %s: %w", b.spec.Name, err))
		}
	}
	if env != nil {
		errs = append(errs, env.release())
	}
	return joinLogged(sb.opts.Logger, "shutting down "+b.spec.Name, errs)
}

// Status describes the sandbox; see [Executor]. It asks the backends for their
// health, and reports one whose answer does not come before ctx ends as such.
func (sb *Sandbox) Status(ctx context.Context) (Status, error) {
	level, unenforced := sb.host.level(sb.opts.Confine)
	st := Status{
		Level: level, Unenforced: unenforced,
		Tools:    len(sb.opts.Registry.tools),
		Workers:  sb.workers.len(),
		Sessions: int(sb.sessions.Load()),
		Denied:   int(sb.denials.count()), Abandoned: int(sb.abandoned.Load()),
	}
	for _, b := range sb.opts.Registry.backends {
		b.mu.Lock()
		bs := BackendStatus{
			Name: b.spec.Name, Description: b.spec.Description, Version: b.spec.Version,
			Warm: b.warm.Load(), Sessions: int(b.live.Load()), Pooled: sb.pooled(b),
		}
		if b.warmErr != nil {
			bs.Err = strings.TrimPrefix(b.warmErr.Error(), "Backend not initialized: "+b.spec.Name+": ")
		}
		b.mu.Unlock()
		if bs.Warm && b.health != nil {
			if err := sb.health(ctx, b); err != nil {
				bs.Err = err.Error()
			}
		}
		st.Backends = append(st.Backends, bs)
	}
	return st, nil
}

// health asks a backend, without waiting for one that hangs.
func (sb *Sandbox) health(ctx context.Context, b *backendEntry) error {
	ctx, cancel := context.WithTimeout(ctx, sb.opts.CloseGrace)
	defer cancel()
	done := sb.spawn("health of", b.spec.Name, func() error { return b.health(ctx) })
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("no answer: %w", ctx.Err())
	}
}
