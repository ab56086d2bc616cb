package code_test

import (
	"context"
	"fmt"
	"log"

	"github.com/agentflow-go/sandbox"
	"github.com/agentflow-go/sandbox/backends/code"
)

func ExampleRegister() {
	ctx := context.Background()
	var reg sandbox.Registry
	interp := code.Register(&reg, code.Config{})
	sb, err := sandbox.New(sandbox.Options{Registry: &reg})
	if err != nil {
		log.Fatal(err)
	}
	defer sb.Shutdown(ctx)

	w := sb.Worker("agent-1")
	if _, err := w.CreateSession(ctx, "code", sandbox.SessionOptions{}); err != nil {
		log.Fatal(err)
	}
	for _, cell := range []string{"import math\nr = 2", "print('area:')\nround(math.pi * r**2, 2)", "r / 0"} {
		out, err := interp.Run.Call(ctx, w, code.RunInput{Code: cell})
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%q", out.Stdout)
		if out.Result != nil {
			fmt.Printf(" value %s", *out.Result)
		}
		if out.Error != nil {
			fmt.Printf(" %s: %s", out.Error.Name, out.Error.Value)
		}
		fmt.Println()
	}
	// Output:
	// ""
	// "area:\n" value 12.57
	// "" ZeroDivisionError: division by zero
}
