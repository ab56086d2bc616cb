package bash

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/agentflow-go/sandbox"
	"github.com/agentflow-go/sandbox/internal/term"
)

// Shell is the state of a session: a bash and the programs started beside it.
// Its methods are the tools, and may be called concurrently.
type Shell struct {
	set  settings
	home string // the workspace as processes see it
	term *term.Shell

	env     atomic.Pointer[sandbox.Env] // replaced once, by Bind
	closing atomic.Bool

	pace term.Pace // of all programs

	mu       sync.Mutex // guards what follows
	programs []*program // in the order of their start
	starting int        // programs that are about to join them
	lastID   int
}

// backend opens Shells.
type backend struct{}

var (
	_ sandbox.Backend[*Shell] = backend{}
	_ sandbox.Binder[*Shell]  = backend{}
)

// Open starts the shell.
func (backend) Open(ctx context.Context, env sandbox.Env) (*Shell, error) {
	s := &Shell{}
	s.env.Store(&env)
	if err := env.Decode(&s.set); err != nil {
		return nil, err
	}
	if err := s.set.check(); err != nil {
		return nil, err
	}
	var err error
	if s.home, err = env.Home(ctx); err != nil {
		return nil, err
	}
	s.term, err = term.Open(ctx, term.Options{
		Start: s.start,
		Dir:   s.dir(s.set.Cwd),
		// Output is read by a model: no colours, no pagers.
		Env:            append(s.environ(nil), "TERM=dumb", "PAGER=cat", "GIT_PAGER=cat"),
		SeparateStderr: s.set.SeparateStderr,
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}

// Bind tells a pooled shell whose it is.
func (backend) Bind(_ context.Context, s *Shell, env sandbox.Env) error {
	s.env.Store(&env)
	return nil
}

// Close ends the shell and the programs.
func (backend) Close(_ context.Context, s *Shell) error {
	s.closing.Store(true)
	s.mu.Lock()
	programs := s.programs
	s.programs = nil
	s.mu.Unlock()
	errs := make([]error, len(programs)+1)
	var wg sync.WaitGroup
	for i, p := range programs {
		wg.Go(func() { errs[i] = p.Close() })
	}
	wg.Go(func() { errs[len(programs)] = s.term.Close() })
	wg.Wait()
	return errors.Join(errs...)
}

// dir makes a directory of a caller's absolute.
func (s *Shell) dir(d string) string {
	if path.IsAbs(d) {
		return path.Clean(d)
	}
	return path.Join(s.home, d)
}

// checkEnviron refuses names and values that no environment can hold.
func checkEnviron(env map[string]string) error {
	for k, v := range env {
		if k == "" || strings.ContainsAny(k, "=\x00") || strings.Contains(v, "\x00") {
			return sandbox.Errorf(sandbox.ErrInvalidInput, "/env: %q: %q; a name is not empty and without =, and neither has a NUL", k, v)
		}
	}
	return nil
}

// environ is the session's environment and more, for a program.
func (s *Shell) environ(more map[string]string) []string {
	var env []string
	for _, m := range []map[string]string{s.set.Env, more} {
		for k, v := range m {
			env = append(env, k+"="+v)
		}
	}
	return env
}

// start starts a process of the terminals' in the worker's jail.
func (s *Shell) start(ctx context.Context, sp term.Spec) (term.Process, error) {
	p, err := s.env.Load().Start(ctx, sandbox.Cmd{
		Path: sp.Path, Args: sp.Args, Dir: sp.Dir, Env: sp.Env, Files: sp.Files,
		TTY: sp.TTY, Stdout: sp.Stdout, Stderr: sp.Stderr,
	})
	if err != nil {
		if errors.Is(err, sandbox.ErrSessionLost) {
			s.lost(err)
		}
		return nil, err
	}
	return process{p, s}, nil
}

// lost ends the session: its jail is gone.
func (s *Shell) lost(err error) {
	if !s.closing.Load() {
		s.env.Load().Lost(fmt.Errorf("bash: %w", err))
	}
}

type process struct {
	*sandbox.Process
	s *Shell
}

// Wait returns the status in the form that a shell gives it.
func (p process) Wait() error {
	err := p.Process.Wait()
	e, ok := errors.AsType[*sandbox.ExitError](err)
	if !ok {
		return err
	}
	if e.Lost {
		p.s.lost(err)
	}
	if n, ok := e.Signal.(syscall.Signal); ok && n != 0 {
		return term.ExitStatus(128 + int(n))
	}
	return term.ExitStatus(e.Code)
}

var _ term.Process = process{}
