package sandbox_test

import (
	"testing"

	"github.com/agentflow-go/sandbox"
)

// A backend's own tests open it with an Env that no sandbox made.
func TestEnvWithoutSandboxRefuses(t *testing.T) {
	t.Parallel()
	env := sandbox.Env{Config: raw(`{"a":1}`)}
	var cfg struct{ A int }
	if err := env.Decode(&cfg); err != nil || cfg.A != 1 {
		t.Errorf("Decode = %+v, %v, want 1", cfg, err)
	}
	for name, use := range map[string]func() error{
		"Start":     func() error { _, err := env.Start(t.Context(), sandbox.Cmd{Path: "true"}); return err },
		"Home":      func() error { _, err := env.Home(t.Context()); return err },
		"Workspace": func() error { _, err := env.Workspace(); return err },
		"StateDir":  func() error { _, err := env.StateDir(); return err },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			wantCode(t, use(), sandbox.ErrInvalidRequest)
		})
	}
	env.Lost(nil) // does nothing
}
