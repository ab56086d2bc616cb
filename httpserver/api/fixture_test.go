package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/agentflow-go/sandbox"
	"github.com/agentflow-go/sandbox/httpserver/api"
)

type counter struct{ n int }

type incrIn struct {
	By int `json:"by,omitempty" jsonschema:"how much to add"`
}

type countOut struct {
	N int `json:"n"`
}

type addIn struct {
	A    int      `json:"a" jsonschema:"first summand"`
	B    int      `json:"b"`
	Tags []string `json:"tags,omitempty"`
	Seed string   `json:"seed_path,omitempty"`
}

type none struct{}

type gate struct{ entered, left chan struct{} }

// registry has a tool for each outcome that the handler has to render.
func registry(g *gate) *sandbox.Registry {
	var reg sandbox.Registry
	fake := sandbox.AddBackend(&reg, sandbox.BackendSpec{Name: "fake", Config: json.RawMessage(`{"start":0,"fail":""}`)},
		sandbox.BackendFuncs[*counter]{OpenFunc: func(_ context.Context, env sandbox.Env) (*counter, error) {
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
		}})
	sandbox.AddSessionTool(fake, sandbox.ToolSpec{Name: "incr", Description: "Counts."},
		func(_ context.Context, _ sandbox.Call, c *counter, in incrIn) (countOut, error) {
			c.n += max(in.By, 1)
			return countOut{c.n}, nil
		})
	rag := sandbox.AddShared(&reg, sandbox.BackendSpec{Name: "rag"}, sandbox.BackendFuncs[none]{})
	sandbox.AddSharedTool(rag, sandbox.ToolSpec{Name: "search", Description: "Searches."},
		sandbox.Plain(func(context.Context, none) (countOut, error) { return countOut{}, nil }))
	sandbox.AddShared(&reg, sandbox.BackendSpec{Name: "broken"}, sandbox.BackendFuncs[none]{
		WarmupFunc: func(context.Context, sandbox.Env) error { return errors.New("no index") }})

	sandbox.AddTool(&reg, sandbox.ToolSpec{Name: "web:search", Label: "websearch"},
		sandbox.Plain(func(context.Context, none) (countOut, error) { return countOut{}, nil }))
	sandbox.AddTool(&reg, sandbox.ToolSpec{Name: "echo", Description: "Says it again.", Decode: sandbox.Trusted},
		sandbox.Plain(func(_ context.Context, in json.RawMessage) (json.RawMessage, error) { return in, nil }))
	sandbox.AddTool(&reg, sandbox.ToolSpec{Name: "calc:add", Description: "Adds."},
		sandbox.Plain(func(_ context.Context, in addIn) (countOut, error) { return countOut{in.A + in.B}, nil }))
	sandbox.AddTool(&reg, sandbox.ToolSpec{Name: "mcp:srv-1.read.file", Description: "Reads."},
		sandbox.Plain(func(context.Context, none) (countOut, error) { return countOut{7}, nil }))
	sandbox.AddTool(&reg, sandbox.ToolSpec{Name: "secret", Hidden: true},
		sandbox.Plain(func(context.Context, none) (countOut, error) { return countOut{}, nil }))
	sandbox.AddTool(&reg, sandbox.ToolSpec{Name: "refuse"},
		sandbox.Plain(func(_ context.Context, in struct {
			Code int `json:"code"`
		}) (countOut, error) {
			return countOut{}, &sandbox.Error{Code: sandbox.Code(in.Code), Message: "refused", Data: map[string]int{"limit": 3}}
		}))
	sandbox.AddTool(&reg, sandbox.ToolSpec{Name: "crash"},
		sandbox.Plain(func(context.Context, none) (countOut, error) { panic("boom") }))
	sandbox.AddTool(&reg, sandbox.ToolSpec{Name: "nan"},
		sandbox.Plain(func(context.Context, none) (map[string]float64, error) {
			return map[string]float64{"x": math.NaN()}, nil
		}))
	sandbox.AddTool(&reg, sandbox.ToolSpec{Name: "wait"}, // until its context ends
		sandbox.Plain(func(ctx context.Context, _ none) (countOut, error) {
			if g != nil {
				g.entered <- struct{}{}
				defer func() { g.left <- struct{}{} }()
			}
			<-ctx.Done()
			return countOut{N: 1}, ctx.Err() // what it had so far
		}))
	sandbox.AddTool(&reg, sandbox.ToolSpec{Name: "tell"},
		func(_ context.Context, call sandbox.Call, in struct {
			Lines []string `json:"lines"`
		}) (countOut, error) {
			for _, line := range in.Lines {
				call.Emit(sandbox.Event{Kind: sandbox.EventOutput, Stream: "stdout", Text: line})
			}
			return countOut{len(in.Lines)}, nil
		})
	return &reg
}

func newGate() *gate { return &gate{make(chan struct{}, 64), make(chan struct{}, 64)} }

func newSandbox(t testing.TB, g *gate) *sandbox.Sandbox {
	t.Helper()
	sb, err := sandbox.New(sandbox.Options{Registry: registry(g)})
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

func newHandler(t testing.TB, ex sandbox.Executor, o api.Options) http.Handler {
	t.Helper()
	h, err := api.New(ex, o)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// answer is one answer, decoded.
type answer struct {
	status int
	header http.Header
	body   map[string]any
	raw    string
}

// send sends one request. header holds "Name: value" lines that replace what a
// well-behaved client sends.
func send(t testing.TB, h http.Handler, method, path, body string, header ...string) answer {
	t.Helper()
	var r *http.Request
	if body == "" {
		r = httptest.NewRequest(method, path, nil)
	} else {
		r = httptest.NewRequest(method, path, strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
	}
	r.Host = "localhost:18890"
	for _, line := range header {
		name, value, _ := strings.Cut(line, ": ")
		switch {
		case name == "Host":
			r.Host = value
		case value == "":
			r.Header.Del(name)
		default:
			r.Header.Set(name, value)
		}
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return read(t, method+" "+path, w.Result())
}

// read decodes an answer, and checks what holds for all of them.
func read(t testing.TB, what string, resp *http.Response) answer {
	t.Helper()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	a := answer{status: resp.StatusCode, header: resp.Header, raw: string(raw)}
	dec := json.NewDecoder(bytes.NewReader(raw))
	if err := dec.Decode(&a.body); err != nil {
		t.Fatalf("%s: the answer is not a JSON object: %v\n%s", what, err, raw)
	}
	if got := resp.Header.Get("Content-Type"); got != "application/json" {
		t.Errorf("%s: Content-Type %q", what, got)
	}
	if resp.Header.Get("Content-Length") == "" {
		t.Errorf("%s: no Content-Length", what)
	}
	return a
}

// lacks explains how got fails to hold what want asks for: objects may have
// more members, "*" is any value but null, "absent" no member at all.
func lacks(path string, want, got any) string {
	switch w := want.(type) {
	case map[string]any:
		g, ok := got.(map[string]any)
		if !ok {
			return path + ": not an object"
		}
		for k, v := range w {
			gv, there := g[k]
			if v == "absent" {
				if there {
					return path + "." + k + ": is there"
				}
				continue
			}
			if !there {
				return path + "." + k + ": absent"
			}
			if s := lacks(path+"."+k, v, gv); s != "" {
				return s
			}
		}
		return ""
	case []any:
		g, ok := got.([]any)
		if !ok || len(g) != len(w) {
			return path + ": not a list of that length"
		}
		for i := range w {
			if s := lacks(path+"[]", w[i], g[i]); s != "" {
				return s
			}
		}
		return ""
	case string:
		if w == "*" && got != nil {
			return ""
		}
	}
	wb, _ := json.Marshal(want)
	gb, _ := json.Marshal(got)
	if !bytes.Equal(wb, gb) {
		return path + ": got " + string(gb) + ", want " + string(wb)
	}
	return ""
}

func wantAnswer(t *testing.T, a answer, status int, want string) {
	t.Helper()
	if a.status != status {
		t.Errorf("status %d, want %d\n%s", a.status, status, a.raw)
	}
	var w any
	if err := json.Unmarshal([]byte(want), &w); err != nil {
		t.Fatalf("bad want: %v", err)
	}
	if s := lacks("", w, a.body); s != "" {
		t.Errorf("%s\n%s", s, a.raw)
	}
}
