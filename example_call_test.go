package sandbox_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/agentflow-go/sandbox"
)

type Sum struct {
	A int `json:"a"`
	B int `json:"b"`
}

// Invoke calls by name, with types. They need not be those that the tool was
// registered with: then the values pass through JSON.
func ExampleInvoke() {
	var reg sandbox.Registry
	sandbox.AddTool(&reg, sandbox.ToolSpec{Name: "math:add"},
		sandbox.Plain(func(_ context.Context, in Sum) (int, error) { return in.A + in.B, nil }))
	sb, err := sandbox.New(sandbox.Options{Registry: &reg})
	if err != nil {
		log.Fatal(err)
	}
	defer sb.Shutdown(context.Background())

	ctx, w := context.Background(), sb.Worker("agent-1")
	fmt.Println(sandbox.Invoke[int](ctx, w, "math:add", Sum{1, 2}))
	fmt.Println(sandbox.Invoke[float64](ctx, w, "math:add", map[string]int{"a": 3, "b": 4}))
	// Output:
	// 3 <nil>
	// 7 <nil>
}

// Execute is what an agent loop calls: a name and JSON in, JSON or an error
// out, both fit for the model.
func ExampleWorker_Execute() {
	var reg sandbox.Registry
	sandbox.AddTool(&reg, sandbox.ToolSpec{Name: "math:divide"},
		sandbox.Plain(func(_ context.Context, in Sum) (int, error) {
			if in.B == 0 {
				return 0, sandbox.Errorf(sandbox.ErrInvalidInput, "b must not be 0")
			}
			return in.A / in.B, nil
		}))
	sb, err := sandbox.New(sandbox.Options{Registry: &reg})
	if err != nil {
		log.Fatal(err)
	}
	defer sb.Shutdown(context.Background())

	w := sb.Worker("agent-1")
	fmt.Println(w.Execute(context.Background(), "math:divide", Sum{6, 3}).ForModel())
	fmt.Println(w.Execute(context.Background(), "math-divide", Sum{6, 0}).ForModel())
	fmt.Println(w.Execute(context.Background(), "math:divid", Sum{6, 3}).Meta.DidYouMean)
	// Output:
	// 2
	// {"error":{"code":4000,"message":"b must not be 0"}}
	// [math:divide]
}

func ExampleSandbox_ExecuteBatch() {
	var reg sandbox.Registry
	sandbox.AddTool(&reg, sandbox.ToolSpec{Name: "add"},
		sandbox.Plain(func(_ context.Context, in Sum) (int, error) { return in.A + in.B, nil }))
	sb, err := sandbox.New(sandbox.Options{Registry: &reg})
	if err != nil {
		log.Fatal(err)
	}
	defer sb.Shutdown(context.Background())

	batch := sb.ExecuteBatch(context.Background(), []sandbox.Request{
		{Worker: "agent-1", Tool: "add", Params: json.RawMessage(`{"a":1,"b":1}`)},
		{Worker: "agent-1", Tool: "add", Params: json.RawMessage(`{"a":1}`)},
		{Worker: "agent-2", Tool: "add", Params: json.RawMessage(`{"a":2,"b":2}`)},
	}, sandbox.BatchOptions{Parallel: true})
	for _, r := range batch.Results {
		fmt.Println(string(r.Data), sandbox.CodeOf(r.Err) == 0)
	}
	fmt.Println(batch.Err())
	// Output:
	// 2 true
	// {"expected":"integer","pointer":"/b"} false
	// 4 true
	// 1 out of 3 actions failed
}

// RunBatch gives an Executor of one's own its ExecuteBatch.
func ExampleRunBatch() {
	execute := func(_ context.Context, req sandbox.Request) sandbox.Response {
		return sandbox.Response{Data: json.RawMessage(`"` + req.Tool + ` ran"`)}
	}
	batch := sandbox.RunBatch(context.Background(), []sandbox.Request{{Tool: "a"}, {Tool: "b"}}, sandbox.BatchOptions{}, execute)
	fmt.Println(string(batch.Results[1].Data), batch.Succeeded, "of", batch.Total)
	// Output: "b ran" 2 of 2
}

// A middleware sees every call: typed, by name, and each item of a batch.
func ExampleMiddleware() {
	readOnly := func(next sandbox.Handler) sandbox.Handler {
		return func(ctx context.Context, inv *sandbox.Invocation) error {
			if !inv.Info.ReadOnly {
				return sandbox.Errorf(sandbox.ErrDenied, "%s may only read: %s is not for it", inv.Call.Worker, inv.Info.FullName)
			}
			return next(ctx, inv)
		}
	}
	nothing := sandbox.Plain(func(context.Context, struct{}) (string, error) { return "done", nil })
	var reg sandbox.Registry
	look := sandbox.AddTool(&reg, sandbox.ToolSpec{Name: "look", ReadOnly: true}, nothing)
	wipe := sandbox.AddTool(&reg, sandbox.ToolSpec{Name: "wipe"}, nothing)
	sb, err := sandbox.New(sandbox.Options{Registry: &reg, Middleware: []sandbox.Middleware{readOnly}})
	if err != nil {
		log.Fatal(err)
	}
	defer sb.Shutdown(context.Background())

	fmt.Println(look.Call(context.Background(), sb.Worker("guest"), struct{}{}))
	_, err = wipe.Call(context.Background(), sb.Worker("guest"), struct{}{})
	fmt.Println(err)
	// Output:
	// done <nil>
	// guest may only read: wipe is not for it
}

func ExampleWorker_CreateSession() {
	var reg sandbox.Registry
	sandbox.AddBackend(&reg, sandbox.BackendSpec{Name: "notes", Config: json.RawMessage(`{"color":"yellow","size":1}`)},
		sandbox.BackendFuncs[int]{
			OpenFunc: func(_ context.Context, env sandbox.Env) (int, error) {
				fmt.Println("open", string(env.Config))
				return 0, nil
			},
			CloseFunc: func(context.Context, int) error { fmt.Println("close"); return nil },
		})
	sb, err := sandbox.New(sandbox.Options{Registry: &reg})
	if err != nil {
		log.Fatal(err)
	}
	defer sb.Shutdown(context.Background())

	ctx, w := context.Background(), sb.Worker("agent-1")
	o := sandbox.SessionOptions{Config: json.RawMessage(`{"size":2}`), TTL: time.Minute}
	info, err := w.CreateSession(ctx, "notes", o)
	fmt.Println(info.Name, info.Status, info.Expires.Sub(info.LastActivity), err)
	again, err := w.CreateSession(ctx, "notes", o)
	fmt.Println(again.ID == info.ID, again.Existing, err)
	fmt.Println(w.DestroySession(ctx, "notes"))
	// Output:
	// open {"color":"yellow","size":2}
	// notes_agent-1_001 active 1m0s <nil>
	// true true <nil>
	// close
	// <nil>
}

// A fake backend for a test of one's own.
func ExampleBackendFuncs() {
	fake := sandbox.BackendFuncs[*[]string]{
		OpenFunc: func(_ context.Context, env sandbox.Env) (*[]string, error) {
			return &[]string{"opened for " + env.Worker}, nil
		},
		CloseFunc: func(_ context.Context, log *[]string) error {
			fmt.Println(append(*log, "closed"))
			return nil
		},
	}
	var reg sandbox.Registry
	b := sandbox.AddBackend(&reg, sandbox.BackendSpec{Name: "bash"}, fake)
	run := sandbox.AddSessionTool(b, sandbox.ToolSpec{Name: "run"},
		func(_ context.Context, _ sandbox.Call, log *[]string, in struct{ Command string }) (string, error) {
			*log = append(*log, in.Command)
			return "scripted output", nil
		})
	sb, err := sandbox.New(sandbox.Options{Registry: &reg})
	if err != nil {
		log.Fatal(err)
	}
	defer sb.Shutdown(context.Background())
	fmt.Println(run.Call(context.Background(), sb.Worker("w1"), struct{ Command string }{"make"}))
	// Output:
	// [opened for w1 make closed]
	// scripted output <nil>
}

func ExampleErrorf() {
	cause := errors.New("connection refused")
	err := sandbox.Errorf(sandbox.ErrDependency, "search index: %w", cause)
	fmt.Println(err)
	fmt.Println(errors.Is(err, sandbox.ErrDependency), errors.Is(err, cause))
	// Output:
	// search index: connection refused
	// true true
}

func ExampleCodeOf() {
	fmt.Println(int(sandbox.CodeOf(nil)))
	fmt.Println(int(sandbox.CodeOf(fmt.Errorf("opening: %w", sandbox.ErrBusy))))
	fmt.Println(int(sandbox.CodeOf(context.Canceled)))
	fmt.Println(int(sandbox.CodeOf(errors.New("anything else"))))
	// Output:
	// 0
	// 5014
	// 5016
	// 5005
}

// A program that embeds the library may read the same file as the server.
func ExampleParseConfig() {
	env := func(name string) (string, bool) { return "7.5", name == "TTL" }
	cfg, err := sandbox.ParseConfig([]byte(`{"server": {"session_ttl": "${TTL}"}, "resources": {"clock": {}}}`), env)
	if err != nil {
		log.Fatal(err)
	}
	clock := sandbox.Component{
		Kind: sandbox.KindResource, Key: "clock",
		Register: func(r *sandbox.Registry, s sandbox.Section) error {
			sandbox.AddShared(r, sandbox.BackendSpec{Name: s.Name}, nil)
			return nil
		},
	}
	o, err := cfg.Options(clock)
	fmt.Println(o.SessionTTL, o.Registry.Err(), err)

	_, err = sandbox.ParseConfig([]byte(`{"resouces": {}}`), env)
	fmt.Println(err)
	// Output:
	// 7.5s <nil> <nil>
	// resouces: unknown key (did you mean resources? known are apis, backends, confinement, resources, security, server, tools, warmup)
}
