package sandbox_test

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/agentflow-go/sandbox"
)

func benchFake(tb testing.TB, o sandbox.Options) (fakeTools, *sandbox.Sandbox, *sandbox.Worker) {
	f := newFake(sandbox.BackendSpec{}, sandbox.BackendFuncs[*counter]{})
	sb := newSandbox(tb, f.reg, o)
	w := sb.Worker("w")
	if _, err := w.CreateSession(context.Background(), "fake", sandbox.SessionOptions{TTL: -1}); err != nil {
		tb.Fatal(err)
	}
	return f, sb, w
}

func TestAllocationsOfTypedCalls(t *testing.T) {
	f, _, w := benchFake(t, sandbox.Options{})
	ctx := context.Background()
	limited := newFakeWithTimeout(t)
	tests := []struct {
		name string
		want float64
		call func()
	}{
		{"stateless", 0, func() { f.echo.Call(ctx, w, echoIn{Text: "hi"}) }},
		{"in a session", 3, func() { f.incr.Call(ctx, w, incrIn{}) }},
		{"with a time limit", 4, func() { limited.tool.Call(ctx, limited.w, echoIn{Text: "hi"}) }},
	}
	for _, tt := range tests {
		if got := testing.AllocsPerRun(1000, tt.call); got > tt.want {
			t.Errorf("a typed call %s makes %v allocations, want at most %v", tt.name, got, tt.want)
		}
	}
}

type limitedTool struct {
	tool *sandbox.Tool[echoIn, echoOut]
	w    *sandbox.Worker
}

func newFakeWithTimeout(t *testing.T) limitedTool {
	var reg sandbox.Registry
	tool := sandbox.AddTool(&reg, sandbox.ToolSpec{Name: "echo", Timeout: time.Minute}, sandbox.Plain(echo))
	return limitedTool{tool, newSandbox(t, &reg, sandbox.Options{}).Worker("w")}
}

func BenchmarkTypedStateless(b *testing.B) {
	f, _, w := benchFake(b, sandbox.Options{})
	b.ReportAllocs()
	for b.Loop() {
		if _, err := f.echo.Call(context.Background(), w, echoIn{Text: "hi"}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkTypedSession(b *testing.B) {
	f, _, w := benchFake(b, sandbox.Options{})
	b.ReportAllocs()
	for b.Loop() {
		if _, err := f.incr.Call(context.Background(), w, incrIn{}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkTypedSessionParallel(b *testing.B) {
	f, sb, _ := benchFake(b, sandbox.Options{})
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		w := sb.Worker(fmt.Sprintf("%p", pb))
		w.CreateSession(context.Background(), "fake", sandbox.SessionOptions{})
		for pb.Next() {
			f.incr.Call(context.Background(), w, incrIn{})
		}
	})
}

func BenchmarkTypedMiddleware(b *testing.B) {
	pass := func(next sandbox.Handler) sandbox.Handler {
		return func(ctx context.Context, inv *sandbox.Invocation) error { return next(ctx, inv) }
	}
	f, _, w := benchFake(b, sandbox.Options{Middleware: []sandbox.Middleware{pass, pass, pass}})
	b.ReportAllocs()
	for b.Loop() {
		if _, err := f.echo.Call(context.Background(), w, echoIn{Text: "hi"}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkJSONStateless(b *testing.B) {
	_, sb, _ := benchFake(b, sandbox.Options{})
	req := sandbox.Request{Worker: "w", Tool: "echo", Params: raw(`{"text":"hi"}`)}
	b.ReportAllocs()
	for b.Loop() {
		if resp := sb.Execute(context.Background(), req); resp.Err != nil {
			b.Fatal(resp.Err)
		}
	}
}

func BenchmarkJSONSession(b *testing.B) {
	_, sb, _ := benchFake(b, sandbox.Options{})
	req := sandbox.Request{Worker: "w", Tool: "fake:incr", Params: raw(`{"by":1}`)}
	b.ReportAllocs()
	for b.Loop() {
		if resp := sb.Execute(context.Background(), req); resp.Err != nil {
			b.Fatal(resp.Err)
		}
	}
}

func BenchmarkTemporarySession(b *testing.B) {
	f, sb, _ := benchFake(b, sandbox.Options{})
	w := sb.Worker("other")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := f.incr.Call(context.Background(), w, incrIn{}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkCreateSlowSessions is the wall time in which 50 workers get a
// session whose Open takes 0.1 s.
func BenchmarkCreateSlowSessions(b *testing.B) {
	f := newFake(sandbox.BackendSpec{}, sandbox.BackendFuncs[*counter]{OpenFunc: func(context.Context, sandbox.Env) (*counter, error) {
		<-time.After(100 * time.Millisecond)
		return new(counter), nil
	}})
	sb := newSandbox(b, f.reg, sandbox.Options{})
	for round := 0; b.Loop(); round++ {
		var wg sync.WaitGroup
		for i := range 50 {
			wg.Go(func() {
				if _, err := sb.Worker(fmt.Sprint(round, "-", i)).CreateSession(context.Background(), "fake", sandbox.SessionOptions{}); err != nil {
					b.Error(err)
				}
			})
		}
		wg.Wait()
	}
}

// BenchmarkCallsDuringCreation compares calls in a live session while nothing
// else happens with calls while other workers create sessions whose Open takes
// 0.1 s, 50 at a time.
func BenchmarkCallsDuringCreation(b *testing.B) {
	f := newFake(sandbox.BackendSpec{}, sandbox.BackendFuncs[*counter]{OpenFunc: func(_ context.Context, env sandbox.Env) (*counter, error) {
		if env.Worker != "w" {
			<-time.After(100 * time.Millisecond)
		}
		return new(counter), nil
	}})
	sb := newSandbox(b, f.reg, sandbox.Options{})
	w := sb.Worker("w")
	if _, err := w.CreateSession(context.Background(), "fake", sandbox.SessionOptions{TTL: -1}); err != nil {
		b.Fatal(err)
	}
	p99 := func(d time.Duration) time.Duration {
		var took []time.Duration
		for end := time.Now().Add(d); time.Now().Before(end); {
			begin := time.Now()
			if _, err := f.incr.Call(context.Background(), w, incrIn{}); err != nil {
				b.Fatal(err)
			}
			took = append(took, time.Since(begin))
		}
		slices.Sort(took)
		return took[len(took)*99/100]
	}
	var quiet, busy time.Duration
	rounds := 0
	for b.Loop() {
		quiet += p99(100 * time.Millisecond)
		var wg sync.WaitGroup
		for i := range 50 {
			wg.Go(func() {
				if _, err := sb.CreateSession(context.Background(), fmt.Sprint(rounds, "-", i), "fake", sandbox.SessionOptions{}); err != nil {
					b.Error(err)
				}
			})
		}
		busy += p99(100 * time.Millisecond)
		wg.Wait()
		rounds++
	}
	b.ReportMetric(float64(quiet.Nanoseconds())/float64(rounds), "quiet-p99-ns")
	b.ReportMetric(float64(busy.Nanoseconds())/float64(rounds), "busy-p99-ns")
}

// BenchmarkIdleSessions measures creation, use and memory with a million idle
// sessions about.
func BenchmarkIdleSessions(b *testing.B) {
	const idle = 1_000_000
	f := newFake(sandbox.BackendSpec{}, sandbox.BackendFuncs[*counter]{})
	sb := newSandbox(b, f.reg, sandbox.Options{SessionTTL: time.Hour})
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for i := range idle {
		if _, err := sb.CreateSession(context.Background(), fmt.Sprintf("worker-%07d", i), "fake", sandbox.SessionOptions{}); err != nil {
			b.Fatal(err)
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	perSession := float64(after.HeapAlloc-before.HeapAlloc) / idle
	b.Run("create+destroy", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			sb.CreateSession(context.Background(), "one", "fake", sandbox.SessionOptions{})
			sb.DestroySession(context.Background(), "one", "fake")
		}
		b.ReportMetric(perSession, "B/idle-session")
	})
	b.Run("call", func(b *testing.B) {
		w := sb.Worker("worker-0500000")
		b.ReportAllocs()
		for b.Loop() {
			f.incr.Call(context.Background(), w, incrIn{})
		}
	})
}
