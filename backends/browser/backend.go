package browser

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/agentflow-go/sandbox"
)

// backend opens sessions in browsers that it starts, shares and stops.
type backend struct {
	cfg Config

	mu     sync.Mutex  // guards the rest
	env    sandbox.Env // of the warmup, in whose jails shared browsers run
	shared []*shared
	closed bool
}

// shared is a browser of several sessions.
type shared struct {
	ready    chan struct{} // closed when chrome or err is set
	chrome   *chrome
	err      error
	contexts int         // given out; guarded by backend.mu
	policy   sandbox.Env // whose network policy they have; guarded by backend.mu
}

var (
	_ sandbox.Backend[*session] = (*backend)(nil)
	_ sandbox.Warmer            = (*backend)(nil)
	_ sandbox.Shutdowner        = (*backend)(nil)
	_ sandbox.HealthChecker     = (*backend)(nil)
	_ sandbox.Binder[*session]  = (*backend)(nil)
)

// Warmup checks the configuration, and starts a browser or finds out that it could.
func (b *backend) Warmup(ctx context.Context, env sandbox.Env) error {
	if err := b.cfg.check(); err != nil {
		return fmt.Errorf("config: %w", err)
	}
	b.mu.Lock()
	b.env = env
	b.mu.Unlock()
	if b.cfg.Isolation == PerWorker && b.cfg.Remote == "" {
		_, err := findProgram(b.cfg.Executable)
		return err
	}
	sh, err := b.take(ctx, env)
	if err != nil {
		return err
	}
	b.giveBack(sh)
	return nil
}

// Shutdown stops the browsers.
func (b *backend) Shutdown(context.Context) error {
	b.mu.Lock()
	all := b.shared
	b.shared, b.closed = nil, true
	b.mu.Unlock()
	for _, sh := range all {
		<-sh.ready
		if sh.chrome != nil {
			sh.chrome.stop()
		}
	}
	return nil
}

// Health reports a browser that ended and was not needed since.
func (b *backend) Health(context.Context) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, sh := range b.shared {
		select {
		case <-sh.ready:
			if sh.err == nil && !sh.chrome.alive() {
				return errors.New("a browser ended; the next session starts another")
			}
		default:
		}
	}
	return nil
}

// take returns a shared browser with room for one more context under the network
// policy of env, which it reserves; giveBack frees it.
func (b *backend) take(ctx context.Context, env sandbox.Env) (*shared, error) {
	for {
		b.mu.Lock()
		if b.closed {
			b.mu.Unlock()
			return nil, sandbox.Errorf(sandbox.ErrStopping, "the browsers are stopped")
		}
		var sh *shared
		for _, have := range b.shared {
			if have.usable() && (have.contexts == 0 || have.contexts < maxContexts && have.policy.SameEgress(env)) {
				sh = have
				break
			}
		}
		if sh == nil {
			sh = &shared{ready: make(chan struct{})}
			b.shared = append(b.shared, sh)
			go b.start(context.WithoutCancel(ctx), sh) // shared by whoever comes meanwhile
		}
		if sh.contexts == 0 {
			sh.policy = env
		}
		sh.contexts++
		b.mu.Unlock()
		select {
		case <-sh.ready:
		case <-ctx.Done():
			b.giveBack(sh)
			return nil, ctx.Err()
		}
		if sh.err != nil {
			b.giveBack(sh)
			return nil, sh.err
		}
		if sh.chrome.alive() {
			return sh, nil
		}
		b.giveBack(sh)
	}
}

// start starts the browser of sh.
func (b *backend) start(ctx context.Context, sh *shared) {
	b.mu.Lock()
	env := b.env
	b.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if b.cfg.Remote != "" {
		sh.chrome, sh.err = connectChrome(ctx, b.cfg.Remote)
	} else {
		sh.chrome, sh.err = startChrome(ctx, env, b.cfg)
	}
	b.mu.Lock()
	close(sh.ready)
	if sh.err != nil {
		b.remove(sh)
	}
	b.mu.Unlock()
}

// usable reports whether further sessions may go to the browser, as far as is
// known.
func (sh *shared) usable() bool {
	select {
	case <-sh.ready:
		return sh.err == nil && sh.chrome.alive()
	default:
		return true
	}
}

// giveBack frees a context. Of the browsers that nobody uses one is kept.
func (b *backend) giveBack(sh *shared) {
	b.mu.Lock()
	sh.contexts--
	var stop *chrome
	started := false
	select {
	case <-sh.ready:
		started = true
	default:
	}
	if started && sh.contexts == 0 && sh.usable() {
		for _, other := range b.shared {
			if other != sh && other.contexts == 0 && other.usable() {
				b.remove(sh)
				stop = sh.chrome
				break
			}
		}
	}
	if !sh.usable() {
		b.remove(sh)
		if sh.contexts == 0 {
			stop = sh.chrome
		}
	}
	b.mu.Unlock()
	if stop != nil {
		stop.stop()
	}
}

// remove forgets a browser. b.mu is held.
func (b *backend) remove(sh *shared) {
	for i, have := range b.shared {
		if have == sh {
			b.shared = append(b.shared[:i:i], b.shared[i+1:]...)
			return
		}
	}
}

// Open makes a browser context with one page.
func (b *backend) Open(ctx context.Context, env sandbox.Env) (*session, error) {
	var cfg SessionConfig
	if err := env.Decode(&cfg); err != nil {
		return nil, err
	}
	if err := cfg.check(); err != nil {
		return nil, err
	}
	b.mu.Lock()
	warm := b.env
	b.mu.Unlock()
	if b.cfg.Remote != "" && !env.SameEgress(warm) {
		return nil, sandbox.Errorf(sandbox.ErrCannotEnforce, "confinement.egress: the browser runs elsewhere and is not held to a narrower network policy; leave egress out of the session's confinement")
	}
	for again := false; ; again = true {
		s := newSession(env, cfg)
		err := b.open(ctx, s)
		if err == nil {
			return s, nil
		}
		// A browser that others have ended, just now, is replaced.
		if again || s.own || s.chrome == nil || s.chrome.alive() || ctx.Err() != nil {
			return nil, err
		}
	}
}

// open gives a session a browser, a context and a page; or nothing.
func (b *backend) open(ctx context.Context, s *session) error {
	if err := b.place(ctx, s); err != nil {
		return err
	}
	limited, cancel := limited(ctx, startTimeout)
	defer cancel()
	err := s.open(limited)
	if err == nil && !s.phase.CompareAndSwap(opening, open) {
		err = s.chrome.conn.lost()
	}
	if err != nil {
		if limited.Err() != nil {
			go s.chrome.check() // else it would be offered to the next one as well
		}
		if isLate(limited) {
			err = sandbox.Errorf(sandbox.ErrDependency, "the browser opened no page within %s; it may have reached the limit on processes or memory", startTimeout)
		}
		return errors.Join(err, s.close(context.WithoutCancel(ctx)))
	}
	return nil
}

// place finds the browser for a session.
func (b *backend) place(ctx context.Context, s *session) error {
	env := *s.env.Load()
	if b.cfg.Isolation == PerWorker && b.cfg.Remote == "" {
		c, err := startChrome(ctx, env, b.cfg)
		if err != nil {
			return err
		}
		s.chrome, s.leave, s.own = c, c.stop, true
		if err = s.serveProxy(ctx, env); err != nil {
			c.stop()
		}
		return err
	}
	sh, err := b.take(ctx, env)
	if err != nil {
		return err
	}
	s.chrome, s.leave = sh.chrome, func() { b.giveBack(sh) }
	if b.cfg.Remote != "" {
		return nil
	}
	b.mu.Lock()
	s.home = b.env
	b.mu.Unlock()
	if err = s.serveProxy(ctx, s.home); err != nil {
		s.leave()
	}
	return err
}

// Bind tells a pooled session whose it is.
func (b *backend) Bind(_ context.Context, s *session, env sandbox.Env) error {
	s.env.Store(&env)
	return nil
}

// Close disposes of the context, with everything in it.
func (b *backend) Close(ctx context.Context, s *session) error { return s.close(ctx) }
