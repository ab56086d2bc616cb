package jail_test

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/agentflow-go/sandbox/internal/jail"
	"golang.org/x/sys/unix"
)

// The bare ones are what the others are to be compared with, in one run.

func BenchmarkBareForkExec(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if err := exec.Command("/usr/bin/true").Run(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkBareBwrap(b *testing.B) {
	args := strings.Fields("--unshare-user --unshare-pid --unshare-ipc --unshare-uts --unshare-net --unshare-cgroup --disable-userns " +
		"--cap-drop ALL --die-with-parent --as-pid-1 --ro-bind /usr /usr --symlink usr/bin /bin --symlink usr/lib /lib " +
		"--symlink usr/lib64 /lib64 --proc /proc --dev /dev --tmpfs /tmp -- /usr/bin/true")
	b.ReportAllocs()
	for b.Loop() {
		if err := exec.Command("bwrap", args...).Run(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkBareClone is what the kernel takes for the namespaces alone, by the
// standard library's means.
func BenchmarkBareClone(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		cmd := exec.Command("/usr/bin/true")
		cmd.SysProcAttr = &syscall.SysProcAttr{
			Cloneflags: unix.CLONE_NEWUSER | unix.CLONE_NEWPID | unix.CLONE_NEWNS | unix.CLONE_NEWIPC |
				unix.CLONE_NEWUTS | unix.CLONE_NEWNET | unix.CLONE_NEWCGROUP,
			UidMappings: []syscall.SysProcIDMap{{ContainerID: 1000, HostID: os.Getuid(), Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{ContainerID: 1000, HostID: os.Getgid(), Size: 1}},
		}
		if err := cmd.Run(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkNewJailOfALargeProgram is BenchmarkNewJail in a program with much
// memory, whose page tables a child that is a copy takes along.
func BenchmarkNewJailOfALargeProgram(b *testing.B) {
	ballast := make([]byte, 512<<20)
	for i := 0; i < len(ballast); i += 4096 {
		ballast[i] = 1
	}
	BenchmarkNewJail(b)
	runtime.KeepAlive(ballast)
}

// BenchmarkIdleJail tells what an idle jail takes of memory: its first process,
// and what stays beside it.
func BenchmarkIdleJail(b *testing.B) {
	benchLevels(b, func(b *testing.B, h *jail.Host) {
		p, total := policy(b, h), 0
		for b.Loop() {
			j, err := h.NewJail(b.Context(), p)
			if err != nil {
				b.Fatal(err)
			}
			first, err := j.First()
			if err != nil {
				b.Fatal(err)
			}
			total += pss(b, first)
			if j.Bwrap() != first {
				total += pss(b, j.Bwrap())
			}
			if err := j.Close(); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(total)/float64(b.N), "PSS-KiB/jail")
	})
}

// pss is a process's part of memory in KiB, where pages that are shared count in
// parts.
func pss(b *testing.B, pid int) (n int) {
	b.Helper()
	f, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		b.Skipf("the first process's memory is closed to this user, as it is to its programs: %v", err)
	}
	for line := range strings.Lines(string(f)) {
		if k, _ := fmt.Sscanf(line, "Pss: %d kB", &n); k == 1 {
			return n
		}
	}
	b.Fatalf("no Pss in %q", f)
	return 0
}

func benchLevels(b *testing.B, f func(b *testing.B, h *jail.Host)) {
	for _, level := range levels {
		b.Run(level, func(b *testing.B) { f(b, open(b, jail.Options{Level: level})) })
	}
}

func BenchmarkNewJail(b *testing.B) {
	benchLevels(b, func(b *testing.B, h *jail.Host) {
		p := policy(b, h)
		b.ReportAllocs()
		for b.Loop() {
			j, err := h.NewJail(b.Context(), p)
			if err != nil {
				b.Fatal(err)
			}
			b.StopTimer()
			if err := j.Close(); err != nil {
				b.Fatal(err)
			}
			b.StartTimer()
		}
	})
}

func BenchmarkJailClose(b *testing.B) {
	benchLevels(b, func(b *testing.B, h *jail.Host) {
		p := policy(b, h)
		b.ReportAllocs()
		for b.Loop() {
			b.StopTimer()
			j, err := h.NewJail(b.Context(), p)
			if err != nil {
				b.Fatal(err)
			}
			b.StartTimer()
			if err := j.Close(); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkStartWait(b *testing.B) {
	benchLevels(b, func(b *testing.B, h *jail.Host) {
		j := newJail(b, h)
		b.ReportAllocs()
		for b.Loop() {
			p, err := j.Start(b.Context(), jail.Cmd{Path: "/usr/bin/true"})
			if err != nil {
				b.Fatal(err)
			}
			if err := p.Wait(); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkStartWaitOutput(b *testing.B) {
	benchLevels(b, func(b *testing.B, h *jail.Host) {
		j := newJail(b, h)
		b.ReportAllocs()
		for b.Loop() {
			var out strings.Builder
			p, err := j.Start(b.Context(), jail.Cmd{Path: "echo", Args: []string{"hi"}, Stdout: &out})
			if err != nil {
				b.Fatal(err)
			}
			if err := p.Wait(); err != nil || out.String() != "hi\n" {
				b.Fatal(err, out.String())
			}
		}
	})
}
