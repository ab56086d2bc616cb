package drivers_test

import (
	"testing"

	"github.com/agentflow-go/sandbox"
	"github.com/agentflow-go/sandbox/sandboxtest"
)

func TestNothingEscapes(t *testing.T) {
	t.Parallel()
	eachLevel(t, func(t *testing.T, l level) {
		sandboxtest.RunEscapes(t, l.options(sandbox.Confinement{}))
	})
}
