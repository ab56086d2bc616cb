package sandbox_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/agentflow-go/sandbox"
	"github.com/agentflow-go/sandbox/internal/cgroup"
	"github.com/google/go-cmp/cmp"
)

// addShell registers the backend name, whose tool <name>:sh runs a command and
// whose session state is its Env.
func addShell(reg *sandbox.Registry, name string) *sandbox.Tool[shIn, shOut] {
	b := sandbox.AddBackend(reg, sandbox.BackendSpec{Name: name}, sandbox.BackendFuncs[sandbox.Env]{
		OpenFunc: func(_ context.Context, env sandbox.Env) (sandbox.Env, error) { return env, nil },
	})
	return sandbox.AddSessionTool(b, sandbox.ToolSpec{Name: "sh"}, sandbox.Method(runSh))
}

type shIn struct {
	Command string `json:"command"`
}

type shOut struct {
	Out  string `json:"out"`
	Code int    `json:"code"`
}

func runSh(env sandbox.Env, ctx context.Context, in shIn) (shOut, error) {
	var out bytes.Buffer
	p, err := env.Start(ctx, sandbox.Cmd{Path: "sh", Args: []string{"-c", in.Command}, Stdout: &out, Stderr: &out})
	if err != nil {
		return shOut{}, err
	}
	err = p.Wait()
	if e, ok := errors.AsType[*sandbox.ExitError](err); ok {
		return shOut{out.String(), e.Code}, nil
	}
	return shOut{out.String(), 0}, err
}

func sh(t *testing.T, tool *sandbox.Tool[shIn, shOut], w *sandbox.Worker, command string) string {
	t.Helper()
	out, err := tool.Call(t.Context(), w, shIn{command})
	if err != nil {
		t.Fatalf("%s: %v", command, err)
	}
	return strings.TrimSpace(out.Out)
}

func TestProgramsOfAWorkerShareItsWorkspaceOnly(t *testing.T) {
	t.Parallel()
	var reg sandbox.Registry
	one, two := addShell(&reg, "one"), addShell(&reg, "two")
	sb := newSandbox(t, &reg, sandbox.Options{})
	a, b := sb.Worker("a"), sb.Worker("b")
	sh(t, one, a, "echo mine > file")
	if got := sh(t, two, a, "pwd; cat file; id -un; id -u"); got != "/workspace\nmine\nagent\n1000" {
		t.Errorf("another backend of the same worker sees %q", got)
	}
	if got := sh(t, one, b, "cat file 2>&1; ls -A"); !strings.Contains(got, "No such file") {
		t.Errorf("another worker sees %q", got)
	}
	if out, err := one.Call(t.Context(), a, shIn{"exit 3"}); err != nil || out.Code != 3 {
		t.Errorf("exit 3 = %+v, %v", out, err)
	}
}

func TestClosingAWorkerRemovesWhatItHad(t *testing.T) {
	t.Parallel()
	for _, keep := range []bool{false, true} {
		var reg sandbox.Registry
		tool := addShell(&reg, "sh")
		dir := t.TempDir()
		sb := newSandbox(t, &reg, sandbox.Options{DataDir: dir, KeepWorkspaces: keep})
		w := sb.Worker("../w")
		if _, err := w.CreateSession(t.Context(), "sh", sandbox.SessionOptions{}); err != nil {
			t.Fatal(err)
		}
		sh(t, tool, w, "echo kept > file; (sleep 1000 >/dev/null 2>&1 &) ; mkdir -p a/b; chmod 0 a")
		if err := w.Close(t.Context()); err != nil {
			t.Errorf("Close: %v", err)
		}
		left, err := filepath.Glob(filepath.Join(dir, "slots", "*", "workspace", "file"))
		if err != nil || (len(left) == 1) != keep {
			t.Errorf("keep %v: left %q, %v", keep, left, err)
		}
		want := map[bool]string{true: "kept", false: ""}[keep]
		if got := sh(t, tool, w, "cat file 2>/dev/null || true"); got != want {
			t.Errorf("keep %v: the same id finds %q, want %q", keep, got, want)
		}
		sh(t, tool, w, "chmod -f 700 a || true") // what is kept the test must be able to remove, also without root
	}
}

func TestStateDirIsOutOfReach(t *testing.T) {
	t.Parallel()
	var reg sandbox.Registry
	var warm sandbox.Env
	var warmOut bytes.Buffer
	b := sandbox.AddBackend(&reg, sandbox.BackendSpec{Name: "s"}, sandbox.BackendFuncs[sandbox.Env]{
		OpenFunc: func(_ context.Context, env sandbox.Env) (sandbox.Env, error) { return env, nil },
		WarmupFunc: func(ctx context.Context, env sandbox.Env) error {
			warm = env
			p, err := env.Start(ctx, sandbox.Cmd{Path: "sh", Args: []string{"-c", "id -un; pwd; ls -A"}, Stdout: &warmOut, Stderr: &warmOut})
			if err != nil {
				return err
			}
			return p.Wait()
		},
	})
	tool := sandbox.AddSessionTool(b, sandbox.ToolSpec{Name: "sh"}, sandbox.Method(runSh))
	var state string
	peek := sandbox.AddSessionTool(b, sandbox.ToolSpec{Name: "state"}, sandbox.Method(func(env sandbox.Env, _ context.Context, _ empty) (empty, error) {
		var err error
		state, err = env.StateDir()
		return empty{}, err
	}))
	sb, err := sandbox.New(sandbox.Options{Registry: &reg})
	if err != nil {
		t.Fatal(err)
	}
	w := sb.Worker("w")
	if _, err := w.CreateSession(t.Context(), "s", sandbox.SessionOptions{}); err != nil {
		t.Fatal(err)
	}
	if got := warmOut.String(); got != "agent\n/workspace\n" {
		t.Errorf("a program of the warmup says %q", got)
	}
	if _, err := warm.Workspace(); err == nil {
		t.Error("Warmup has a workspace")
	}
	if _, err := peek.Call(t.Context(), w, empty{}); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(state, "secret"), []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	if got := sh(t, tool, w, "cat "+state+"/secret 2>&1; true"); !strings.Contains(got, "No such file") {
		t.Errorf("a program reads the state directory: %q", got)
	}
	shared, err := warm.StateDir()
	if err != nil {
		t.Fatal(err)
	}
	if err := w.DestroySession(t.Context(), "s"); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(state); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the session's state directory is left: %v", err)
	}
	if err := sb.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(shared); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the backend's state directory is left: %v", err)
	}
}

func TestLevelsAndLimits(t *testing.T) {
	t.Parallel()
	limits := func(l sandbox.Limits, degraded ...string) sandbox.Confinement {
		return sandbox.Confinement{Limits: l, AllowDegraded: degraded}
	}
	memory := struct {
		code  sandbox.Code
		level string
	}{0, "bwrap"}
	if !canLimitMemory(t) {
		memory.code, memory.level = sandbox.ErrCannotEnforce, ""
	}
	workspace := memory
	if workspace.code, workspace.level = 0, "bwrap"; os.Getuid() != 0 { // it takes a mount
		workspace.code, workspace.level = sandbox.ErrCannotEnforce, ""
	}
	tests := []struct {
		name    string
		confine sandbox.Confinement
		code    sandbox.Code // of Probe; 0: it works
		level   string
	}{
		{"auto", sandbox.Confinement{}, 0, "bwrap"},
		{"bwrap", sandbox.Confinement{Level: "bwrap"}, 0, "bwrap"},
		{"none", sandbox.Confinement{Level: "none"}, 0, "none"},
		{"native", sandbox.Confinement{Level: "native"}, 0, "native"},
		{"processes and files", limits(sandbox.Limits{Processes: 64, Files: 256}), 0, "bwrap"},
		{"memory", limits(sandbox.Limits{Memory: 1 << 30}), memory.code, memory.level},
		{"memory degraded", limits(sandbox.Limits{Memory: 1 << 30}, "memory"), 0, "bwrap"},
		{"workspace", limits(sandbox.Limits{Workspace: 1 << 30}), workspace.code, workspace.level},
		{"workspace native", sandbox.Confinement{Level: "native", Limits: sandbox.Limits{Workspace: 1 << 30}}, workspace.code, strings.ReplaceAll(workspace.level, "bwrap", "native")},
		{"workspace unconfined", sandbox.Confinement{Level: "none", Limits: sandbox.Limits{Workspace: 1 << 30}}, sandbox.ErrCannotEnforce, ""},
		{"workspace degraded", limits(sandbox.Limits{Workspace: 1 << 30}, "workspace"), 0, "bwrap"},
		{"egress", sandbox.Confinement{Egress: sandbox.Egress{Allow: []string{"example.com"}}}, 0, "bwrap"},
		{"egress unconfined", sandbox.Confinement{Level: "none", Egress: sandbox.Egress{Allow: []string{"example.com"}}}, sandbox.ErrCannotEnforce, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var reg sandbox.Registry
			tool := addShell(&reg, "sh")
			sb := newSandbox(t, &reg, sandbox.Options{Confine: tt.confine})
			err := sb.Probe(t.Context())
			if tt.code != 0 {
				wantCode(t, err, tt.code)
				_, err = tool.Call(t.Context(), sb.Worker("w"), shIn{"true"})
				wantCode(t, err, tt.code) // and nothing runs
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			st, err := sb.Status(t.Context())
			if err != nil || st.Level != tt.level {
				t.Errorf("Status level %q, %v, want %q", st.Level, err, tt.level)
			}
			want := map[string]bool{
				"memory": memory.code != 0, "processes": memory.code != 0, "files": tt.level == "none",
				"workspace": workspace.code != 0 && tt.confine.Limits.Workspace > 0,
			}
			for limit := range want {
				got := slices.ContainsFunc(st.Unenforced, func(s string) bool { return strings.HasPrefix(s, limit+": ") })
				if got != want[limit] {
					t.Errorf("unenforced %q, which names %s: %v, want %v", st.Unenforced, limit, got, want[limit])
				}
			}
			if got := sh(t, tool, sb.Worker("w"), "echo hi"); got != "hi" {
				t.Errorf("echo hi = %q", got)
			}
		})
	}
}

// canLimitMemory tells whether this user has control groups with memory.
func canLimitMemory(t *testing.T) bool {
	t.Helper()
	r, err := cgroup.Open(cgroup.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	return r.Supports(cgroup.Memory) == nil
}

func TestRunningOutOfMemoryShows(t *testing.T) {
	t.Parallel()
	if !canLimitMemory(t) {
		t.Skip("this user has no control groups with memory")
	}
	var reg sandbox.Registry
	var end error
	b := sandbox.AddBackend(&reg, sandbox.BackendSpec{Name: "b"}, sandbox.BackendFuncs[sandbox.Env]{
		OpenFunc: func(_ context.Context, env sandbox.Env) (sandbox.Env, error) { return env, nil },
	})
	tool := sandbox.AddSessionTool(b, sandbox.ToolSpec{Name: "hog"}, sandbox.Method(func(env sandbox.Env, ctx context.Context, _ empty) (empty, error) {
		p, err := env.Start(ctx, sandbox.Cmd{Path: "python3", Args: []string{"-c", "x = b'x' * (512 << 20)"}})
		if err == nil {
			end = p.Wait()
		}
		return empty{}, err
	}))
	sb := newSandbox(t, &reg, sandbox.Options{Confine: sandbox.Confinement{Limits: sandbox.Limits{Memory: 192 << 20}}})
	if _, err := tool.Call(t.Context(), sb.Worker("w"), empty{}); err != nil {
		t.Fatal(err)
	}
	if e, ok := errors.AsType[*sandbox.ExitError](end); !ok || !e.OOM || !strings.Contains(e.Error(), "out of memory") {
		t.Errorf("Wait() = %v, want an ExitError with OOM", end)
	}
}

func TestSessionsMayOnlyNarrow(t *testing.T) {
	t.Parallel()
	var reg sandbox.Registry
	tool := addShell(&reg, "sh")
	sb := newSandbox(t, &reg, sandbox.Options{Confine: sandbox.Confinement{Limits: sandbox.Limits{Files: 200}}})
	w := sb.Worker("w")
	for name, c := range map[string]sandbox.Confinement{
		"level":          {Level: "none"},
		"files":          {Limits: sandbox.Limits{Files: 201}},
		"no limit":       {Limits: sandbox.Limits{Files: -1}},
		"default":        {Limits: sandbox.Limits{Processes: 100_000}},
		"default memory": {Limits: sandbox.Limits{Memory: 1 << 40}},
		"egress":         {Egress: sandbox.Egress{Allow: []string{"*"}}},
		"allow degraded": {AllowDegraded: []string{"files"}},
	} {
		_, err := w.CreateSession(t.Context(), "sh", sandbox.SessionOptions{Confinement: &c})
		if !errors.Is(err, sandbox.ErrDenied) {
			t.Errorf("%s: %v, want ErrDenied", name, err)
		}
	}
	for _, files := range []int{0, 50} {
		c := sandbox.Confinement{Limits: sandbox.Limits{Files: files}}
		if _, err := w.CreateSession(t.Context(), "sh", sandbox.SessionOptions{Confinement: &c}); err != nil {
			t.Fatal(err)
		}
		want := map[int]string{0: "200", 50: "50"}[files]
		if got := sh(t, tool, w, "ulimit -n"); got != want {
			t.Errorf("ulimit -n = %s, want %s", got, want)
		}
		infos, err := w.Sessions(t.Context())
		if err != nil || len(infos) != 1 || infos[0].Level != "bwrap" {
			t.Errorf("session info %+v, %v", infos, err)
		}
		if err := w.DestroySession(t.Context(), "sh"); err != nil {
			t.Error(err)
		}
	}
}

func TestShutdownLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	seconds := fmt.Sprint("1000.", os.Getpid()) // by which its own processes are known
	var reg sandbox.Registry
	tool := addShell(&reg, "sh")
	sb, err := sandbox.New(sandbox.Options{Registry: &reg, DataDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"a", "b", "c"} {
		w := sb.Worker(id)
		if _, err := w.CreateSession(t.Context(), "sh", sandbox.SessionOptions{}); err != nil {
			t.Fatal(err)
		}
		sh(t, tool, w, "sleep "+seconds+" >/dev/null 2>&1 & echo x > f")
	}
	if err := sb.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, sub := range []string{"slots", "state", "trash"} {
		entries, err := os.ReadDir(filepath.Join(dir, sub))
		if err != nil && !errors.Is(err, os.ErrNotExist) || len(entries) > 0 {
			t.Errorf("%s holds %v, %v", sub, entries, err)
		}
	}
	procs, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, p := range procs {
		if line, _ := os.ReadFile(p); bytes.Contains(line, []byte("sleep\x00"+seconds+"\x00")) {
			found = append(found, p)
		}
	}
	if diff := cmp.Diff([]string(nil), found); diff != "" {
		t.Errorf("processes left (-want +got):\n%s", diff)
	}
}
