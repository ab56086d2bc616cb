package code

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/agentflow-go/sandbox"
)

// Tools are the typed handles of the tools.
type Tools struct {
	Run       *sandbox.Tool[RunInput, RunOutput]
	Variables *sandbox.Tool[VariablesInput, VariablesOutput]
}

// Register adds the backend and its tools to r. Faults are recorded in r.
func Register(r *sandbox.Registry, cfg Config) Tools {
	if cfg.Name == "" {
		cfg.Name = "code"
	}
	if cfg.Description == "" {
		cfg.Description = "Interpreters whose variables, imports and functions live on from call to call: Python, JavaScript and bash."
	}
	defaults, err := json.Marshal(cfg.settings())
	if err != nil {
		panic(fmt.Sprintf("code: encode the configuration: %v", err)) // strings and numbers: cannot happen
	}
	// Not Serial: calls queue for each language by themselves.
	b := sandbox.AddBackend(r, sandbox.BackendSpec{
		Name: cfg.Name, Description: cfg.Description, Config: defaults, Pool: cfg.Pool, MaxSessions: cfg.MaxSessions,
	}, backend{})
	return Tools{
		Run: sandbox.AddSessionTool(b, sandbox.ToolSpec{Name: "run", Description: runText}, func(ctx context.Context, call sandbox.Call, s *Session, in RunInput) (RunOutput, error) {
			return s.run(ctx, call, in)
		}),
		Variables: sandbox.AddSessionTool(b, sandbox.ToolSpec{Name: "variables", Description: variablesText, ReadOnly: true}, sandbox.Method((*Session).Variables)),
	}
}

// What models read.
const (
	runText = "Run code in the session's interpreter and return what it printed and the value of its last expression (result). Variables, imports and functions of earlier calls are still there. " +
		"An exception is a normal result: see error, and return_code. Top-level await works. matplotlib figures and HTML of data frames come in outputs; images are also files in the workspace. " +
		"Nobody can type: input() fails. Code that runs longer than timeout is interrupted (timed_out), which keeps the variables. If restarted is true the interpreter died and the variables of earlier calls are gone; restart_reason says why. " +
		"If an output is long its middle is left out and the whole is in the workspace file output_path."
	variablesText = "List the variables, functions and modules that code has defined in the session's interpreter, with their types and the beginning of their values."
)
