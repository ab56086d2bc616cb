package code

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/agentflow-go/sandbox"
	"github.com/agentflow-go/sandbox/internal/wire"
)

// Component is the backend as a configuration file names it: resources.code,
// whose config has the keys of a session's configuration.
func Component() sandbox.Component {
	return sandbox.Component{
		Kind:    sandbox.KindResource,
		Key:     "code",
		Classes: []string{"sandbox.server.backends.resources.code_executor.CodeExecutorBackend"},
		Register: func(r *sandbox.Registry, s sandbox.Section) error {
			cfg, _, err := fromSection(s)
			if err != nil {
				return err
			}
			Register(r, cfg)
			return nil
		},
		Check: func(_ context.Context, s sandbox.Section) []sandbox.Problem {
			_, set, err := fromSection(s)
			if err != nil {
				return nil // Register says it
			}
			var problems []sandbox.Problem
			for _, language := range set.Languages {
				program := set.interpreter(language)
				if _, err := os.Stat(program); err != nil {
					problems = append(problems, sandbox.Problem{
						Key: "resources." + s.Name + ".config.languages", Text: language + ": " + err.Error(), Warning: true,
						Remedy: "install it, name it in interpreters, or leave " + language + " out of languages",
					})
				}
			}
			return problems
		},
		Default: true,
	}
}

func fromSection(s sandbox.Section) (Config, settings, error) {
	var set settings
	if err := wire.DecodeStrict(s.Raw, &set); err != nil {
		return Config{}, set, fmt.Errorf("config: %w", err)
	}
	checked := set
	if err := checked.check(); err != nil {
		return Config{}, set, fmt.Errorf("config: %w", err)
	}
	return Config{
		Name: s.Name, Description: s.Description, Pool: s.Pool,
		Languages: set.Languages, Interpreters: set.Interpreters, Env: set.Env,
		Timeout: time.Duration(set.Timeout * float64(time.Second)), MaxOutput: set.MaxOutput,
		Kernel: set.Kernel, Kernels: set.Kernels,
	}, checked, nil
}
