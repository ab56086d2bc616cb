package sandbox_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/agentflow-go/sandbox"
)

// A program of a warmup serves many workers and may have more processes than one.
func TestSharedProgramsMayHaveMoreProcesses(t *testing.T) {
	t.Parallel()
	var reg sandbox.Registry
	var warm sandbox.Env
	sh := shared(&reg, &warm)
	sb := newSandbox(t, &reg, sandbox.Options{Confine: sandbox.Confinement{Limits: sandbox.Limits{Processes: 32}}})
	if _, err := sb.Warmup(t.Context(), "shared"); err != nil {
		t.Fatal(err)
	}
	const fork = `n=0; while [ $n -lt 100 ]; do sleep 60 & n=$((n+1)); done; echo started $n; kill $(jobs -p)`
	out, err := sh.Call(t.Context(), sb.Worker("one"), shIn{Command: fork})
	if err == nil && strings.Contains(out.Out, "started 100") {
		t.Errorf("a worker with a limit of 32 started 100 processes: %s", out.Out)
	}
	var shared bytes.Buffer
	p, err := warm.Start(t.Context(), sandbox.Cmd{Path: "sh", Args: []string{"-c", fork}, Stdout: &shared, Stderr: &shared})
	if err != nil {
		t.Fatal(err)
	}
	if _ = p.Wait(); !strings.Contains(shared.String(), "started 100") { // its output tells more than its end
		t.Errorf("a shared program did not start 100 processes: %s", shared.String())
	}
}
