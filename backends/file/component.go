package file

import (
	"fmt"

	"github.com/agentflow-go/sandbox"
	"github.com/agentflow-go/sandbox/internal/wire"
)

// Component is the backend as a configuration file names it: resources.file,
// whose config has the keys of a session's configuration.
func Component() sandbox.Component {
	return sandbox.Component{
		Kind: sandbox.KindResource,
		Key:  "file",
		Register: func(r *sandbox.Registry, s sandbox.Section) error {
			var set settings
			if err := wire.DecodeStrict(s.Raw, &set); err != nil {
				return fmt.Errorf("config: %w", err)
			}
			if err := set.check(); err != nil {
				return fmt.Errorf("config: %w", err)
			}
			Register(r, Config{Name: s.Name, Description: s.Description, MaxBytes: set.MaxBytes})
			return nil
		},
		Default: true,
	}
}
