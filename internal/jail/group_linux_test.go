package jail_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/agentflow-go/sandbox/internal/cgroup"
	"github.com/agentflow-go/sandbox/internal/jail"
)

// controlGroups tells whether this user can limit groups of processes here.
func controlGroups(t testing.TB) bool {
	t.Helper()
	r, err := cgroup.Open(cgroup.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	return errors.Join(r.Supports(cgroup.Memory), r.Supports(cgroup.CPU), r.Supports(cgroup.Pids)) == nil
}

func needGroups(t testing.TB) {
	t.Helper()
	if !controlGroups(t) {
		t.Skip("this user has no control groups with memory, cpu and pids")
	}
}

// groupDir is the directory of a process's control group.
func groupDir(t testing.TB, pid int, controller string) string {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		f := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if f[1] == controller {
			return "/sys/fs/cgroup/" + controller + f[2]
		}
		if f[1] == "" && strings.Contains(f[2], "agentflow") {
			return "/sys/fs/cgroup" + f[2]
		}
	}
	t.Fatalf("process %d is in no group with %s:\n%s", pid, controller, b)
	return ""
}

func first(t testing.TB, j *jail.Jail) int {
	t.Helper()
	pid, err := j.First()
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

// hog takes 512 MiB; memory is a limit below that, with room for first processes
// that have the race detector.
const (
	hog    = `python3 -c 'x = b"x" * (512 << 20); print(len(x))'`
	memory = 192 << 20
)

func TestMemoryHogIsKilledAlone(t *testing.T) {
	t.Parallel()
	needGroups(t)
	eachLevel(t, func(t *testing.T, h *jail.Host) {
		p := policy(t, h)
		p.Limits.Memory = memory
		j := newJailOf(t, h, p)
		if got := sh(t, j, hog+"; echo $?"); !strings.HasSuffix(got, "137\n") {
			t.Errorf("the hog ended with %q, want 137", got)
		}
		for _, script := range []string{"exec " + hog, hog + "; exit $?"} {
			_, err := run(t, j, jail.Cmd{Path: "bash", Args: []string{"-c", script}})
			var e *jail.ExitError
			if !errors.As(err, &e) || !e.OOM || !strings.Contains(e.Error(), "out of memory") {
				t.Errorf("%s: %v, want an ExitError with OOM", script, err)
			}
		}
		for _, script := range []string{"exit 137", "kill -9 $$"} { // nothing to do with memory
			_, err := run(t, j, jail.Cmd{Path: "bash", Args: []string{"-c", script}})
			var e *jail.ExitError
			if !errors.As(err, &e) || e.OOM {
				t.Errorf("%s: %v, want an ExitError without OOM", script, err)
			}
		}
		if got := sh(t, j, "echo alive"); got != "alive\n" {
			t.Errorf("the jail says %q", got)
		}
	})
}

// TestFilesInMemoryAreMemory fills a tmpfs instead, which no process's death
// frees: it is smaller than the memory, unless its size was set.
func TestFilesInMemoryAreMemory(t *testing.T) { eachConfined(t, testFilesInMemoryAreMemory) }

func testFilesInMemoryAreMemory(t *testing.T, h *jail.Host) {
	needGroups(t)
	p := policy(t, h)
	p.Limits.Memory = memory
	const fill = `head -c 400M /dev/zero >/tmp/x; head -c 400M /dev/zero >/dev/shm/x; stat -c %s /tmp/x /dev/shm/x`
	j := newJailOf(t, h, p)
	if got := sh(t, j, fill); !strings.HasSuffix(got, fmt.Sprintf("\n%d\n%d\n", memory/2, memory/4)) {
		t.Errorf("sizes of full /tmp and /dev/shm: %q", got)
	}
	if got := sh(t, j, "echo alive"); got != "alive\n" {
		t.Errorf("the jail says %q", got)
	}

	p.TmpSize = 512 << 20
	j = newJailOf(t, h, p)
	_, err := run(t, j, jail.Cmd{Path: "bash", Args: []string{"-c", fill + "; exec cat /tmp/x"}})
	var e *jail.ExitError
	if !errors.As(err, &e) || !e.OOM {
		t.Errorf("400 MiB fit into 192: %v, want an ExitError with OOM", err)
	}
}

func TestProcessesAreLimited(t *testing.T) {
	t.Parallel()
	needGroups(t)
	eachLevel(t, func(t *testing.T, h *jail.Host) {
		p := policy(t, h)
		p.Limits.Processes = 20
		j := newJailOf(t, h, p)
		limit, err := os.ReadFile(groupDir(t, first(t, j), "pids") + "/pids.max")
		if n, _ := strconv.Atoi(strings.TrimSpace(string(limit))); err != nil || n < 20 || n > 40 {
			t.Fatalf("pids.max is %q, %v: too dangerous to go on", limit, err)
		}
		const forks = `for i in $(seq 60); do sleep 1000 & done; echo no end`
		var out strings.Builder
		bomb, err := j.Start(t.Context(), jail.Cmd{Path: "bash", Args: []string{"-c", forks}, Stderr: &out})
		if err != nil {
			t.Fatal(err)
		}
		current := groupDir(t, first(t, j), "pids") + "/pids.current"
		full := func() bool {
			b, err := os.ReadFile(current)
			n, aerr := strconv.Atoi(strings.TrimSpace(string(b)))
			if err := errors.Join(err, aerr); err != nil {
				t.Fatal(err)
			}
			return n >= 20
		}
		eventually(t, "the limit is reached", full)
		if err := bomb.Kill(); err != nil {
			t.Error(err)
		}
		_ = bomb.Wait()                                                          // killed
		eventually(t, "what was killed is gone", func() bool { return !full() }) // and counts no more
		if got := sh(t, j, "echo alive"); got != "alive\n" {
			t.Errorf("the jail says %q", got)
		}
	})
}

func TestLimitsAreTotalsOfAWorker(t *testing.T) { eachConfined(t, testLimitsAreTotalsOfAWorker) }

func testLimitsAreTotalsOfAWorker(t *testing.T, h *jail.Host) {
	needGroups(t)
	p := policy(t, h)
	p.Limits.Memory = 256 << 20
	a, b := newJailOf(t, h, p), newJailOf(t, h, p)
	other := newJail(t, h)
	narrow := p
	narrow.Limits.Memory = 128 << 20
	c := newJailOf(t, h, narrow)

	if x, y := groupDir(t, first(t, a), "memory"), groupDir(t, first(t, b), "memory"); x != y {
		t.Errorf("two jails of a worker with equal limits are in %s and %s", x, y)
	}
	x, y, z := groupDir(t, first(t, a), "memory"), groupDir(t, first(t, c), "memory"), groupDir(t, first(t, other), "memory")
	if filepath.Dir(x) != filepath.Dir(y) || x == y || filepath.Dir(x) == filepath.Dir(z) {
		t.Errorf("groups %s, narrower %s, another worker's %s: want the first two side by side", x, y, z)
	}
	// One holds 120 MiB; 150 more are too many for both together.
	held, err := a.Start(t.Context(), jail.Cmd{Path: "bash", Args: []string{"-c", "head -c 120M /dev/zero >/tmp/x && echo >/workspace/full; sleep 1000"}})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the file is full", func() bool {
		_, err := os.Stat(p.Workspace + "/full")
		return err == nil
	})
	const more = `python3 -c 'x = b"x" * (150 << 20)'; echo $?`
	if got := sh(t, b, more); !strings.HasSuffix(got, "137\n") {
		t.Errorf("the second jail's 150 MiB: %q, want 137", got)
	}
	if got := sh(t, c, more); !strings.HasSuffix(got, "137\n") {
		t.Errorf("the narrower jail's 150 MiB: %q, want 137", got)
	}
	if got := sh(t, other, more); got != "0\n" {
		t.Errorf("another worker's 150 MiB: %q, want 0", got)
	}
	if err := held.Kill(); err != nil {
		t.Error(err)
	}
}

func TestCPUIsLimited(t *testing.T) {
	t.Parallel()
	needGroups(t)
	eachLevel(t, func(t *testing.T, h *jail.Host) {
		p := policy(t, h)
		p.Limits.CPU = 0.1 // little enough to be felt on a busy machine
		j := newJailOf(t, h, p)
		dir := groupDir(t, first(t, j), "cpu")
		wantQuota(t, dir, p.Limits.CPU)
		// Two busy loops for a second; how much time they got.
		got := sh(t, j, `python3 - <<'E'
import os, time
start = time.monotonic()
child = os.fork()
while time.monotonic() < start + 1: pass
if child == 0: os._exit(0)
os.wait()
t = os.times()
print(t.user + t.system + t.children_user + t.children_system, time.monotonic() - start)
E`)
		var used, wall float64
		if _, err := fmt.Sscan(got, &used, &wall); err != nil {
			t.Fatalf("%q: %v", got, err)
		}
		if used > 0.4*wall {
			t.Errorf("used %.2f s in %.2f s, want about a tenth", used, wall)
		}
		throttled := false // by its own group or, as the limit is the same, by the worker's
		for _, d := range []string{dir, filepath.Dir(dir)} {
			b, err := os.ReadFile(d + "/cpu.stat")
			throttled = throttled || err == nil && !strings.Contains(string(b), "nr_throttled 0\n")
		}
		// On a machine that is busy enough nobody gets as much as the limit.
		if !throttled && used > p.Limits.CPU*(wall+0.2) {
			t.Errorf("never throttled in %.2f s of %.2f s", used, wall)
		}
	})
}

// wantQuota looks for the limit of processors in a control group.
func wantQuota(t *testing.T, dir string, want float64) {
	t.Helper()
	text, err := os.ReadFile(dir + "/cpu.max") // version 2
	if errors.Is(err, os.ErrNotExist) {
		text, err = os.ReadFile(dir + "/cpu.cfs_quota_us")
		period, perr := os.ReadFile(dir + "/cpu.cfs_period_us")
		text, err = append(append(text, ' '), period...), errors.Join(err, perr)
	}
	var quota, period float64
	if _, serr := fmt.Sscan(string(text), &quota, &period); err != nil || serr != nil || quota != want*period {
		t.Errorf("%s has the limit %q, want %v processors: %v", dir, text, want, errors.Join(err, serr))
	}
}

// TestNothingIsLeftOfGroups closes a jail under level none with a process in it
// that no first process kills, since that was killed first.
func TestNothingIsLeftOfGroups(t *testing.T) {
	t.Parallel()
	needGroups(t)
	h := open(t, jail.Options{Level: "none"})
	p := policy(t, h)
	j := newJailOf(t, h, p)
	mark := "left" + strconv.Itoa(os.Getpid())
	sh(t, j, fmt.Sprintf("exec >/dev/null 2>&1; (setsid bash -c 'exec -a %s sleep 1000' &)", mark))
	eventually(t, "it runs", func() bool { return len(withArg0(mark)) == 1 })
	dir := groupDir(t, first(t, j), "pids")
	if err := syscall.Kill(first(t, j), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = j.Close() // the first process did not end as it should
	if pids := withArg0(mark); len(pids) > 0 {
		t.Errorf("processes %v are left", pids)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s: %v, want it gone", dir, err)
	}
}

// groupsOfProgram lists the groups that a program made, in all hierarchies.
func groupsOfProgram(pid int) (dirs []string) {
	_ = filepath.WalkDir("/sys/fs/cgroup", func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && strings.HasPrefix(d.Name(), fmt.Sprintf("agentflow-sandbox-%d-", pid)) {
			dirs = append(dirs, path)
		}
		return nil // others' groups come and go
	})
	return dirs
}

func TestGroupsOfAKilledHostAreSwept(t *testing.T) {
	t.Parallel()
	needGroups(t)
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), exe)
	cmd.Env = []string{helperVar + "=host", "JAIL_TEST_MARK=swept" + strconv.Itoa(os.Getpid()), "PATH=" + os.Getenv("PATH"), "TMPDIR=" + t.TempDir()}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		rest, _ := io.ReadAll(out)
		t.Fatalf("helper said %q, %v\n%s", line, err, rest)
	}
	if len(groupsOfProgram(cmd.Process.Pid)) == 0 {
		t.Error("the helper has no groups: this test shows nothing")
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // killed
	// What a sweep cannot end soon enough is left to the next, and another test's may
	// be at it just now.
	eventually(t, "all its groups are gone", func() bool {
		h, err := jail.Open(t.Context(), jail.Options{Level: "none"})
		if err == nil {
			err = h.Close()
		}
		if err != nil {
			t.Fatal(err)
		}
		return len(groupsOfProgram(cmd.Process.Pid)) == 0
	})
}
