package sandbox_test

import (
	"context"
	"encoding/json"
	"errors"
	"sync/atomic"
	"testing"

	"github.com/agentflow-go/sandbox"
	"github.com/google/go-cmp/cmp"
)

// counter is the session state of the fake backend that most tests use.
type counter struct{ n atomic.Int64 }

type empty struct{}

type incrIn struct {
	By int `json:"by,omitzero" jsonschema:"how much to add; 1 if absent"`
}

type incrOut struct {
	N int64 `json:"n"`
}

type echoIn struct {
	Text string `json:"text" jsonschema:"what to say"`
	Loud bool   `json:"loud,omitzero"`
}

type echoOut struct {
	Text string `json:"text"`
}

func echo(_ context.Context, in echoIn) (echoOut, error) { return echoOut{in.Text}, nil }

func (c *counter) Incr(_ context.Context, in incrIn) (incrOut, error) {
	return incrOut{c.n.Add(int64(max(in.By, 1)))}, nil
}

// fakeTools are the handles of newFake.
type fakeTools struct {
	reg     *sandbox.Registry
	backend *sandbox.Binding[*counter]
	incr    *sandbox.Tool[incrIn, incrOut]
	echo    *sandbox.Tool[echoIn, echoOut]
}

// newFake registers the backend "fake" with fake:incr, and the tool echo.
func newFake(spec sandbox.BackendSpec, funcs sandbox.BackendFuncs[*counter]) fakeTools {
	if funcs.OpenFunc == nil {
		funcs.OpenFunc = func(context.Context, sandbox.Env) (*counter, error) { return new(counter), nil }
	}
	spec.Name = "fake"
	f := fakeTools{reg: new(sandbox.Registry)}
	f.backend = sandbox.AddBackend(f.reg, spec, funcs)
	f.incr = sandbox.AddSessionTool(f.backend, sandbox.ToolSpec{Name: "incr", Description: "Counts."}, sandbox.Method((*counter).Incr))
	f.echo = sandbox.AddTool(f.reg, sandbox.ToolSpec{Name: "echo"}, sandbox.Plain(echo))
	return f
}

// newSandbox makes a Sandbox that is shut down without error at the test's end.
func newSandbox(t testing.TB, reg *sandbox.Registry, o sandbox.Options) *sandbox.Sandbox {
	t.Helper()
	o.Registry = reg
	sb, err := sandbox.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := sb.Shutdown(context.Background()); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
	})
	return sb
}

func raw(s string) json.RawMessage { return json.RawMessage(s) }

// wantCode fails unless err has the code.
func wantCode(t testing.TB, err error, code sandbox.Code) *sandbox.Error {
	t.Helper()
	e, ok := errors.AsType[*sandbox.Error](err)
	if !ok || !errors.Is(err, code) {
		t.Fatalf("error = %v (%d), want code %d", err, sandbox.CodeOf(err), code)
	}
	return e
}

func TestTypedAndUntypedCallsReachTheSameTool(t *testing.T) {
	t.Parallel()
	f := newFake(sandbox.BackendSpec{}, sandbox.BackendFuncs[*counter]{})
	sb := newSandbox(t, f.reg, sandbox.Options{})
	w := sb.Worker("w")
	if _, err := w.CreateSession(t.Context(), "fake", sandbox.SessionOptions{}); err != nil {
		t.Fatal(err)
	}
	if out, err := f.incr.Call(t.Context(), w, incrIn{By: 2}); err != nil || out.N != 2 {
		t.Fatalf("typed Call = %v, %v, want 2", out, err)
	}
	resp := w.Execute(t.Context(), "fake:incr", incrIn{By: 3})
	if resp.Err != nil || string(resp.Data) != `{"n":5}` {
		t.Fatalf("Execute = %s, %v, want {\"n\":5}", resp.Data, resp.Err)
	}
	if out, err := sandbox.Invoke[incrOut](t.Context(), w, "incr", incrIn{}); err != nil || out.N != 6 {
		t.Fatalf("Invoke = %v, %v, want 6", out, err)
	}
	if out, err := sandbox.Invoke[map[string]int](t.Context(), w, "fake-incr", map[string]int{"by": 4}); err != nil || out["n"] != 10 {
		t.Fatalf("Invoke with other types = %v, %v, want 10", out, err)
	}
	if resp.Meta.Tool != "fake:incr" || resp.Meta.Backend != "fake" || resp.Meta.Temporary || !resp.Meta.Ran || len(resp.Meta.TraceID) != 36 {
		t.Errorf("Meta = %+v", resp.Meta)
	}
	if got := resp.ForModel(); got != `{"n":5}` {
		t.Errorf("ForModel = %s", got)
	}
}

func TestInputIsChecked(t *testing.T) {
	t.Parallel()
	f := newFake(sandbox.BackendSpec{}, sandbox.BackendFuncs[*counter]{})
	type nested struct {
		List []struct {
			X int `json:"x"`
		} `json:"list"`
		Data []byte            `json:"data,omitzero"`
		Env  map[string]string `json:"env,omitzero"`
	}
	sandbox.AddTool(f.reg, sandbox.ToolSpec{Name: "nested"}, sandbox.Plain(func(_ context.Context, in nested) (nested, error) { return in, nil }))
	sandbox.AddTool(f.reg, sandbox.ToolSpec{Name: "lenient", Decode: sandbox.IgnoreUnknown}, sandbox.Plain(echo))
	sandbox.AddTool(f.reg, sandbox.ToolSpec{Name: "trusting", Decode: sandbox.Trusted}, sandbox.Plain(echo))
	sandbox.AddTool(f.reg, sandbox.ToolSpec{Name: "any"}, sandbox.Plain(func(_ context.Context, in json.RawMessage) (json.RawMessage, error) { return in, nil }))
	sandbox.AddTool(f.reg, sandbox.ToolSpec{Name: "ranged", InputSchema: raw(`{"type":"object","properties":{"n":{"type":"integer","minimum":1},"mode":{"enum":["a","b"]}}}`)},
		sandbox.Plain(func(_ context.Context, in map[string]any) (map[string]any, error) { return in, nil }))
	sb := newSandbox(t, f.reg, sandbox.Options{})
	w := sb.Worker("w")
	tests := []struct {
		name, tool, params string
		code               sandbox.Code
		message            string // or the data, when code is 0
	}{
		{"missing", "echo", `{}`, 4003, "Missing required field: /text is required: expected string (what to say)"},
		{"no params", "echo", ``, 4003, "Missing required field: /text is required: expected string (what to say)"},
		{"null params", "echo", `null`, 4003, "Missing required field: /text is required: expected string (what to say)"},
		{"wrong type", "echo", `{"text":1}`, 4004, "Invalid parameter type: /text: expected string, got integer"},
		{"unknown field", "echo", `{"text":"a","loudd":true}`, 4004, "Invalid parameter type: /loudd is not a known field: expected loud (one of text, loud)"},
		{"wrong case", "echo", `{"Text":"a"}`, 4003, `Missing required field: /text is required: expected string (what to say); "Text" is not a known field`},
		{"another word", "echo", `{"say":"a"}`, 4003, `Missing required field: /text is required: expected string (what to say); "say" is not a known field`},
		{"misspelt", "echo", `{"tetx":"a","loud":true}`, 4003, `Missing required field: /text is required: expected string (what to say); "tetx" is not a known field`},
		{"null optional", "echo", `{"text":"a","loud":null}`, 0, `{"text":"a"}`},
		{"null required", "echo", `{"text":null}`, 4004, "Invalid parameter type: /text: expected string, got null"},
		{"not an object", "echo", `[1]`, 4004, "Invalid parameter type: the input: expected object, got array"},
		{"not JSON", "echo", "{\n\"text\": }", 4002, "params: not valid JSON at line 2, column 9: invalid character '}' looking for beginning of value"},
		{"two values", "echo", `{"text":"a"} {}`, 4002, "params: not valid JSON at line 1, column 14: invalid character '{' after top-level value"},
		{"nested missing", "nested", `{"list":[{"x":1},{}]}`, 4003, "Missing required field: /list/1/x is required: expected integer"},
		{"nested type", "nested", `{"list":[{"x":"1"}]}`, 4004, "Invalid parameter type: /list/0/x: expected integer, got string"},
		{"fraction", "nested", `{"list":[{"x":1.5}]}`, 4004, "Invalid parameter type: /list/0/x: expected integer, got number"},
		{"map value", "nested", `{"list":[],"env":{"a/b":1}}`, 4004, "Invalid parameter type: /env/a~1b: expected string, got integer"},
		{"bytes are base64", "nested", `{"list":[],"data":"aGk="}`, 0, `{"list":[],"data":"aGk="}`},
		{"lenient drops", "lenient", `{"text":"a","seed_path":"/x","TEXT":"b"}`, 0, `{"text":"a"}`},
		{"lenient still checks", "lenient", `{"text":1,"seed_path":"/x"}`, 4004, "Invalid parameter type: /text: expected string, got integer"},
		{"trusted", "trusting", `{"text":"a","other":1}`, 0, `{"text":"a"}`},
		{"trusted cannot decode", "trusting", `{"text":1}`, 4004, "Invalid parameter type: /text: expected string, got number"},
		{"raw", "any", `{"x":[1,2]}`, 0, `{"x":[1,2]}`},
		{"raw refuses other than objects", "any", `3`, 4004, "Invalid parameter type: the input: expected object, got integer"},
		{"minimum", "ranged", `{"n":0}`, 4000, "Invalid input provided: /n: expected at least 1, got 0"},
		{"enum", "ranged", `{"mode":"c"}`, 4000, `Invalid input provided: /mode: expected one of "a", "b", got "c"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			resp := w.Execute(t.Context(), tt.tool, raw(tt.params))
			if tt.code == 0 {
				if resp.Err != nil || string(resp.Data) != tt.message {
					t.Fatalf("Execute(%s, %s) = %s, %v, want %s", tt.tool, tt.params, resp.Data, resp.Err, tt.message)
				}
				return
			}
			e := wantCode(t, resp.Err, tt.code)
			if e.Message != tt.message {
				t.Errorf("message = %q, want %q", e.Message, tt.message)
			}
			if e.Ran || resp.Meta.Ran {
				t.Error("Ran is set although the input was refused")
			}
		})
	}
}

func TestOutputThatIsNoJSONIsAnError(t *testing.T) {
	t.Parallel()
	var reg sandbox.Registry
	sandbox.AddTool(&reg, sandbox.ToolSpec{Name: "nan"}, sandbox.Plain(func(context.Context, empty) (map[string]float64, error) {
		zero := 0.0
		return map[string]float64{"x": zero / zero}, nil
	}))
	sandbox.AddTool(&reg, sandbox.ToolSpec{Name: "echo"}, sandbox.Plain(echo))
	sb := newSandbox(t, &reg, sandbox.Options{})
	b := sb.ExecuteBatch(t.Context(), []sandbox.Request{
		{Worker: "w", Tool: "nan"}, {Worker: "w", Tool: "echo", Params: raw(`{"text":"<a>"}`)},
	}, sandbox.BatchOptions{Parallel: true})
	wantCode(t, b.Results[0].Err, sandbox.ErrUnexpected)
	if got := string(b.Results[1].Data); got != `{"text":"<a>"}` {
		t.Errorf("the other item = %s, want it untouched", got)
	}
}

func TestErrorsOfTools(t *testing.T) {
	t.Parallel()
	cause := errors.New("disk on fire")
	var reg sandbox.Registry
	add := func(name string, spec sandbox.ToolSpec, err error) {
		spec.Name = name
		sandbox.AddTool(&reg, spec, sandbox.Plain(func(context.Context, empty) (empty, error) { return empty{}, err }))
	}
	add("plain", sandbox.ToolSpec{}, cause)
	add("api", sandbox.ToolSpec{ErrorCode: sandbox.ErrExecution}, cause)
	add("coded", sandbox.ToolSpec{}, sandbox.Errorf(sandbox.ErrInvalidURL, "no scheme: %w", cause))
	add("own", sandbox.ToolSpec{}, &sandbox.Error{Code: 1002, Message: "bad value", Data: map[string]int{"max": 3}})
	add("sentinel", sandbox.ToolSpec{}, sandbox.ErrNoResults)
	add("codeless", sandbox.ToolSpec{ErrorCode: sandbox.ErrExecution}, &sandbox.Error{Message: "forgot the code"})
	add("zero", sandbox.ToolSpec{}, sandbox.Code(0))
	add("deadline", sandbox.ToolSpec{}, context.DeadlineExceeded)
	sandbox.AddTool(&reg, sandbox.ToolSpec{Name: "panics"}, sandbox.Plain(func(context.Context, empty) (empty, error) { panic("oh no") }))
	sb := newSandbox(t, &reg, sandbox.Options{})
	tests := []struct {
		tool, message, data string
		code                sandbox.Code
	}{
		{"plain", "disk on fire", "", 5005},
		{"api", "disk on fire", "", 5000},
		{"coded", "no scheme: disk on fire", "", 4005},
		{"own", "bad value", `{"max":3}`, 1002},
		{"sentinel", "No results found", "", 4006},
		{"codeless", "forgot the code", "", 5000}, // never under 0, which is success
		{"zero", "error 0", "", 5005},
		{"deadline", "context deadline exceeded", "", 5005}, // not the call's own limit
		{"panics", "tool panics panicked: oh no", "", 5005},
	}
	for _, tt := range tests {
		resp := sb.Worker("w").Execute(t.Context(), tt.tool, nil)
		e := wantCode(t, resp.Err, tt.code)
		if e.Error() != tt.message || string(resp.Data) != tt.data || !e.Ran || e.Tool != tt.tool {
			t.Errorf("%s: error %q data %s ran %v tool %q, want %q, %s", tt.tool, e, resp.Data, e.Ran, e.Tool, tt.message, tt.data)
		}
	}
	if resp := sb.Worker("w").Execute(t.Context(), "coded", nil); !errors.Is(resp.Err, cause) {
		t.Error("the cause is not visible to errors.Is")
	}
	want := `{"error":{"code":1002,"message":"bad value","data":{"max":3}}}`
	if got := sb.Worker("w").Execute(t.Context(), "own", nil).ForModel(); got != want {
		t.Errorf("ForModel = %s, want %s", got, want)
	}
}

func TestWorkerIDs(t *testing.T) {
	t.Parallel()
	f := newFake(sandbox.BackendSpec{}, sandbox.BackendFuncs[*counter]{})
	sb := newSandbox(t, f.reg, sandbox.Options{})
	long := string(make([]byte, 257))
	wantCode(t, sb.Worker("").Execute(t.Context(), "echo", nil).Err, sandbox.ErrMissingField)
	wantCode(t, sb.Worker(long).Execute(t.Context(), "echo", nil).Err, sandbox.ErrInvalidInput)
	_, err := sb.Worker(long).CreateSession(t.Context(), "fake", sandbox.SessionOptions{})
	wantCode(t, err, sandbox.ErrInvalidInput)
	for _, id := range []string{"../x", "\x00", "w3/..$ x", long[:256]} {
		if _, err := f.incr.Call(t.Context(), sb.Worker(id), incrIn{}); err != nil {
			t.Errorf("worker %q: %v", id, err)
		}
	}
}

func TestMiddlewareSeesEveryCall(t *testing.T) {
	t.Parallel()
	f := newFake(sandbox.BackendSpec{}, sandbox.BackendFuncs[*counter]{})
	var seen []string
	record := func(next sandbox.Handler) sandbox.Handler {
		return func(ctx context.Context, inv *sandbox.Invocation) error {
			in, err := inv.InputJSON()
			if err != nil {
				return err
			}
			if err := next(ctx, inv); err != nil {
				seen = append(seen, inv.Info.FullName+" "+string(in)+" error")
				return err
			}
			out, err := inv.OutputJSON()
			seen = append(seen, inv.Info.FullName+" "+string(in)+" "+string(out))
			return err
		}
	}
	cached := func(next sandbox.Handler) sandbox.Handler {
		return func(ctx context.Context, inv *sandbox.Invocation) error {
			if in, _ := inv.InputJSON(); string(in) == `{"text":"cached"}` {
				return inv.SetOutputJSON(raw(`{"text":"from the cache"}`))
			}
			return next(ctx, inv)
		}
	}
	sb := newSandbox(t, f.reg, sandbox.Options{Middleware: []sandbox.Middleware{record, cached}})
	w := sb.Worker("w")
	if out, err := f.echo.Call(t.Context(), w, echoIn{Text: "cached"}); err != nil || out.Text != "from the cache" {
		t.Errorf("typed call through the cache = %v, %v", out, err)
	}
	f.echo.Call(t.Context(), w, echoIn{Text: "hi"})
	w.Execute(t.Context(), "echo", raw(`{"text":"raw"}`))
	w.Execute(t.Context(), "echo", nil)
	sb.ExecuteBatch(t.Context(), []sandbox.Request{{Worker: "w", Tool: "incr"}}, sandbox.BatchOptions{})
	want := []string{
		`echo {"text":"cached"} {"text":"from the cache"}`,
		`echo {"text":"hi"} {"text":"hi"}`,
		`echo {"text":"raw"} {"text":"raw"}`,
		`echo {} error`,
		`fake:incr {} {"n":1}`,
	}
	if diff := cmp.Diff(want, seen); diff != "" {
		t.Errorf("calls seen mismatch (-want +got):\n%s", diff)
	}
}

func TestMiddlewarePanicIsAnError(t *testing.T) {
	t.Parallel()
	f := newFake(sandbox.BackendSpec{}, sandbox.BackendFuncs[*counter]{})
	sb := newSandbox(t, f.reg, sandbox.Options{Middleware: []sandbox.Middleware{
		func(sandbox.Handler) sandbox.Handler {
			return func(context.Context, *sandbox.Invocation) error { panic("in the middle") }
		},
	}})
	wantCode(t, sb.Worker("w").Execute(t.Context(), "echo", raw(`{"text":""}`)).Err, sandbox.ErrUnexpected)
}

func TestValidateTyped(t *testing.T) {
	t.Parallel()
	var reg sandbox.Registry
	tool := sandbox.AddTool(&reg, sandbox.ToolSpec{Name: "pick", InputSchema: raw(`{"type":"object","properties":{"text":{"type":"string","maxLength":2}},"required":["text"]}`)}, sandbox.Plain(echo))
	sb := newSandbox(t, &reg, sandbox.Options{ValidateTyped: true})
	if _, err := tool.Call(t.Context(), sb.Worker("w"), echoIn{Text: "ab"}); err != nil {
		t.Errorf("fitting input: %v", err)
	}
	_, err := tool.Call(t.Context(), sb.Worker("w"), echoIn{Text: "abc"})
	wantCode(t, err, sandbox.ErrInvalidInput)
}
