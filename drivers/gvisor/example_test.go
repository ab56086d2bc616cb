package gvisor_test

import (
	"context"
	"fmt"

	"github.com/agentflow-go/sandbox"
	"github.com/agentflow-go/sandbox/backends/bash"
	"github.com/agentflow-go/sandbox/drivers/gvisor"
)

// It needs runsc and root, and is therefore compiled only.
func ExampleDriver() {
	var reg sandbox.Registry
	sh := bash.Register(&reg, bash.Config{})
	sb, err := sandbox.New(sandbox.Options{
		Registry: &reg,
		Drivers:  map[string]sandbox.Driver{"gvisor": gvisor.Driver(gvisor.Config{Platform: "systrap"})},
		Confine:  sandbox.Confinement{Level: "gvisor"},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer sb.Shutdown(context.Background())
	out, err := sh.Run.Call(context.Background(), sb.Worker("agent-1"), bash.RunInput{Command: "dmesg | head -1"})
	fmt.Println(out.Stdout, err)
}

// In a configuration file the level is "gvisor".
func ExampleComponent() {
	c, err := sandbox.ParseConfig([]byte(`{"confinement": {"level": "gvisor"}}`), func(string) (string, bool) { return "", false })
	if err != nil {
		fmt.Println(err)
		return
	}
	o, err := c.Options(gvisor.Component())
	fmt.Println(o.Confine.Level, len(o.Drivers), err)
	// Output: gvisor 1 <nil>
}
