package code

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/agentflow-go/sandbox"
)

// Session is the state of a session: an interpreter for each language, started
// when it is first used. Its methods are the tools, and may be called
// concurrently; calls of one language queue.
type Session struct {
	set     settings
	interps []*interp                   // in the order of the settings
	env     atomic.Pointer[sandbox.Env] // replaced once, by Bind
	closing atomic.Bool
	closers sync.WaitGroup // of what reset left to be closed
}

// interp is the interpreter of one language.
type interp struct {
	engine
	language string
	turn     chan struct{} // holds a token while a call uses the interpreter
}

// engine is what runs a language. All but interrupt, reset and status are called
// by one goroutine at a time.
type engine interface {
	// warm starts the interpreter if it does not run.
	warm(ctx context.Context) error
	run(ctx context.Context, call sandbox.Call, c cell) (RunOutput, error)
	variables(ctx context.Context) ([]Variable, int, error)
	// refresh tells a running interpreter that packages were installed.
	refresh(ctx context.Context) error
	// interrupt interrupts the code that runs; it reports whether any did.
	interrupt() bool
	// reset ends the interpreter, also under running code; it reports whether
	// there was one. It must not wait for the listener of a running call, which
	// may be what calls it.
	reset() bool
	// status tells whether the interpreter runs, and its version as far as known.
	status() (running bool, version string)
	close() error
}

// cell is code to run.
type cell struct {
	code      string
	timeout   time.Duration
	maxOutput int // bytes
}

// take waits until no other call uses the interpreter. release gives it back.
func (it *interp) take(ctx context.Context) (release func(), err error) {
	select {
	case it.turn <- struct{}{}:
		return func() { <-it.turn }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// backend opens Sessions.
type backend struct{}

var (
	_ sandbox.Backend[*Session] = backend{}
	_ sandbox.Binder[*Session]  = backend{}
)

// Open starts nothing, unless the session is for the pool: then it starts the
// first language.
func (backend) Open(ctx context.Context, env sandbox.Env) (*Session, error) {
	s := &Session{}
	s.env.Store(&env)
	if err := env.Decode(&s.set); err != nil {
		return nil, err
	}
	if err := s.set.check(); err != nil {
		return nil, err
	}
	for _, language := range s.set.Languages {
		s.interps = append(s.interps, &interp{engine: s.engine(language), language: language, turn: make(chan struct{}, 1)})
	}
	if env.Worker == "" {
		if err := s.interps[0].warm(ctx); err != nil {
			return nil, errors.Join(err, s.close())
		}
	}
	return s, nil
}

// Bind tells a pooled session whose it is.
func (backend) Bind(_ context.Context, s *Session, env sandbox.Env) error {
	s.env.Store(&env)
	return nil
}

// Close ends the interpreters.
func (backend) Close(_ context.Context, s *Session) error { return s.close() }

func (s *Session) close() error {
	s.closing.Store(true)
	errs := make([]error, len(s.interps))
	var wg sync.WaitGroup
	for i, it := range s.interps {
		wg.Go(func() { errs[i] = it.close() })
	}
	wg.Wait()
	s.closers.Wait()
	return errors.Join(errs...)
}

// engine makes what runs a language.
func (s *Session) engine(language string) engine {
	if kernel := s.set.Kernels[language]; kernel != "" {
		return &driven{s: s, language: language, driver: bridgeDriver(kernel)}
	}
	switch language {
	case bash:
		return &shell{s: s}
	case javascript:
		return &driven{s: s, language: language, driver: javascriptDriver()}
	}
	return &driven{s: s, language: language, driver: pythonDriver()}
}

// interp returns the interpreter of a language; "" is the first one.
func (s *Session) interp(language string) (*interp, error) {
	if language == "" {
		return s.interps[0], nil
	}
	want := strings.ToLower(language)
	for _, it := range s.interps {
		if it.language == want {
			return it, nil
		}
		for _, alias := range aliases(it.language) {
			if alias == want {
				return it, nil
			}
		}
	}
	return nil, sandbox.Errorf(sandbox.ErrInvalidInput, "/language: %q; this session has %s", language, strings.Join(s.set.Languages, ", "))
}

// lost ends the session: its jail is gone.
func (s *Session) lost(err error) {
	if e, ok := errors.AsType[*sandbox.ExitError](err); ok && !e.Lost || !ok && !errors.Is(err, sandbox.ErrSessionLost) {
		return
	}
	if !s.closing.Load() {
		s.env.Load().Lost(err)
	}
}
