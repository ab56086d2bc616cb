package cgroup

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// helperVar, in the environment, turns the test binary into one of helpers, and
// helperIn names the directory of the group that it goes into before.
const (
	helperVar = "CGROUP_TEST_HELPER"
	helperIn  = "CGROUP_TEST_IN"
)

var helpers = map[string]func() error{
	"holder": helpHold,
	"denied": helpDenied,
	"opener": helpOpen,
}

func TestMain(m *testing.M) {
	if name := os.Getenv(helperVar); name != "" {
		var err error
		if dir := os.Getenv(helperIn); dir != "" {
			err = write(dir, "cgroup.procs", "0")
		}
		if err == nil {
			err = helpers[name]()
		}
		if err != nil {
			fmt.Println("helper:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// helpHold has a group with a process and waits to be killed.
func helpHold() error {
	r, err := Open(Options{})
	if err != nil {
		return err
	}
	g, err := r.New("held", Limits{Pids: 10})
	if err != nil {
		return err
	}
	cmd := exec.Command("sleep", "1000")
	if err := errors.Join(cmd.Start(), g.Add(cmd.Process.Pid)); err != nil {
		return err
	}
	fmt.Printf("%d %s\n", cmd.Process.Pid, r.bases[0].lease.dir)
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// helpOpen is a program that makes no group.
func helpOpen() error {
	r, err := Open(Options{})
	if err != nil {
		return err
	}
	return r.Close()
}

// helpDenied says what an unprivileged program is told.
func helpDenied() error {
	r, err := Open(Options{})
	if err != nil {
		return err
	}
	for _, c := range controllers {
		fmt.Println(r.Supports(c))
	}
	fmt.Println(r.Any())
	_, err = r.New("x", Limits{})
	fmt.Println(err)
	return r.Close()
}

// needRoot skips where the kernel's groups cannot be tried.
func needRoot(t testing.TB) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root, to make control groups")
	}
}

// openRoot opens a Root and needs the controllers.
func openRoot(t testing.TB, need ...Controller) *Root {
	t.Helper()
	needRoot(t)
	r, err := Open(Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Errorf("Root.Close() = %v", err)
		}
	})
	for _, c := range need {
		if err := r.Supports(c); err != nil {
			t.Skipf("no %s controller to try: %v", c, err)
		}
	}
	return r
}

// newGroup makes a group that is killed and removed after the test.
func newGroup(t testing.TB, r interface {
	New(string, Limits) (*Group, error)
}, name string, l Limits) *Group {
	t.Helper()
	g, err := r.New(name, l)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := errors.Join(g.Kill(ctx), g.Remove(ctx)); err != nil {
			t.Error(err)
		}
	})
	return g
}

// script starts a shell script in the group, which begins when it is in it, and
// returns what ends it and gives its output. It is killed after the test.
func script(t testing.TB, g *Group, text string) (cmd *exec.Cmd, wait func() (string, error)) {
	t.Helper()
	cmd = exec.CommandContext(t.Context(), "bash", "-c", "read -r; "+text)
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	gate, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if err := g.Add(cmd.Process.Pid); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(gate, "go\n"); err != nil {
		t.Fatal(err)
	}
	return cmd, func() (string, error) {
		err := cmd.Wait()
		return out.String(), err
	}
}

// patience is for what never comes. What does come takes milliseconds, or seconds
// on a machine that is busy.
const patience = time.Minute

// eventually waits until cond holds.
func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for !cond() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("still not: %s", what)
		}
	}
}

// helper starts one of helpers, as another user if cred is not nil, and in the
// group at the directory in unless that is "".
func helper(t testing.TB, name, in string, cred *syscall.Credential) (*exec.Cmd, *bufio.Reader) {
	t.Helper()
	exe := "/proc/self/exe"
	if cred != nil { // the binary lies where others cannot go
		dir, err := os.MkdirTemp("/tmp", "cgroup-test-")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.RemoveAll(dir) })
		exe = filepath.Join(dir, "cgroup.test")
		b, err := os.ReadFile("/proc/self/exe")
		// No child of another test that is being started may have it open for writing:
		// then it could not be executed.
		syscall.ForkLock.RLock()
		err = errors.Join(err, os.Chmod(dir, 0o755), os.WriteFile(exe, b, 0o755))
		syscall.ForkLock.RUnlock()
		if err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), exe)
	cmd.Env = []string{helperVar + "=" + name, helperIn + "=" + in, "PATH=" + os.Getenv("PATH")}
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: cred}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cmd.StdinPipe(); err != nil { // open until it is killed
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, bufio.NewReader(out)
}

// alive tells whether a process runs.
func alive(pid int) bool {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return false
	}
	_, state, _ := strings.Cut(string(b), ") ")
	return !strings.HasPrefix(state, "Z") && !strings.HasPrefix(state, "X")
}

// groupsOf are the memberships of a process or thread.
func groupsOf(t testing.TB, who string) map[string]string {
	t.Helper()
	m, err := realKernel().memberships(who)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}
