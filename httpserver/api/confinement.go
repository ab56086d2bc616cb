package api

import (
	"encoding/json"

	"github.com/agentflow-go/sandbox"
	"github.com/agentflow-go/sandbox/internal/size"
	"github.com/agentflow-go/sandbox/internal/wire"
)

// confinementView is a policy as the wire has it: the "confinement" section of
// the configuration file.
type confinementView struct {
	Level         string   `json:"level"`
	AllowDegraded []string `json:"allow_degraded"`
	Egress        struct {
		Allow []string `json:"allow"`
	} `json:"egress"`
	Limits struct {
		CPU       float64  `json:"cpu"`
		Memory    byteSize `json:"memory"`
		Workspace byteSize `json:"workspace"`
		Output    byteSize `json:"output"`
		Processes int      `json:"processes"`
		Files     int      `json:"files"`
	} `json:"limits"`
}

// byteSize is a number of bytes, or a string such as "512MiB"; -1 is no limit.
type byteSize int64

func (s *byteSize) UnmarshalJSON(raw []byte) error {
	text, ok := asText(raw)
	if !ok {
		return sandbox.Errorf(sandbox.ErrInvalidType, "a size must be a number of bytes or a string such as 512MiB")
	}
	if text == "-1" {
		*s = -1
		return nil
	}
	n, ok := size.Parse(text)
	if !ok {
		return sandbox.Errorf(sandbox.ErrInvalidType, "%q is no size: want a number of bytes, a string such as 512MiB, or -1 for no limit", text)
	}
	*s = byteSize(n)
	return nil
}

// confinement reads the policy that a session asks for, which can only narrow
// the server's. It is a member of the body, or of the session's configuration:
// AgentFlow's client can send it nowhere else. The configuration is returned
// without it, and as nil if it is empty: a default session may come from a pool.
func (f *fields) confinement(config json.RawMessage) (json.RawMessage, *sandbox.Confinement) {
	var members map[string]json.RawMessage
	if wire.Unmarshal(config, &members) != nil || len(members) == 0 {
		config = nil
	}
	raw := f.get("confinement")
	if inside := members["confinement"]; raw == nil && inside != nil {
		raw = inside
		delete(members, "confinement")
		if config = encode(members); len(members) == 0 {
			config = nil
		}
	}
	if raw == nil {
		return config, nil
	}
	var v confinementView
	if raw[0] != '{' {
		f.fault(sandbox.ErrInvalidType, "value is not a valid dict", "type_error.dict", "confinement")
		return config, nil
	}
	if err := wire.DecodeStrict(raw, &v); err != nil {
		f.fault(sandbox.ErrInvalidType, err.Error(), "value_error", "confinement")
		return config, nil
	}
	return config, &sandbox.Confinement{
		Level: v.Level, AllowDegraded: v.AllowDegraded, Egress: sandbox.Egress{Allow: v.Egress.Allow},
		Limits: sandbox.Limits{
			CPU: v.Limits.CPU, Memory: int64(v.Limits.Memory), Workspace: int64(v.Limits.Workspace),
			Output: int64(v.Limits.Output), Processes: v.Limits.Processes, Files: v.Limits.Files,
		},
	}
}
