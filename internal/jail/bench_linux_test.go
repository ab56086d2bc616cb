package jail_test

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/agentflow-go/sandbox/internal/jail"
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
