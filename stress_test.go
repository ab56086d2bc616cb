package sandbox_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/agentflow-go/sandbox"
)

// faulty is a backend whose hooks fail, panic and hang at random.
type faulty struct {
	warmups, opens, closes atomic.Int64
	double                 atomic.Int64  // states closed twice
	release                chan struct{} // closed at the end: everything that hangs goes on
}

type faultyState struct{ closed atomic.Bool }

// fault does what a hook may do wrong: nothing mostly, else return an error,
// panic, or hang until its context ends (or, deaf, until release).
func (f *faulty) fault(ctx context.Context, deaf bool) error {
	switch n := rand.IntN(1000); {
	case n < 50:
		return errors.New("refused")
	case n < 80:
		panic("bug")
	case n < 100:
		<-ctx.Done()
		return ctx.Err()
	case n < 103 && deaf:
		<-f.release
	case n < 300:
		runtime.Gosched()
	}
	return nil
}

// Warmup fails in each way once, then succeeds. Those who wait while it hangs
// give up before it does.
func (f *faulty) Warmup(context.Context, sandbox.Env) error {
	switch f.warmups.Add(1) {
	case 1:
		return errors.New("cold")
	case 2:
		panic("bug")
	case 3:
		<-time.After(50 * time.Millisecond)
		return errors.New("late")
	}
	return nil
}

func (f *faulty) Open(ctx context.Context, _ sandbox.Env) (*faultyState, error) {
	if err := f.fault(ctx, true); err != nil {
		return nil, err
	}
	f.opens.Add(1)
	return new(faultyState), nil
}

func (f *faulty) Close(ctx context.Context, s *faultyState) error {
	f.closes.Add(1)
	if s.closed.Swap(true) {
		f.double.Add(1)
	}
	return f.fault(ctx, true)
}

// TestManyWorkersUnderFaults runs 10,000 workers from 64 goroutines against a
// backend that errs, panics and hangs: every successful Open has exactly one
// Close, every call has an answer, and no goroutine is left.
func TestManyWorkersUnderFaults(t *testing.T) {
	workers := 10_000
	if testing.Short() {
		workers = 1_000
	}
	before := runtime.NumGoroutine()
	f := &faulty{release: make(chan struct{})}
	var reg sandbox.Registry
	b := sandbox.AddBackend(&reg, sandbox.BackendSpec{Name: "faulty"}, f)
	sandbox.AddSessionTool(b, sandbox.ToolSpec{Name: "work"}, func(ctx context.Context, _ sandbox.Call, s *faultyState, _ empty) (empty, error) {
		if s.closed.Load() && ctx.Err() == nil {
			t.Error("a call runs in a closed session")
		}
		return empty{}, f.fault(ctx, false)
	})
	sb, err := sandbox.New(sandbox.Options{Registry: &reg, CloseGrace: 20 * time.Millisecond, SessionTTL: 50 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	var calls, answers atomic.Int64
	ids := make(chan int)
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			for i := range ids {
				useWorker(t, sb, fmt.Sprintf("w%d", i), &calls, &answers)
			}
		})
	}
	for i := range workers {
		ids <- i
	}
	close(ids)
	wg.Wait()
	if err := sb.Shutdown(context.Background()); err == nil {
		t.Log("Shutdown without error: no close failed this time")
	}
	close(f.release)

	// What hung goes on now and ends by itself. Goroutines of other tests among those
	// before may have ended meanwhile, so that their number alone tells nothing.
	st, _ := sb.Status(context.Background())
	deadline := time.After(time.Minute)
	for runtime.NumGoroutine() > before || f.opens.Load() != f.closes.Load() || st.Sessions != 0 {
		select {
		case <-deadline:
			buf := make([]byte, 1<<16)
			t.Fatalf("%d opens, %d closes, %d sessions, %d goroutines of %d\n%s", f.opens.Load(), f.closes.Load(),
				st.Sessions, runtime.NumGoroutine(), before, buf[:runtime.Stack(buf, true)])
		case <-time.After(time.Millisecond):
		}
		st, _ = sb.Status(context.Background())
	}
	if n := f.double.Load(); n != 0 {
		t.Errorf("%d states were closed twice", n)
	}
	if calls.Load() != answers.Load() {
		t.Errorf("%d calls, %d answers", calls.Load(), answers.Load())
	}
	if st.Workers != 0 {
		t.Errorf("left: %d workers", st.Workers)
	}
	t.Logf("%d workers, %d calls, %d opens, %d left behind", workers, calls.Load(), f.opens.Load(), st.Abandoned)
}

// useWorker does what a rollout does, in random order, some of it at once.
func useWorker(t *testing.T, sb *sandbox.Sandbox, id string, calls, answers *atomic.Int64) {
	w := sb.Worker(id)
	call := func() {
		calls.Add(1)
		timeout := time.Duration(1+rand.IntN(20)) * time.Millisecond
		resp := sb.Execute(context.Background(), sandbox.Request{Worker: id, Tool: "work", Timeout: timeout})
		if resp.Err != nil && sandbox.CodeOf(resp.Err) == 0 {
			t.Errorf("an error without code: %v", resp.Err)
		}
		answers.Add(1)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(1+rand.IntN(20))*time.Millisecond)
	defer cancel()
	if rand.IntN(4) > 0 {
		if _, err := w.CreateSession(ctx, "faulty", sandbox.SessionOptions{}); err != nil && sandbox.CodeOf(err) == 0 {
			t.Errorf("CreateSession: %v", err)
		}
	}
	var wg sync.WaitGroup
	for range 1 + rand.IntN(4) {
		wg.Go(call)
	}
	switch rand.IntN(4) {
	case 0:
		w.DestroySession(ctx, "faulty")
	case 1:
		w.Close(ctx)
	}
	wg.Wait()
	if rand.IntN(2) == 0 {
		w.Close(context.Background())
	}
}
