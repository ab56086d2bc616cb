package workspace

import (
	"encoding/json"
	"fmt"

	"github.com/agentflow-go/sandbox"
	"github.com/agentflow-go/sandbox/internal/size"
	"github.com/agentflow-go/sandbox/internal/wire"
)

// Component is the backend as a configuration file names it:
// resources.workspace, whose config bounds the snapshots of each worker.
func Component() sandbox.Component {
	return sandbox.Component{
		Kind: sandbox.KindResource,
		Key:  "workspace",
		Register: func(r *sandbox.Registry, s sandbox.Section) error {
			cfg, err := fromSection(s)
			if err != nil {
				return err
			}
			Register(r, cfg)
			return nil
		},
		Default: true,
	}
}

// settings are the keys of the config.
type settings struct {
	MaxSnapshots int             `json:"max_snapshots"`
	MaxBytes     json.RawMessage `json:"max_bytes"` // a number, or a string such as 8GiB
	MaxFiles     int             `json:"max_files"`
}

func fromSection(s sandbox.Section) (Config, error) {
	var set settings
	if err := wire.DecodeStrict(s.Raw, &set); err != nil {
		return Config{}, fmt.Errorf("config: %w", err)
	}
	if set.MaxSnapshots < 0 || set.MaxFiles < 0 {
		return Config{}, fmt.Errorf("config: max_snapshots and max_files must not be negative; 0 means the default")
	}
	cfg := Config{
		Name: s.Name, Description: s.Description,
		Limits: sandbox.SnapshotLimits{Count: set.MaxSnapshots, Files: set.MaxFiles},
	}
	if wire.Empty(set.MaxBytes) {
		return cfg, nil
	}
	text := string(set.MaxBytes)
	if text[0] == '"' {
		if err := wire.Unmarshal(set.MaxBytes, &text); err != nil {
			return Config{}, fmt.Errorf("config: max_bytes: %w", err)
		}
	}
	n, ok := size.Parse(text)
	if !ok {
		return Config{}, fmt.Errorf("config: max_bytes: %s is no size; give a number of bytes, or a string such as 8GiB", text)
	}
	cfg.Limits.Bytes = n
	return cfg, nil
}
