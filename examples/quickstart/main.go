// Command quickstart runs shell commands for two workers, each in a jail of its
// own: once by a typed handle, once by name as an agent framework would.
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

	// Typed: Go values in and out.
	ada := sb.Worker("ada")
	out, err := sh.Run.Call(ctx, ada, bash.RunInput{Command: "echo hello > greeting; ls; pwd; id -un"})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Print(out.Stdout)

	// By name: JSON in and out. The workspace outlives the shell, and is ada's alone.
	resp := ada.Execute(ctx, "bash:run", map[string]any{"command": "cat greeting"})
	if err := resp.Decode(&out); err != nil {
		log.Fatal(err)
	}
	fmt.Print(out.Stdout)
	out, err = sh.Run.Call(ctx, sb.Worker("bob"), bash.RunInput{Command: "cat greeting"})
	fmt.Print(out.Stdout, out.ExitCode, " ", err, "\n")
}
