package examples_test

import (
	"bytes"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write what the examples print to their output.txt")

// TestExamples runs every example and compares what it prints with its
// output.txt.
func TestExamples(t *testing.T) {
	t.Parallel()
	mains, err := filepath.Glob("*/main.go")
	if err != nil || len(mains) == 0 {
		t.Fatalf("no examples found: %v", err)
	}
	bin := t.TempDir()
	openWay(t, bin)
	build := exec.CommandContext(t.Context(), "go", "build", "-o", bin, "./...")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	for _, main := range mains {
		name := filepath.Dir(main)
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			golden := filepath.Join(name, "output.txt")
			for _, user := range users(t) {
				got := run(t, filepath.Join(bin, name), user)
				if *update {
					if err := os.WriteFile(golden, got, 0o644); err != nil {
						t.Fatal(err)
					}
				}
				want, err := os.ReadFile(golden)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(string(want), string(got)); diff != "" {
					t.Errorf("%s as %s (-want +got):\n%s", name, user.name, diff)
				}
			}
		})
	}
}

// run runs the program, which must print nothing but its output.
func run(t *testing.T, path string, as user) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), path)
	cmd.Dir = "/"
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "TMPDIR=" + as.tmp}
	cmd.SysProcAttr = as.attr
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil || stderr.Len() > 0 {
		t.Fatalf("%s as %s: %v\n%s", filepath.Base(path), as.name, err, &stderr)
	}
	return stdout.Bytes()
}
