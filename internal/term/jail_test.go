package term_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/agentflow-go/sandbox/internal/jail"
	"github.com/agentflow-go/sandbox/internal/term"
	"github.com/agentflow-go/sandbox/internal/term/termtest"
)

// TestAdversaryInJail runs the table in confinement, each case in a jail of
// its own.
func TestAdversaryInJail(t *testing.T) {
	t.Parallel()
	host, err := jail.Open(t.Context(), jail.Options{Level: "bwrap"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := host.Close(); err != nil {
			t.Error(err)
		}
	})
	termtest.Run(t, func(t *testing.T, o term.Options) *term.Shell {
		o.Start = jailed(t, host)
		s, err := term.Open(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		return s
	})
}

type jailProcess struct{ *jail.Process }

func (p jailProcess) Wait() error {
	err := p.Process.Wait()
	if e, ok := errors.AsType[*jail.ExitError](err); ok {
		if e.Signal != 0 {
			return term.ExitStatus(128 + int(e.Signal))
		}
		return term.ExitStatus(e.Code)
	}
	return err
}

// jailed makes a jail and returns what starts processes in it.
func jailed(t *testing.T, host *jail.Host) term.StartFunc {
	t.Helper()
	id, err := host.Identity()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	ws := filepath.Join(dir, "workspace")
	if err := errors.Join(os.Chmod(dir, 0o700), os.Mkdir(ws, 0o700), os.Chown(ws, id.UID, id.GID)); err != nil {
		t.Fatal(err)
	}
	j, err := host.NewJail(t.Context(), jail.Policy{Identity: id, Workspace: ws})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(j.Close(), id.Release()); err != nil {
			t.Error(err)
		}
	})
	return func(ctx context.Context, s term.Spec) (term.Process, error) {
		p, err := j.Start(ctx, jail.Cmd{Path: s.Path, Args: s.Args, Dir: s.Dir, Env: s.Env, Files: s.Files, TTY: s.TTY, Stdout: s.Stdout, Stderr: s.Stderr})
		if err != nil {
			return nil, err
		}
		return jailProcess{p}, nil
	}
}
