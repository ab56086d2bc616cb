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
	Reset     *sandbox.Tool[ResetInput, ResetOutput]
	Variables *sandbox.Tool[VariablesInput, VariablesOutput]
	Interrupt *sandbox.Tool[InterruptInput, InterruptOutput]
	Install   *sandbox.Tool[InstallInput, InstallOutput]
	Languages *sandbox.Tool[LanguagesInput, LanguagesOutput]
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
		Reset:     sandbox.AddSessionTool(b, sandbox.ToolSpec{Name: "reset", Description: resetText, Concurrent: true, Idempotent: true}, sandbox.Method((*Session).Reset)),
		Variables: sandbox.AddSessionTool(b, sandbox.ToolSpec{Name: "variables", Description: variablesText, ReadOnly: true}, sandbox.Method((*Session).Variables)),
		Interrupt: sandbox.AddSessionTool(b, sandbox.ToolSpec{Name: "interrupt", Description: interruptText, Concurrent: true}, sandbox.Method((*Session).Interrupt)),
		Install: sandbox.AddSessionTool(b, sandbox.ToolSpec{Name: "install", Description: installText, Idempotent: true}, func(ctx context.Context, call sandbox.Call, s *Session, in InstallInput) (InstallOutput, error) {
			return s.install(ctx, call, in)
		}),
		Languages: sandbox.AddSessionTool(b, sandbox.ToolSpec{Name: "languages", Description: languagesText, Concurrent: true, ReadOnly: true}, sandbox.Method((*Session).Languages)),
	}
}

// What models read.
const (
	runText = "Run code in the session's interpreter and return what it printed and the value of its last expression (result). Variables, imports and functions of earlier calls are still there. " +
		"An exception is a normal result: see error, and return_code. Top-level await works. matplotlib figures and HTML of data frames come in outputs; images are also files in the workspace. " +
		"Nobody can type: input() fails. Code that runs longer than timeout is interrupted (timed_out), which keeps the variables. If restarted is true the interpreter died and the variables of earlier calls are gone; restart_reason says why. " +
		"If an output is long its middle is left out and the whole is in the workspace file output_path."
	resetText     = "End the session's interpreter, also while code runs in it. The next call gets a fresh one without variables."
	variablesText = "List the variables, functions and modules that code has defined in the session's interpreter, with their types and the beginning of their values."
	interruptText = "Interrupt the code that runs in the session's interpreter; its variables stay. If it goes on, interrupt again: that ends the programs it waits for too. Works while run waits."
	installText   = "Install packages into the workspace with pip (python) or npm (javascript), where code finds them at once. Needs a network, except for files and directories of the workspace."
	languagesText = "List the languages that run can run, and which interpreters run already."
)
