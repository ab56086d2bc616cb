package sandbox_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/agentflow-go/sandbox"
	"github.com/google/go-cmp/cmp"
)

func TestDestroyCancelsRunningCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l ledger
		var reg sandbox.Registry
		b := ledgerBackend(&reg, sandbox.BackendSpec{}, &l)
		started := make(chan struct{})
		addBlock(b, sandbox.ToolSpec{Name: "block"}, started, nil)
		sb := newSandbox(t, &reg, sandbox.Options{})
		w := sb.Worker("w")
		info, err := w.CreateSession(t.Context(), "fake", sandbox.SessionOptions{})
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		wg.Go(func() {
			e := wantCode(t, w.Execute(t.Context(), "block", nil).Err, sandbox.ErrCancelled)
			if want := "session " + info.ID + " was destroyed"; e.Message != want || !errors.Is(e, context.Canceled) {
				t.Errorf("error %q, want %q, context.Canceled visible", e, want)
			}
		})
		<-started
		if err := w.DestroySession(t.Context(), "fake"); err != nil {
			t.Error(err)
		}
		wg.Wait()
		if diff := cmp.Diff([]string{"open fake_w_001", "close fake_w_001"}, l.take()); diff != "" {
			t.Errorf("hooks mismatch (-want +got):\n%s", diff)
		}
	})
}

func TestHangingCloseIsLeftBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		ctxErr := make(chan error, 3)
		f := newFake(sandbox.BackendSpec{}, sandbox.BackendFuncs[*counter]{CloseFunc: func(ctx context.Context, _ *counter) error {
			<-ctx.Done()
			ctxErr <- ctx.Err()
			<-release
			return nil
		}})
		sb := newSandbox(t, f.reg, sandbox.Options{CloseGrace: 8 * time.Second})
		w := sb.Worker("w")
		w.CreateSession(t.Context(), "fake", sandbox.SessionOptions{})
		sb.Worker("other").CreateSession(t.Context(), "fake", sandbox.SessionOptions{})
		ctx, cancel := context.WithCancel(t.Context())
		cancel() // the caller cannot cancel a close, only the wait for it
		begin := time.Now()
		wantCode(t, w.DestroySession(ctx, "fake"), sandbox.ErrCancelled)
		if took := time.Since(begin); took != 0 {
			t.Errorf("a cancelled DestroySession took %v", took)
		}
		err := sb.Worker("other").DestroySession(t.Context(), "fake")
		wantCode(t, err, sandbox.ErrTimeout)
		if took := time.Since(begin); took != 9*time.Second {
			t.Errorf("DestroySession took %v, want the grace and an eighth", took)
		}
		if _, err := w.CreateSession(t.Context(), "fake", sandbox.SessionOptions{}); err != nil {
			t.Errorf("a new session beside the hanging close: %v", err)
		}
		if err := <-ctxErr; !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Close's context ended with %v", err)
		}
		close(release)
	})
}

func TestFailingCloseStillCountsAsDestroyed(t *testing.T) {
	t.Parallel()
	f := newFake(sandbox.BackendSpec{}, sandbox.BackendFuncs[*counter]{CloseFunc: func(context.Context, *counter) error { return errors.New("stuck") }})
	sb := newSandbox(t, f.reg, sandbox.Options{})
	info, _ := sb.Worker("w").CreateSession(t.Context(), "fake", sandbox.SessionOptions{})
	got, err := sb.DestroySession(t.Context(), "w", "fake")
	if err == nil || !strings.Contains(err.Error(), "stuck") || got.ID != info.ID {
		t.Errorf("DestroySession = %+v, %v", got, err)
	}
	if infos, _ := sb.Sessions(t.Context(), "w"); len(infos) != 0 {
		t.Errorf("still there: %+v", infos)
	}
}

func TestShutdownInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l ledger
		var reg sandbox.Registry
		for _, name := range []string{"first", "second"} {
			b := sandbox.AddBackend(&reg, sandbox.BackendSpec{Name: name}, sandbox.BackendFuncs[string]{
				OpenFunc:     func(_ context.Context, env sandbox.Env) (string, error) { return env.Worker, nil },
				CloseFunc:    func(_ context.Context, w string) error { l.add("close " + name); return nil },
				ShutdownFunc: func(context.Context) error { l.add("shutdown " + name); return errors.New("from " + name) },
			})
			sandbox.AddSessionTool(b, sandbox.ToolSpec{Name: "slow"}, func(ctx context.Context, _ sandbox.Call, _ string, _ empty) (empty, error) {
				<-time.After(time.Second)
				l.add("call of " + name + " done")
				return empty{}, ctx.Err()
			})
		}
		sb, err := sandbox.New(sandbox.Options{Registry: &reg})
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		wg.Go(func() {
			if resp := sb.Worker("w").Execute(t.Context(), "first:slow", nil); resp.Err != nil {
				t.Errorf("the running call: %v", resp.Err)
			}
		})
		sb.Worker("w").CreateSession(t.Context(), "second", sandbox.SessionOptions{})
		synctest.Wait()
		for range 2 {
			wg.Go(func() {
				err := sb.Shutdown(t.Context())
				if err == nil || !strings.Contains(err.Error(), "from first") || !strings.Contains(err.Error(), "from second") {
					t.Errorf("Shutdown: %v, want both errors", err)
				}
			})
		}
		synctest.Wait()
		wantCode(t, sb.Worker("w").Execute(t.Context(), "first:slow", nil).Err, sandbox.ErrStopping)
		_, err = sb.Worker("w").CreateSession(t.Context(), "first", sandbox.SessionOptions{})
		wantCode(t, err, sandbox.ErrStopping)
		wantCode(t, sb.Start(t.Context(), "first"), sandbox.ErrStopping)
		wg.Wait()
		want := []string{"call of first done", "close first", "close second", "shutdown second", "shutdown first"}
		if diff := cmp.Diff(want, l.take()); diff != "" {
			t.Errorf("order mismatch (-want +got):\n%s", diff)
		}
	})
}

func TestShutdownCancelsWhatDoesNotFinish(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l ledger
		var reg sandbox.Registry
		b := ledgerBackend(&reg, sandbox.BackendSpec{}, &l)
		started := make(chan struct{})
		addBlock(b, sandbox.ToolSpec{Name: "block"}, started, nil)
		sandbox.AddTool(&reg, sandbox.ToolSpec{Name: "plain"}, sandbox.Plain(func(ctx context.Context, _ empty) (empty, error) {
			started <- struct{}{}
			<-ctx.Done()
			return empty{}, ctx.Err()
		}))
		sb, err := sandbox.New(sandbox.Options{Registry: &reg, CloseGrace: time.Second})
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for _, tool := range []string{"fake:block", "plain"} {
			wg.Go(func() { wantCode(t, sb.Worker("w").Execute(t.Context(), tool, nil).Err, sandbox.ErrStopping) })
			<-started
		}
		begin := time.Now()
		if err := sb.Shutdown(t.Context()); err != nil || time.Since(begin) != time.Second {
			t.Errorf("Shutdown: %v after %v", err, time.Since(begin))
		}
		wg.Wait()
	})
}

func TestCloseWorker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l ledger
		var reg sandbox.Registry
		b := ledgerBackend(&reg, sandbox.BackendSpec{}, &l)
		started := make(chan struct{})
		addBlock(b, sandbox.ToolSpec{Name: "block"}, started, nil)
		noop(b, "noop")
		sb := newSandbox(t, &reg, sandbox.Options{})
		w := sb.Worker("w")
		w.CreateSession(t.Context(), "fake", sandbox.SessionOptions{})
		var wg sync.WaitGroup
		wg.Go(func() { wantCode(t, w.Execute(t.Context(), "block", nil).Err, sandbox.ErrCancelled) })
		<-started
		if n, err := sb.CloseWorker(t.Context(), "w"); n != 1 || err != nil {
			t.Errorf("CloseWorker = %d, %v, want 1", n, err)
		}
		wg.Wait()
		if n, err := sb.CloseWorker(t.Context(), "w"); n != 0 || err != nil {
			t.Errorf("CloseWorker of an unknown worker = %d, %v, want 0", n, err)
		}
		if resp := w.Execute(t.Context(), "noop", nil); resp.Err != nil || shortID(resp.Meta.SessionID) != "fake_w_001" {
			t.Errorf("the worker starts anew: session %s, %v", resp.Meta.SessionID, resp.Err)
		}
	})
}

func TestIdleWorkersAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(sandbox.BackendSpec{}, sandbox.BackendFuncs[*counter]{})
		sb := newSandbox(t, f.reg, sandbox.Options{SessionTTL: 30 * time.Minute, WorkerTTL: time.Hour})
		workers := func() int { st, _ := sb.Status(t.Context()); return st.Workers }
		f.echo.Call(t.Context(), sb.Worker("stateless"), echoIn{})
		if n := workers(); n != 0 {
			t.Errorf("a call of a plain tool made %d workers", n)
		}
		w := sb.Worker("w")
		w.Execute(t.Context(), "incr", nil)
		<-time.After(59 * time.Minute)
		w.CreateSession(t.Context(), "fake", sandbox.SessionOptions{})
		<-time.After(29 * time.Minute) // the session is alive
		if n := workers(); n != 1 {
			t.Errorf("%d workers with a live session, want 1", n)
		}
		<-time.After(time.Minute + 59*time.Minute) // it expired an hour ago, less a minute
		if n := workers(); n != 1 {
			t.Errorf("%d workers within the hour, want 1", n)
		}
		<-time.After(time.Minute)
		synctest.Wait()
		if n := workers(); n != 0 {
			t.Errorf("%d workers after the hour, want 0", n)
		}
	})
}

func TestWarmupIsSharedAndRetried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var warmups atomic.Int32
		f := newFake(sandbox.BackendSpec{Description: "counts", Version: "2"}, sandbox.BackendFuncs[*counter]{WarmupFunc: func(ctx context.Context, env sandbox.Env) error {
			<-time.After(time.Second)
			switch warmups.Add(1) {
			case 1:
				return errors.New("no index")
			case 2:
				panic("bug")
			}
			return nil
		}})
		sandbox.AddSharedTool(f.backend, sandbox.ToolSpec{Name: "stats"}, sandbox.Plain(func(context.Context, empty) (empty, error) { return empty{}, nil }))
		sb := newSandbox(t, f.reg, sandbox.Options{})
		var wg sync.WaitGroup
		for i := range 20 {
			wg.Go(func() {
				tool := []string{"fake:incr", "fake:stats"}[i%2]
				e := wantCode(t, sb.Worker(fmt.Sprint("w", i)).Execute(t.Context(), tool, nil).Err, sandbox.ErrBackendNotInitialized)
				if e.Message != "Backend not initialized: fake: no index" || e.Ran {
					t.Errorf("error %q, ran %v", e, e.Ran)
				}
			})
		}
		wg.Wait()
		if st, _ := sb.Status(t.Context()); st.Backends[0].Description != "counts" || st.Backends[0].Version != "2" {
			t.Errorf("Status = %+v, want the description and version that were registered", st.Backends[0])
		}
		st, err := sb.Warmup(t.Context())
		if err == nil || st.Backends[0].Warm || !strings.Contains(st.Backends[0].Err, "panicked: bug") || strings.Contains(err.Error(), "goroutine") {
			t.Errorf("Warmup = %+v, %v", st.Backends, err)
		}
		if err := sb.Start(t.Context(), "fake"); err != nil {
			t.Errorf("third attempt: %v", err)
		}
		st, err = sb.Warmup(t.Context(), "fake", "fkae")
		if e := wantCode(t, err, sandbox.ErrNotInitialized); !strings.Contains(fmt.Sprint(e.Data), "fake") {
			t.Errorf("unknown backend: %v, data %v", e, e.Data)
		}
		if !st.Backends[0].Warm || st.Backends[0].Err != "" || warmups.Load() != 3 {
			t.Errorf("backend %+v after %d warmups", st.Backends[0], warmups.Load())
		}
	})
}

func TestHangingWarmupHoldsUpNobodyForever(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		f := newFake(sandbox.BackendSpec{}, sandbox.BackendFuncs[*counter]{WarmupFunc: func(context.Context, sandbox.Env) error { <-release; return nil }})
		sb, err := sandbox.New(sandbox.Options{Registry: f.reg, CloseGrace: time.Second})
		if err != nil {
			t.Fatal(err)
		}
		resp := sb.Execute(t.Context(), sandbox.Request{Worker: "w", Tool: "incr", Timeout: time.Second})
		wantCode(t, resp.Err, sandbox.ErrTimeout)
		if _, err := f.echo.Call(t.Context(), sb.Worker("w"), echoIn{}); err != nil {
			t.Errorf("a tool that needs no backend: %v", err)
		}
		wantCode(t, sb.Shutdown(t.Context()), sandbox.ErrTimeout)
		close(release)
	})
}

func TestLimitsOnSessions(t *testing.T) {
	t.Parallel()
	f := newFake(sandbox.BackendSpec{MaxSessions: 2}, sandbox.BackendFuncs[*counter]{})
	other := sandbox.AddBackend(f.reg, sandbox.BackendSpec{Name: "other"}, sandbox.BackendFuncs[empty]{})
	sandbox.AddSessionTool(other, sandbox.ToolSpec{Name: "noop"}, sandbox.Method(func(empty, context.Context, empty) (empty, error) { return empty{}, nil }))
	sb := newSandbox(t, f.reg, sandbox.Options{MaxSessions: 3})
	create := func(worker, backend string) error {
		_, err := sb.Worker(worker).CreateSession(t.Context(), backend, sandbox.SessionOptions{})
		return err
	}
	for _, w := range []string{"a", "b", "a"} {
		if err := create(w, "fake"); err != nil {
			t.Fatal(err)
		}
	}
	wantCode(t, create("c", "fake"), sandbox.ErrBusy)
	wantCode(t, sb.Worker("c").Execute(t.Context(), "incr", nil).Err, sandbox.ErrBusy)
	if err := create("c", "other"); err != nil {
		t.Fatal(err)
	}
	wantCode(t, sb.Worker("d").Execute(t.Context(), "other:noop", nil).Err, sandbox.ErrBusy)
	sb.Worker("a").Close(t.Context())
	// A temporary session's place is free as soon as its call has returned.
	for range 3 {
		if resp := sb.Worker("d").Execute(t.Context(), "other:noop", nil); resp.Err != nil {
			t.Error(resp.Err)
		}
	}
	if err := create("d", "fake"); err != nil {
		t.Error(err)
	}
}

func TestCompatibleSessions(t *testing.T) {
	t.Parallel()
	f := newFake(sandbox.BackendSpec{}, sandbox.BackendFuncs[*counter]{})
	sb := newSandbox(t, f.reg, sandbox.Options{})
	_, err := sb.Worker("w").CreateSession(t.Context(), "fkae", sandbox.SessionOptions{})
	if e := wantCode(t, err, sandbox.ErrNotInitialized); !strings.Contains(fmt.Sprint(e.Data), "fake") {
		t.Errorf("unknown backend: data %v, want a suggestion", e.Data)
	}
	info, err := sb.Worker("w").CreateSession(t.Context(), "web", sandbox.SessionOptions{Compatible: true})
	if err != nil || !info.Compatible || shortID(info.ID) != "web_w_001" {
		t.Errorf("CreateSession = %+v, %v", info, err)
	}
	if got, err := sb.DestroySession(t.Context(), "w", "web"); err != nil || got.ID != info.ID {
		t.Errorf("DestroySession = %+v, %v", got, err)
	}
}

func TestSessionConfigIsMerged(t *testing.T) {
	t.Parallel()
	type config struct {
		Cwd   string         `json:"cwd"`
		Deep  map[string]int `json:"deep"`
		Shell string         `json:"shell"`
	}
	var got config
	var reg sandbox.Registry
	sandbox.AddBackend(&reg, sandbox.BackendSpec{Name: "sh", Config: raw(`{"cwd":"/tmp","deep":{"a":1}}`)}, sandbox.BackendFuncs[empty]{
		OpenFunc: func(_ context.Context, env sandbox.Env) (empty, error) {
			got = config{}
			return empty{}, env.Decode(&got)
		},
	})
	sb := newSandbox(t, &reg, sandbox.Options{})
	tests := []struct {
		config string
		want   config
		err    string
	}{
		{``, config{Cwd: "/tmp", Deep: map[string]int{"a": 1}}, ""},
		{`{"deep":{"b":2},"shell":"sh"}`, config{Cwd: "/tmp", Deep: map[string]int{"b": 2}, Shell: "sh"}, ""},
		{`{"cdw":"/"}`, config{}, `config of sh: unknown field "cdw"`},
		{`[]`, config{}, "session config of sh must be a JSON object"},
	}
	for _, tt := range tests {
		_, err := sb.Worker("w").CreateSession(t.Context(), "sh", sandbox.SessionOptions{Config: raw(tt.config)})
		if (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("config %s: %v, want %q", tt.config, err, tt.err)
			continue
		}
		if diff := cmp.Diff(tt.want, got); err == nil && diff != "" {
			t.Errorf("config %s mismatch (-want +got):\n%s", tt.config, diff)
		}
		sb.Worker("w").Close(t.Context())
	}
}

func TestCallsThatOutliveShutdownOpenNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var opens atomic.Int32
		f := newFake(sandbox.BackendSpec{}, sandbox.BackendFuncs[*counter]{OpenFunc: func(context.Context, sandbox.Env) (*counter, error) {
			opens.Add(1)
			return new(counter), nil
		}})
		release := make(chan struct{})
		deaf := sandbox.AddTool(f.reg, sandbox.ToolSpec{Name: "deaf"}, func(ctx context.Context, call sandbox.Call, _ empty) (empty, error) {
			<-release
			return empty{}, call.Execute(ctx, "incr", nil).Err
		})
		sb, err := sandbox.New(sandbox.Options{Registry: f.reg, MaxCalls: 1, CloseGrace: time.Second})
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		wg.Go(func() {
			_, err := deaf.Call(context.Background(), sb.Worker("w"), empty{})
			wantCode(t, err, sandbox.ErrStopping)
		})
		synctest.Wait()
		wg.Go(func() { // waits for its turn
			_, err := f.incr.Call(context.Background(), sb.Worker("w"), incrIn{})
			wantCode(t, err, sandbox.ErrStopping)
		})
		synctest.Wait()
		if err := sb.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		close(release)
		wg.Wait()
		if opens.Load() != 0 {
			t.Errorf("%d sessions were opened after Shutdown", opens.Load())
		}
	})
}
