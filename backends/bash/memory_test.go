package bash_test

import (
	"context"
	"strings"
	"testing"

	"github.com/agentflow-go/sandbox"
	"github.com/agentflow-go/sandbox/backends/bash"
	"github.com/agentflow-go/sandbox/internal/cgroup"
)

func TestRunSaysThatMemoryRanOut(t *testing.T) {
	t.Parallel()
	groups, err := cgroup.Open(cgroup.Options{})
	if err != nil {
		t.Fatal(err)
	}
	why := groups.Supports(cgroup.Memory)
	groups.Close()
	if why != nil {
		t.Skipf("memory cannot be limited here: %v", why)
	}
	var reg sandbox.Registry
	sh := bash.Register(&reg, bash.Config{})
	sb, err := sandbox.New(sandbox.Options{Registry: &reg, Confine: sandbox.Confinement{Level: "bwrap", Limits: sandbox.Limits{Memory: 192 << 20}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := sb.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	})
	w := sb.Worker("w")
	if _, err := w.CreateSession(t.Context(), "bash", sandbox.SessionOptions{}); err != nil {
		t.Fatal(err)
	}
	const hog = `python3 -c 'x = b"x" * (512 << 20)'`
	for _, tt := range []struct {
		command string
		code    int
		want    string // of Error
	}{
		{"echo ok", 0, ""},
		{hog, 137, "killed: out of memory (limit 192 MiB)"},
		{hog + "; echo went on", 0, "out of memory (limit 192 MiB): 1 of the worker's processes were killed while the command ran"},
		{"kill -9 $BASHPID & wait $!", 137, ""},
		{"false", 1, ""},
	} {
		out, err := sh.Run.Call(t.Context(), w, bash.RunInput{Command: tt.command})
		if err != nil {
			t.Fatal(err)
		}
		if out.ExitCode != tt.code || out.Error != tt.want {
			t.Errorf("%s: exit code %d, error %q, want %d, %q\n%s", strings.ReplaceAll(tt.command, hog, "hog"), out.ExitCode, out.Error, tt.code, tt.want, out.Stdout)
		}
	}
}
