package jail_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/agentflow-go/sandbox/internal/jail"
	"github.com/agentflow-go/sandbox/internal/usertest"
)

// helperVar, in the environment, turns the test binary into one of helpers.
const helperVar = "JAIL_TEST_HELPER"

var helpers = map[string]func(){
	"host":   helperHost,
	"open":   helperOpen,
	"equal":  helperEqual,
	"normal": func() { fmt.Println("normal program") },
}

func TestMain(m *testing.M) {
	if name := os.Getenv(helperVar); name != "" {
		helpers[name]()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// levels are the ones that most tests run under.
var levels = []string{"bwrap", "native", "none"}

// confined are those of them that confine.
var confined = []string{"bwrap", "native"}

// open opens a Host for the test.
func open(t testing.TB, o jail.Options) *jail.Host {
	t.Helper()
	h, err := jail.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Close(); err != nil {
			t.Errorf("Host.Close() = %v", err)
		}
	})
	return h
}

// policy makes an identity and a workspace, below a directory that only this
// program can enter.
func policy(t testing.TB, h *jail.Host) jail.Policy {
	t.Helper()
	id, err := h.Identity()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := id.Release(); err != nil {
			t.Errorf("Release() = %v", err)
		}
	})
	parent := filepath.Join(t.TempDir(), "slot")
	dir := filepath.Join(parent, "workspace")
	if err := errors.Join(os.MkdirAll(dir, 0o700), os.Chown(dir, id.UID, id.GID)); err != nil {
		t.Fatal(err)
	}
	return jail.Policy{Identity: id, Workspace: dir}
}

// newJail makes a jail with a policy of its own.
func newJail(t testing.TB, h *jail.Host) *jail.Jail {
	t.Helper()
	return newJailOf(t, h, policy(t, h))
}

func newJailOf(t testing.TB, h *jail.Host, p jail.Policy) *jail.Jail {
	t.Helper()
	j, err := h.NewJail(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := j.Close(); err != nil {
			t.Errorf("Jail.Close() = %v", err)
		}
	})
	return j
}

// run runs c and returns its output, both streams in one, and what Wait said.
func run(t testing.TB, j *jail.Jail, c jail.Cmd) (string, error) {
	t.Helper()
	var out bytes.Buffer
	if c.TTY == nil && c.Stdout == nil {
		c.Stdout, c.Stderr = &out, &out
	}
	p, err := j.Start(t.Context(), c)
	if err != nil {
		t.Fatalf("Start(%q) = %v", c.Path, err)
	}
	err = p.Wait()
	return out.String(), err
}

// sh runs a shell script that must succeed and returns its output.
func sh(t testing.TB, j *jail.Jail, script string) string {
	t.Helper()
	out, err := run(t, j, jail.Cmd{Path: "bash", Args: []string{"-c", script}})
	if err != nil {
		t.Fatalf("script %q: %v\n%s", script, err, out)
	}
	return out
}

// eachLevel runs f under every level with a Host of its own.
func eachLevel(t *testing.T, f func(t *testing.T, h *jail.Host)) {
	t.Helper()
	for _, level := range levels {
		t.Run(level, func(t *testing.T) {
			t.Parallel()
			f(t, open(t, jail.Options{Level: level}))
		})
	}
}

// eachConfined runs f under every level that confines.
func eachConfined(t *testing.T, f func(t *testing.T, h *jail.Host)) {
	t.Helper()
	for _, level := range confined {
		t.Run(level, func(t *testing.T) {
			t.Parallel()
			f(t, open(t, jail.Options{Level: level}))
		})
	}
}

// eachConfinedInTurn is eachConfined for what must not run beside others.
func eachConfinedInTurn(t *testing.T, f func(t *testing.T, h *jail.Host)) {
	t.Helper()
	for _, level := range confined {
		t.Run(level, func(t *testing.T) { f(t, open(t, jail.Options{Level: level})) })
	}
}

// TestUnprivileged runs the suite again as an ordinary user, as a short run.
func TestUnprivileged(t *testing.T) {
	t.Parallel()
	usertest.Run(t, "", "-test.short")
}

// anyUser skips, in a short run, what is the same whoever runs it: what the first
// process does, and what the host does with pipes.
func anyUser(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("in a long run only: it is the same for every user")
	}
}

// helperHost is a host program with jails of both levels full of processes. It
// says what their marker is and waits to be killed.
func helperHost() {
	ctx := context.Background()
	mark := os.Getenv("JAIL_TEST_MARK")
	for _, level := range levels {
		h, err := jail.Open(ctx, jail.Options{Level: level})
		check(err)
		for range 3 {
			id, err := h.Identity()
			check(err)
			dir, err := os.MkdirTemp("", "helper")
			check(err)
			check(os.Chown(dir, id.UID, id.GID))
			j, err := h.NewJail(ctx, jail.Policy{Identity: id, Workspace: dir})
			check(err)
			// A child in a session of its own, and one detached altogether.
			script := fmt.Sprintf("setsid bash -c 'exec -a %[1]s sleep 1000' & (setsid bash -c 'exec -a %[1]s sleep 1000' &) ; exec -a %[1]s sleep 1000", mark)
			_, err = j.Start(ctx, jail.Cmd{Path: "bash", Args: []string{"-c", script}})
			check(err)
		}
	}
	fmt.Println("ready")
	io.Copy(io.Discard, os.Stdin)
}

func check(err error) {
	if err != nil {
		fmt.Println("helper:", err)
		os.Exit(1)
	}
}

// patience is for what never comes. What does come takes milliseconds, or seconds
// on a machine that is busy.
const patience = time.Minute

// eventually waits until cond holds, looking again and again.
func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-deadline:
			t.Fatalf("after %v still not: %s", patience, what)
		case <-tick.C:
		}
	}
}

// withArg0 lists the processes of the machine whose argument 0 is name.
func withArg0(name string) (pids []string) {
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, d := range dirs {
		b, _ := os.ReadFile(d + "/cmdline")
		if first, _, _ := strings.Cut(string(b), "\x00"); first == name {
			pids = append(pids, filepath.Base(d))
		}
	}
	return pids
}
