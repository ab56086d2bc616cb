package sandbox_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/agentflow-go/sandbox"
	"github.com/google/go-cmp/cmp"
)

// bounded is a sandbox whose workers have workspaces of 16 MiB.
func bounded(t *testing.T, reg *sandbox.Registry, o sandbox.Options) *sandbox.Sandbox {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("only root can bound a workspace")
	}
	o.Confine.Limits.Workspace = 16 << 20
	return newSandbox(t, reg, o)
}

func TestAFullWorkspaceIsItsWorkersAlone(t *testing.T) {
	t.Parallel()
	var reg sandbox.Registry
	one, two := addShell(&reg, "one"), addShell(&reg, "two")
	sb := bounded(t, &reg, sandbox.Options{})
	a, b := sb.Worker("a"), sb.Worker("b")
	for _, backend := range []string{"one", "two"} {
		if _, err := a.CreateSession(t.Context(), backend, sandbox.SessionOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	// What is unlinked and held open counts, and is there for the other session too.
	got := sh(t, one, a, `echo here > note; exec 9> big; rm big; head -c 20000000 /dev/zero >&9; echo "rc $?"
echo x > more; sync more 2>&1; head -c 5000000 /dev/zero > more2; echo "rc $?"; (sleep 1000 >/dev/null 2>&1 &)`)
	if strings.Count(got, "No space left on device") < 2 || strings.Count(got, "rc 1") != 2 {
		t.Errorf("filling the workspace says %q", got)
	}
	if got := sh(t, two, a, "cat note; head -c 5000000 /dev/zero 2>&1 > theirs; echo rc $?"); !strings.HasPrefix(got, "here\n") || !strings.Contains(got, "rc 1") {
		t.Errorf("another session of the worker: %q", got)
	}
	if got := sh(t, one, b, "head -c 10000000 /dev/zero > f; stat -c %s f; ls -A; id -u; stat -c %U ."); got != "10000000\nf\n1000\nagent" {
		t.Errorf("another worker: %q", got)
	}
	if got := sh(t, two, b, "i=0; while : > $i; do i=$((i+1)); [ $i -lt 20000 ] || break; done 2>&1; echo $i > /tmp/n; cat /tmp/n"); strings.HasSuffix(got, "20000") {
		t.Errorf("20,000 files fit into 16 MiB: %q", got)
	}
	if err := a.Close(t.Context()); err != nil {
		t.Errorf("closing a worker whose workspace is full: %v", err)
	}
}

func TestTheHostReachesABoundedWorkspace(t *testing.T) {
	t.Parallel()
	var reg sandbox.Registry
	envs := make(chan sandbox.Env, 1)
	b := sandbox.AddBackend(&reg, sandbox.BackendSpec{Name: "sh"}, sandbox.BackendFuncs[sandbox.Env]{
		OpenFunc: func(_ context.Context, env sandbox.Env) (sandbox.Env, error) {
			envs <- env
			return env, nil
		},
	})
	tool := sandbox.AddSessionTool(b, sandbox.ToolSpec{Name: "sh"}, sandbox.Method(runSh))
	sb := bounded(t, &reg, sandbox.Options{})
	w := sb.Worker("w")
	if _, err := w.CreateSession(t.Context(), "sh", sandbox.SessionOptions{}); err != nil {
		t.Fatal(err)
	}
	env := <-envs
	dir, err := env.Workspace()
	if err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	if err := errors.Join(root.WriteFile("in", []byte("hello"), 0o644), os.WriteFile(filepath.Join(dir, "by-path"), []byte("hi"), 0o644)); err != nil {
		t.Fatal(err)
	}
	if got := sh(t, tool, w, "cat in by-path; echo out > out; pwd; echo $HOME"); got != "hellohi/workspace\n/workspace" {
		t.Errorf("a program says %q", got)
	}
	if b, err := root.ReadFile("out"); string(b) != "out\n" || err != nil {
		t.Errorf("the host reads %q, %v", b, err)
	}
	// To a directory of the host, if there is one of that name.
	if real, err := filepath.EvalSymlinks(dir); err == nil {
		here, err := os.Stat(dir)
		if err != nil {
			t.Fatal(err)
		}
		if there, err := os.Stat(real); err == nil && os.SameFile(here, there) {
			t.Errorf("the path resolves to %s, and may be resolved after all", real)
		}
	}
	if _, err := root.OpenFile("big", os.O_CREATE|os.O_WRONLY, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := root.WriteFile("big", make([]byte, 17<<20), 0o600); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("the host writes 17 MiB into 16: %v", err)
	}
	st, err := sb.Status(t.Context())
	if err != nil || strings.Contains(strings.Join(st.Unenforced, " "), "workspace") {
		t.Errorf("unenforced: %q, %v", st.Unenforced, err)
	}
}

func TestABoundedWorkspaceIsKept(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	visit := func(size int64, command string) (string, error) {
		t.Helper()
		var reg sandbox.Registry
		tool := addShell(&reg, "sh")
		sb, err := sandbox.New(sandbox.Options{Registry: &reg, DataDir: dir, KeepWorkspaces: true,
			Confine: sandbox.Confinement{Limits: sandbox.Limits{Workspace: size}}})
		if err != nil {
			t.Fatal(err)
		}
		out, err := tool.Call(t.Context(), sb.Worker("w"), shIn{command})
		if err := sb.Shutdown(context.Background()); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		return strings.TrimSpace(out.Out), err
	}
	if os.Getuid() != 0 {
		t.Skip("only root can bound a workspace")
	}
	got := []string{}
	for _, v := range []struct {
		size    int64
		command string
	}{
		{16 << 20, "echo mine > file; head -c 5000000 /dev/zero > big; echo made"},
		{16 << 20, "cat file; stat -c '%s %U' big"},
		{64 << 20, "cat file; head -c 40000000 /dev/zero > huge && rm huge && echo grown"},
		{12 << 20, "cat file; head -c 12000000 /dev/zero > huge 2>/dev/null || rm -f huge; echo shrunk"},
		{0, "cat file"},
	} {
		out, err := visit(v.size, v.command)
		if err != nil {
			t.Fatalf("size %d: %v", v.size, err)
		}
		got = append(got, out)
	}
	want := []string{"made", "mine\n5000000 agent", "mine\ngrown", "mine\nshrunk", "mine"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("visits (-want +got):\n%s", diff)
	}
	if _, err := visit(4<<20, "true"); err == nil || !strings.Contains(err.Error(), "bring it to 4194304 bytes") {
		t.Errorf("5 MB brought to 4 MiB: %v", err)
	}
	if out, err := visit(16<<20, "cat file"); out != "mine" || err != nil {
		t.Errorf("after that: %q, %v", out, err)
	}
}

func TestASessionCannotNarrowAWorkspace(t *testing.T) {
	t.Parallel()
	var reg sandbox.Registry
	addShell(&reg, "sh")
	sb := bounded(t, &reg, sandbox.Options{})
	for size, want := range map[int64]sandbox.Code{16 << 20: 0, 8 << 20: sandbox.ErrCannotEnforce, 32 << 20: sandbox.ErrDenied, -1: sandbox.ErrDenied} {
		_, err := sb.Worker(fmt.Sprint(size)).CreateSession(t.Context(), "sh", sandbox.SessionOptions{
			Confinement: &sandbox.Confinement{Limits: sandbox.Limits{Workspace: size}}})
		if sandbox.CodeOf(err) != want {
			t.Errorf("a session with %d: %v, want code %d", size, err, want)
		}
	}
}

func TestAForkIsBoundedToo(t *testing.T) {
	t.Parallel()
	var reg sandbox.Registry
	tool := addShell(&reg, "sh")
	sb := bounded(t, &reg, sandbox.Options{})
	w := sb.Worker("w")
	sh(t, tool, w, "echo mine > file; head -c 5000000 /dev/zero > big")
	if _, err := sb.ForkWorkspace(t.Context(), "w", "fork", sandbox.ForkOptions{}); err != nil {
		t.Fatal(err)
	}
	if got := sh(t, tool, sb.Worker("fork"), "cat file; head -c 16000000 /dev/zero 2>&1 > more; echo rc $?"); !strings.HasPrefix(got, "mine\n") || !strings.HasSuffix(got, "rc 1") {
		t.Errorf("the fork: %q", got)
	}
	if got := sh(t, tool, w, "cat file; head -c 5000000 /dev/zero > more; echo rc $?"); got != "mine\nrc 0" {
		t.Errorf("its source: %q", got)
	}
}
