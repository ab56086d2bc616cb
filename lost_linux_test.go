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
)

// untilCalled is a command that ends once a program of its jail is called mark. It
// looks at how command lines begin: its own has the mark in it.
func untilCalled(mark string) string {
	return "while ! grep -q '^" + mark + "' /proc/[0-9]*/cmdline; do sleep 0.01; done"
}

// killFirst kills the first process of the jail in which a program is called mark.
func killFirst(t *testing.T, mark string) {
	t.Helper()
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, d := range dirs {
		line, _ := os.ReadFile(d + "/cmdline")
		if !strings.HasPrefix(string(line), mark+"\x00") {
			continue
		}
		status, err := os.ReadFile(d + "/status")
		if err != nil {
			t.Fatal(err)
		}
		_, rest, _ := strings.Cut(string(status), "\nPPid:")
		var first int
		if _, err := fmt.Sscan(rest, &first); err != nil {
			t.Fatal(err)
		}
		if err := syscall.Kill(first, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		return
	}
	t.Fatalf("no process is called %s", mark)
}

func TestASessionWhoseFirstProcessDiedIsLost(t *testing.T) {
	t.Parallel()
	mark := fmt.Sprint("lost-session-", os.Getpid())
	var reg sandbox.Registry
	tool := addShell(&reg, "sh")
	var p *sandbox.Process
	b := sandbox.AddBackend(&reg, sandbox.BackendSpec{Name: "keep"}, sandbox.BackendFuncs[sandbox.Env]{
		OpenFunc: func(ctx context.Context, env sandbox.Env) (_ sandbox.Env, err error) {
			p, err = env.Start(ctx, sandbox.Cmd{Path: "bash", Args: []string{"-c", "exec -a " + mark + " sleep 1000"}})
			return env, err
		},
	})
	start := sandbox.AddSessionTool(b, sandbox.ToolSpec{Name: "sh"}, sandbox.Method(runSh))
	sb := newSandbox(t, &reg, sandbox.Options{})
	w := sb.Worker("w")
	if _, err := w.CreateSession(t.Context(), "keep", sandbox.SessionOptions{}); err != nil {
		t.Fatal(err)
	}
	if got := sh(t, start, w, untilCalled(mark)+"; echo there"); got != "there" {
		t.Fatal(got)
	}
	killFirst(t, mark)
	if e, ok := errors.AsType[*sandbox.ExitError](p.Wait()); !ok || !e.Lost {
		t.Errorf("Wait() = %v, want it lost", e)
	}
	_, err := start.Call(t.Context(), w, shIn{"echo too late"})
	wantCode(t, err, sandbox.ErrSessionLost)
	// The next call finds no broken session.
	if got := sh(t, start, w, "echo in a new one"); got != "in a new one" {
		t.Errorf("afterwards: %q", got)
	}
	if got := sh(t, tool, w, "echo elsewhere"); got != "elsewhere" {
		t.Errorf("another backend: %q", got)
	}
}

func TestAWarmupWhoseFirstProcessDiedStartsAgain(t *testing.T) {
	t.Parallel()
	mark := fmt.Sprint("lost-warmup-", os.Getpid())
	var reg sandbox.Registry
	var warm sandbox.Env
	shared(&reg, &warm)
	sb := newSandbox(t, &reg, sandbox.Options{})
	if _, err := sb.Warmup(t.Context()); err != nil {
		t.Fatal(err)
	}
	p, err := warm.Start(t.Context(), sandbox.Cmd{Path: "bash", Args: []string{"-c", "exec -a " + mark + " sleep 1000"}})
	if err != nil {
		t.Fatal(err)
	}
	if out, err := runSh(warm, t.Context(), shIn{untilCalled(mark)}); err != nil || out.Code != 0 {
		t.Fatal(out, err)
	}
	killFirst(t, mark)
	if e, ok := errors.AsType[*sandbox.ExitError](p.Wait()); !ok || !e.Lost {
		t.Errorf("Wait() = %v, want it lost", e)
	}
	if out, err := runSh(warm, t.Context(), shIn{"echo again"}); err != nil || out.Out != "again\n" {
		t.Errorf("afterwards: %q, %v", out.Out, err)
	}
}
