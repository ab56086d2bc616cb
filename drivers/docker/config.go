package docker

import (
	"encoding/json"
	"fmt"

	"github.com/agentflow-go/sandbox"
	"github.com/agentflow-go/sandbox/internal/jail"
	"github.com/agentflow-go/sandbox/internal/wire"
)

// Config says which engine makes containers, and of what. The zero value is the
// engine at its usual socket, with the host's programs.
type Config struct {
	// Host is the engine's socket, as unix:///run/docker.sock. Empty: DOCKER_HOST,
	// else unix:///var/run/docker.sock. Engines of other machines cannot be used:
	// descriptors do not travel there.
	Host string `json:"host,omitempty"`
	// Image is what programs see, an image that the engine has; it is never pulled.
	// Workers get its files read-only; it needs no /workspace. Empty: the host's
	// own /usr, on an empty image.
	Image string `json:"image,omitempty"`
	// Runtime is one of the engine's runtimes. Empty: its default. It must share
	// the host's kernel, as runc and crun do; for gVisor see drivers/gvisor.
	Runtime string `json:"runtime,omitempty"`
}

// Driver returns a driver for [sandbox.Options.Drivers]. It asks nothing of the
// engine yet.
func Driver(c Config) sandbox.Driver { return driver(c) }

// Component is the driver as a configuration file names it: confinement.level
// "docker", with confinement.drivers.docker as its [Config].
func Component() sandbox.Component {
	return sandbox.Component{
		Kind: sandbox.KindDriver,
		Key:  "docker",
		Driver: func(s sandbox.Section) (sandbox.Driver, error) {
			c, err := fromJSON(s.Raw)
			return driver(c), err
		},
	}
}

func fromJSON(raw json.RawMessage) (c Config, err error) {
	if err := wire.DecodeStrict(raw, &c); err != nil {
		return c, fmt.Errorf("docker: %w", err)
	}
	return c, nil
}

type driver Config

// JailDriver implements [sandbox.Driver].
func (d driver) JailDriver(name string) jail.Driver { return newEngine(name, Config(d)) }
