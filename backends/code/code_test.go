package code_test

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/agentflow-go/sandbox"
	"github.com/agentflow-go/sandbox/backends/code"
)

// box is a sandbox with the backend, and a worker with a session.
type box struct {
	t     testing.TB
	tools code.Tools
	sb    *sandbox.Sandbox
	w     *sandbox.Worker
}

func newBox(t testing.TB, cfg code.Config) *box {
	t.Helper()
	var reg sandbox.Registry
	tools := code.Register(&reg, cfg)
	sb, err := sandbox.New(sandbox.Options{Registry: &reg, ValidateTyped: true, Confine: sandbox.Confinement{Level: "bwrap"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := sb.Shutdown(context.Background()); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
	})
	return &box{t, tools, sb, sb.Worker(t.Name())}
}

// session makes the worker's session.
func (b *box) session(config string) *box {
	b.t.Helper()
	o := sandbox.SessionOptions{}
	if config != "" {
		o.Config = json.RawMessage(config)
	}
	if _, err := b.w.CreateSession(b.t.Context(), "code", o); err != nil {
		b.t.Fatal(err)
	}
	return b
}

func (b *box) run(in code.RunInput) code.RunOutput {
	b.t.Helper()
	out, err := b.tools.Run.Call(b.t.Context(), b.w, in)
	if err != nil {
		b.t.Fatalf("run %.60q: %v", in.Code, err)
	}
	return out
}
