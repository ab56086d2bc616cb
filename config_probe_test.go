package sandbox

import (
	"fmt"
	"testing"

	"github.com/agentflow-go/sandbox/internal/jail"
	"github.com/agentflow-go/sandbox/internal/wire"
	"github.com/google/go-cmp/cmp"
)

func TestWhatTheHostDoesNotEnforceIsToldInTheWordsOfTheFile(t *testing.T) {
	t.Parallel()
	got := unenforcedProblems([]string{"cpu: no controller", "memory: no controller", "net-per-session: why"}, Limits{CPU: 2})
	got = append(got,
		limitProblem(&jail.PolicyError{Limit: "memory", Reason: "no controller", Remedy: "name it in AllowDegraded"}),
		limitProblem(&jail.PolicyError{Limit: "egress", Reason: "no proxy", Remedy: "use bwrap"}))
	want := []Problem{
		{Key: "confinement.limits.cpu", Text: "is not enforced on this host: no controller", Warning: true},
		{Key: "confinement.limits.memory", Text: "its default is not enforced on this host: no controller", Warning: true},
		{Key: "confinement", Text: "net-per-session: why", Warning: true},
		{Key: "confinement.limits.memory", Text: "cannot be enforced on this host: no controller",
			Remedy: `leave it out for best effort, or name "memory" in confinement.allow_degraded to run without it`},
		{Key: "confinement.egress", Text: "cannot be enforced on this host: no proxy", Remedy: "use bwrap"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
}

func TestARefusedSettingIsNamedByItsKey(t *testing.T) {
	t.Parallel()
	e := configEntry{kind: KindResource, path: []string{"resources", "browser"}}
	fe := &wire.FieldError{Pointer: "/viewport/width", Kind: wire.Mismatch, Want: "integer", Got: "string"}
	for _, tt := range []struct {
		err  error
		want Problem
	}{
		{fmt.Errorf("config: %w", fe), Problem{Key: "resources.browser.config.viewport.width", Text: "expected integer, got string"}},
		{fmt.Errorf("elsewhere: %w", fe), Problem{Key: "resources.browser", Text: "elsewhere: /viewport/width: expected integer, got string"}},
		{fmt.Errorf("config: no such thing"), Problem{Key: "resources.browser", Text: "config: no such thing"}},
	} {
		if diff := cmp.Diff(tt.want, e.refused(tt.err)); diff != "" {
			t.Errorf("%v (-want +got):\n%s", tt.err, diff)
		}
	}
}
