// Command httpserver serves the tools that a configuration file names over
// HTTP, to AgentFlow's client and anyone else.
//
//	go run ./httpserver
//	go run ./httpserver --config sandbox.json --validate
//
// Without a file it serves every backend that needs nothing configured. See
// docs/configuration.md for the file, and --help for the flags.
package main

import (
	"io"
	"os"

	"github.com/agentflow-go/sandbox"
	"github.com/agentflow-go/sandbox/httpserver/builtin"
)

func main() {
	p := program{args: os.Args[1:], stdout: os.Stdout, stderr: os.Stderr, known: builtin.Components()}
	os.Exit(p.run())
}

// program is one run of the command.
type program struct {
	args           []string
	stdout, stderr io.Writer
	known          []sandbox.Component
}

// The exit statuses, besides 0.
const (
	exitFailed     = 1 // the server could not start or stop, or validation found errors
	exitUnreadable = 2 // the command line or the file cannot be read
)
