package sandboxtest_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/agentflow-go/sandbox"
	"github.com/agentflow-go/sandbox/sandboxtest"
)

// levels are those that confine by this library's own means.
var levels = []string{"bwrap", "native"}

func TestNothingEscapes(t *testing.T) {
	t.Parallel()
	for _, level := range levels {
		t.Run(level, func(t *testing.T) {
			t.Parallel()
			sandboxtest.RunEscapes(t, sandbox.Options{Confine: sandbox.Confinement{Level: level}})
		})
	}
}

// A hole that was closed is to be taken off the list.
func TestKnownHolesAreThere(t *testing.T) {
	t.Parallel()
	cases := slices.DeleteFunc(sandboxtest.Escapes(), func(e sandboxtest.Escape) bool { return e.Known == "" })
	for _, level := range levels {
		results, err := sandboxtest.TryEscapes(t.Context(), sandbox.Options{Confine: sandbox.Confinement{Level: level}}, cases)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range results {
			t.Logf("%s: %s: %s", level, r.Escape.Name, r.Detail)
			if r.Outcome != sandboxtest.Escaped && r.Outcome != sandboxtest.Skipped {
				t.Errorf("%s: %s: %s (%s), want it to escape still: %s", level, r.Escape.Name, r.Outcome, r.Detail, r.Escape.Known)
			}
		}
	}
}

func TestCasesAreDescribedAndNamedOnce(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, e := range sandboxtest.Escapes() {
		if e.Tries == "" || e.Seen == "" || seen[e.Name] || !strings.Contains(e.Name, "/") {
			t.Errorf("case %+v: want a name of its own with a theme, and what it tries and how that is seen", e)
		}
		seen[e.Name] = true
	}
	if len(seen) < 120 {
		t.Errorf("%d cases, want at least 120", len(seen))
	}
}

// Where nothing is confined the suite must see it, or it proves nothing where
// something is.
func TestEscapesAreSeenUnderNone(t *testing.T) {
	if testing.Short() {
		t.Skip("tries everything a second time: skipped in short mode")
	}
	t.Parallel()
	results, err := sandboxtest.TryEscapes(t.Context(), sandbox.Options{Confine: sandbox.Confinement{Level: "none"}}, sandboxtest.Escapes())
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]sandboxtest.Result{}
	for _, r := range results {
		got[r.Escape.Name] = r
		if r.Outcome == sandboxtest.Broken {
			t.Errorf("%s: %s", r.Escape.Name, r.Detail)
		}
		t.Logf("%-8s %s: %s", r.Outcome, r.Escape.Name, r.Detail)
	}
	want := anybodyEscapes
	if os.Getuid() == 0 {
		want = append(want[:len(want):len(want)], rootEscapes...)
	}
	for _, name := range want {
		if r := got[name]; r.Outcome != sandboxtest.Escaped {
			t.Errorf("%s under none: %s (%s), want it to be seen escaping", name, r.Outcome, r.Detail)
		}
	}
}

// testBinary is a copy of the test binary where every user can execute it; "" unless
// this is root.
var testBinary string

func TestMain(m *testing.M) { os.Exit(runAll(m)) }

// runAll makes the copy before any test runs: a child of another test that is being
// started would have it open for writing, and then it cannot be executed.
func runAll(m *testing.M) int {
	if os.Getuid() != 0 {
		return m.Run()
	}
	dir, err := os.MkdirTemp("", "sandboxtest-test-")
	if err == nil {
		defer os.RemoveAll(dir)
		testBinary = filepath.Join(dir, "sandboxtest.test")
		err = errors.Join(os.Chmod(dir, 0o755), copySelf(testBinary))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// TestUnprivileged runs the suite again as an ordinary user.
func TestUnprivileged(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("already unprivileged: the tests around this one are the suite")
	}
	t.Parallel()
	dir := t.TempDir()
	tmp := filepath.Join(dir, "tmp")
	if err := errors.Join(os.Mkdir(tmp, 0o700), os.Chown(tmp, 65534, 65534)); err != nil {
		t.Fatal(err)
	}
	for d := dir; d != os.TempDir() && d != "/"; d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	args := []string{"-test.short", fmt.Sprintf("-test.v=%v", testing.Verbose())}
	if end, ok := t.Deadline(); ok { // so that it tells where it hangs
		args = append(args, fmt.Sprintf("-test.timeout=%v", max(time.Until(end)-5*time.Second, time.Second)))
	}
	cmd := exec.CommandContext(t.Context(), testBinary, args...)
	cmd.Dir = tmp
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "TMPDIR=" + tmp, "HOME=" + tmp, "SANDBOXTEST_OF_THE_HOST=a value to be told by"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("as uid 65534: %v\n%s", err, out)
	} else if testing.Verbose() {
		t.Logf("as uid 65534:\n%s", out)
	}
}

func copySelf(dst string) error {
	in, err := os.Open("/proc/self/exe")
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(dst, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// anybodyEscapes succeed for every user of any Linux where nothing is confined,
// and rootEscapes for root with all its capabilities. What depends on the kernel's
// settings, the host's devices or its network is in neither.
var (
	anybodyEscapes = strings.Fields(`
		files/host-file files/other-workspace files/neighbouring-workspaces files/dot-dot files/symlink files/symlink-to-directory
		files/rename files/create files/append files/remove files/loader files/loader-preload files/kept-directory
		files/proc-root files/setuid-bit files/home files/host-program files/shared-memory files/host-tmp
		proc/every-environ proc/every-cmdline proc/every-root proc/every-cwd proc/every-thread proc/host-environment
		processes/kill processes/kill-group processes/pidfd processes/sigio processes/priority processes/affinity
		processes/scheduler processes/limits processes/sessions processes/count processes/shared-memory
		processes/shared-memory-key processes/namespaces
		network/loopback network/loopback-mapped network/any-address network/udp network/abstract-socket
		network/abstract-names network/unix-socket network/unix-socket-link network/socket-netlink-uevent
		egress/loopback egress/loopback-decimal egress/loopback-octal egress/mapped egress/listed-name-of-loopback egress/name-upper-case
		kernel/ptrace-traceme kernel/personality kernel/keyring-read kernel/number-high-bits
		privileges/no-new-privs privileges/bounding-set devices/numbers resources/tmp resources/unlinked
		resources/aio-contexts resources/huge-pages`)
	rootEscapes = strings.Fields(`
		files/shadow files/handle files/capabilities files/setuid-program files/device-node
		files/write-to-/usr/bin files/write-to-/etc files/write-to-/run files/write-to-/var
		proc/write-core-pattern proc/write-hostname proc/write-panic proc/read-kmsg 
		processes/ptrace processes/compare processes/descriptors proc/memory-of-a-process
		kernel/mount-tmpfs kernel/mount-bind kernel/fsopen kernel/open-tree kernel/chroot kernel/unshare-mount
		kernel/unshare-net kernel/unshare-pid kernel/unshare-uts kernel/bpf-map kernel/kernel-log kernel/fanotify
		network/socket-raw network/socket-packet network/route network/up devices/kernel-log
		privileges/setuid privileges/setgid privileges/setgroups privileges/neighbour privileges/capset privileges/dac`)
)
