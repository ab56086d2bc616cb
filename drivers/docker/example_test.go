package docker_test

import (
	"context"
	"fmt"

	"github.com/agentflow-go/sandbox"
	"github.com/agentflow-go/sandbox/backends/bash"
	"github.com/agentflow-go/sandbox/drivers/docker"
)

// It needs a Docker engine, and is therefore compiled only.
func ExampleDriver() {
	var reg sandbox.Registry
	sh := bash.Register(&reg, bash.Config{})
	sb, err := sandbox.New(sandbox.Options{
		Registry: &reg,
		Drivers:  map[string]sandbox.Driver{"docker": docker.Driver(docker.Config{Image: "debian:12"})},
		Confine:  sandbox.Confinement{Level: "docker"},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer sb.Shutdown(context.Background())
	out, err := sh.Run.Call(context.Background(), sb.Worker("agent-1"), bash.RunInput{Command: "cat /etc/debian_version"})
	fmt.Println(out.Stdout, err)
}

// In a configuration file the level is "docker".
func ExampleComponent() {
	c, err := sandbox.ParseConfig([]byte(`{"confinement": {"level": "docker"}}`), func(string) (string, bool) { return "", false })
	if err != nil {
		fmt.Println(err)
		return
	}
	o, err := c.Options(docker.Component())
	fmt.Println(o.Confine.Level, len(o.Drivers), err)
	// Output: docker 1 <nil>
}
