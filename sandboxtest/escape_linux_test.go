package sandboxtest_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/agentflow-go/sandbox"
	"github.com/agentflow-go/sandbox/internal/usertest"
	"github.com/agentflow-go/sandbox/sandboxtest"
)

// hostVar is what the tests have in their environment for jails not to see, for
// the one they are started in may have nothing.
const hostVar = "SANDBOXTEST_OF_THE_HOST"

func TestMain(m *testing.M) {
	if os.Getenv(hostVar) == "" { // setting it now would not put it into /proc/self/environ
		err := syscall.Exec("/proc/self/exe", os.Args, append(os.Environ(), hostVar+"=a value to be told by"))
		fmt.Fprintln(os.Stderr, "sandboxtest: run the tests with", hostVar, "set:", err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

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

// TestUnprivileged runs the suite again as an ordinary user.
func TestUnprivileged(t *testing.T) {
	t.Parallel()
	usertest.Run(t, "", "-test.short")
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
