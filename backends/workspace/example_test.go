package workspace_test

import (
	"context"
	"fmt"
	"log"

	"github.com/agentflow-go/sandbox"
	"github.com/agentflow-go/sandbox/backends/bash"
	"github.com/agentflow-go/sandbox/backends/workspace"
)

func ExampleRegister() {
	ctx := context.Background()
	var reg sandbox.Registry
	sh := bash.Register(&reg, bash.Config{})
	ws := workspace.Register(&reg, workspace.Config{})
	sb, err := sandbox.New(sandbox.Options{Registry: &reg})
	if err != nil {
		log.Fatal(err)
	}
	defer sb.Shutdown(ctx)

	w := sb.Worker("agent-1")
	run := func(command string) {
		if _, err := sh.Run.Call(ctx, w, bash.RunInput{Command: command}); err != nil {
			log.Fatal(err)
		}
	}
	run("echo works > program")
	if _, err := ws.Snapshot.Call(ctx, w, workspace.SnapshotInput{Name: "before"}); err != nil {
		log.Fatal(err)
	}
	run("rm program; mkdir rubbish")
	c, err := ws.Restore.Call(ctx, w, workspace.ChangesInput{Name: "before"})
	fmt.Println(c.Added, c.Changed, c.Removed, err)
	// Output: [program] [] [rubbish/] <nil>
}
