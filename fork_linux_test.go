package sandbox_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/agentflow-go/sandbox"
	"github.com/google/go-cmp/cmp"
)

// addSnaps registers the backend snaps, whose tool snaps:get gives a worker's
// Snapshots away: for tests only, since they outlive the call.
func addSnaps(reg *sandbox.Registry) *sandbox.Tool[empty, *sandbox.Snapshots] {
	b := sandbox.AddBackend(reg, sandbox.BackendSpec{Name: "snaps"}, sandbox.BackendFuncs[sandbox.Env]{
		OpenFunc: func(_ context.Context, env sandbox.Env) (sandbox.Env, error) { return env, nil },
	})
	return sandbox.AddSessionTool(b, sandbox.ToolSpec{Name: "get"}, sandbox.Method(func(env sandbox.Env, _ context.Context, _ empty) (*sandbox.Snapshots, error) {
		return env.Snapshots()
	}))
}

func TestForksAreWorkersOfTheirOwn(t *testing.T) {
	t.Parallel()
	var reg sandbox.Registry
	tool, get := addShell(&reg, "sh"), addSnaps(&reg)
	sb := newSandbox(t, &reg, sandbox.Options{})
	a := sb.Worker("a")
	sh(t, tool, a, "mkdir d; echo one > d/f; chmod 640 d/f; ln d/f second; ln -s /etc/passwd link; mkfifo pipe")
	snaps, err := get.Call(t.Context(), a, empty{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := snaps.Take(t.Context(), "one", sandbox.SnapshotLimits{}); err != nil {
		t.Fatal(err)
	}
	sh(t, tool, a, "echo two > d/f")
	for name, o := range map[string]sandbox.ForkOptions{"two": {}, "one": {Snapshot: "one"}} {
		info, err := sb.ForkWorkspace(t.Context(), "a", name, o)
		if want := (sandbox.ForkInfo{Size: 4, Files: 4, Skipped: 1}); name == "two" && info != want || err != nil {
			t.Errorf("ForkWorkspace to %q = %+v, %v; want %+v", name, info, err, want)
		}
		got := sh(t, tool, sb.Worker(name), "cat second; stat -c '%U %a %h' d/f; readlink link; ls | wc -l; echo mine > d/f && echo written")
		if want := name + "\nagent 640 2\n/etc/passwd\n3\nwritten"; got != want {
			t.Errorf("fork %q: %q, want %q", name, got, want)
		}
	}
	if got := sh(t, tool, a, "cat d/f"); got != "two" {
		t.Errorf("the source holds %q", got)
	}
	if err := sb.Worker("two").Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := sb.ForkWorkspace(t.Context(), "one", "two", sandbox.ForkOptions{}); err != nil {
		t.Errorf("a fork to a worker that was closed: %v", err)
	}
	if got := sh(t, tool, sb.Worker("two"), "cat d/f"); got != "mine" {
		t.Errorf("the fork of a fork holds %q", got)
	}
}

func TestForksThatAreRefused(t *testing.T) {
	t.Parallel()
	var reg sandbox.Registry
	tool := addShell(&reg, "sh")
	dir := t.TempDir()
	sb := newSandbox(t, &reg, sandbox.Options{DataDir: dir, KeepWorkspaces: true})
	sh(t, tool, sb.Worker("a"), "head -c 100000 /dev/zero > a; touch b")
	sh(t, tool, sb.Worker("kept"), "touch kept")
	if err := sb.Worker("kept").Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := sb.Worker("empty").CreateSession(t.Context(), "sh", sandbox.SessionOptions{}); err != nil {
		t.Fatal(err)
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	tests := []struct {
		name, from, to string
		ctx            context.Context
		o              sandbox.ForkOptions
		want           sandbox.Code
	}{
		{"to one that exists", "a", "empty", t.Context(), sandbox.ForkOptions{}, sandbox.ErrConflict},
		{"to one that was kept", "a", "kept", t.Context(), sandbox.ForkOptions{}, sandbox.ErrConflict},
		{"to itself", "a", "a", t.Context(), sandbox.ForkOptions{}, sandbox.ErrConflict},
		{"of nobody", "nobody", "new", t.Context(), sandbox.ForkOptions{}, sandbox.ErrNotInitialized},
		{"of a worker without files", "empty", "new", t.Context(), sandbox.ForkOptions{}, sandbox.ErrNotInitialized},
		{"of no snapshot", "a", "new", t.Context(), sandbox.ForkOptions{Snapshot: "x"}, sandbox.ErrNoResults},
		{"too much data", "a", "new", t.Context(), sandbox.ForkOptions{MaxBytes: 99_999}, sandbox.ErrTooLarge},
		{"too many files", "a", "new", t.Context(), sandbox.ForkOptions{MaxFiles: 1}, sandbox.ErrTooLarge},
		{"negative", "a", "new", t.Context(), sandbox.ForkOptions{MaxFiles: -1}, sandbox.ErrInvalidInput},
		{"cancelled", "a", "new", cancelled, sandbox.ForkOptions{}, sandbox.ErrCancelled},
		{"no id", "a", "", t.Context(), sandbox.ForkOptions{}, sandbox.ErrMissingField},
		{"a long id", strings.Repeat("x", 257), "new", t.Context(), sandbox.ForkOptions{}, sandbox.ErrInvalidInput},
	}
	for _, tt := range tests {
		if _, err := sb.ForkWorkspace(tt.ctx, tt.from, tt.to, tt.o); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v (%v), want %v", tt.name, err, sandbox.CodeOf(err), tt.want)
		}
	}
	slots, err := filepath.Glob(filepath.Join(dir, "slots", "*"))
	if err != nil || len(slots) != 2 { // a, kept
		t.Errorf("slots %q, %v: a refused fork left something", slots, err)
	}
	if got := sh(t, tool, sb.Worker("new"), "ls -A"); got != "" {
		t.Errorf("a worker that was never forked holds %q", got)
	}
	if _, err := sb.ForkWorkspace(t.Context(), "kept", "fork of a kept one", sandbox.ForkOptions{}); err != nil {
		t.Fatal(err)
	}
	if got := sh(t, tool, sb.Worker("fork of a kept one"), "ls") + sh(t, tool, sb.Worker("kept"), "ls"); got != "keptkept" {
		t.Errorf("a kept workspace and its fork hold %q", got)
	}
}

func TestKeptForksAndSnapshotsAreFoundAgain(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for i := range 2 {
		var reg sandbox.Registry
		tool, get := addShell(&reg, "sh"), addSnaps(&reg)
		sb, err := sandbox.New(sandbox.Options{Registry: &reg, DataDir: dir, KeepWorkspaces: true})
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			sh(t, tool, sb.Worker("a"), "echo data > f")
			snaps, err := get.Call(t.Context(), sb.Worker("a"), empty{})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := snaps.Take(t.Context(), "s", sandbox.SnapshotLimits{}); err != nil {
				t.Fatal(err)
			}
			if _, err := sb.ForkWorkspace(t.Context(), "a", "b", sandbox.ForkOptions{}); err != nil {
				t.Fatal(err)
			}
		} else {
			if _, err := sb.ForkWorkspace(t.Context(), "a", "c", sandbox.ForkOptions{Snapshot: "s"}); err != nil {
				t.Errorf("a fork of a snapshot that was kept: %v", err)
			}
			for _, id := range []string{"b", "c"} {
				if got := sh(t, tool, sb.Worker(id), "cat f"); got != "data" {
					t.Errorf("%s holds %q", id, got)
				}
			}
		}
		if err := sb.Shutdown(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
}

func TestManyForksAtOnce(t *testing.T) {
	t.Parallel()
	var reg sandbox.Registry
	tool := addShell(&reg, "sh")
	sb := newSandbox(t, &reg, sandbox.Options{})
	sh(t, tool, sb.Worker("a"), "for i in $(seq 200); do echo $i > f$i; done")
	var wg sync.WaitGroup
	var mu sync.Mutex // guards made
	made := map[string]int{}
	for i := range 40 { // four for each target
		wg.Go(func() {
			to := fmt.Sprint("fork", i%10)
			_, err := sb.ForkWorkspace(context.Background(), "a", to, sandbox.ForkOptions{})
			if err != nil && !errors.Is(err, sandbox.ErrConflict) {
				t.Errorf("fork to %s: %v", to, err)
			}
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				made[to]++
			}
		})
	}
	wg.Wait()
	want := map[string]int{}
	for i := range 10 {
		want[fmt.Sprint("fork", i)] = 1
	}
	if diff := cmp.Diff(want, made); diff != "" {
		t.Errorf("forks (-want +got):\n%s", diff)
	}
	for to := range want {
		if got := sh(t, tool, sb.Worker(to), "cat f* | wc -l"); got != "200" {
			t.Errorf("%s has %s files", to, got)
		}
	}
}

// TestAWorkerThatAppearsMeanwhileWins calls the target of a fork while it is
// being made.
func TestAWorkerThatAppearsMeanwhileWins(t *testing.T) {
	t.Parallel()
	var reg sandbox.Registry
	tool := addShell(&reg, "sh")
	sb := newSandbox(t, &reg, sandbox.Options{})
	sh(t, tool, sb.Worker("a"), "for i in $(seq 100); do echo $i > f$i; done")
	for i := range 5 {
		to := sb.Worker(fmt.Sprint("b", i))
		done := make(chan error, 1)
		go func() {
			_, err := sb.ForkWorkspace(context.Background(), "a", to.ID(), sandbox.ForkOptions{})
			done <- err
		}()
		if _, err := to.CreateSession(t.Context(), "sh", sandbox.SessionOptions{}); err != nil {
			t.Fatal(err)
		}
		err := <-done
		want := map[bool]string{true: "100", false: "0"}[err == nil]
		if got := sh(t, tool, to, "ls | wc -l"); got != want || err != nil && !errors.Is(err, sandbox.ErrConflict) {
			t.Errorf("the worker has %s files after a fork with error %v", got, err)
		}
	}
}

// TestNothingFromOutsideIsCopied has a program in the jail swap directories for
// links to the host's files, as fast as it can.
func TestNothingFromOutsideIsCopied(t *testing.T) {
	t.Parallel()
	outside := t.TempDir()
	for i := range 20 {
		if err := os.WriteFile(filepath.Join(outside, fmt.Sprint("f", i)), []byte("canary"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	var reg sandbox.Registry
	tool, get := addShell(&reg, "sh"), addSnaps(&reg)
	sb := newSandbox(t, &reg, sandbox.Options{})
	w := sb.Worker("a")
	if _, err := w.CreateSession(t.Context(), "sh", sandbox.SessionOptions{}); err != nil {
		t.Fatal(err)
	}
	const attack = `
import os, itertools
for d in range(10):
    os.makedirs(f"d{d}", exist_ok=True)
    for f in range(20): open(f"d{d}/f{f}", "w").write("mine")
os.symlink(%q, "trap")
open("ready", "w").close()
for i in itertools.count():
    try:
        os.rename(f"d{i%%10}", "aside"); os.symlink(%q, f"d{i%%10}"); open(f"aside/g{i%%5}", "w").write("mine")
    except OSError: pass
    try:
        os.unlink(f"d{i%%10}"); os.rename("aside", f"d{i%%10}")
    except OSError: pass
`
	sh(t, tool, w, fmt.Sprintf("cat > /tmp/attack.py <<'EOF'\n%s\nEOF\npython3 /tmp/attack.py >/dev/null 2>&1 & while ! test -e ready; do :; done", fmt.Sprintf(attack, outside, outside)))
	snaps, err := get.Call(t.Context(), w, empty{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		name := fmt.Sprint("s", i)
		if _, err := snaps.Take(t.Context(), name, sandbox.SnapshotLimits{Count: 100}); err != nil {
			t.Errorf("Take: %v", err)
		}
		if _, err := snaps.Diff(t.Context(), name, 0); err != nil {
			t.Errorf("Diff: %v", err)
		}
		to := sb.Worker(name)
		if _, err := sb.ForkWorkspace(t.Context(), "a", name, sandbox.ForkOptions{Snapshot: map[bool]string{true: name}[i%2 == 0]}); err != nil {
			t.Errorf("ForkWorkspace: %v", err)
		}
		if i%5 == 0 {
			if _, err := snaps.Restore(t.Context(), name, 0); err != nil {
				t.Errorf("Restore: %v", err)
			}
			if got := sh(t, tool, to, "grep -rl canary . ; grep -rl mine . | wc -l"); strings.Contains(got, "f") || got == "0" {
				t.Errorf("the fork holds %q", got)
			}
		}
		if err := to.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

// TestRestoreUnderAShell restores while programs are at work in directories that
// go. A directory that leaves the workspace must not lead them out of the jail.
func TestRestoreUnderAShell(t *testing.T) {
	t.Parallel()
	for _, size := range []int64{0, 64 << 20} { // in a directory, and on a file system of its own
		t.Run(fmt.Sprint("limit ", size), func(t *testing.T) {
			t.Parallel()
			restoreUnderAShell(t, size)
		})
	}
}

func restoreUnderAShell(t *testing.T, size int64) {
	var reg sandbox.Registry
	tool, get := addShell(&reg, "sh"), addSnaps(&reg)
	dir := t.TempDir()
	sb := newSandbox(t, &reg, sandbox.Options{DataDir: dir, KeepWorkspaces: true, Confine: sandbox.Confinement{Limits: sandbox.Limits{Workspace: size}}})
	if err := sb.Probe(t.Context()); errors.Is(err, sandbox.ErrCannotEnforce) && size > 0 {
		t.Skipf("this host keeps workspaces to no size: %v", err)
	}
	w := sb.Worker("a")
	if _, err := w.CreateSession(t.Context(), "sh", sandbox.SessionOptions{}); err != nil {
		t.Fatal(err)
	}
	sh(t, tool, w, "echo whole > file")
	snaps, err := get.Call(t.Context(), w, empty{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := snaps.Take(t.Context(), "s", sandbox.SnapshotLimits{}); err != nil {
		t.Fatal(err)
	}
	// In a directory it looks, from before the restore until after it, for what lies
	// around the workspace, and when all is over for anything at all.
	const climb = `
import itertools, os
os.makedirs("d/e/f", exist_ok=True)
fd = os.open("d/e", os.O_RDONLY)
os.chdir("d/e/f")
open("/workspace/ready", "w").close()
out, ups = set(), ["../" * n for n in range(1, 9)]
around = ["worker", "snapshots", "restore", "image", "slots.lock"]
while not os.path.exists("/workspace/over"):
    for up, name, at in itertools.product(ups, around, (None, fd)):
        try:
            os.stat(up + name, dir_fd=at); out.add(up + name)
        except OSError: pass
for up, at in itertools.product(ups, (None, fd)):
    try:
        for name in os.listdir(os.open(up, os.O_RDONLY, dir_fd=at)):
            if name not in ("e", "f"): out.add(up + name)
    except OSError: pass
os.chdir("/workspace")
open("found", "w").write(" ".join(sorted(out)) + "\n" + open("file").read())
`
	sh(t, tool, w, "cat > /tmp/climb.py <<'EOF'\n"+climb+"\nEOF\npython3 /tmp/climb.py > /tmp/log 2>&1 & while ! test -e ready; do :; done")
	c, err := snaps.Restore(t.Context(), "s", 0)
	if diff := cmp.Diff(sandbox.Changes{Removed: []string{"d/", "ready"}}, c); diff != "" || err != nil {
		t.Errorf("Restore (-want +got): %v\n%s", err, diff)
	}
	got := sh(t, tool, w, "touch over; while ! test -s found; do pgrep python3 >/dev/null || break; done; cat found; cat /tmp/log")
	if got != "whole" { // after a line without anything that was found
		t.Errorf("the program found %q, want nothing, and the restored file", got)
	}
	if _, err := sb.ForkWorkspace(t.Context(), "a", "b", sandbox.ForkOptions{Snapshot: "s"}); err != nil {
		t.Fatal(err)
	}
	if got := sh(t, tool, sb.Worker("b"), "ls -A; cat file"); got != "file\nwhole" {
		t.Errorf("the fork of the snapshot holds %q", got)
	}
	if got := sh(t, tool, w, "ls -A"); got != "file\nfound\nover" {
		t.Errorf("the workspace holds %q", got)
	}
}
