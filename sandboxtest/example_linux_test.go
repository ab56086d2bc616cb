package sandboxtest_test

import (
	"context"
	"fmt"
	"log"
	"slices"

	"github.com/agentflow-go/sandbox"
	"github.com/agentflow-go/sandbox/sandboxtest"
)

// A program may try a few cases at its start, and not come up where they succeed.
func ExampleTryEscapes() {
	cases := slices.DeleteFunc(sandboxtest.Escapes(), func(e sandboxtest.Escape) bool {
		return e.Name != "files/host-file" && e.Name != "network/loopback"
	})
	results, err := sandboxtest.TryEscapes(context.Background(), sandbox.Options{}, cases)
	if err != nil {
		log.Fatal(err)
	}
	for _, r := range results {
		fmt.Printf("it tried to %s: %s\n", r.Escape.Tries, r.Outcome)
	}
	// Output:
	// it tried to read a file of the host that anybody may read: stopped
	// it tried to connect to a server on the host's 127.0.0.1: stopped
}
