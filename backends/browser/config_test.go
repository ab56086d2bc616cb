package browser_test

import (
	"context"
	"strings"
	"testing"

	"github.com/agentflow-go/sandbox"
	"github.com/agentflow-go/sandbox/backends/browser"
)

func TestConfigurationsThatMakeNoSenseAreRefused(t *testing.T) {
	t.Parallel()
	const remote = "http://127.0.0.1:1"
	for name, tt := range map[string]struct {
		cfg  browser.Config
		want string
	}{
		"remote, not agreed to":      {browser.Config{Remote: remote}, "/remote_unconfined: "},
		"agreed to, and not remote":  {browser.Config{RemoteUnconfined: true}, "/remote_unconfined: "},
		"remote, with an executable": {browser.Config{Remote: remote, RemoteUnconfined: true, Executable: "x"}, "/remote: "},
		"unknown isolation":          {browser.Config{Isolation: "none"}, `/isolation: "none"; give shared or worker`},
		"default of sessions":        {browser.Config{Defaults: browser.SessionConfig{Dialogs: "never"}}, `/dialogs: "never"; give accept, dismiss or ask`},
	} {
		sb, _, _ := newSandbox(t, tt.cfg, sandbox.Confinement{})
		_, err := sb.Worker("w").CreateSession(t.Context(), "browser", sandbox.SessionOptions{})
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: CreateSession() = %v, want %q", name, err, tt.want)
		}
		if err := sb.Shutdown(context.Background()); err != nil {
			t.Errorf("%s: Shutdown() = %v", name, err)
		}
	}
}
