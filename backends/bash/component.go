package bash

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"time"

	"github.com/agentflow-go/sandbox"
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
			if _, err := fromSection(s); err != nil {
				problems = append(problems, sandbox.Problem{Key: "resources." + s.Name + ".config", Text: err.Error(), Remedy: "use the keys cwd, env, separate_stderr, timeout (seconds) and max_output (bytes)"})
			}
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
	if len(bytes.TrimSpace(s.Raw)) > 0 {
		d := json.NewDecoder(bytes.NewReader(s.Raw))
		d.DisallowUnknownFields()
		if err := d.Decode(&set); err != nil {
			return Config{}, fmt.Errorf("config: %w", err)
		}
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
