package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/agentflow-go/sandbox"
	"github.com/agentflow-go/sandbox/httpserver/api"
	"github.com/agentflow-go/sandbox/httpserver/client"
)

type counter struct{ n int }

type countOut struct {
	N int `json:"n"`
}

type none struct{}

func newSandbox(t testing.TB) *sandbox.Sandbox {
	t.Helper()
	var reg sandbox.Registry
	fake := sandbox.AddBackend(&reg, sandbox.BackendSpec{Name: "fake", Config: json.RawMessage(`{"start":0,"fail":""}`), MaxSessions: 3},
		sandbox.BackendFuncs[*counter]{
			OpenFunc: func(_ context.Context, env sandbox.Env) (*counter, error) {
				var c struct {
					Start int    `json:"start"`
					Fail  string `json:"fail"`
				}
				if err := env.Decode(&c); err != nil {
					return nil, err
				}
				if c.Fail != "" {
					return nil, errors.New(c.Fail)
				}
				return &counter{c.Start}, nil
			},
			CloseFunc: func(_ context.Context, c *counter) error {
				if c.n == 666 {
					return errors.New("cannot close")
				}
				return nil
			},
		})
	sandbox.AddSessionTool(fake, sandbox.ToolSpec{Name: "incr", Description: "Counts.", Idempotent: true},
		func(_ context.Context, _ sandbox.Call, c *counter, _ none) (countOut, error) {
			c.n++
			return countOut{c.n}, nil
		})
	sandbox.AddShared(&reg, sandbox.BackendSpec{Name: "broken"}, sandbox.BackendFuncs[none]{
		WarmupFunc: func(context.Context, sandbox.Env) error { return errors.New("no index") }})
	sandbox.AddTool(&reg, sandbox.ToolSpec{Name: "echo", Decode: sandbox.Trusted, ReadOnly: true, Aliases: []string{"say:again"}},
		sandbox.Plain(func(_ context.Context, in json.RawMessage) (json.RawMessage, error) { return in, nil }))
	sandbox.AddTool(&reg, sandbox.ToolSpec{Name: "math:half", Label: "maths"},
		sandbox.Plain(func(_ context.Context, in struct {
			Of int `json:"of"`
		}) (countOut, error) {
			if in.Of%2 != 0 {
				return countOut{}, &sandbox.Error{Code: sandbox.ErrBusinessFailure, Message: "odd", Data: map[string]int{"of": in.Of}}
			}
			return countOut{in.Of / 2}, nil
		}))
	sandbox.AddTool(&reg, sandbox.ToolSpec{Name: "wait", Hidden: true},
		sandbox.Plain(func(ctx context.Context, _ none) (countOut, error) {
			<-ctx.Done()
			return countOut{}, ctx.Err()
		}))
	sandbox.AddTool(&reg, sandbox.ToolSpec{Name: "tell"},
		func(_ context.Context, call sandbox.Call, in struct {
			Lines []string `json:"lines"`
		}) (countOut, error) {
			for i, line := range in.Lines {
				call.Emit(sandbox.Event{Kind: sandbox.EventOutput, Stream: "stdout", Text: line, Data: json.RawMessage(`{"line":` + string(rune('0'+i)) + `}`)})
			}
			return countOut{len(in.Lines)}, nil
		})
	sb, err := sandbox.New(sandbox.Options{Registry: &reg})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sb.Shutdown(context.Background()) }) // one session's Close fails on purpose
	return sb
}

func serve(t testing.TB, ex sandbox.Executor, o api.Options) string {
	t.Helper()
	h, err := api.New(ex, o)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	return srv.URL
}

func connect(t testing.TB, url string, o client.Options) *client.Client {
	t.Helper()
	c, err := client.Connect(t.Context(), url, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return c
}

// outcome is what a test can say about a response on any executor.
type outcome struct {
	Data      string
	Code      sandbox.Code
	Message   string
	Detail    string // Error.Data as JSON
	Tool      string
	Backend   string
	Session   bool
	Temporary bool
	Ran       bool
	ErrRan    bool
	Similar   []string
}

func outcomeOf(r sandbox.Response) outcome {
	o := outcome{
		Data: compact(r.Data), Code: sandbox.CodeOf(r.Err), Tool: r.Meta.Tool, Backend: r.Meta.Backend,
		Session: r.Meta.SessionID != "", Temporary: r.Meta.Temporary, Ran: r.Meta.Ran, Similar: r.Meta.DidYouMean,
	}
	if r.Err != nil {
		o.Message = r.Err.Error()
		o.Detail, o.ErrRan = detailOf(r.Err)
	}
	return o
}

func detailOf(err error) (string, bool) {
	e, ok := errors.AsType[*sandbox.Error](err)
	if !ok {
		return "no *sandbox.Error", false
	}
	if e.Data == nil {
		return "", e.Ran
	}
	b, err := json.Marshal(e.Data)
	if err != nil {
		return err.Error(), e.Ran
	}
	return compact(b), e.Ran
}

// compact puts JSON into one form, with sorted keys.
func compact(raw json.RawMessage) string {
	var v any
	if len(raw) == 0 || json.Unmarshal(raw, &v) != nil {
		return string(raw)
	}
	b, _ := json.Marshal(v)
	return string(b)
}

type failure struct {
	Code            sandbox.Code
	Message, Detail string
}

func failureOf(err error) *failure {
	if err == nil {
		return nil
	}
	detail, _ := detailOf(err)
	return &failure{sandbox.CodeOf(err), err.Error(), detail}
}

// TestExecutorsBehaveAlike runs the same calls on a Sandbox and on a Client of
// a server over another.
func TestExecutorsBehaveAlike(t *testing.T) {
	t.Parallel()
	run := func(req sandbox.Request) func(context.Context, sandbox.Executor) any {
		return func(ctx context.Context, ex sandbox.Executor) any { return outcomeOf(ex.Execute(ctx, req)) }
	}
	params := func(s string) json.RawMessage { return json.RawMessage(s) }
	cases := []struct {
		name string
		run  func(context.Context, sandbox.Executor) any
		want any
	}{
		{"success", run(sandbox.Request{Worker: "w", Tool: "math:half", Params: params(`{"of":4}`)}),
			outcome{Data: `{"n":2}`, Tool: "math:half", Backend: "maths", Ran: true}},
		{"alias and large numbers", run(sandbox.Request{Worker: "w", Tool: "say-again", Params: params(`{"x":12345678901234567890}`)}),
			outcome{Data: `{"x":12345678901234567000}`, Tool: "echo", Ran: true}},
		{"temporary session", run(sandbox.Request{Worker: "w", Tool: "incr"}),
			outcome{Data: `{"n":1}`, Tool: "fake:incr", Backend: "fake", Session: true, Temporary: true, Ran: true}},
		{"error of the tool", run(sandbox.Request{Worker: "w", Tool: "half", Params: params(`{"of":3}`)}),
			outcome{Data: `{"of":3}`, Code: 4001, Message: "odd", Detail: `{"of":3}`, Tool: "math:half", Backend: "maths", Ran: true, ErrRan: true}},
		{"unknown tool", run(sandbox.Request{Worker: "w", Tool: "math:halv"}),
			outcome{Data: `{"action":"math:halv"}`, Code: 4002, Message: "Tool not found: math:halv", Detail: `{"action":"math:halv"}`, Tool: "math:halv", Similar: []string{"math:half"}}},
		{"time limit", run(sandbox.Request{Worker: "w", Tool: "wait", Timeout: 20 * time.Millisecond}),
			outcome{Data: `{"timeout":0.02}`, Code: 5006, Message: "Tool execution timed out after 0.02s", Detail: `{"timeout":0.02}`, Tool: "wait", Ran: true, ErrRan: true}},
		{"no worker", func(ctx context.Context, ex sandbox.Executor) any {
			return sandbox.CodeOf(ex.Execute(ctx, sandbox.Request{Tool: "echo"}).Err)
		}, sandbox.ErrMissingField},
		{"worker id too long", func(ctx context.Context, ex sandbox.Executor) any {
			return sandbox.CodeOf(ex.Execute(ctx, sandbox.Request{Worker: strings.Repeat("w", 257), Tool: "echo"}).Err)
		}, sandbox.ErrInvalidInput},
		{"params that are no JSON", func(ctx context.Context, ex sandbox.Executor) any {
			r := ex.Execute(ctx, sandbox.Request{Worker: "w", Tool: "math:half", Params: params(`{"of":`)})
			return r.Err != nil && !r.Meta.Ran && sandbox.CodeOf(r.Err) < 5000
		}, true},
		{"cancelled", func(ctx context.Context, ex sandbox.Executor) any {
			ctx, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
			defer cancel()
			r := ex.Execute(ctx, sandbox.Request{Worker: "w", Tool: "wait"})
			return []any{sandbox.CodeOf(r.Err), errors.Is(r.Err, context.DeadlineExceeded), r.Err.Error()}
		}, []any{sandbox.ErrTimeout, true, "Tool execution timed out at the caller's deadline"}},
		{"trace id", func(ctx context.Context, ex sandbox.Executor) any {
			return ex.Execute(ctx, sandbox.Request{Worker: "w", Tool: "echo", TraceID: "t-7"}).Meta.TraceID
		}, "t-7"},
		{"events", func(ctx context.Context, ex sandbox.Executor) any {
			var events []sandbox.Event
			r := ex.Execute(ctx, sandbox.Request{Worker: "w", Tool: "tell", Params: params(`{"lines":["a\n","b"]}`),
				OnEvent: func(e sandbox.Event) { events = append(events, e) }})
			return []any{events, string(r.Data), r.Err}
		}, []any{[]sandbox.Event{
			{Kind: "output", Stream: "stdout", Text: "a\n", Data: params(`{"line":0}`)},
			{Kind: "output", Stream: "stdout", Text: "b", Data: params(`{"line":1}`)},
		}, `{"n":2}`, error(nil)}},
		{"events of a call that fails", func(ctx context.Context, ex sandbox.Executor) any {
			return outcomeOf(ex.Execute(ctx, sandbox.Request{Worker: "w", Tool: "nope:nope", OnEvent: func(sandbox.Event) {}})).Code
		}, sandbox.ErrInvalidRequest},

		{"batch, stopped", func(ctx context.Context, ex sandbox.Executor) any {
			b := ex.ExecuteBatch(ctx, []sandbox.Request{{Worker: "w", Tool: "echo"}, {Worker: "v", Tool: "nope"}, {Worker: "w", Tool: "echo"}},
				sandbox.BatchOptions{StopOnError: true})
			return []any{len(b.Results), b.Total, b.Executed, b.Succeeded, sandbox.CodeOf(b.Err()), b.Err().Error()}
		}, []any{2, 3, 2, 1, sandbox.ErrPartialFailure, "1 out of 2 actions failed"}},
		{"batch, parallel, of several workers", func(ctx context.Context, ex sandbox.Executor) any {
			b := ex.ExecuteBatch(ctx, []sandbox.Request{
				{Worker: "a", Tool: "echo", Params: params(`{"i":0}`), TraceID: "t0"}, {Worker: "b", Tool: "fake:incr"},
				{Worker: "c", Tool: "wait", Timeout: time.Millisecond}, {Worker: "", Tool: "echo"},
			}, sandbox.BatchOptions{Parallel: true, Limit: 2})
			codes := []any{b.Total, b.Executed, b.Succeeded, b.Results[0].Meta.TraceID}
			for _, r := range b.Results {
				codes = append(codes, sandbox.CodeOf(r.Err))
			}
			return codes
		}, []any{4, 4, 2, "t0", sandbox.Code(0), sandbox.Code(0), sandbox.ErrTimeout, sandbox.ErrMissingField}},
		{"batch, empty", func(ctx context.Context, ex sandbox.Executor) any {
			return ex.ExecuteBatch(ctx, nil, sandbox.BatchOptions{})
		}, sandbox.BatchResponse{Results: []sandbox.Response{}}},

		{"session life", func(ctx context.Context, ex sandbox.Executor) any {
			made, err := ex.CreateSession(ctx, "s", "fake", sandbox.SessionOptions{Config: params(`{"start":5}`), Name: "my vm", TTL: 90 * time.Second})
			again, err2 := ex.CreateSession(ctx, "s", "fake", sandbox.SessionOptions{})
			r := ex.Execute(ctx, sandbox.Request{Worker: "s", Tool: "fake:incr"})
			fresh, err3 := ex.RefreshSession(ctx, "s", "fake")
			list, err4 := ex.Sessions(ctx, "s")
			gone, err5 := ex.DestroySession(ctx, "s", "fake")
			n, err6 := ex.CloseWorker(ctx, "s")
			ids := map[string]bool{made.ID: true, again.ID: true, r.Meta.SessionID: true, fresh.ID: true, list[0].ID: true, gone.ID: true}
			return []any{
				errors.Join(err, err2, err3, err4, err5, err6), made.Name, made.Worker, made.Backend, made.Status, made.Existing, again.Existing,
				made.Expires.Sub(made.LastActivity).Round(time.Millisecond), made.Created.IsZero(), string(r.Data), r.Meta.Temporary,
				len(ids), len(list), list[0].Temporary, n,
			}
		}, []any{error(nil), "fake_s_001_my-vm", "s", "fake", sandbox.SessionActive, false, true, 90 * time.Second, false, `{"n":6}`, false, 1, 1, false, 0}},
		{"session that never expires", func(ctx context.Context, ex sandbox.Executor) any {
			s, err := ex.CreateSession(ctx, "n", "fake", sandbox.SessionOptions{TTL: -1})
			n, err2 := ex.CloseWorker(ctx, "n")
			return []any{s.Expires.IsZero(), n, errors.Join(err, err2)}
		}, []any{true, 1, error(nil)}},
		{"open fails", func(ctx context.Context, ex sandbox.Executor) any {
			_, err := ex.CreateSession(ctx, "f", "fake", sandbox.SessionOptions{Config: params(`{"fail":"no disk"}`)})
			return failureOf(err)
		}, &failure{sandbox.ErrNotInitialized, "Resource initialization failed: no disk", `{"details":"no disk","resource_type":"fake"}`}},
		{"close fails", func(ctx context.Context, ex sandbox.Executor) any {
			_, err := ex.CreateSession(ctx, "f", "fake", sandbox.SessionOptions{Config: params(`{"start":666}`)})
			s, err2 := ex.DestroySession(ctx, "f", "fake")
			return []any{err, s.ID != "", err2 != nil && strings.Contains(err2.Error(), "cannot close"), sandbox.CodeOf(err2)}
		}, []any{error(nil), true, true, sandbox.ErrUnexpected}},
		{"unknown backend", func(ctx context.Context, ex sandbox.Executor) any {
			_, err := ex.CreateSession(ctx, "u", "fke", sandbox.SessionOptions{})
			return failureOf(err)
		}, &failure{sandbox.ErrNotInitialized, `no backend "fke" is registered: did you mean fake?`, `{"did_you_mean":["fake"],"resource_type":"fke"}`}},
		{"unknown backend, compatible", func(ctx context.Context, ex sandbox.Executor) any {
			s, err := ex.CreateSession(ctx, "u", "web", sandbox.SessionOptions{Compatible: true})
			return []any{s.Compatible, s.Backend, err}
		}, []any{true, "web", error(nil)}},
		{"policy that widens", func(ctx context.Context, ex sandbox.Executor) any {
			_, err := ex.CreateSession(ctx, "p", "fake", sandbox.SessionOptions{Confinement: &sandbox.Confinement{Egress: sandbox.Egress{Allow: []string{"example.com"}}}})
			return sandbox.CodeOf(err) != 0
		}, true},
		{"no session to destroy", func(ctx context.Context, ex sandbox.Executor) any {
			_, err := ex.DestroySession(ctx, "nobody", "fake")
			return failureOf(err)
		}, &failure{sandbox.ErrNotInitialized, "No session found for fake", `{"resource_type":"fake"}`}},
		{"no session to refresh", func(ctx context.Context, ex sandbox.Executor) any {
			_, err := ex.RefreshSession(ctx, "nobody", "")
			return sandbox.CodeOf(err)
		}, sandbox.ErrNotInitialized},
		{"busy", func(ctx context.Context, ex sandbox.Executor) any {
			for _, w := range []string{"x1", "x2", "x3"} {
				if _, err := ex.CreateSession(ctx, w, "fake", sandbox.SessionOptions{}); err != nil {
					return err
				}
			}
			_, err := ex.CreateSession(ctx, "x4", "fake", sandbox.SessionOptions{})
			for _, w := range []string{"x1", "x2", "x3"} {
				if _, err := ex.CloseWorker(ctx, w); err != nil {
					return err
				}
			}
			return failureOf(err)
		}, &failure{sandbox.ErrBusy, "all 3 sessions of fake are in use; try again later", ""}},
		{"sessions of nobody", func(ctx context.Context, ex sandbox.Executor) any {
			s, err := ex.Sessions(ctx, "nobody")
			n, err2 := ex.CloseWorker(ctx, "nobody")
			return []any{len(s), n, errors.Join(err, err2)}
		}, []any{0, 0, error(nil)}},

		{"tools", func(ctx context.Context, ex sandbox.Executor) any {
			all, err := ex.Tools(ctx, sandbox.ToolFilter{Hidden: true})
			shown, err2 := ex.Tools(ctx, sandbox.ToolFilter{})
			some, err3 := ex.Tools(ctx, sandbox.ToolFilter{Allowed: []string{"fake-*", "echo"}})
			for i := range some {
				some[i].InputSchema, some[i].OutputSchema = nil, nil
			}
			return []any{len(all), len(shown), some, errors.Join(err, err2, err3)}
		}, []any{5, 4, []sandbox.ToolInfo{
			{Name: "incr", FullName: "fake:incr", Backend: "fake", Label: "fake", Session: true, Description: "Counts.", Idempotent: true},
			{Name: "echo", FullName: "echo", Aliases: []string{"say:again"}, ReadOnly: true},
		}, error(nil)}},
		{"warm-up", func(ctx context.Context, ex sandbox.Executor) any {
			st, err := ex.Warmup(ctx, "fake")
			return []any{st.Backends[0].Warm, st.Backends[1].Warm, err}
		}, []any{true, false, error(nil)}},
		{"warm-up that fails", func(ctx context.Context, ex sandbox.Executor) any {
			st, err := ex.Warmup(ctx)
			return []any{st.Backends[1].Name, st.Backends[1].Err, failureOf(err).Code, err.Error()}
		}, []any{"broken", "no index", sandbox.ErrBackendNotInitialized, "Backend not initialized: broken: no index"}},
		{"warm-up of an unknown backend", func(ctx context.Context, ex sandbox.Executor) any {
			_, err := ex.Warmup(ctx, "nope")
			return sandbox.CodeOf(err)
		}, sandbox.ErrNotInitialized},
		{"status", func(ctx context.Context, ex sandbox.Executor) any {
			st, err := ex.Status(ctx)
			return []any{st.Tools, st.Abandoned, len(st.Backends), st.Backends[0].Name, err}
		}, []any{5, 0, 2, "fake", error(nil)}},
		{"typed call", func(ctx context.Context, ex sandbox.Executor) any {
			out, err := sandbox.Invoke[countOut](ctx, sandbox.NewWorker(ex, "w"), "math:half", map[string]int{"of": 8})
			return []any{out.N, err}
		}, []any{4, error(nil)}},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			// In a bubble no limit passes but where everything waits for it.
			synctest.Test(t, func(t *testing.T) {
				direct, remote := newSandbox(t), overPipes(t, newSandbox(t), client.Options{})
				for name, ex := range map[string]sandbox.Executor{"direct": direct, "remote": remote} {
					if diff := cmp.Diff(tc.want, tc.run(t.Context(), ex), cmp.Comparer(sameError)); diff != "" {
						t.Errorf("%s (-want +got):\n%s", name, diff)
					}
				}
			})
		})
	}
}

// sameError is for nil and for codes, which are errors too.
func sameError(a, b error) bool { return a == b }
