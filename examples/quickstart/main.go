// Command quickstart runs commands in a worker's jail: by a typed handle, and
// by name as an agent framework would.
package main

import (
	"context"
	"fmt"
	"log"

	"github.com/agentflow-go/sandbox"
	"github.com/agentflow-go/sandbox/backends/bash"
)

func main() {
	var reg sandbox.Registry
	sh := bash.Register(&reg, bash.Config{})
	sb, err := sandbox.New(sandbox.Options{Registry: &reg})
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	defer sb.Shutdown(ctx)
	ada := sb.Worker("ada")

	out, err := sh.Run.Call(ctx, ada, bash.RunInput{Command: "echo hello > greeting; ls; pwd; id -un"})
	fmt.Print(out.Stdout, err, "\n")

	resp := ada.Execute(ctx, "bash:run", map[string]any{"command": "cat greeting"}) // the workspace is still there
	err = resp.Decode(&out)
	fmt.Print(out.Stdout, err, "\n")
}
