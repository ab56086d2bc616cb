package client_test

import (
	"context"
	"errors"
	"os"
	"testing"

	"github.com/agentflow-go/sandbox"
	"github.com/agentflow-go/sandbox/httpserver/api"
	"github.com/agentflow-go/sandbox/httpserver/client"
)

// newFileSandbox makes a sandbox whose tool f:write writes to the workspace,
// and f:read reads.
func newFileSandbox(t *testing.T) *sandbox.Sandbox {
	t.Helper()
	var reg sandbox.Registry
	b := sandbox.AddBackend(&reg, sandbox.BackendSpec{Name: "f"}, sandbox.BackendFuncs[sandbox.Env]{
		OpenFunc: func(_ context.Context, env sandbox.Env) (sandbox.Env, error) { return env, nil },
	})
	path := func(env sandbox.Env) (string, error) {
		ws, err := env.Workspace()
		return ws + "/file", err
	}
	sandbox.AddSessionTool(b, sandbox.ToolSpec{Name: "write"}, sandbox.Method(func(env sandbox.Env, ctx context.Context, _ none) (none, error) {
		at, err := path(env)
		if err != nil {
			return none{}, err
		}
		if err := os.WriteFile(at, []byte("data"), 0o644); err != nil {
			return none{}, err
		}
		s, err := env.Snapshots()
		if err != nil {
			return none{}, err
		}
		_, err = s.Take(ctx, "first", sandbox.SnapshotLimits{})
		return none{}, errors.Join(err, os.WriteFile(at, []byte("later"), 0o644))
	}))
	sandbox.AddSessionTool(b, sandbox.ToolSpec{Name: "read"}, sandbox.Method(func(env sandbox.Env, _ context.Context, _ none) (string, error) {
		at, err := path(env)
		if err != nil {
			return "", err
		}
		data, err := os.ReadFile(at)
		return string(data), err
	}))
	sb, err := sandbox.New(sandbox.Options{Registry: &reg})
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

func TestForksByTheServer(t *testing.T) {
	t.Parallel()
	sb := newFileSandbox(t)
	url := serve(t, sb, api.Options{Tokens: []api.Token{{Secret: "root"}, {Secret: "team", WorkerPrefix: "a"}}})
	c := connect(t, url, client.Options{Token: "root"})
	if r := sandbox.NewWorker(c, "a").Execute(t.Context(), "f:write", nil); r.Err != nil {
		t.Fatal(r.Err)
	}
	tests := []struct {
		name, from, to string
		o              sandbox.ForkOptions
		want           sandbox.Code
		holds          string
	}{
		{"the workspace", "a", "a1", sandbox.ForkOptions{}, 0, "later"},
		{"a snapshot", "a", "a2", sandbox.ForkOptions{Snapshot: "first"}, 0, "data"},
		{"a fork of a fork", "a2", "a3", sandbox.ForkOptions{}, 0, "data"},
		{"to a worker that exists", "a", "a1", sandbox.ForkOptions{}, sandbox.ErrConflict, ""},
		{"to itself", "a", "a", sandbox.ForkOptions{}, sandbox.ErrConflict, ""},
		{"of a worker that does not exist", "b", "b1", sandbox.ForkOptions{}, sandbox.ErrNotInitialized, ""},
		{"of a snapshot that does not exist", "a", "a4", sandbox.ForkOptions{Snapshot: "second"}, sandbox.ErrNoResults, ""},
		{"to nobody", "a", "", sandbox.ForkOptions{}, sandbox.ErrMissingField, ""},
		{"with limits", "a", "a5", sandbox.ForkOptions{MaxBytes: 1}, sandbox.ErrInvalidInput, ""},
	}
	for _, tt := range tests {
		info, err := c.ForkWorkspace(t.Context(), tt.from, tt.to, tt.o)
		if tt.want != 0 {
			if !errors.Is(err, tt.want) {
				t.Errorf("%s: %v (%v), want %v", tt.name, err, sandbox.CodeOf(err), tt.want)
			}
			continue
		}
		if want := (sandbox.ForkInfo{Size: int64(len(tt.holds)), Files: 1}); err != nil || info != want {
			t.Errorf("%s: %+v, %v; want %+v", tt.name, info, err, want)
		}
		var got string
		if err := sandbox.NewWorker(c, tt.to).Execute(t.Context(), "f:read", nil).Decode(&got); err != nil || got != tt.holds {
			t.Errorf("%s: the fork holds %q, %v; want %q", tt.name, got, err, tt.holds)
		}
	}
	bound := connect(t, url, client.Options{Token: "team"})
	if _, err := bound.ForkWorkspace(t.Context(), "a", "a9", sandbox.ForkOptions{}); !errors.Is(err, sandbox.ErrForbidden) {
		t.Errorf("with a bound token: %v, want %v", err, sandbox.ErrForbidden)
	}
}
