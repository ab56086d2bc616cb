package bash

import (
	"context"
	"fmt"
	"os/exec"
	"time"

	"github.com/agentflow-go/sandbox"
	"github.com/agentflow-go/sandbox/internal/wire"
)

// Component is the backend as a configuration file names it: resources.bash,
// whose config has the keys of a session's configuration.
func Component() sandbox.Component {
	return sandbox.Component{
		Kind:    sandbox.KindResource,
		Key:     "bash",
		Classes: []string{"sandbox.server.backends.resources.bash.BashBackend"},
		Register: func(r *sandbox.Registry, s sandbox.Section) error {
			cfg, err := fromSection(s)
			if err != nil {
				return err
			}
			Register(r, cfg)
			return nil
		},
		Check: func(_ context.Context, s sandbox.Section) []sandbox.Problem {
			var problems []sandbox.Problem
			if _, err := exec.LookPath("/bin/bash"); err != nil {
				problems = append(problems, sandbox.Problem{Key: "resources." + s.Name, Text: "/bin/bash is not there: " + err.Error(), Remedy: "install bash, version 5 or later"})
			}
			return problems
		},
		Default: true,
	}
}

func fromSection(s sandbox.Section) (Config, error) {
	var set settings
	if err := wire.DecodeStrict(s.Raw, &set); err != nil {
		return Config{}, fmt.Errorf("config: %w", err)
	}
	if err := set.check(); err != nil {
		return Config{}, fmt.Errorf("config: %w", err)
	}
	return Config{
		Name: s.Name, Description: s.Description, Pool: s.Pool,
		Cwd: set.Cwd, Env: set.Env, SeparateStderr: set.SeparateStderr,
		Timeout: time.Duration(set.Timeout * float64(time.Second)), MaxOutput: set.MaxOutput,
	}, nil
}
