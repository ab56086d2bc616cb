package bash_test

import (
	"context"
	"fmt"
	"log"

	"github.com/agentflow-go/sandbox"
	"github.com/agentflow-go/sandbox/backends/bash"
)

func ExampleRegister() {
	ctx := context.Background()
	var reg sandbox.Registry
	sh := bash.Register(&reg, bash.Config{})
	sb, err := sandbox.New(sandbox.Options{Registry: &reg})
	if err != nil {
		log.Fatal(err)
	}
	defer sb.Shutdown(ctx)

	w := sb.Worker("agent-1")
	if _, err := w.CreateSession(ctx, "bash", sandbox.SessionOptions{}); err != nil {
		log.Fatal(err)
	}
	for _, command := range []string{"cd /tmp && name=world", `echo "hello $name from $PWD"`, "exit 3"} {
		out, err := sh.Run.Call(ctx, w, bash.RunInput{Command: command})
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%q %d %v\n", out.Stdout, out.ExitCode, out.Restarted)
	}
	// Output:
	// "" 0 false
	// "hello world from /tmp\n" 0 false
	// "" 3 true
}
