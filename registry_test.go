package sandbox_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/agentflow-go/sandbox"
)

type badHooks struct{ sandbox.BackendFuncs[int] }

// Warmup has not the signature of sandbox.Warmer.
func (badHooks) Warmup() error { return nil }

type badBind struct{ sandbox.BackendFuncs[int] }

func (badBind) Bind(context.Context, string, sandbox.Env) error { return nil }

func TestBadRegistrationsAreReportedWithTheirPlace(t *testing.T) {
	t.Parallel()
	fn := sandbox.Plain(echo)
	tests := []struct {
		name string
		add  func(r *sandbox.Registry)
		want string
	}{
		{"tool name", func(r *sandbox.Registry) { sandbox.AddTool(r, sandbox.ToolSpec{Name: "a b"}, fn) }, `tool "a b": its name must be`},
		{"two colons", func(r *sandbox.Registry) { sandbox.AddTool(r, sandbox.ToolSpec{Name: "a:b:c"}, fn) }, `tool "a:b:c": its name must be`},
		{"no function", func(r *sandbox.Registry) {
			sandbox.AddTool[echoIn, echoOut](r, sandbox.ToolSpec{Name: "a"}, nil)
		}, "no function given"},
		{"taken", func(r *sandbox.Registry) {
			sandbox.AddTool(r, sandbox.ToolSpec{Name: "a"}, fn)
			sandbox.AddTool(r, sandbox.ToolSpec{Name: "b", Aliases: []string{"a"}}, fn)
		}, `the name "a" is taken`},
		{"no schema", func(r *sandbox.Registry) {
			sandbox.AddTool(r, sandbox.ToolSpec{Name: "a"}, sandbox.Plain(func(context.Context, struct{ C chan int }) (empty, error) { return empty{}, nil }))
		}, "input: "},
		{"schema of no object", func(r *sandbox.Registry) {
			sandbox.AddTool(r, sandbox.ToolSpec{Name: "a", InputSchema: raw(`{"type":"string"}`)}, fn)
		}, "the schema's type must be object"},
		{"broken schema", func(r *sandbox.Registry) {
			sandbox.AddTool(r, sandbox.ToolSpec{Name: "a", InputSchema: raw(`{"type":`)}, fn)
		}, "not a JSON schema"},
		{"backend name", func(r *sandbox.Registry) {
			sandbox.AddBackend(r, sandbox.BackendSpec{Name: "a:b"}, sandbox.BackendFuncs[int]{})
		}, `backend "a:b": its name must be`},
		{"backend twice", func(r *sandbox.Registry) {
			sandbox.AddBackend(r, sandbox.BackendSpec{Name: "a"}, sandbox.BackendFuncs[int]{})
			sandbox.AddShared(r, sandbox.BackendSpec{Name: "a"}, nil)
		}, "the name is taken by"},
		{"backend config", func(r *sandbox.Registry) {
			sandbox.AddBackend(r, sandbox.BackendSpec{Name: "a", Config: raw(`[]`)}, sandbox.BackendFuncs[int]{})
		}, "its Config must be a JSON object"},
		{"hook", func(r *sandbox.Registry) {
			sandbox.AddBackend(r, sandbox.BackendSpec{Name: "a"}, badHooks{})
		}, "its method Warmup does not fit sandbox.Warmer"},
		{"bind", func(r *sandbox.Registry) {
			sandbox.AddBackend(r, sandbox.BackendSpec{Name: "a"}, badBind{})
		}, "its method Bind does not fit sandbox.Binder"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var reg sandbox.Registry
			tt.add(&reg)
			_, err := sandbox.New(sandbox.Options{Registry: &reg})
			if !errors.Is(err, sandbox.ErrBadRegistration) || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "registry_test.go:") {
				t.Errorf("New: %v, want ErrBadRegistration with the place and %q", err, tt.want)
			}
			if reg.Err() == nil {
				t.Error("Registry.Err is nil")
			}
		})
	}
}

func TestEveryFaultIsReported(t *testing.T) {
	t.Parallel()
	var reg sandbox.Registry
	sandbox.AddTool(&reg, sandbox.ToolSpec{Name: "one!"}, sandbox.Plain(echo))
	tool := sandbox.AddTool(&reg, sandbox.ToolSpec{Name: "two!"}, sandbox.Plain(echo))
	_, err := sandbox.New(sandbox.Options{Registry: &reg})
	if err == nil || !strings.Contains(err.Error(), "one!") || !strings.Contains(err.Error(), "two!") {
		t.Errorf("New: %v, want both faults", err)
	}
	if _, err := tool.Call(t.Context(), sandbox.NewWorker(nil, "w"), echoIn{}); !errors.Is(err, sandbox.ErrBadRegistration) {
		t.Errorf("calling a faulty tool: %v", err)
	}
}

func TestRegistryBelongsToOneSandbox(t *testing.T) {
	t.Parallel()
	f := newFake(sandbox.BackendSpec{}, sandbox.BackendFuncs[*counter]{})
	newSandbox(t, f.reg, sandbox.Options{})
	if _, err := sandbox.New(sandbox.Options{Registry: f.reg}); !errors.Is(err, sandbox.ErrBadRegistration) {
		t.Errorf("second New: %v", err)
	}
	late := sandbox.AddTool(f.reg, sandbox.ToolSpec{Name: "late"}, sandbox.Plain(echo))
	if _, err := late.Call(t.Context(), sandbox.NewWorker(nil, "w"), echoIn{}); !errors.Is(err, sandbox.ErrBadRegistration) {
		t.Errorf("tool registered late: %v", err)
	}
}

func TestNewRefusesBadOptions(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]sandbox.Options{
		"no registry":    {},
		"negative":       {Registry: new(sandbox.Registry), MaxCalls: -1},
		"limit":          {Registry: new(sandbox.Registry), Confine: sandbox.Confinement{Limits: sandbox.Limits{Memory: -2}}},
		"level":          {Registry: new(sandbox.Registry), Confine: sandbox.Confinement{Level: "chroot"}},
		"allow degraded": {Registry: new(sandbox.Registry), Confine: sandbox.Confinement{AllowDegraded: []string{"memroy"}}},
	} {
		if _, err := sandbox.New(o); err == nil {
			t.Errorf("%s: New succeeded", name)
		}
	}
}
