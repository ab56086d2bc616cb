package gvisor

import (
	"encoding/json"
	"fmt"

	"github.com/agentflow-go/sandbox"
	"github.com/agentflow-go/sandbox/internal/jail"
	"github.com/agentflow-go/sandbox/internal/wire"
)

// Config says how gVisor is run. The zero value is runsc from PATH with its own
// default platform.
type Config struct {
	// Runsc is the path of runsc, or its name. Empty: "runsc", looked up in PATH.
	Runsc string `json:"runsc,omitempty"`
	// Platform is how programs' system calls are caught: "ptrace" works everywhere,
	// "systrap" (from 2023 on) and "kvm" are faster. Empty: runsc's default.
	Platform string `json:"platform,omitempty"`
}

// Driver returns a driver for [sandbox.Options.Drivers]. It starts nothing yet.
func Driver(c Config) sandbox.Driver { return driver(c) }

// Component is the driver as a configuration file names it: confinement.level
// "gvisor", with confinement.drivers.gvisor as its [Config].
func Component() sandbox.Component {
	return sandbox.Component{
		Kind: sandbox.KindDriver,
		Key:  "gvisor",
		Driver: func(s sandbox.Section) (sandbox.Driver, error) {
			c, err := fromJSON(s.Raw)
			return driver(c), err
		},
	}
}

func fromJSON(raw json.RawMessage) (c Config, err error) {
	if err := wire.DecodeStrict(raw, &c); err != nil {
		return c, fmt.Errorf("gvisor: %w", err)
	}
	return c, nil
}

type driver Config

// JailDriver implements [sandbox.Driver].
func (d driver) JailDriver(name string) jail.Driver { return newKernel(name, Config(d)) }
