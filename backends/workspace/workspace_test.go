package workspace_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/agentflow-go/sandbox"
	"github.com/agentflow-go/sandbox/backends/workspace"
)

type fixture struct {
	sb *sandbox.Sandbox
	ws workspace.Tools
	sh *sandbox.Tool[shIn, string]
}

type shIn struct {
	Command string `json:"command"`
}

// newFixture makes a sandbox with the backend, and one that runs commands.
func newFixture(t *testing.T, cfg workspace.Config, o sandbox.Options) fixture {
	t.Helper()
	var reg sandbox.Registry
	f := fixture{ws: workspace.Register(&reg, cfg)}
	b := sandbox.AddBackend(&reg, sandbox.BackendSpec{Name: "sh"}, sandbox.BackendFuncs[sandbox.Env]{
		OpenFunc: func(_ context.Context, env sandbox.Env) (sandbox.Env, error) { return env, nil },
	})
	f.sh = sandbox.AddSessionTool(b, sandbox.ToolSpec{Name: "run"}, sandbox.Method(func(env sandbox.Env, ctx context.Context, in shIn) (string, error) {
		var out strings.Builder
		p, err := env.Start(ctx, sandbox.Cmd{Path: "bash", Args: []string{"-c", in.Command}, Stdout: &out, Stderr: &out})
		if err != nil {
			return "", err
		}
		err = p.Wait()
		return strings.TrimSpace(out.String()), err
	}))
	o.Registry = &reg
	sb, err := sandbox.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := sb.Shutdown(context.Background()); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
	})
	f.sb = sb
	return f
}

func (f fixture) run(t *testing.T, w *sandbox.Worker, command string) string {
	t.Helper()
	out, err := f.sh.Call(t.Context(), w, shIn{command})
	if err != nil {
		t.Fatalf("%s: %v\n%s", command, err, out)
	}
	return out
}

func TestAnAgentGoesBackToASnapshot(t *testing.T) {
	t.Parallel()
	f := newFixture(t, workspace.Config{}, sandbox.Options{ValidateTyped: true})
	ctx, w := t.Context(), f.sb.Worker("a")
	f.run(t, w, "mkdir src; echo one > src/a; echo two > b; mkfifo pipe")
	shot, err := f.ws.Snapshot.Call(ctx, w, workspace.SnapshotInput{Name: "../../works"})
	want := workspace.SnapshotOutput{Name: "../../works", Size: shot.Size, Files: 3, Skipped: 1}
	if diff := cmp.Diff(want, shot, cmpopts.IgnoreFields(want, "Created")); diff != "" || err != nil || shot.Size == 0 {
		t.Fatalf("snapshot (-want +got): %v\n%s", err, diff)
	}
	f.run(t, w, "echo more >> src/a; rm b; mkdir new; echo x > new/x")
	got, err := f.ws.Diff.Call(ctx, w, workspace.ChangesInput{Name: "../../works"})
	if diff := cmp.Diff(workspace.ChangesOutput{Added: []string{"new/"}, Changed: []string{"src/a"}, Removed: []string{"b"}}, got); diff != "" || err != nil {
		t.Errorf("diff (-want +got): %v\n%s", err, diff)
	}
	got, err = f.ws.Restore.Call(ctx, w, workspace.ChangesInput{Name: "../../works"})
	if diff := cmp.Diff(workspace.ChangesOutput{Added: []string{"b"}, Changed: []string{"src/a"}, Removed: []string{"new/"}}, got); diff != "" || err != nil {
		t.Errorf("restore (-want +got): %v\n%s", err, diff)
	}
	if out := f.run(t, w, "cat src/a b; ls; touch src/mine"); out != "one\ntwo\nb\nsrc" {
		t.Errorf("after the restore: %q", out)
	}
	if out, err := f.ws.List.Call(ctx, f.sb.Worker("b"), workspace.ListInput{}); err != nil || len(out.Snapshots) != 0 {
		t.Errorf("another worker sees %+v, %v", out, err)
	}
	left, err := f.ws.Delete.Call(ctx, w, workspace.NameInput{Name: "../../works"})
	if err != nil || left.Snapshots == nil || len(left.Snapshots) != 0 {
		t.Errorf("delete = %+v, %v, want an empty list", left, err)
	}
}

func TestALimitOnOutputCutsTheLastLists(t *testing.T) {
	t.Parallel()
	f := newFixture(t, workspace.Config{}, sandbox.Options{Confine: sandbox.Confinement{Limits: sandbox.Limits{Output: 6}}})
	w := f.sb.Worker("a")
	f.run(t, w, "echo x > old1; echo x > old2")
	if _, err := f.ws.Snapshot.Call(t.Context(), w, workspace.SnapshotInput{Name: "s"}); err != nil {
		t.Fatal(err)
	}
	f.run(t, w, "rm old1 old2; echo x > new1; echo x > new2")
	for range 5 {
		got, err := f.ws.Diff.Call(t.Context(), w, workspace.ChangesInput{Name: "s"})
		want := workspace.ChangesOutput{Added: []string{"new1"}, Changed: []string{}, Removed: []string{}, Truncated: true}
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Fatalf("6 bytes of paths (-want +got): %v\n%s", err, diff)
		}
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	f := newFixture(t, workspace.Config{Limits: sandbox.SnapshotLimits{Count: 2, Bytes: 100_000, Files: 3}}, sandbox.Options{})
	w := f.sb.Worker("a")
	f.run(t, w, "echo x > a")
	if _, err := f.ws.Snapshot.Call(t.Context(), w, workspace.SnapshotInput{Name: "taken"}); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, prepare, tool, params string
		want                        sandbox.Code
	}{
		{"a name that is taken", "true", "snapshot", `{"name":"taken"}`, sandbox.ErrConflict},
		{"no name", "true", "snapshot", `{"name":""}`, sandbox.ErrMissingField},
		{"a long name", "true", "snapshot", `{"name":"` + strings.Repeat("x", 257) + `"}`, sandbox.ErrInvalidInput},
		{"too many files", "touch b c d", "snapshot", `{"name":"n"}`, sandbox.ErrTooLarge},
		{"too much data", "rm b c d; head -c 200000 /dev/urandom > b", "snapshot", `{"name":"n"}`, sandbox.ErrTooLarge},
		{"restoring what is not there", "true", "restore", `{"name":"none"}`, sandbox.ErrNoResults},
		{"comparing with what is not there", "true", "diff", `{"name":"none"}`, sandbox.ErrNoResults},
		{"deleting what is not there", "true", "delete", `{"name":"none"}`, sandbox.ErrNoResults},
		{"a bad maximum", "true", "diff", `{"name":"taken","max":-1}`, sandbox.ErrInvalidInput},
	}
	for _, tt := range tests {
		f.run(t, w, tt.prepare)
		r := w.Execute(t.Context(), "workspace:"+tt.tool, json.RawMessage(tt.params))
		if !errors.Is(r.Err, tt.want) {
			t.Errorf("%s: %v (%v), want %v", tt.name, r.Err, sandbox.CodeOf(r.Err), tt.want)
		}
	}
	if _, err := w.CreateSession(t.Context(), "workspace", sandbox.SessionOptions{Config: json.RawMessage(`{"max_bytes":1}`)}); err == nil {
		t.Error("a session may set limits of its own")
	}
}

func TestComponent(t *testing.T) {
	t.Parallel()
	tests := map[string]bool{
		`{}`: true, `{"max_snapshots":3,"max_bytes":"64MiB","max_files":10}`: true, `{"max_bytes":4096}`: true,
		`{"max_bytes":"much"}`: false, `{"max_bytes":-1}`: false, `{"max_files":-1}`: false, `{"max_file":1}`: false, `{"max_bytes":[]}`: false,
	}
	for raw, ok := range tests {
		var r sandbox.Registry
		if err := workspace.Component().Register(&r, sandbox.Section{Name: "workspace", Raw: json.RawMessage(raw)}); (err == nil) != ok {
			t.Errorf("Register with %s = %v", raw, err)
		}
	}
}
