package sandbox_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
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

func TestTimeLimits(t *testing.T) {
	type waitIn struct {
		Deaf bool `json:"deaf,omitzero"` // returns only a second after its context ended
		Okay bool `json:"okay,omitzero"` // and then without error
	}
	type waitOut struct {
		Got string `json:"got"`
	}
	wait := func(ctx context.Context, in waitIn) (waitOut, error) {
		<-ctx.Done()
		if in.Deaf {
			<-time.After(time.Second)
		}
		if in.Okay {
			return waitOut{"half"}, nil
		}
		return waitOut{"half"}, ctx.Err()
	}
	tests := []struct {
		name             string
		caller, tool, sb time.Duration
		params           string
		took             time.Duration
		code             sandbox.Code
		message, data    string
	}{
		{"the caller's", 2 * time.Second, 3 * time.Second, 4 * time.Second, `{}`, 2 * time.Second, 5006,
			"Tool execution timed out after 2s", `{"partial":{"got":"half"},"timeout":2}`},
		{"the tool's", 3 * time.Second, 1500 * time.Millisecond, 4 * time.Second, `{}`, 1500 * time.Millisecond, 5006,
			"Tool execution timed out after 1.5s", `{"partial":{"got":"half"},"timeout":1.5}`},
		{"the sandbox's", 0, 0, time.Second, `{}`, time.Second, 5006,
			"Tool execution timed out after 1s", `{"partial":{"got":"half"},"timeout":1}`},
		{"late", 0, 0, time.Second, `{"deaf":true,"okay":true}`, 2 * time.Second, 5006,
			"Tool execution timed out after 1s", `{"partial":{"got":"half"},"timeout":1}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var reg sandbox.Registry
				sandbox.AddTool(&reg, sandbox.ToolSpec{Name: "wait", Timeout: tt.tool}, sandbox.Plain(wait))
				sb := newSandbox(t, &reg, sandbox.Options{CallTimeout: tt.sb})
				begin := time.Now()
				resp := sb.Execute(t.Context(), sandbox.Request{Worker: "w", Tool: "wait", Params: raw(tt.params), Timeout: tt.caller})
				e := wantCode(t, resp.Err, tt.code)
				if e.Message != tt.message || string(resp.Data) != tt.data || !errors.Is(e, context.DeadlineExceeded) || !e.Ran {
					t.Errorf("error %q, data %s, ran %v; want %q, %s", e, resp.Data, e.Ran, tt.message, tt.data)
				}
				if took := time.Since(begin); took != tt.took || resp.Meta.Elapsed != tt.took {
					t.Errorf("took %v, Elapsed %v, want %v", took, resp.Meta.Elapsed, tt.took)
				}
			})
		})
	}
}

func TestDeafToolIsLeftBehindAndItsSessionLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l ledger
		var reg sandbox.Registry
		b := ledgerBackend(&reg, sandbox.BackendSpec{Serial: true}, &l)
		release := make(chan struct{})
		sandbox.AddSessionTool(b, sandbox.ToolSpec{Name: "deaf"}, sandbox.Method(func(*named, context.Context, empty) (empty, error) {
			<-release
			return empty{}, nil
		}))
		noop(b, "noop")
		sb := newSandbox(t, &reg, sandbox.Options{CloseGrace: time.Second})
		w := sb.Worker("w")
		info, err := w.CreateSession(t.Context(), "fake", sandbox.SessionOptions{})
		if err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		wantCode(t, sb.Execute(t.Context(), sandbox.Request{Worker: "w", Tool: "deaf", Timeout: time.Second}).Err, sandbox.ErrTimeout)
		if took := time.Since(begin); took != 2*time.Second {
			t.Errorf("took %v, want the limit and the grace", took)
		}
		synctest.Wait()
		if diff := cmp.Diff([]string{"open fake_w_001", "close fake_w_001"}, l.take()); diff != "" {
			t.Errorf("hooks mismatch (-want +got):\n%s", diff)
		}
		if resp := w.Execute(t.Context(), "noop", nil); resp.Err != nil || resp.Meta.Expired != info.ID {
			t.Errorf("next call: %v, Expired %q, want %q", resp.Err, resp.Meta.Expired, info.ID)
		}
		if st, _ := sb.Status(t.Context()); st.Abandoned != 1 {
			t.Errorf("Abandoned = %d, want 1", st.Abandoned)
		}
		close(release)
	})
}

func TestToolsOwnDeadlineIsNotTheCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var reg sandbox.Registry
		sandbox.AddTool(&reg, sandbox.ToolSpec{Name: "dial"}, sandbox.Plain(func(ctx context.Context, _ empty) (empty, error) {
			ctx, cancel := context.WithTimeout(ctx, time.Second)
			defer cancel()
			<-ctx.Done()
			return empty{}, fmt.Errorf("dial: %w", ctx.Err())
		}))
		sb := newSandbox(t, &reg, sandbox.Options{})
		resp := sb.Execute(t.Context(), sandbox.Request{Worker: "w", Tool: "dial", Timeout: time.Minute})
		if e := wantCode(t, resp.Err, sandbox.ErrUnexpected); e.Message != "dial: context deadline exceeded" {
			t.Errorf("message %q", e.Message)
		}
	})
}

func TestCallerCancels(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(sandbox.BackendSpec{}, sandbox.BackendFuncs[*counter]{})
		block := sandbox.AddTool(f.reg, sandbox.ToolSpec{Name: "block"}, sandbox.Plain(func(ctx context.Context, _ empty) (empty, error) {
			<-ctx.Done()
			return empty{}, ctx.Err()
		}))
		sb := newSandbox(t, f.reg, sandbox.Options{})
		ctx, cancel := context.WithCancel(t.Context())
		go func() { synctest.Wait(); cancel() }()
		e := wantCode(t, sb.Worker("w").Execute(ctx, "block", nil).Err, sandbox.ErrCancelled)
		if !errors.Is(e, context.Canceled) {
			t.Error("context.Canceled is not visible")
		}
		_, err := block.Call(ctx, sb.Worker("w"), empty{})
		wantCode(t, err, sandbox.ErrCancelled)
		ctx, cancel = context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		wantCode(t, sb.Worker("w").Execute(ctx, "block", nil).Err, sandbox.ErrTimeout)
	})
}

// peak counts what runs at once. most is for who has waited for all of it.
type peak struct {
	mu        sync.Mutex // guards both
	now, most int
}

func (p *peak) enter() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.now++
	p.most = max(p.most, p.now)
}

func (p *peak) leave() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.now--
}

func TestSerialSessionsQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l ledger
		var reg sandbox.Registry
		b := ledgerBackend(&reg, sandbox.BackendSpec{Serial: true}, &l)
		started, release := make(chan struct{}), make(chan struct{})
		addBlock(b, sandbox.ToolSpec{Name: "block"}, started, release)
		var at peak
		sandbox.AddSessionTool(b, sandbox.ToolSpec{Name: "count"}, sandbox.Method(func(*named, context.Context, empty) (empty, error) {
			at.enter()
			defer at.leave()
			runtime.Gosched()
			return empty{}, nil
		}))
		sandbox.AddSessionTool(b, sandbox.ToolSpec{Name: "interrupt", Concurrent: true}, sandbox.Method(func(*named, context.Context, empty) (empty, error) { return empty{}, nil }))
		sb := newSandbox(t, &reg, sandbox.Options{})
		w := sb.Worker("w")
		if _, err := w.CreateSession(t.Context(), "fake", sandbox.SessionOptions{}); err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		wg.Go(func() {
			if resp := w.Execute(t.Context(), "block", nil); resp.Err != nil {
				t.Error(resp.Err)
			}
		})
		<-started
		for range 20 {
			wg.Go(func() {
				if resp := w.Execute(t.Context(), "count", nil); resp.Err != nil {
					t.Error(resp.Err)
				}
			})
		}
		synctest.Wait()
		if infos, _ := w.Sessions(t.Context()); infos[0].Running != 21 {
			t.Errorf("Running = %d, want 21", infos[0].Running)
		}
		// A queued call is bounded by its own limit; a Concurrent one passes.
		wantCode(t, sb.Execute(t.Context(), sandbox.Request{Worker: "w", Tool: "count", Timeout: time.Second}).Err, sandbox.ErrTimeout)
		if resp := w.Execute(t.Context(), "interrupt", nil); resp.Err != nil {
			t.Error(resp.Err)
		}
		close(release)
		wg.Wait()
		if at.most != 1 {
			t.Errorf("%d calls ran at once in a Serial session", at.most)
		}
	})
}

func TestCallIntoOwnSerialSessionIsAnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l ledger
		var reg sandbox.Registry
		b := ledgerBackend(&reg, sandbox.BackendSpec{Serial: true}, &l)
		inner := noop(b, "inner")
		sandbox.AddTool(&reg, sandbox.ToolSpec{Name: "between"}, func(ctx context.Context, call sandbox.Call, _ empty) (empty, error) {
			return empty{}, call.Execute(ctx, "inner", nil).Err
		})
		var w *sandbox.Worker
		sandbox.AddSessionTool(b, sandbox.ToolSpec{Name: "outer"}, func(ctx context.Context, call sandbox.Call, _ *named, _ empty) (empty, error) {
			if _, err := inner.Call(ctx, w, empty{}); sandbox.CodeOf(err) != sandbox.ErrConflict {
				t.Errorf("typed call: %v, want ErrConflict", err)
			}
			return empty{}, call.Execute(ctx, "between", nil).Err
		})
		sb := newSandbox(t, &reg, sandbox.Options{MaxCalls: 1}) // nested calls need no slot of their own
		w = sb.Worker("w")
		w.CreateSession(t.Context(), "fake", sandbox.SessionOptions{})
		wantCode(t, w.Execute(t.Context(), "outer", nil).Err, sandbox.ErrConflict)
		if resp := w.Execute(t.Context(), "inner", nil); resp.Err != nil {
			t.Errorf("the session is stuck: %v", resp.Err)
		}
	})
}

func TestCallsOfToolsNeedNoSlot(t *testing.T) {
	t.Parallel()
	f := newFake(sandbox.BackendSpec{}, sandbox.BackendFuncs[*counter]{})
	outer := sandbox.AddTool(f.reg, sandbox.ToolSpec{Name: "outer"}, func(ctx context.Context, call sandbox.Call, _ empty) (empty, error) {
		return empty{}, call.Execute(ctx, "fake:incr", nil).Err
	})
	sb := newSandbox(t, f.reg, sandbox.Options{MaxCalls: 1})
	if _, err := outer.Call(t.Context(), sb.Worker("w"), empty{}); err != nil {
		t.Error(err)
	}
	if resp := sb.Worker("w").Execute(t.Context(), "outer", nil); resp.Err != nil {
		t.Error(resp.Err)
	}
}

func TestMaxCallsQueues(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var at peak
		var reg sandbox.Registry
		tool := sandbox.AddTool(&reg, sandbox.ToolSpec{Name: "slow"}, sandbox.Plain(func(context.Context, empty) (empty, error) {
			at.enter()
			defer at.leave()
			<-time.After(time.Second)
			return empty{}, nil
		}))
		sb := newSandbox(t, &reg, sandbox.Options{MaxCalls: 3})
		begin := time.Now()
		var wg sync.WaitGroup
		for i := range 9 {
			wg.Go(func() {
				if i%2 == 0 {
					tool.Call(t.Context(), sb.Worker("w"), empty{})
				} else {
					sb.Worker("w").Execute(t.Context(), "slow", nil)
				}
			})
		}
		wg.Wait()
		if took := time.Since(begin); took != 3*time.Second || at.most != 3 {
			t.Errorf("9 calls took %v with %d at once, want 3s and 3", took, at.most)
		}
	})
}

func TestEvents(t *testing.T) {
	t.Parallel()
	var reg sandbox.Registry
	var late sandbox.Call
	tool := sandbox.AddTool(&reg, sandbox.ToolSpec{Name: "talk"}, func(_ context.Context, call sandbox.Call, _ empty) (empty, error) {
		late = call
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() {
				for range 10 {
					call.Emit(sandbox.Event{Kind: sandbox.EventOutput, Stream: "stdout", Text: "x"})
				}
			})
		}
		wg.Wait()
		return empty{}, nil
	})
	sb := newSandbox(t, &reg, sandbox.Options{})
	var got strings.Builder // not synchronised: events come one at a time
	resp := sb.Execute(t.Context(), sandbox.Request{Worker: "w", Tool: "talk", OnEvent: func(e sandbox.Event) { got.WriteString(e.Text) }})
	late.Emit(sandbox.Event{Text: "too late"})
	if resp.Err != nil || got.String() != strings.Repeat("x", 100) {
		t.Errorf("events %q, %v", got.String(), resp.Err)
	}
	if _, err := tool.Call(t.Context(), sb.Worker("w"), empty{}); err != nil {
		t.Error(err) // nobody listens
	}
}

func TestBatch(t *testing.T) {
	t.Parallel()
	var reg sandbox.Registry
	var ran atomic.Int32
	sandbox.AddTool(&reg, sandbox.ToolSpec{Name: "echo"}, sandbox.Plain(func(ctx context.Context, in echoIn) (echoOut, error) {
		ran.Add(1)
		return echo(ctx, in)
	}))
	sb := newSandbox(t, &reg, sandbox.Options{})
	req := func(text string) sandbox.Request {
		return sandbox.Request{Worker: "w", Tool: "echo", Params: raw(fmt.Sprintf(`{"text":%q}`, text))}
	}
	bad := sandbox.Request{Worker: "w", Tool: "nope"}
	tests := []struct {
		name                       string
		reqs                       []sandbox.Request
		o                          sandbox.BatchOptions
		total, executed, succeeded int
		code                       sandbox.Code
		message                    string
	}{
		{"empty", nil, sandbox.BatchOptions{}, 0, 0, 0, 0, ""},
		{"all", []sandbox.Request{req("a"), req("b")}, sandbox.BatchOptions{StopOnError: true}, 2, 2, 2, 0, ""},
		{"stops", []sandbox.Request{req("a"), bad, req("c")}, sandbox.BatchOptions{StopOnError: true}, 3, 2, 1, 5010, "1 out of 2 actions failed"},
		{"goes on", []sandbox.Request{req("a"), bad, req("c")}, sandbox.BatchOptions{}, 3, 3, 2, 5010, "1 out of 3 actions failed"},
		{"none", []sandbox.Request{bad, req("b")}, sandbox.BatchOptions{StopOnError: true}, 2, 1, 0, 5009, "All actions failed"},
		{"parallel does not stop", []sandbox.Request{bad, req("b")}, sandbox.BatchOptions{Parallel: true, StopOnError: true, Limit: 1}, 2, 2, 1, 5010, "1 out of 2 actions failed"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := sb.ExecuteBatch(t.Context(), tt.reqs, tt.o)
			if b.Total != tt.total || b.Executed != tt.executed || b.Succeeded != tt.succeeded || len(b.Results) != tt.executed {
				t.Errorf("batch = %+v, want %d/%d/%d", b, tt.total, tt.executed, tt.succeeded)
			}
			if err := b.Err(); sandbox.CodeOf(err) != tt.code || err != nil && err.Error() != tt.message {
				t.Errorf("Err = %v, want %q", err, tt.message)
			}
			for i, r := range b.Results {
				if r.Err == nil && string(r.Data) != string(tt.reqs[i].Params) {
					t.Errorf("result %d = %s, want that of request %s", i, r.Data, tt.reqs[i].Params)
				}
			}
		})
	}
	ran.Store(0)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, parallel := range []bool{false, true} {
		b := sb.ExecuteBatch(ctx, slices.Repeat([]sandbox.Request{req("a")}, 3), sandbox.BatchOptions{Parallel: parallel})
		if b.Succeeded != 0 || ran.Load() != 0 {
			t.Errorf("cancelled batch, parallel %v: %+v", parallel, b)
		}
		if want := map[bool]string{false: "3 out of 3 actions did not run", true: "All actions failed"}[parallel]; b.Err().Error() != want {
			t.Errorf("Err of a cancelled batch, parallel %v: %v, want %q", parallel, b.Err(), want)
		}
	}
}

func TestPerItemTimeLimitsOfABatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var reg sandbox.Registry
		sandbox.AddTool(&reg, sandbox.ToolSpec{Name: "block"}, sandbox.Plain(func(ctx context.Context, _ empty) (empty, error) {
			<-ctx.Done()
			return empty{}, ctx.Err()
		}))
		sb := newSandbox(t, &reg, sandbox.Options{})
		reqs := []sandbox.Request{{Worker: "w", Tool: "block", Timeout: 2 * time.Second}, {Worker: "w", Tool: "block", Timeout: time.Second}}
		for parallel, want := range map[bool]time.Duration{false: 3 * time.Second, true: 2 * time.Second} {
			begin := time.Now()
			b := sb.ExecuteBatch(t.Context(), reqs, sandbox.BatchOptions{Parallel: parallel})
			wantCode(t, b.Results[0].Err, sandbox.ErrTimeout)
			wantCode(t, b.Results[1].Err, sandbox.ErrTimeout)
			if took := time.Since(begin); took != want {
				t.Errorf("parallel %v took %v, want %v", parallel, took, want)
			}
		}
	})
}
