package drivers_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/agentflow-go/sandbox"
)

// BenchmarkDocker compares a session's jail with a bare docker run of the same image
// and mounts, and a program in it with a bare docker exec.
func BenchmarkDocker(b *testing.B) {
	l := dockerLevel(b)
	benchmark(b, l)
	image := strings.Fields(string(output(b, "docker", "--host", dockerHost, "images", "--format", "{{.Repository}}:{{.Tag}}")))[0]
	options := []string{"--host", dockerHost, "run", "--rm", "--network", "none", "--read-only", "-v", "/usr:/usr:ro", image}
	b.Run("bare run", func(b *testing.B) {
		for b.Loop() {
			output(b, "docker", append(options, "true")...)
		}
	})
	b.Run("bare exec", func(b *testing.B) {
		id := strings.TrimSpace(string(output(b, "docker", "--host", dockerHost, "run", "-d", "--rm", "--network", "none", "-v", "/usr:/usr:ro", image, "sleep", "1000")))
		defer output(b, "docker", "--host", dockerHost, "rm", "-f", id)
		for b.Loop() {
			output(b, "docker", "--host", dockerHost, "exec", id, "true")
		}
	})
}

// BenchmarkGVisor compares the same with a bare runsc run.
func BenchmarkGVisor(b *testing.B) {
	l := gvisorLevel(b)
	benchmark(b, l)
	b.Run("bare run", func(b *testing.B) {
		dir := b.TempDir()
		root := filepath.Join(dir, "root")
		for _, name := range []string{"usr", "proc"} {
			if err := os.MkdirAll(filepath.Join(root, name), 0o755); err != nil {
				b.Fatal(err)
			}
		}
		for _, name := range []string{"bin", "lib", "lib64"} {
			if err := os.Symlink("usr/"+name, filepath.Join(root, name)); err != nil {
				b.Fatal(err)
			}
		}
		spec, err := json.Marshal(map[string]any{
			"ociVersion": "1.0.2", "root": map[string]any{"path": "root", "readonly": true},
			"process": map[string]any{"cwd": "/", "args": []string{"/usr/bin/true"}},
			"mounts": []map[string]any{
				{"destination": "/proc", "type": "proc", "source": "proc"},
				{"destination": "/usr", "type": "bind", "source": "/usr", "options": []string{"rbind", "ro"}},
			},
			"linux": map[string]any{"namespaces": []map[string]string{{"type": "pid"}, {"type": "network"}, {"type": "mount"}}},
		})
		if err != nil {
			b.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "config.json"), spec, 0o644); err != nil {
			b.Fatal(err)
		}
		n := 0
		for b.Loop() {
			n++
			output(b, "runsc", "--root="+dir+"/state", "--platform=ptrace", "--network=none", "--ignore-cgroups",
				"run", "--bundle="+dir, fmt.Sprintf("bench-%d-%d", os.Getpid(), n))
		}
	})
}

func benchmark(b *testing.B, l level) {
	sb, env := l.bare(b)
	if err := sb.Probe(b.Context()); err != nil {
		b.Fatal(err)
	}
	run := func(b *testing.B) {
		p, err := env.Start(b.Context(), sandbox.Cmd{Path: "true"})
		if err == nil {
			err = p.Wait()
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	w := sb.Worker("w")
	open := func(b *testing.B) {
		if _, err := w.CreateSession(b.Context(), "b", sandbox.SessionOptions{}); err != nil {
			b.Fatal(err)
		}
		run(b)
	}
	b.Run("session", func(b *testing.B) {
		for b.Loop() {
			open(b)
			if err := w.DestroySession(b.Context(), "b"); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("program", func(b *testing.B) {
		open(b)
		for b.Loop() {
			run(b)
		}
	})
}

func output(b *testing.B, name string, args ...string) []byte {
	b.Helper()
	cmd := exec.Command(name, args...)
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		b.Fatalf("%s %q: %v\n%s", name, args, err, &errs)
	}
	return out
}
