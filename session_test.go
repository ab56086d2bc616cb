package sandbox_test

import (
	"context"
	"errors"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/agentflow-go/sandbox"
	"github.com/google/go-cmp/cmp"
)

// ledger records what a backend's hooks did.
type ledger struct {
	mu     sync.Mutex
	events []string
}

func (l *ledger) add(event string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.events = append(l.events, event)
}

func (l *ledger) take() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	events := l.events
	l.events = nil
	return events
}

// named is the state of ledgerBackend: who it was opened for.
type named struct {
	id  string
	env sandbox.Env
}

// ledgerBackend is a backend "fake" that records Open and Close by the
// session's name, with tools that tests give it.
func ledgerBackend(reg *sandbox.Registry, spec sandbox.BackendSpec, l *ledger) *sandbox.Binding[*named] {
	spec.Name = "fake"
	return sandbox.AddBackend(reg, spec, sandbox.BackendFuncs[*named]{
		OpenFunc: func(_ context.Context, env sandbox.Env) (*named, error) {
			l.add("open " + shortID(env.SessionID))
			return &named{id: env.SessionID, env: env}, nil
		},
		CloseFunc: func(_ context.Context, s *named) error {
			l.add("close " + shortID(s.id))
			return nil
		},
	})
}

// shortID drops the random end of a session's id.
func shortID(id string) string { return regexp.MustCompile(`_[0-9a-f]{8}$`).ReplaceAllString(id, "") }

func addBlock(b *sandbox.Binding[*named], spec sandbox.ToolSpec, started, release chan struct{}) *sandbox.Tool[empty, empty] {
	return sandbox.AddSessionTool(b, spec, func(ctx context.Context, _ sandbox.Call, _ *named, _ empty) (empty, error) {
		started <- struct{}{}
		select {
		case <-release:
			return empty{}, nil
		case <-ctx.Done():
			return empty{}, ctx.Err()
		}
	})
}

func noop(b *sandbox.Binding[*named], name string) *sandbox.Tool[empty, empty] {
	return sandbox.AddSessionTool(b, sandbox.ToolSpec{Name: name}, sandbox.Method(func(*named, context.Context, empty) (empty, error) { return empty{}, nil }))
}

func TestSessionNames(t *testing.T) {
	t.Parallel()
	tests := []struct{ worker, custom, want string }{
		{"w1", "", `fake_w1_001_[0-9a-f]{8}`},
		{"w3/..$ x", "--my vm!__", `fake_w3-----x_001_my-vm_[0-9a-f]{8}`},
		{"///", "!!", `fake_worker_001_[0-9a-f]{8}`},
		{strings.Repeat("a", 40), strings.Repeat("b", 40), `fake_a{32}_001_b{32}_[0-9a-f]{8}`},
	}
	for _, tt := range tests {
		f := newFake(sandbox.BackendSpec{}, sandbox.BackendFuncs[*counter]{})
		sb := newSandbox(t, f.reg, sandbox.Options{})
		info, err := sb.Worker(tt.worker).CreateSession(t.Context(), "fake", sandbox.SessionOptions{Name: tt.custom})
		if err != nil || !regexp.MustCompile("^"+tt.want+"$").MatchString(info.ID) || info.ID != info.Name+info.ID[len(info.ID)-9:] {
			t.Errorf("CreateSession(%q, %q) = id %q name %q, %v, want %s", tt.worker, tt.custom, info.ID, info.Name, err, tt.want)
		}
	}
}

func TestCounterGoesOnOverSessions(t *testing.T) {
	t.Parallel()
	f := newFake(sandbox.BackendSpec{}, sandbox.BackendFuncs[*counter]{})
	sb := newSandbox(t, f.reg, sandbox.Options{})
	w := sb.Worker("w")
	var names []string
	for range 2 {
		info, err := w.CreateSession(t.Context(), "fake", sandbox.SessionOptions{})
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, info.Name)
		if err := w.DestroySession(t.Context(), "fake"); err != nil {
			t.Fatal(err)
		}
		names = append(names, shortID(w.Execute(t.Context(), "incr", nil).Meta.SessionID))
	}
	want := []string{"fake_w_001", "fake_w_002", "fake_w_003", "fake_w_004"}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Errorf("names mismatch (-want +got):\n%s", diff)
	}
}

func TestTemporarySessionEndsWithItsCall(t *testing.T) {
	t.Parallel()
	var l ledger
	var reg sandbox.Registry
	b := ledgerBackend(&reg, sandbox.BackendSpec{}, &l)
	noop(b, "ok")
	sandbox.AddSessionTool(b, sandbox.ToolSpec{Name: "fails"}, sandbox.Method(func(*named, context.Context, empty) (empty, error) { return empty{}, errors.New("no") }))
	sandbox.AddSessionTool(b, sandbox.ToolSpec{Name: "panics"}, sandbox.Method(func(*named, context.Context, empty) (empty, error) { panic("no") }))
	sb := newSandbox(t, &reg, sandbox.Options{})
	w := sb.Worker("w")
	for i, tool := range []string{"ok", "fails", "panics"} {
		resp := w.Execute(t.Context(), tool, nil)
		if !resp.Meta.Temporary {
			t.Errorf("%s: Meta.Temporary is false", tool)
		}
		name := "fake_w_00" + string(rune('1'+i))
		if diff := cmp.Diff([]string{"open " + name, "close " + name}, l.take()); diff != "" {
			t.Errorf("%s: hooks mismatch (-want +got):\n%s", tool, diff)
		}
	}
	if infos, _ := w.Sessions(t.Context()); len(infos) != 0 {
		t.Errorf("sessions left: %v", infos)
	}
}

func TestParallelCallsNeverShareATemporarySession(t *testing.T) {
	t.Parallel()
	var l ledger
	var reg sandbox.Registry
	b := ledgerBackend(&reg, sandbox.BackendSpec{}, &l)
	started, release := make(chan struct{}), make(chan struct{})
	addBlock(b, sandbox.ToolSpec{Name: "block"}, started, release)
	sb := newSandbox(t, &reg, sandbox.Options{})
	go func() {
		for range 5 {
			<-started // all five run at once
		}
		close(release)
	}()
	resp := sb.ExecuteBatch(t.Context(), slices.Repeat([]sandbox.Request{{Worker: "w", Tool: "block"}}, 5), sandbox.BatchOptions{Parallel: true})
	ids := map[string]bool{}
	for _, r := range resp.Results {
		ids[r.Meta.SessionID] = true
	}
	if err := resp.Err(); err != nil || len(ids) != 5 {
		t.Errorf("%d sessions for 5 calls, %v", len(ids), err)
	}
}

func TestCreationIsSingleFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var opens atomic.Int32
		f := newFake(sandbox.BackendSpec{}, sandbox.BackendFuncs[*counter]{OpenFunc: func(context.Context, sandbox.Env) (*counter, error) {
			opens.Add(1)
			<-time.After(100 * time.Millisecond)
			return new(counter), nil
		}})
		sb := newSandbox(t, f.reg, sandbox.Options{})
		begin := time.Now()
		var wg sync.WaitGroup
		ids := make([]string, 50)
		for i := range ids {
			wg.Go(func() {
				info, err := sb.Worker("w").CreateSession(t.Context(), "fake", sandbox.SessionOptions{})
				if err != nil {
					t.Error(err)
				}
				ids[i] = info.ID
			})
		}
		// A call that comes while the session is being made waits for it.
		wg.Go(func() {
			<-time.After(10 * time.Millisecond)
			if resp := sb.Worker("w").Execute(t.Context(), "incr", nil); resp.Err != nil || resp.Meta.Temporary {
				t.Errorf("call during creation: %v, temporary %v", resp.Err, resp.Meta.Temporary)
			}
		})
		wg.Wait()
		if slices.Sort(ids); ids[0] != ids[49] || opens.Load() != 1 {
			t.Errorf("%d opens, ids %s … %s, want one", opens.Load(), ids[0], ids[49])
		}
		// Sessions of different workers are made at the same time.
		for i := range 1000 {
			wg.Go(func() {
				if _, err := sb.Worker(string(rune('A'+i))).CreateSession(t.Context(), "fake", sandbox.SessionOptions{}); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if took := time.Since(begin); took != 200*time.Millisecond {
			t.Errorf("1 and 1,000 creations of 0.1 s took %v, want 0.2 s", took)
		}
	})
}

func TestFailedOpenLeavesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var opens, closes atomic.Int32
		f := newFake(sandbox.BackendSpec{}, sandbox.BackendFuncs[*counter]{
			OpenFunc: func(ctx context.Context, _ sandbox.Env) (*counter, error) {
				<-time.After(time.Second)
				switch opens.Add(1) {
				case 1:
					return nil, errors.New("no licence")
				case 2:
					panic("bug")
				}
				return new(counter), nil
			},
			CloseFunc: func(context.Context, *counter) error { closes.Add(1); return nil },
		})
		sb := newSandbox(t, f.reg, sandbox.Options{})
		w := sb.Worker("w")
		var wg sync.WaitGroup
		wg.Go(func() {
			_, err := w.CreateSession(t.Context(), "fake", sandbox.SessionOptions{})
			if e := wantCode(t, err, sandbox.ErrNotInitialized); e.Message != "Resource initialization failed: no licence" {
				t.Errorf("message %q", e.Message)
			}
		})
		wg.Go(func() { // whoever waited gets the same error
			<-time.After(time.Millisecond)
			resp := w.Execute(t.Context(), "incr", nil)
			wantCode(t, resp.Err, sandbox.ErrNotInitialized)
			if got := string(resp.Data); got != `{"details":"no licence","resource_type":"fake"}` {
				t.Errorf("data %s", got)
			}
		})
		wg.Wait()
		_, err := w.CreateSession(t.Context(), "fake", sandbox.SessionOptions{})
		wantCode(t, err, sandbox.ErrNotInitialized)
		if infos, _ := w.Sessions(t.Context()); len(infos) != 0 {
			t.Errorf("failed sessions are listed: %+v", infos)
		}
		if _, err := w.CreateSession(t.Context(), "fake", sandbox.SessionOptions{}); err != nil {
			t.Errorf("the next attempt: %v", err)
		}
		if err := w.Close(t.Context()); err != nil || closes.Load() != 1 {
			t.Errorf("Close: %v, %d closes, want 1", err, closes.Load())
		}
	})
}

func TestHangingOpenIsLeftBehindAndClosedWhenItReturns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var closes atomic.Int32
		release := make(chan struct{})
		f := newFake(sandbox.BackendSpec{}, sandbox.BackendFuncs[*counter]{
			OpenFunc: func(context.Context, sandbox.Env) (*counter, error) {
				<-release // deaf to ctx
				return new(counter), nil
			},
			CloseFunc: func(context.Context, *counter) error { closes.Add(1); return nil },
		})
		sb := newSandbox(t, f.reg, sandbox.Options{CloseGrace: time.Second})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		begin := time.Now()
		_, err := sb.Worker("w").CreateSession(ctx, "fake", sandbox.SessionOptions{})
		wantCode(t, err, sandbox.ErrTimeout)
		if took := time.Since(begin); took != 2*time.Second {
			t.Errorf("returned after %v, want the deadline and the grace", took)
		}
		st, _ := sb.Status(t.Context())
		if st.Abandoned != 1 {
			t.Errorf("Abandoned = %d, want 1", st.Abandoned)
		}
		close(release)
		synctest.Wait()
		if closes.Load() != 1 {
			t.Errorf("%d closes of what it opened after all, want 1", closes.Load())
		}
		if st, _ := sb.Status(t.Context()); st.Sessions != 0 {
			t.Errorf("%d sessions are counted, want 0", st.Sessions)
		}
	})
}

func TestTTLCountsIdleTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l ledger
		var reg sandbox.Registry
		b := ledgerBackend(&reg, sandbox.BackendSpec{}, &l)
		noop(b, "noop")
		started, release := make(chan struct{}), make(chan struct{})
		addBlock(b, sandbox.ToolSpec{Name: "block"}, started, release)
		sb := newSandbox(t, &reg, sandbox.Options{SessionTTL: 10 * time.Second})
		w := sb.Worker("w")
		alive := func(want bool) {
			t.Helper()
			synctest.Wait()
			if infos, _ := w.Sessions(t.Context()); (len(infos) == 1) != want {
				t.Errorf("after %v: sessions %v, want alive %v", time.Now(), infos, want)
			}
		}
		create := func(o sandbox.SessionOptions) sandbox.SessionInfo {
			t.Helper()
			info, err := w.CreateSession(t.Context(), "fake", o)
			if err != nil || info.Existing {
				t.Fatalf("CreateSession: %+v, %v", info, err)
			}
			return info
		}
		pass := func(d time.Duration) { <-time.After(d) }

		info := create(sandbox.SessionOptions{})
		if want := time.Now().Add(10 * time.Second); !info.Expires.Equal(want) {
			t.Errorf("Expires = %v, want %v", info.Expires, want)
		}
		pass(9 * time.Second)
		w.Execute(t.Context(), "noop", nil) // the end of a call restarts it
		pass(9 * time.Second)
		if _, err := sb.RefreshSession(t.Context(), "w", "fake"); err != nil { // and so does a refresh
			t.Error(err)
		}
		pass(9 * time.Second)
		w.Sessions(t.Context()) // looking does not
		alive(true)
		pass(time.Second)
		alive(false)

		create(sandbox.SessionOptions{})
		go w.Execute(t.Context(), "block", nil) // a running call keeps it
		<-started
		pass(time.Minute)
		alive(true)
		release <- struct{}{}
		pass(9 * time.Second)
		alive(true)
		pass(time.Second)
		alive(false)

		create(sandbox.SessionOptions{TTL: time.Second})
		pass(time.Second)
		alive(false)
		create(sandbox.SessionOptions{TTL: -1})
		pass(24 * time.Hour)
		alive(true)
		want := []string{
			"open fake_w_001", "close fake_w_001", "open fake_w_002", "close fake_w_002",
			"open fake_w_003", "close fake_w_003", "open fake_w_004",
		}
		if diff := cmp.Diff(want, l.take()); diff != "" {
			t.Errorf("hooks mismatch (-want +got):\n%s", diff)
		}
	})
}

func TestExpiryIsAnnouncedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(sandbox.BackendSpec{}, sandbox.BackendFuncs[*counter]{})
		sb := newSandbox(t, f.reg, sandbox.Options{SessionTTL: time.Second})
		w := sb.Worker("w")
		info, err := w.CreateSession(t.Context(), "fake", sandbox.SessionOptions{})
		if err != nil {
			t.Fatal(err)
		}
		<-time.After(time.Second)
		for i, want := range []string{info.ID, ""} {
			resp := w.Execute(t.Context(), "incr", nil)
			if resp.Err != nil || !resp.Meta.Temporary || resp.Meta.Expired != want {
				t.Errorf("call %d: %v, temporary %v, Expired %q, want %q", i, resp.Err, resp.Meta.Temporary, resp.Meta.Expired, want)
			}
		}
		for _, err := range []error{
			w.DestroySession(t.Context(), "fake"),
			func() error { _, err := sb.RefreshSession(t.Context(), "w", "fake"); return err }(),
		} {
			if e := wantCode(t, err, sandbox.ErrNotInitialized); e.Message != "No session found for fake" {
				t.Errorf("message %q", e.Message)
			}
		}
	})
}

func TestExpiredIsGoneBeforeTheReaperComes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(sandbox.BackendSpec{}, sandbox.BackendFuncs[*counter]{})
		sb := newSandbox(t, f.reg, sandbox.Options{SessionTTL: time.Second})
		first, err := sb.Worker("w").CreateSession(t.Context(), "fake", sandbox.SessionOptions{})
		if err != nil {
			t.Fatal(err)
		}
		// At the very instant of expiry, reaper or not.
		<-time.After(time.Until(first.Expires))
		second, err := sb.Worker("w").CreateSession(t.Context(), "fake", sandbox.SessionOptions{})
		if err != nil || second.Existing || second.ID == first.ID {
			t.Errorf("CreateSession after expiry = %+v, %v", second, err)
		}
		if resp := sb.Worker("w").Execute(t.Context(), "incr", nil); resp.Meta.Expired != "" {
			t.Errorf("Expired = %q although a new session was made", resp.Meta.Expired)
		}
	})
}

func TestStrictSessions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l ledger
		var reg sandbox.Registry
		b := ledgerBackend(&reg, sandbox.BackendSpec{}, &l)
		noop(b, "noop")
		sandbox.AddSessionTool(b, sandbox.ToolSpec{Name: "crash"}, sandbox.Method(func(s *named, _ context.Context, _ empty) (empty, error) {
			s.env.Lost(errors.New("process died"))
			return empty{}, errors.New("broken pipe")
		}))
		sb := newSandbox(t, &reg, sandbox.Options{SessionTTL: time.Second, StrictSessions: true})
		w := sb.Worker("w")
		create := func() string {
			info, err := w.CreateSession(t.Context(), "fake", sandbox.SessionOptions{})
			if err != nil {
				t.Fatal(err)
			}
			return info.ID
		}
		id := create()
		<-time.After(time.Second)
		if e := wantCode(t, w.Execute(t.Context(), "noop", nil).Err, sandbox.ErrSessionExpired); e.Session != id || e.Ran {
			t.Errorf("error %+v, want session %s, not ran", e, id)
		}
		if resp := w.Execute(t.Context(), "noop", nil); resp.Err != nil || !resp.Meta.Temporary {
			t.Errorf("second call: %v, temporary %v", resp.Err, resp.Meta.Temporary)
		}
		create()
		wantCode(t, w.Execute(t.Context(), "crash", nil).Err, sandbox.ErrSessionLost)
		wantCode(t, w.Execute(t.Context(), "noop", nil).Err, sandbox.ErrSessionLost)
	})
}

func TestLostSessionIsClosedOnceAndAnnounced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l ledger
		var reg sandbox.Registry
		b := ledgerBackend(&reg, sandbox.BackendSpec{}, &l)
		noop(b, "noop")
		var env atomic.Value
		sandbox.AddSessionTool(b, sandbox.ToolSpec{Name: "wait"}, sandbox.Method(func(s *named, ctx context.Context, _ empty) (empty, error) {
			env.Store(s.env)
			<-ctx.Done()
			return empty{}, ctx.Err()
		}))
		sb := newSandbox(t, &reg, sandbox.Options{})
		w := sb.Worker("w")
		info, err := w.CreateSession(t.Context(), "fake", sandbox.SessionOptions{})
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			synctest.Wait() // the call is inside
			for range 3 {
				env.Load().(sandbox.Env).Lost(errors.New("killed"))
			}
		}()
		e := wantCode(t, w.Execute(t.Context(), "wait", nil).Err, sandbox.ErrSessionLost)
		if want := "session " + info.ID + " was lost: killed"; e.Message != want {
			t.Errorf("message %q, want %q", e.Message, want)
		}
		synctest.Wait()
		if resp := w.Execute(t.Context(), "noop", nil); resp.Meta.Expired != info.ID || !resp.Meta.Temporary {
			t.Errorf("next call: Expired %q, want %q", resp.Meta.Expired, info.ID)
		}
		want := []string{"open fake_w_001", "close fake_w_001", "open fake_w_002", "close fake_w_002"}
		if diff := cmp.Diff(want, l.take()); diff != "" {
			t.Errorf("hooks mismatch (-want +got):\n%s", diff)
		}
	})
}
