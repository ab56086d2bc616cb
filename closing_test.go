package sandbox

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// nothing is the input and output of tools that need none.
type nothing struct{}

// oneBackend is a sandbox with one backend, b, and one session tool, b:t. Its
// shutdown is the test's.
func oneBackend(t *testing.T, o Options, spec BackendSpec, open func(context.Context, Env) (int, error), fn func()) (*Sandbox, *Tool[nothing, nothing]) {
	t.Helper()
	var reg Registry
	spec.Name = "b"
	b := AddBackend(&reg, spec, BackendFuncs[int]{OpenFunc: open})
	tool := AddSessionTool(b, ToolSpec{Name: "t"}, func(context.Context, Call, int, nothing) (nothing, error) {
		if fn != nil {
			fn()
		}
		return nothing{}, nil
	})
	o.Registry = &reg
	sb, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return sb, tool
}

// TestWorkersThatGetNoSessionAreForgotten: refusing a session must not leave
// its worker behind for good.
func TestWorkersThatGetNoSessionAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sb, _ := oneBackend(t, Options{WorkerTTL: time.Minute, SessionTTL: -1, MaxSessions: 1}, BackendSpec{}, nil, nil)
		defer sb.Shutdown(context.Background())
		if _, err := sb.CreateSession(t.Context(), "first", "b", SessionOptions{}); err != nil {
			t.Fatal(err)
		}
		for i := range 10 {
			id := fmt.Sprint("late-", i)
			if _, err := sb.CreateSession(t.Context(), id, "b", SessionOptions{}); !errors.Is(err, ErrBusy) {
				t.Errorf("CreateSession = %v, want ErrBusy", err)
			}
			if r := sb.Execute(t.Context(), Request{Worker: id + "-call", Tool: "t"}); !errors.Is(r.Err, ErrBusy) {
				t.Errorf("Execute = %v, want ErrBusy", r.Err)
			}
		}
		<-time.After(2 * time.Minute)
		st, err := sb.Status(t.Context())
		if err != nil || st.Workers != 1 {
			t.Errorf("Status: %d workers, %v, want the one with a session", st.Workers, err)
		}
	})
}

// TestClosedWorkersAreLetGo: nothing may hold on to a closed worker until its
// WorkerTTL is over.
func TestClosedWorkersAreLetGo(t *testing.T) {
	t.Parallel()
	sb, _ := oneBackend(t, Options{}, BackendSpec{}, nil, nil)
	defer sb.Shutdown(context.Background())
	for i := range 10 {
		id := fmt.Sprint("w", i)
		if _, err := sb.CreateSession(t.Context(), id, "b", SessionOptions{}); err != nil {
			t.Fatal(err)
		}
		if n, err := sb.CloseWorker(t.Context(), id); n != 1 || err != nil {
			t.Errorf("CloseWorker = %d, %v, want 1", n, err)
		}
	}
	if n := sb.reaper.Len(); n != 0 {
		t.Errorf("the reaper still waits for %d items", n)
	}
}

// TestGoexitInTypedCall: a typed tool runs on its caller's goroutine and may
// end it. The session must not wait for the call for ever.
func TestGoexitInTypedCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		exit := true
		sb, tool := oneBackend(t, Options{}, BackendSpec{Serial: true}, nil, func() {
			if exit {
				runtime.Goexit()
			}
		})
		w := sb.Worker("w")
		if _, err := w.CreateSession(t.Context(), "b", SessionOptions{}); err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		wg.Go(func() { tool.Call(context.Background(), w, nothing{}) })
		wg.Go(func() { tool.Call(context.Background(), sb.Worker("temporary"), nothing{}) })
		wg.Wait()
		exit = false
		for _, id := range []string{"w", "temporary"} {
			infos, err := sb.Sessions(t.Context(), id)
			if err != nil {
				t.Fatal(err)
			}
			for _, info := range infos {
				if info.Running != 0 || info.Temporary {
					t.Errorf("session %s: %d calls in it, temporary %v, after its call is gone", info.ID, info.Running, info.Temporary)
				}
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := tool.Call(ctx, w, nothing{}); err != nil {
			t.Errorf("the next call in the session: %v", err)
		}
		begin := time.Now()
		if err := sb.Shutdown(context.Background()); err != nil || time.Since(begin) > 0 {
			t.Errorf("Shutdown = %v after %v, want it at once", err, time.Since(begin))
		}
	})
}

// TestStatusBesideStart is for the race detector.
func TestStatusBesideStart(t *testing.T) {
	t.Parallel()
	sb, _ := oneBackend(t, Options{}, BackendSpec{Pool: 1}, nil, nil)
	defer sb.Shutdown(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if _, err := sb.Status(t.Context()); err != nil {
			t.Error(err)
		}
	})
	wg.Go(func() {
		if err := sb.Start(t.Context()); err != nil {
			t.Error(err)
		}
	})
	wg.Wait()
}

func TestNilMiddlewareIsRefused(t *testing.T) {
	t.Parallel()
	pass := func(next Handler) Handler { return next }
	_, err := New(Options{Registry: new(Registry), Middleware: []Middleware{pass, nil}})
	if !errors.Is(err, ErrInvalidInput) || !strings.Contains(err.Error(), "Options.Middleware[1] is nil") {
		t.Errorf("New = %v, want ErrInvalidInput that names Middleware[1]", err)
	}
}

// TestHangingCloseIsReadable holds the wording of what is left behind.
func TestHangingCloseIsReadable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		defer close(release)
		var reg Registry
		AddBackend(&reg, BackendSpec{Name: "b"}, BackendFuncs[int]{
			CloseFunc:    func(context.Context, int) error { <-release; return nil },
			ShutdownFunc: func(context.Context) error { <-release; return nil },
		})
		sb, err := New(Options{Registry: &reg})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := sb.CreateSession(t.Context(), "w", "b", SessionOptions{}); err != nil {
			t.Fatal(err)
		}
		err = sb.Shutdown(context.Background())
		for _, want := range []string{
			"closing a session of b did not return within 10s and was left behind",
			"shutting down b did not return within 10s and was left behind",
		} {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("Shutdown = %v, want %q", err, want)
			}
		}
	})
}

// TestBlankWorkersLeaveNothingToKeep: the pool's workers are nobody, whatever
// KeepWorkspaces says.
func TestBlankWorkersLeaveNothingToKeep(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	opened := make(chan error, 2)
	sb, _ := oneBackend(t, Options{KeepWorkspaces: true, DataDir: dir}, BackendSpec{Pool: 2}, func(_ context.Context, env Env) (int, error) {
		_, err := env.Workspace()
		opened <- err
		return 0, err
	}, nil)
	if err := sb.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := <-opened; err != nil {
			t.Fatal(err)
		}
	}
	if err := sb.Shutdown(context.Background()); err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	left, err := filepath.Glob(filepath.Join(dir, "slots", "*", "workspace"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// TestEnvOfClosedWorker: what kept an Env must not take up the workspace that
// was kept for the worker's next life.
func TestEnvOfClosedWorker(t *testing.T) {
	t.Parallel()
	var env Env
	sb, _ := oneBackend(t, Options{KeepWorkspaces: true, DataDir: filepath.Join(t.TempDir(), "data")}, BackendSpec{}, func(_ context.Context, e Env) (int, error) {
		env = e
		_, err := env.Workspace()
		return 0, err
	}, nil)
	defer sb.Shutdown(context.Background())
	if _, err := sb.CreateSession(t.Context(), "w", "b", SessionOptions{}); err != nil {
		t.Fatal(err)
	}
	old := env
	was, err := old.Workspace()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := sb.CloseWorker(t.Context(), "w"); err != nil {
		t.Fatal(err)
	}
	if path, err := old.Workspace(); !errors.Is(err, ErrSessionLost) {
		t.Errorf("Workspace of a closed worker = %q, %v, want ErrSessionLost", path, err)
	}
	if _, err := sb.CreateSession(t.Context(), "w", "b", SessionOptions{}); err != nil {
		t.Fatal(err)
	}
	if path, err := env.Workspace(); path != was || err != nil {
		t.Errorf("Workspace of the same id again = %q, %v, want %q", path, err, was)
	}
}

func TestGoexitInCallNamesTheTool(t *testing.T) {
	t.Parallel()
	sb, _ := oneBackend(t, Options{}, BackendSpec{}, nil, runtime.Goexit)
	defer sb.Shutdown(context.Background())
	r := sb.Execute(t.Context(), Request{Worker: "w", Tool: "t"})
	if want := "tool b:t: it ended its goroutine (runtime.Goexit)"; !errors.Is(r.Err, ErrUnexpected) || r.Err.Error() != want {
		t.Errorf("Execute = %v, want ErrUnexpected %q", r.Err, want)
	}
}
