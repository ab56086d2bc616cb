package sandbox_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/agentflow-go/sandbox"
)

// pooled is the state of poolBackend: what its session was told.
type pooled struct {
	opened, bound sandbox.Env
	id            int64
	used          atomic.Int32
}

// poolBackend is slow to open and can learn whose a session becomes.
type poolBackend struct {
	opens, closes atomic.Int64
	fail          atomic.Bool

	mu   sync.Mutex
	envs []sandbox.Env
}

func (b *poolBackend) Open(_ context.Context, env sandbox.Env) (*pooled, error) {
	<-time.After(time.Second)
	if b.fail.Load() {
		return nil, errors.New("no memory")
	}
	b.mu.Lock()
	b.envs = append(b.envs, env)
	b.mu.Unlock()
	return &pooled{opened: env, id: b.opens.Add(1)}, nil
}

func (b *poolBackend) Bind(_ context.Context, s *pooled, env sandbox.Env) error {
	s.bound = env
	return nil
}

func (b *poolBackend) Close(context.Context, *pooled) error { b.closes.Add(1); return nil }

type whoOut struct {
	Opened, Bound string
	ID            int64
	Used          int32
}

func newPool(t *testing.T, size int) (*poolBackend, *sandbox.Sandbox) {
	var reg sandbox.Registry
	pb := new(poolBackend)
	b := sandbox.AddBackend(&reg, sandbox.BackendSpec{Name: "pb", Pool: size}, pb)
	sandbox.AddSessionTool(b, sandbox.ToolSpec{Name: "who"}, sandbox.Method(func(s *pooled, _ context.Context, _ empty) (whoOut, error) {
		return whoOut{s.opened.Worker, s.bound.Worker, s.id, s.used.Add(1)}, nil
	}))
	return pb, newSandbox(t, &reg, sandbox.Options{})
}

func TestNewWorkersTakePooledSessions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pb, sb := newPool(t, 2)
		if err := sb.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		<-time.After(10 * time.Second)
		if st, _ := sb.Status(t.Context()); st.Backends[0].Pooled != 2 || pb.opens.Load() != 2 {
			t.Fatalf("pool holds %d after %d opens, want 2", st.Backends[0].Pooled, pb.opens.Load())
		}
		begin := time.Now()
		who, err := sandbox.Invoke[whoOut](t.Context(), sb.Worker("a"), "who", empty{})
		if err != nil || who.Opened != "" || who.Bound != "a" || time.Since(begin) != 0 {
			t.Errorf("temporary session: %+v, %v after %v, want a pooled one at once", who, err, time.Since(begin))
		}
		if _, err := sb.Worker("b").CreateSession(t.Context(), "pb", sandbox.SessionOptions{}); err != nil || time.Since(begin) != 0 {
			t.Errorf("CreateSession took %v, %v", time.Since(begin), err)
		}
		// The pool is empty: this one opens cold.
		if _, err := sb.Worker("c").CreateSession(t.Context(), "pb", sandbox.SessionOptions{}); err != nil || time.Since(begin) != time.Second {
			t.Errorf("cold CreateSession took %v, %v", time.Since(begin), err)
		}
		<-time.After(10 * time.Second)
		// A session of other configuration opens cold although the pool is full.
		begin = time.Now()
		sb.Worker("d").CreateSession(t.Context(), "pb", sandbox.SessionOptions{Config: raw(`{"x":1}`)})
		if took := time.Since(begin); took != time.Second {
			t.Errorf("configured CreateSession took %v, want 1s", took)
		}
		// A known worker has its own directory: it opens cold too.
		who, err = sandbox.Invoke[whoOut](t.Context(), sb.Worker("a"), "who", empty{})
		if err != nil || who.Opened != "a" || who.Used != 1 {
			t.Errorf("known worker: %+v, %v, want a fresh cold session", who, err)
		}
	})
}

func TestUsedSessionsNeverReturnToThePool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pb, sb := newPool(t, 1)
		sb.Start(t.Context())
		seen := map[int64]bool{}
		for _, id := range []string{"a", "b", "c", "d"} {
			<-time.After(5 * time.Second)
			who, err := sandbox.Invoke[whoOut](t.Context(), sb.Worker(id), "who", empty{})
			if err != nil || who.Used != 1 || seen[who.ID] || who.Bound != id {
				t.Errorf("worker %s: %+v, %v", id, who, err)
			}
			seen[who.ID] = true
		}
		if err := sb.Shutdown(t.Context()); err != nil || pb.opens.Load() != pb.closes.Load() {
			t.Errorf("%d opens, %d closes, %v", pb.opens.Load(), pb.closes.Load(), err)
		}
	})
}

func TestThePoolTakesNobodysPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var reg sandbox.Registry
		b := sandbox.AddBackend(&reg, sandbox.BackendSpec{Name: "pb", Pool: 2, MaxSessions: 1}, new(poolBackend))
		sandbox.AddSessionTool(b, sandbox.ToolSpec{Name: "noop"}, sandbox.Method(func(*pooled, context.Context, empty) (empty, error) { return empty{}, nil }))
		sb := newSandbox(t, &reg, sandbox.Options{MaxSessions: 1})
		sb.Start(t.Context())
		<-time.After(10 * time.Second)
		for _, id := range []string{"a", "b", "c"} {
			if resp := sb.Worker(id).Execute(t.Context(), "noop", nil); resp.Err != nil {
				t.Errorf("worker %s: %v", id, resp.Err)
			}
		}
		sb.Worker("a").CreateSession(t.Context(), "pb", sandbox.SessionOptions{})
		wantCode(t, sb.Worker("b").Execute(t.Context(), "noop", nil).Err, sandbox.ErrBusy)
	})
}

func TestPoolRecovers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pb, sb := newPool(t, 1)
		pb.fail.Store(true)
		sb.Start(t.Context())
		<-time.After(10 * time.Second)
		if st, _ := sb.Status(t.Context()); st.Backends[0].Pooled != 0 || st.Sessions > 1 {
			t.Errorf("status %+v, want nothing but the attempt under way", st)
		}
		pb.fail.Store(false)
		<-time.After(10 * time.Second)
		if st, _ := sb.Status(t.Context()); st.Backends[0].Pooled != 1 {
			t.Errorf("pool holds %d, want 1", st.Backends[0].Pooled)
		}
		// A session lost in the pool is not given to anybody.
		pb.mu.Lock()
		env := pb.envs[0]
		pb.mu.Unlock()
		env.Lost(errors.New("died in its sleep"))
		synctest.Wait()
		who, err := sandbox.Invoke[whoOut](t.Context(), sb.Worker("a"), "who", empty{})
		if err != nil || who.ID == 1 {
			t.Errorf("worker got %+v, %v", who, err)
		}
	})
}
