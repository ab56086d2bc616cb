package browser

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/agentflow-go/sandbox"
	"github.com/agentflow-go/sandbox/internal/wire"
)

// fileConfig is resources.browser.config: where the browser comes from, and what
// sessions begin with.
type fileConfig struct {
	Executable string    `json:"executable,omitzero"`
	Args       []string  `json:"args,omitempty"`
	Remote     string    `json:"remote,omitzero"`
	Unconfined bool      `json:"remote_unconfined,omitzero"`
	Isolation  Isolation `json:"isolation,omitzero"`
	SessionConfig
}

// Component is the backend as a configuration file names it: resources.browser,
// whose config has the keys of a session's configuration, and executable, args,
// remote, remote_unconfined and isolation.
func Component() sandbox.Component {
	return sandbox.Component{
		Kind:    sandbox.KindResource,
		Key:     "browser",
		Classes: []string{"sandbox.server.backends.resources.browser.BrowserBackend"},
		Register: func(r *sandbox.Registry, s sandbox.Section) error {
			cfg, err := fromSection(s)
			if err != nil {
				return err
			}
			Register(r, cfg)
			return nil
		},
		Check: func(_ context.Context, s sandbox.Section) []sandbox.Problem {
			cfg, err := fromSection(s)
			if err != nil || cfg.Remote != "" {
				return nil // Register tells of it
			}
			if _, err := findProgram(cfg.Executable); err != nil {
				return []sandbox.Problem{{Key: "resources." + s.Name, Text: err.Error(), Remedy: "install chromium-headless-shell and chromium-sandbox", Warning: cfg.Executable == ""}}
			}
			return nil
		},
		Default: true,
	}
}

func fromSection(s sandbox.Section) (Config, error) {
	var f fileConfig
	if err := wire.DecodeStrict(s.Raw, &f); err != nil {
		if fe, ok := errors.AsType[*wire.FieldError](err); ok { // the decoder names the embedded struct too
			fe.Pointer = strings.TrimPrefix(fe.Pointer, "/SessionConfig")
		}
		return Config{}, fmt.Errorf("config: %w", err)
	}
	cfg := Config{
		Name: s.Name, Description: s.Description, Pool: s.Pool,
		Executable: f.Executable, Args: f.Args, Remote: f.Remote, RemoteUnconfined: f.Unconfined,
		Isolation: f.Isolation, Defaults: f.SessionConfig,
	}
	if err := cfg.check(); err != nil {
		return Config{}, fmt.Errorf("config: %w", err)
	}
	return cfg, nil
}

// check refuses what makes no sense.
func (c Config) check() error {
	switch c.Isolation {
	case "", Shared, PerWorker:
	default:
		return invalid("/isolation: %q; give shared or worker", clip(string(c.Isolation), 40))
	}
	if c.Remote != "" && (c.Executable != "" || len(c.Args) > 0 || c.Isolation == PerWorker) {
		return invalid("/remote: a browser that runs elsewhere has no executable, args or isolation here")
	}
	if c.RemoteUnconfined != (c.Remote != "") {
		return invalid("/remote_unconfined: a remote browser is not held to the confinement of this sandbox, its network policy included; set remote_unconfined to true to use one all the same, and only then")
	}
	return c.Defaults.check() // of the copy: defaults stay unsaid
}
