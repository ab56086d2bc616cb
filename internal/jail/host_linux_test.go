package jail_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/agentflow-go/sandbox/internal/jail"
	"github.com/agentflow-go/sandbox/internal/usertest"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func TestLevels(t *testing.T) {
	t.Parallel()
	for _, level := range []string{"", "auto", "bwrap"} {
		if got := open(t, jail.Options{Level: level}).Level(); got != "bwrap" {
			t.Errorf("level %q became %q, want bwrap", level, got)
		}
	}
	for _, level := range []string{"native", "none"} {
		if got := open(t, jail.Options{Level: level}).Level(); got != level {
			t.Errorf("level %q became %q", level, got)
		}
	}
	for level, want := range map[string]string{
		"docker": `jail: level "docker": confinement is not available: this program was not given its driver; hand it in: Options.Drivers, package drivers/docker`,
		"Bwrap":  `jail: unknown level "Bwrap", want auto, bwrap, native or none`,
	} {
		if _, err := jail.Open(t.Context(), jail.Options{Level: level}); err == nil || err.Error() != want {
			t.Errorf("Open(%q) = %v, want %s", level, err, want)
		}
	}
	if _, err := jail.Open(t.Context(), jail.Options{AllowDegraded: []string{"mem"}}); err == nil || !strings.Contains(err.Error(), `unknown limit "mem"`) {
		t.Errorf("AllowDegraded mem = %v, want it named", err)
	}
}

// fakeBwrap writes a script that stands for a bwrap of this host that is broken.
func fakeBwrap(t *testing.T, script string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "bwrap")
	// By another program, for the children that other tests start meanwhile would
	// have it open for writing, and then it cannot be executed.
	write := exec.Command("sh", "-c", `cat >"$0" && chmod 755 "$0"`, path)
	write.Stdin = strings.NewReader("#!/bin/bash\n" + script)
	if out, err := write.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if err := usertest.OpenWay(filepath.Dir(path)); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestProbeFailsClosedWithARemedy(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, script, want string }{
		{"missing", "", "apt-get install bubblewrap"},
		{"too old", "echo 'bwrap: Unknown option --bind-fd' >&2; exit 1", "install bubblewrap 0.8 or newer"},
		{"no user namespaces", "echo 'bwrap: No permissions to create new namespace, likely because the kernel does not allow non-privileged user namespaces.' >&2; exit 1", "--security-opt seccomp=unconfined"},
		{"masked proc", "echo \"bwrap: Can't mount proc on /newroot/proc: Operation not permitted\" >&2; exit 1", "procMount: Unmasked"},
		{"silent", "exit 0", "bwrap made no jail"},
		// What fails open must be seen from inside.
		{"no jail at all", "exec /proc/self/fd/4 \"${@: -1}\"", "bwrap made no jail"},
		{"not process 1", "exec unshare -Ur /proc/self/fd/4 \"${@: -1}\"", "bwrap made no jail"},
		{"capabilities left", "exec unshare -Urpf --mount-proc --kill-child /proc/self/fd/4 \"${@: -1}\"", "bwrap made no jail"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "no-bwrap")
			if tt.script != "" {
				path = fakeBwrap(t, tt.script)
			}
			h, err := jail.Open(t.Context(), jail.Options{Level: "bwrap", Bwrap: path})
			if err == nil {
				h.Close()
				t.Fatal("Open succeeded")
			}
			if !errors.Is(err, jail.ErrUnavailable) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Open() = %v, want ErrUnavailable and %q", err, tt.want)
			}
		})
	}
}

// late is a context whose deadline comes when its channel closes.
type late struct {
	context.Context
	done chan struct{}
}

func (c late) Done() <-chan struct{} { return c.done }

func (c late) Err() error {
	select {
	case <-c.done:
		return context.DeadlineExceeded
	default:
		return nil
	}
}

func TestAHangingBwrapHitsTheDeadline(t *testing.T) {
	t.Parallel()
	name := mark(t)
	path := fakeBwrap(t, "(exec -a "+name+" sleep 1000) & exec -a "+name+" sleep 1000")
	ctx := late{t.Context(), make(chan struct{})}
	opened := make(chan error)
	go func() {
		h, err := jail.Open(ctx, jail.Options{Bwrap: path})
		if err == nil {
			h.Close()
		}
		opened <- err
	}()
	eventually(t, "the bwrap hangs", func() bool { return len(withArg0(name)) == 2 })
	close(ctx.done)
	err := <-opened
	if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, jail.ErrUnavailable) || !strings.Contains(err.Error(), "bwrap hangs") {
		t.Errorf("Open() = %v, want DeadlineExceeded and the remedy", err)
	}
	if left := withArg0(name); len(left) != 0 {
		t.Errorf("processes %v are left", left)
	}
}

func TestPolicyIsCheckedClosed(t *testing.T) {
	t.Parallel()
	// A limit that needs control groups is refused where there are none.
	groups := controlGroups(t)
	without := func(limit string) string {
		if groups {
			return ""
		}
		return limit
	}
	type check struct {
		level    string
		degraded []string
		policy   jail.Policy
		limit    string // of the PolicyError; "": fine; "!": another error
	}
	tests := []check{
		{level: "bwrap"},
		{level: "bwrap", policy: jail.Policy{Limits: jail.Limits{Processes: 10, Files: 20, Output: 5}}},
		{level: "bwrap", policy: jail.Policy{Limits: jail.Limits{CPU: -1, Memory: -1, Workspace: -1, Processes: -1, Files: -1}}},
		{level: "bwrap", policy: jail.Policy{Limits: jail.Limits{CPU: 0.5}}, limit: without("cpu")},
		{level: "bwrap", policy: jail.Policy{Limits: jail.Limits{Memory: 1}}, limit: without("memory")},
		{level: "bwrap", policy: jail.Policy{Limits: jail.Limits{Workspace: 1}}, limit: "workspace"},
		{level: "bwrap", policy: jail.Policy{Limits: jail.Limits{Memory: 1}}, degraded: []string{"memory"}},
		{level: "bwrap", policy: jail.Policy{Limits: jail.Limits{Memory: 1, CPU: 1}}, degraded: []string{"memory"}, limit: without("cpu")},
		{level: "bwrap", policy: jail.Policy{Limits: jail.Limits{Workspace: 1}}, degraded: []string{"workspace"}},
		{level: "bwrap", policy: jail.Policy{Limits: jail.Limits{Processes: -2}}, limit: "!"},
		{level: "bwrap", policy: jail.Policy{Limits: jail.Limits{CPU: -0.5}}, limit: "!"},
		{level: "bwrap", policy: jail.Policy{TmpSize: -1}, limit: "!"},
		{level: "bwrap", policy: jail.Policy{Proxy: func(net.Listener) {}}},
		{level: "none", policy: jail.Policy{Limits: jail.Limits{Processes: 10}}, limit: without("processes")},
		{level: "none", policy: jail.Policy{Limits: jail.Limits{Files: 10}}, limit: "files"},
		{level: "none", policy: jail.Policy{Proxy: func(net.Listener) {}}, limit: "egress"},
	}
	hosts := map[string]*jail.Host{} // each is a probe, which is the most of this test
	host := func(level string, degraded ...string) *jail.Host {
		key := fmt.Sprint(level, degraded)
		if hosts[key] == nil {
			hosts[key] = open(t, jail.Options{Level: level, AllowDegraded: degraded})
		}
		return hosts[key]
	}
	for _, tt := range tests {
		err := host(tt.level, tt.degraded...).Check(tt.policy)
		var pe *jail.PolicyError
		switch {
		case tt.limit == "" && err != nil, tt.limit == "!" && (err == nil || errors.As(err, &pe)):
			t.Errorf("Check(%+v) at %s = %v", tt.policy, tt.level, err)
		case tt.limit != "" && tt.limit != "!" && (!errors.As(err, &pe) || pe.Limit != tt.limit || pe.Remedy == "" || !errors.Is(err, jail.ErrCannotEnforce)):
			t.Errorf("Check(%+v) at %s = %v, want a PolicyError about %s", tt.policy, tt.level, err, tt.limit)
		}
	}
	h, none := host("bwrap"), host("none")
	for _, tt := range []struct {
		h         *jail.Host
		limits    jail.Limits
		with, not []string // where there are control groups, and where not
	}{
		{h, jail.Limits{}, nil, []string{"memory", "processes"}},
		{h, jail.Limits{Memory: -1, Processes: -1}, nil, nil},
		{h, jail.Limits{CPU: 1}, nil, []string{"cpu", "memory", "processes"}},
		{none, jail.Limits{}, []string{"files"}, []string{"memory", "processes", "files"}},
	} {
		want := tt.not
		if groups {
			want = tt.with
		}
		var got []string
		for _, line := range tt.h.Unenforced(tt.limits) {
			name, why, _ := strings.Cut(line, ": ")
			if got = append(got, name); why == "" {
				t.Errorf("no reason in %q", line)
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("Unenforced(%+v) at %s (-want +got):\n%s", tt.limits, tt.h.Level(), diff)
		}
	}
}

func TestLimitsOfThePolicyHold(t *testing.T) { eachConfined(t, testLimitsOfThePolicyHold) }

func testLimitsOfThePolicyHold(t *testing.T, h *jail.Host) {
	p := policy(t, h)
	p.Limits, p.TmpSize, p.ShmSize = jail.Limits{Files: 20, Processes: 30}, 1<<20, 1<<20
	j := newJailOf(t, h, p)
	got := sh(t, j, `ulimit -Sn; ulimit -Hn; ulimit -Su; ulimit -Hu; head -c 2M /dev/zero >/tmp/x; head -c 2M /dev/zero >/dev/shm/x; stat -c %s /tmp/x /dev/shm/x`)
	if i := strings.Index(got, "20\n20\n30\n30\n"); i != 0 || !strings.HasSuffix(got, "1048576\n1048576\n") {
		t.Errorf("limits inside: %q", got)
	}
}

func TestBadWorkspace(t *testing.T) {
	t.Parallel()
	h := open(t, jail.Options{Level: "bwrap"})
	good := policy(t, h)
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(good.Workspace, link); err != nil {
		t.Fatal(err)
	}
	for name, p := range map[string]jail.Policy{
		"no identity": {Workspace: good.Workspace},
		"relative":    {Identity: good.Identity, Workspace: "x"},
		"missing":     {Identity: good.Identity, Workspace: good.Workspace + "/no"},
		"a link":      {Identity: good.Identity, Workspace: link},
		"another's":   {Identity: good.Identity, Workspace: "/usr"},
	} {
		if j, err := h.NewJail(t.Context(), p); err == nil {
			j.Close()
			t.Errorf("%s: NewJail succeeded", name)
		}
	}
}

func TestForgedTrigger(t *testing.T) {
	anyUser(t)
	t.Parallel()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	pair := func(typ int) (ours, theirs *os.File) {
		fd, err := unix.Socketpair(unix.AF_UNIX, typ|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		ours, theirs = os.NewFile(uintptr(fd[0]), "ours"), os.NewFile(uintptr(fd[1]), "theirs")
		t.Cleanup(func() { ours.Close(); theirs.Close() })
		return ours, theirs
	}
	_, stream := pair(unix.SOCK_STREAM)
	closed, ended := pair(unix.SOCK_STREAM)
	closed.Close()
	talker, told := pair(unix.SOCK_STREAM)
	if _, err := talker.WriteString("\x05\x00\x00\x00\x01\x00\x00\x00\x00"); err != nil {
		t.Fatal(err)
	}
	_, datagram := pair(unix.SOCK_DGRAM)
	// The right shape, but made by somebody else than the parent or the outside.
	stranger := []string{"-c", `exec -a /proc/self/fd/4 "$0" "$1" & wait $!`}
	tests := []struct {
		name   string
		argv   []string
		path   string
		fd3    *os.File
		normal bool // it goes on as the program that it is
	}{
		{name: "no trigger", argv: []string{"x"}, path: exe, fd3: stream, normal: true},
		{name: "the marker alone", argv: []string{"x", jail.Marker}, path: exe, normal: true},
		{name: "more arguments", argv: []string{jail.ExePath, jail.Marker, "x"}, path: exe, fd3: stream, normal: true},
		{name: "no descriptor", argv: []string{jail.ExePath, jail.Marker}, path: exe},
		{name: "a file", argv: []string{jail.ExePath, jail.Marker}, path: exe, fd3: mustOpen(t, "/dev/null")},
		{name: "a datagram socket", argv: []string{jail.ExePath, jail.Marker}, path: exe, fd3: datagram},
		{name: "an ended socket", argv: []string{jail.ExePath, jail.Marker}, path: exe, fd3: ended},
		{name: "a wrong handshake", argv: []string{jail.ExePath, jail.Marker}, path: exe, fd3: told},
		{name: "a socket of neither parent nor outside", argv: append(append([]string{"bash"}, stranger...), exe, jail.Marker), path: "/bin/bash", fd3: stream},
	}
	for _, tt := range tests {
		cmd := &exec.Cmd{Path: tt.path, Args: tt.argv, Env: []string{helperVar + "=normal"}}
		if tt.fd3 != nil {
			cmd.ExtraFiles = []*os.File{tt.fd3}
		}
		out, err := cmd.CombinedOutput()
		normal := strings.Contains(string(out), "normal program")
		if normal != tt.normal {
			t.Errorf("%s: ran on as the program: %v, want %v (%v, %q)", tt.name, normal, tt.normal, err, out)
		}
		if !tt.normal && (err == nil || len(out) != 0) {
			t.Errorf("%s: %v, %q, want a silent failure", tt.name, err, out)
		}
	}
}

func TestLeftOverProcessesOfADirtyUserAreKilled(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("needs root: without it workers have no users of their own")
	}
	h := open(t, jail.Options{Level: "bwrap"})
	id, err := h.Identity()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("bash", "-c", "trap '' TERM; setsid sleep 1000 & echo; sleep 1000")
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(id.UID), Gid: uint32(id.GID)}}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	go cmd.Wait() // reaps it, as the init of a machine would
	if err := jail.KillUser(id.UID, jail.KillTime); err != nil {
		t.Errorf("KillUser() = %v", err)
	}
	if pids, err := exec.Command("pgrep", "-r", "R,S,D,T", "-U", fmt.Sprint(id.UID)).Output(); err == nil {
		t.Errorf("afterwards processes %q are left", pids)
	}
	if err := id.Release(); err != nil { // and from here on it may be another test's
		t.Errorf("Release() = %v", err)
	}
}

func TestManyJailsLeakNothing(t *testing.T) { eachConfinedInTurn(t, testManyJailsLeakNothing) }

func testManyJailsLeakNothing(t *testing.T, h *jail.Host) {
	p := policy(t, h)
	once := func() error {
		j, err := h.NewJail(t.Context(), p)
		if err != nil {
			return err
		}
		c, err := j.Start(t.Context(), jail.Cmd{Path: "echo", Args: []string{"x"}, Stdout: new(strings.Builder)})
		if err == nil {
			err = c.Wait()
		}
		return errors.Join(err, j.Close())
	}
	if err := once(); err != nil { // so that what is made once exists
		t.Fatal(err)
	}
	fds, routines, children := count(t, "/proc/self/fd"), runtime.NumGoroutine(), childCount(t)
	jails := 60
	if testing.Short() {
		jails = 20
	}
	var wg sync.WaitGroup
	gate := make(chan struct{}, 16)
	for range jails {
		wg.Go(func() {
			gate <- struct{}{}
			defer func() { <-gate }()
			if err := once(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	eventually(t, "no descriptor, goroutine or child is left", func() bool {
		return count(t, "/proc/self/fd") <= fds && runtime.NumGoroutine() <= routines && childCount(t) <= children
	})
}

func count(t *testing.T, dir string) int {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

func childCount(t *testing.T) int {
	t.Helper()
	b, err := exec.Command("ps", "-o", "pid=", "--ppid", fmt.Sprint(os.Getpid())).Output()
	if err != nil {
		t.Fatal(err)
	}
	return len(strings.Fields(string(b)))
}

func TestHostCloseClosesJails(t *testing.T) {
	eachLevel(t, func(t *testing.T, h *jail.Host) {
		j := newJail(t, h)
		p, err := j.Start(t.Context(), jail.Cmd{Path: "sleep", Args: []string{"1000"}})
		if err != nil {
			t.Fatal(err)
		}
		if err := h.Close(); err != nil {
			t.Errorf("Close() = %v", err)
		}
		var exit *jail.ExitError
		if err := p.Wait(); !errors.As(err, &exit) || exit.Signal != syscall.SIGKILL {
			t.Errorf("Wait() = %v, want SIGKILL", err)
		}
		if _, err := h.NewJail(t.Context(), jail.Policy{Identity: &jail.Identity{UID: os.Getuid()}, Workspace: t.TempDir()}); err == nil {
			t.Error("NewJail() after Close succeeded")
		}
	})
}

func TestHostCloseWhileJailsAreMade(t *testing.T) {
	eachLevel(t, func(t *testing.T, h *jail.Host) {
		p := policy(t, h)
		var wg sync.WaitGroup
		first := make(chan struct{}, 64)
		for range 8 {
			wg.Go(func() {
				for {
					j, err := h.NewJail(t.Context(), p)
					first <- struct{}{}
					if err != nil {
						if !errors.Is(err, jail.ErrClosed) {
							t.Errorf("NewJail() = %v, want ErrClosed", err)
						}
						return
					}
					if err := j.Close(); err != nil {
						t.Errorf("Close() = %v", err)
					}
				}
			})
		}
		go func() { // so that nobody waits to send
			wg.Wait()
			close(first)
		}()
		<-first
		if err := h.Close(); err != nil {
			t.Errorf("Host.Close() = %v", err)
		}
		for range first {
		}
	})
}
