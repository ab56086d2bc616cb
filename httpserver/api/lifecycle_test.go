package api_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/agentflow-go/sandbox"
	"github.com/agentflow-go/sandbox/httpserver/api"
)

func shutdownFunc(calls *int) func(context.Context, bool) (int, error) {
	return func(context.Context, bool) (int, error) { *calls++; return 0, nil }
}

func TestShutdownAnswersFirstThenStops(t *testing.T) {
	t.Parallel()
	sb := newSandbox(t, nil)
	var srv http.Server
	done := make(chan error, 1)
	h := newHandler(t, sb, api.Options{Shutdown: func(ctx context.Context, cleanup bool) (int, error) {
		if !cleanup {
			return 0, errors.New("expected clean-up")
		}
		n, err := sb.CloseWorker(ctx, "w")
		go func() { done <- srv.Shutdown(context.Background()) }()
		return n, err
	}})
	srv.Handler = h
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	if _, err := sb.CreateSession(t.Context(), "w", "fake", sandbox.SessionOptions{}); err != nil {
		t.Fatal(err)
	}
	resp, err := http.Post("http://"+l.Addr().String()+"/api/v1/server/shutdown", "application/json", strings.NewReader(`{"force":false}`))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	wantAnswer(t, read(t, "shutdown", resp), 200, `{"status":"success","message":"Server shutdown initiated","sessions_cleaned":1}`)
	if err := <-done; err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		t.Errorf("Serve: %v", err)
	}
}

func TestWorkEndsWhenItsCallerDisconnects(t *testing.T) {
	t.Parallel()
	g := newGate()
	srv := httptest.NewServer(newHandler(t, newSandbox(t, g), api.Options{}))
	defer srv.Close()
	for _, accept := range []string{"application/json", "text/event-stream"} {
		ctx, cancel := context.WithCancel(t.Context())
		r, err := http.NewRequestWithContext(ctx, "POST", srv.URL+"/execute", strings.NewReader(`{"worker_id":"w","action":"wait"}`))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Accept", accept)
		failed := make(chan error, 1)
		go func() {
			resp, err := http.DefaultClient.Do(r)
			if err == nil {
				_, err = resp.Body.Read(make([]byte, 1))
				resp.Body.Close()
			}
			failed <- err
		}()
		<-g.entered
		cancel()
		<-g.left // the tool's context has ended
		if err := <-failed; err == nil {
			t.Error("the request did not fail")
		}
	}
}

// stuck is an executor whose state cannot be had.
type stuck struct {
	sandbox.Executor
	release chan struct{}
}

func (s stuck) Status(ctx context.Context) (sandbox.Status, error) {
	<-s.release
	return s.Executor.Status(ctx)
}

func TestHealthAnswersWhileBackendsAreStuck(t *testing.T) {
	t.Parallel()
	sb := newSandbox(t, nil)
	synctest.Test(t, func(t *testing.T) {
		ex := stuck{sb, make(chan struct{})}
		h := newHandler(t, ex, api.Options{})
		for range 3 {
			begin := time.Now()
			wantAnswer(t, send(t, h, "GET", "/health", ""), 200, `{"status":"healthy"}`)
			if took := time.Since(begin); took > time.Second {
				t.Errorf("took %v", took)
			}
		}
		wantAnswer(t, send(t, h, "GET", "/ready", ""), 503, `{"status":"not ready"}`)
		close(ex.release)
		synctest.Wait()
		wantAnswer(t, send(t, h, "GET", "/ready", ""), 200, `{"status":"ready","tools_count":12}`)
	})
}

func TestHeartbeatRefreshesWhereConfigured(t *testing.T) {
	t.Parallel()
	for _, refreshes := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			h := newHandler(t, newSandbox(t, nil), api.Options{HeartbeatRefreshes: refreshes})
			send(t, h, "POST", "/session/create", `{"worker_id":"w","resource_type":"fake"}`)
			time.Sleep(200 * time.Second)
			send(t, h, "POST", "/heartbeat", `{"worker_id":"w"}`)
			time.Sleep(200 * time.Second)
			want := `{"data":{"active_sessions":[]}}`
			if refreshes {
				want = `{"data":{"active_sessions":["fake"]}}`
			}
			wantAnswer(t, send(t, h, "POST", "/heartbeat", `{"worker_id":"w"}`), 200, want)
		})
	}
}

func TestExpiredSessionIsTold(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHandler(t, newSandbox(t, nil), api.Options{})
		a := send(t, h, "POST", "/api/v1/session/create", `{"worker_id":"w","resource_type":"fake","ttl":10}`)
		time.Sleep(11 * time.Second)
		id, _ := a.body["session_id"].(string)
		a = send(t, h, "POST", "/api/v1/execute", `{"worker_id":"w","action":"fake:incr"}`)
		wantAnswer(t, a, 200, `{"code":0,"meta":{"temporary_session":true,"expired_session":"`+id+`"}}`)
	})
}

// event is one server-sent event.
type event struct{ name, data string }

func readEvents(t *testing.T, text string) []event {
	t.Helper()
	var events []event
	var e event
	scanner := bufio.NewScanner(strings.NewReader(text))
	for scanner.Scan() {
		switch line := scanner.Text(); {
		case line == "":
			if e.name != "" {
				events = append(events, e)
			}
			e = event{}
		case strings.HasPrefix(line, ":"):
			e = event{name: "comment"}
		default:
			key, value, ok := strings.Cut(line, ": ")
			if !ok {
				t.Fatalf("line %q", line)
			}
			if key == "event" {
				e.name = value
			} else {
				e.data += value
			}
		}
	}
	return events
}

func TestStream(t *testing.T) {
	t.Parallel()
	h := newHandler(t, newSandbox(t, nil), api.Options{})
	r := httptest.NewRequest("POST", "/api/v1/execute", strings.NewReader(`{"worker_id":"w","action":"tell","params":{"lines":["a\nb","c"]}}`))
	r.Host = "localhost"
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Accept", "text/event-stream")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if ct := w.Header().Get("Content-Type"); ct != "text/event-stream" || w.Code != 200 || !w.Flushed {
		t.Fatalf("%d %s flushed %v", w.Code, ct, w.Flushed)
	}
	events := readEvents(t, w.Body.String())
	if len(events) != 3 || events[0].name != "output" || events[1].name != "output" || events[2].name != "result" {
		t.Fatalf("events %v", events)
	}
	var first sandbox.Event
	if err := json.Unmarshal([]byte(events[0].data), &first); err != nil || first.Text != "a\nb" || first.Stream != "stdout" {
		t.Errorf("first event %q: %v", events[0].data, err)
	}
	var result map[string]any
	if err := json.Unmarshal([]byte(events[2].data), &result); err != nil || result["code"] != 0.0 {
		t.Errorf("result %q: %v", events[2].data, err)
	}

	a := send(t, h, "POST", "/api/v1/execute", `{"worker_id":"w"}`, "Accept: text/event-stream")
	wantAnswer(t, a, 422, `{"code":4003}`) // what cannot run is answered as usual
}

func TestStreamIsKeptAlive(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHandler(t, newSandbox(t, nil), api.Options{})
		r := httptest.NewRequest("POST", "/execute", strings.NewReader(`{"worker_id":"w","action":"wait","timeout":40}`))
		r.Host = "localhost"
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Accept", "application/json;q=0.1, text/event-stream")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		events := readEvents(t, w.Body.String())
		if len(events) != 3 || events[0].name != "comment" || events[1].name != "comment" || events[2].name != "result" {
			t.Errorf("events %v", events)
		}
	})
}

// counting counts executions and can hold them up.
type counting struct {
	sandbox.Executor
	mu    sync.Mutex
	calls int
	hold  time.Duration
	err   error
}

func (c *counting) Execute(ctx context.Context, req sandbox.Request) sandbox.Response {
	c.mu.Lock()
	c.calls++
	n := c.calls
	c.mu.Unlock()
	select {
	case <-time.After(c.hold):
	case <-ctx.Done():
		return sandbox.Response{Err: sandbox.ErrCancelled, Meta: sandbox.Meta{Ran: true}}
	}
	if c.err != nil {
		return sandbox.Response{Err: c.err}
	}
	data, _ := json.Marshal(map[string]any{"n": n})
	return sandbox.Response{Data: data, Meta: sandbox.Meta{Tool: req.Tool, Ran: true}}
}

func TestIdempotencyKey(t *testing.T) {
	t.Parallel()
	const body = `{"worker_id":"w","action":"echo"}`
	key := func(k string) string { return "Idempotency-Key: " + k }

	t.Run("the second gets the first's reply, in its own shape", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ex := &counting{}
			h := newHandler(t, ex, api.Options{})
			a := send(t, h, "POST", "/api/v1/execute", body, key("k"))
			b := send(t, h, "POST", "/api/v1/execute", body, key("k"))
			if a.raw != b.raw || b.header.Get("Idempotency-Replayed") != "true" || a.header.Get("Idempotency-Replayed") != "" {
				t.Errorf("first %s\nsecond %s", a.raw, b.raw)
			}
			wantAnswer(t, send(t, h, "POST", "/execute", body, key("k")), 200, `{"success":true,"data":{"n":1}}`)
			wantAnswer(t, send(t, h, "POST", "/api/v1/execute", `{"worker_id":"w","action":"other"}`, key("k")), 422, `{"code":4012}`)
			wantAnswer(t, send(t, h, "POST", "/api/v1/execute", `{"worker_id":"v","action":"echo"}`, key("k")), 200, `{"data":{"n":2}}`)
			time.Sleep(9*time.Minute + 59*time.Second)
			wantAnswer(t, send(t, h, "POST", "/api/v1/execute", body, key("k")), 200, `{"data":{"n":1}}`)
			time.Sleep(2 * time.Second)
			wantAnswer(t, send(t, h, "POST", "/api/v1/execute", body, key("k")), 200, `{"data":{"n":3}}`)
		})
	})
	t.Run("who comes meanwhile waits, and the work outlives its caller", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ex := &counting{hold: 5 * time.Second}
			h := newHandler(t, ex, api.Options{})
			ctx, cancel := context.WithCancel(t.Context())
			first := make(chan struct{})
			go func() {
				defer close(first)
				r := httptest.NewRequestWithContext(ctx, "POST", "/api/v1/execute", strings.NewReader(body))
				r.Host = "localhost"
				r.Header.Set("Content-Type", "application/json")
				r.Header.Set("Idempotency-Key", "k")
				h.ServeHTTP(httptest.NewRecorder(), r)
			}()
			synctest.Wait()
			cancel()
			a := send(t, h, "POST", "/api/v1/execute", body, key("k"))
			wantAnswer(t, a, 200, `{"data":{"n":1}}`)
			<-first
			if ex.calls != 1 {
				t.Errorf("%d calls", ex.calls)
			}
		})
	})
	t.Run("what did not run is not kept", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ex := &counting{err: sandbox.ErrBusy}
			h := newHandler(t, ex, api.Options{})
			wantAnswer(t, send(t, h, "POST", "/api/v1/execute", body, key("k")), 503, `{"meta":{"ran":false}}`)
			ex.err = nil
			wantAnswer(t, send(t, h, "POST", "/api/v1/execute", body, key("k")), 200, `{"data":{"n":2}}`)
		})
	})
	t.Run("keys are bounded", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ex := &counting{}
			h := newHandler(t, ex, api.Options{})
			for i := range 1001 {
				send(t, h, "POST", "/api/v1/execute", body, key(strings.Repeat("k", i/250+1)+string(rune('A'+i%250))))
			}
			wantAnswer(t, send(t, h, "POST", "/api/v1/execute", body, key("kA")), 200, `{"data":{"n":1002}}`) // the oldest went
			wantAnswer(t, send(t, h, "POST", "/api/v1/execute", body, key("kC")), 200, `{"data":{"n":3}}`)

			wantAnswer(t, send(t, h, "POST", "/api/v1/execute", body, key(strings.Repeat("k", 256))), 400, `{"code":4000}`)
		})
	})
}

// panicking panics, and answers with what is no JSON.
type panicking struct{ sandbox.Executor }

func (panicking) Execute(_ context.Context, req sandbox.Request) sandbox.Response {
	switch req.Tool {
	case "panic":
		panic("secret /etc/path")
	case "error":
		return sandbox.Response{Err: &sandbox.Error{Code: 4001, Data: make(chan int)}}
	case "no code":
		return sandbox.Response{Err: &sandbox.Error{Message: "m"}}
	case "list":
		return sandbox.Response{Err: &sandbox.Error{Code: 4001, Data: []int{1}}}
	}
	return sandbox.Response{Data: json.RawMessage("\xff not JSON")}
}

func TestNoExecutorSpoilsAnAnswer(t *testing.T) {
	t.Parallel()
	h := newHandler(t, panicking{}, api.Options{})
	run := func(tool string) answer {
		return send(t, h, "POST", "/api/v1/execute", `{"worker_id":"w","action":"`+tool+`"}`)
	}
	a := run("panic")
	wantAnswer(t, a, 500, `{"code":5005,"data":{},"meta":{"tool":"*","trace_id":"*"}}`)
	if strings.Contains(a.raw, "secret") {
		t.Errorf("the panic's text shows: %s", a.raw)
	}
	wantAnswer(t, run("raw"), 500, `{"code":5005,"data":{}}`)
	wantAnswer(t, run("error"), 400, `{"code":4001,"data":{}}`)
	wantAnswer(t, run("no code"), 500, `{"code":5005,"message":"m"}`)
	wantAnswer(t, run("list"), 400, `{"code":4001,"data":{"details":[1]}}`)
}
