package bash

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"time"

	"github.com/agentflow-go/sandbox"
)

// Config configures the backend. The zero value is useful.
type Config struct {
	Name        string // of the backend; "": bash
	Description string // "": a standard text
	Pool        int    // shells kept open ahead of demand
	MaxSessions int    // open at once; 0: no limit

	// The rest are defaults of the sessions; a session's own configuration has
	// the keys cwd, env, separate_stderr, timeout (seconds) and max_output.

	Cwd            string            // where shells start, relative to the workspace; "": the workspace
	Env            map[string]string // added to the environment
	SeparateStderr bool              // stderr apart from stdout; their order relative to each other is lost
	Timeout        time.Duration     // of a command that gives none; 0: 30 s
	MaxOutput      int               // bytes of each stream in a result; 0: 1 MiB
}

// settings are a session's configuration.
type settings struct {
	Cwd            string            `json:"cwd,omitzero"`
	Env            map[string]string `json:"env,omitempty"`
	SeparateStderr bool              `json:"separate_stderr,omitzero"`
	Timeout        float64           `json:"timeout,omitzero"` // seconds
	MaxOutput      int               `json:"max_output,omitzero"`
}

const (
	defaultTimeout = 30 * time.Second
	maxTimeout     = 24 * time.Hour
	defaultOutput  = 1 << 20
	maxOutput      = 16 << 20
)

// check fills in defaults and refuses what makes no sense.
func (c *settings) check() error {
	if c.Timeout == 0 {
		c.Timeout = defaultTimeout.Seconds()
	}
	if c.MaxOutput == 0 {
		c.MaxOutput = defaultOutput
	}
	if _, err := seconds("timeout", c.Timeout, 0); err != nil {
		return err
	}
	if err := checkEnviron(c.Env); err != nil {
		return err
	}
	_, err := outputLimit(c.MaxOutput, 0)
	return err
}

// seconds checks a time limit; 0 stands for def.
func seconds(name string, s float64, def time.Duration) (time.Duration, error) {
	if s == 0 {
		return def, nil
	}
	if !(s > 0 && s <= maxTimeout.Seconds()) {
		return 0, sandbox.Errorf(sandbox.ErrInvalidInput, "/%s: %v seconds; give more than 0 and at most %v", name, s, maxTimeout.Seconds())
	}
	return time.Duration(s * float64(time.Second)), nil
}

func outputLimit(n, def int) (int, error) {
	if n == 0 {
		return def, nil
	}
	if n < 0 || n > maxOutput {
		return 0, sandbox.Errorf(sandbox.ErrInvalidInput, "/max_output: %d bytes; give 1 to %d", n, maxOutput)
	}
	return n, nil
}

// outputLimit returns how many bytes a call returns at most, given what it asks
// for: no more than the policy's limit on output.
func (s *Shell) outputLimit(n int) (int, error) {
	most, err := outputLimit(n, s.set.MaxOutput)
	if limit := s.env.Load().Limits().Output; err == nil && limit > 0 {
		most = int(min(int64(most), limit))
	}
	return most, err
}

// Tools are the typed handles of the tools.
type Tools struct {
	Run    *sandbox.Tool[RunInput, RunOutput]
	Start  *sandbox.Tool[StartInput, StartOutput]
	Output *sandbox.Tool[OutputInput, OutputOutput]
	Input  *sandbox.Tool[InputInput, InputOutput]
	Screen *sandbox.Tool[ScreenInput, ScreenOutput]
	Kill   *sandbox.Tool[KillInput, KillOutput]
	List   *sandbox.Tool[ListInput, ListOutput]
}

// Register adds the backend and its tools to r. Faults are recorded in r.
func Register(r *sandbox.Registry, cfg Config) Tools {
	if cfg.Name == "" {
		cfg.Name = "bash"
	}
	if cfg.Description == "" {
		cfg.Description = "A bash shell whose directory, variables and background jobs live on from call to call, and programs on terminals of their own."
	}
	defaults, err := json.Marshal(settings{
		Cwd: cfg.Cwd, Env: maps.Clone(cfg.Env), SeparateStderr: cfg.SeparateStderr,
		Timeout: cfg.Timeout.Seconds(), MaxOutput: cfg.MaxOutput,
	})
	if err != nil {
		panic(fmt.Sprintf("bash: encode the configuration: %v", err)) // strings and numbers: cannot happen
	}
	b := sandbox.AddBackend(r, sandbox.BackendSpec{
		Name: cfg.Name, Description: cfg.Description, Config: defaults, Serial: true,
		Pool: cfg.Pool, MaxSessions: cfg.MaxSessions,
	}, backend{})
	return Tools{
		Run: sandbox.AddSessionTool(b, sandbox.ToolSpec{Name: "run", Description: runText}, func(ctx context.Context, call sandbox.Call, s *Shell, in RunInput) (RunOutput, error) {
			return s.run(ctx, call, in)
		}),
		Start:  sandbox.AddSessionTool(b, sandbox.ToolSpec{Name: "start", Description: startText, Concurrent: true}, sandbox.Method((*Shell).Start)),
		Output: sandbox.AddSessionTool(b, sandbox.ToolSpec{Name: "output", Description: outputText, Concurrent: true, ReadOnly: true}, sandbox.Method((*Shell).Output)),
		Input:  sandbox.AddSessionTool(b, sandbox.ToolSpec{Name: "input", Description: inputText, Concurrent: true}, sandbox.Method((*Shell).Input)),
		Screen: sandbox.AddSessionTool(b, sandbox.ToolSpec{Name: "screen", Description: screenText, Concurrent: true, Idempotent: true}, sandbox.Method((*Shell).Screen)),
		Kill:   sandbox.AddSessionTool(b, sandbox.ToolSpec{Name: "kill", Description: killText, Concurrent: true, Idempotent: true}, sandbox.Method((*Shell).Kill)),
		List:   sandbox.AddSessionTool(b, sandbox.ToolSpec{Name: "list", Description: listText, Concurrent: true, ReadOnly: true}, sandbox.Method((*Shell).List)),
	}
}

// What models read.
const (
	runText = "Run a command in the session's bash and return its output and exit code. The shell lives on: the current directory, variables, functions and background jobs of earlier calls are still there. " +
		"A non-zero exit code is a normal result. stdout holds both streams in the order they were written, unless the session keeps stderr apart. " +
		"Nobody can type: a command that waits for input runs into its timeout and is interrupted (timed_out, exit_code -1), which leaves the shell as it was; use start and input for interactive programs, and start or a trailing & for servers. " +
		"If the output is long its middle is left out and the whole is in the workspace file output_path. If restarted is true the shell had to be replaced, and variables are gone; restart_reason says why."
	startText = "Start a program on a terminal of its own and return its id at once: for servers, REPLs, editors and anything interactive. " +
		"Follow it with output, type with input, look at its screen with screen, end it with kill. It does not share variables with run."
	outputText = "Read what a started program has printed, from byte position since; pass the returned next as since to go on. With wait, wait up to that many seconds for output or the program's end. exit_code is there once it has ended."
	inputText  = "Type into a started program: text as it is (end a line with \\n), or keys by name such as enter, tab, esc, up, page-down, f1, ctrl-c, alt-x, or eof true for end of input (ctrl-D)."
	screenText = "Show the screen of a started program as a person would see it: text, cursor position and window title. With rows and cols, resize its terminal first."
	killText   = "Send a signal to a started program, TERM unless given, and wait a moment for its end. exit_code is there if it ended; otherwise try KILL."
	listText   = "List the programs started in this session with their ids, whether they run, and their exit codes."
)
