package file_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/agentflow-go/sandbox"
	"github.com/agentflow-go/sandbox/backends/file"
)

// command is what a program of the fixture runs.
type command struct {
	Script string `json:"script"`
}

func newFixture(t testing.TB, o sandbox.Options) (*sandbox.Worker, file.Tools, *sandbox.Tool[command, string], string) {
	t.Helper()
	var reg sandbox.Registry
	tools := file.Register(&reg, file.Config{})
	b := sandbox.AddBackend(&reg, sandbox.BackendSpec{Name: "programs"}, sandbox.BackendFuncs[sandbox.Env]{
		OpenFunc: func(_ context.Context, env sandbox.Env) (sandbox.Env, error) { return env, nil },
	})
	var dir string
	where := sandbox.AddSessionTool(b, sandbox.ToolSpec{Name: "where"}, func(_ context.Context, _ sandbox.Call, env sandbox.Env, _ struct{}) (string, error) {
		return env.Workspace()
	})
	sh := sandbox.AddSessionTool(b, sandbox.ToolSpec{Name: "sh"}, func(ctx context.Context, _ sandbox.Call, env sandbox.Env, in command) (string, error) {
		var out strings.Builder
		p, err := env.Start(ctx, sandbox.Cmd{Path: "/bin/sh", Args: []string{"-c", in.Script}, Stdout: &out, Stderr: &out})
		if err != nil {
			return "", err
		}
		stop := context.AfterFunc(ctx, func() { _ = p.Kill() })
		defer stop()
		err = p.Wait()
		return out.String(), err
	})
	o.Registry = &reg
	sb, err := sandbox.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := sb.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	})
	w := sb.Worker("agent")
	for _, name := range []string{"file", "programs"} {
		if _, err := w.CreateSession(t.Context(), name, sandbox.SessionOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if dir, err = where.Call(t.Context(), w, struct{}{}); err != nil {
		t.Fatal(err)
	}
	return w, tools, sh, dir
}

// hands is a worker with a session of the backend, and of another one that runs
// programs in the same workspace.
type hands struct {
	t   testing.TB
	w   *sandbox.Worker
	f   file.Tools
	sh  *sandbox.Tool[command, string]
	dir string
}

func open(t testing.TB) *hands {
	t.Helper()
	w, tools, sh, dir := newFixture(t, sandbox.Options{})
	return &hands{t, w, tools, sh, dir}
}

// run runs a script of the worker's, which must succeed.
func (h *hands) run(script string) string {
	h.t.Helper()
	out, err := h.sh.Call(h.t.Context(), h.w, command{script})
	if err != nil {
		h.t.Fatalf("script %q: %v\n%s", script, err, out)
	}
	return out
}

func (h *hands) write(path, content string) {
	h.t.Helper()
	if _, err := h.f.Write.Call(h.t.Context(), h.w, file.WriteInput{Path: path, Content: content}); err != nil {
		h.t.Fatal(err)
	}
}

func (h *hands) read(path string) string {
	h.t.Helper()
	out, err := h.f.Read.Call(h.t.Context(), h.w, file.ReadInput{Path: path})
	if err != nil {
		h.t.Fatal(err)
	}
	return out.Content
}

// onDisk returns what a file holds, seen from the host.
func (h *hands) onDisk(path string) string {
	h.t.Helper()
	b, err := os.ReadFile(filepath.Join(h.dir, path))
	if err != nil {
		h.t.Fatal(err)
	}
	return string(b)
}

// wantError checks that err has the code, and says all the words.
func wantError(t testing.TB, err error, code sandbox.Code, words ...string) {
	t.Helper()
	if !errors.Is(err, code) {
		t.Errorf("error %v (%d), want %d", err, sandbox.CodeOf(err), code)
		return
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("error %q does not say %q", err, w)
		}
	}
}
