//go:build !race

package bash_test

// The race detector's own memory is in the first process too, and takes more.

import (
	"context"
	"strings"
	"testing"

	"github.com/agentflow-go/sandbox"
	"github.com/agentflow-go/sandbox/backends/bash"
)

func TestTheSmallestLimitOfMemoryIsEnoughForAShell(t *testing.T) {
	t.Parallel()
	for _, level := range []string{"bwrap", "native"} {
		var reg sandbox.Registry
		sh := bash.Register(&reg, bash.Config{})
		sb, err := sandbox.New(sandbox.Options{Registry: &reg, Confine: sandbox.Confinement{
			Level: level, Limits: sandbox.Limits{Memory: 16 << 20}, AllowDegraded: []string{"memory"},
		}})
		if err != nil {
			t.Fatal(err)
		}
		out, err := sh.Run.Call(t.Context(), sb.Worker("w"), bash.RunInput{Command: "ls / | head -1; echo ok"})
		if err != nil || !strings.HasSuffix(out.Stdout, "ok\n") {
			t.Errorf("%s: %+v, %v", level, out, err)
		}
		if err := sb.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	}
}
