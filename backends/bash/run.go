package bash

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"

	"github.com/agentflow-go/sandbox"
	"github.com/agentflow-go/sandbox/internal/jail"
	"github.com/agentflow-go/sandbox/internal/output"
	"github.com/agentflow-go/sandbox/internal/size"
	"github.com/agentflow-go/sandbox/internal/term"
)

// RunInput is what bash:run takes.
type RunInput struct {
	Command   string            `json:"command" jsonschema:"the command, of any length and with as many lines as needed, as typed at a prompt"`
	Timeout   float64           `json:"timeout,omitzero" jsonschema:"seconds after which the command is interrupted; default 30"`
	Cwd       string            `json:"cwd,omitzero" jsonschema:"directory to go to first, relative to the workspace or absolute; the shell stays there. Default: where the shell is"`
	Env       map[string]string `json:"env,omitempty" jsonschema:"environment variables for this command only"`
	MaxOutput int               `json:"max_output,omitzero" jsonschema:"bytes of output to return; default 1048576. Of longer output the first and last half of that"`
}

// RunOutput is what bash:run returns.
type RunOutput struct {
	Command    string   `json:"command"`
	Stdout     string   `json:"stdout"`
	Stderr     string   `json:"stderr" jsonschema:"empty unless the session keeps stderr apart"`
	ExitCode   int      `json:"exit_code" jsonschema:"128 plus the number for a signal; -1 after a time-out"`
	ReturnCode int      `json:"return_code" jsonschema:"the same as exit_code"`
	Cwd        string   `json:"cwd" jsonschema:"the shell's directory afterwards, as commands see it"`
	TimedOut   bool     `json:"timed_out"`
	Error      string   `json:"error,omitzero" jsonschema:"why there is no exit code, or that memory ran out"`
	Denied     []string `json:"denied,omitempty" jsonschema:"what policy refused to the session's programs meanwhile, such as a host that is not in the allow list; trying again does not help"`

	Truncated  bool   `json:"truncated" jsonschema:"the middle of the output was left out"`
	OutputPath string `json:"output_path,omitzero" jsonschema:"workspace file with the whole output, if it was truncated"`
	StderrPath string `json:"stderr_path,omitzero" jsonschema:"the same for a separate stderr"`

	Restarted     bool    `json:"restarted" jsonschema:"the shell had to be replaced: variables and functions are gone"`
	RestartReason string  `json:"restart_reason,omitzero"`
	DurationMS    float64 `json:"duration_ms"`
}

// Run runs a command in the shell; see [RunOutput].
//
// A command that fails is no error. Nor is one that ran into its timeout: it is
// interrupted, after a grace period killed, and its output so far returned.
// When ctx ends the same happens, and ctx's error is returned beside the
// output.
func (s *Shell) Run(ctx context.Context, in RunInput) (RunOutput, error) {
	return s.run(ctx, sandbox.Call{}, in)
}

func (s *Shell) run(ctx context.Context, call sandbox.Call, in RunInput) (RunOutput, error) {
	limit, err := seconds("timeout", in.Timeout, 0)
	if err != nil {
		return RunOutput{}, err
	}
	if limit == 0 {
		limit, _ = seconds("timeout", s.set.Timeout, defaultTimeout)
	}
	most, err := s.outputLimit(in.MaxOutput)
	if err != nil {
		return RunOutput{}, err
	}
	stdout, stderr := s.stream(call, "stdout", most), s.stream(call, "stderr", most)
	c := term.Command{Text: in.Command, Env: in.Env, Timeout: limit, Stdout: stdout, Stderr: stderr}
	if in.Cwd != "" {
		c.Dir = s.dir(in.Cwd)
	}
	env := s.env.Load()
	before := env.OOMKills()
	res, err := s.term.Run(ctx, c)
	var killed int64
	if before >= 0 {
		killed = env.OOMKills() - before // negative when the jail is gone
	}
	out := RunOutput{
		Command: in.Command, ExitCode: res.ExitCode, ReturnCode: res.ExitCode, Cwd: res.Dir, TimedOut: res.TimedOut,
		Restarted: res.Restarted, RestartReason: res.Reason,
		DurationMS: float64(res.Duration.Microseconds()) / 1000,
	}
	for _, d := range call.Denied() {
		out.Denied = append(out.Denied, d.Text)
	}
	var cut [2]bool
	out.Stdout, out.OutputPath, cut[0] = stdout.Text()
	out.Stderr, out.StderrPath, cut[1] = stderr.Text()
	out.Truncated = cut[0] || cut[1]
	switch {
	case res.TimedOut:
		out.ExitCode, out.ReturnCode, out.Error = -1, -1, "Command timed out"
	case err == nil && res.ExitCode == -1:
		out.Error = res.Reason
	}
	if killed > 0 {
		out.Error = strings.TrimPrefix(out.Error+"; "+outOfMemory(env.Limits().Memory, res.ExitCode, killed), "; ")
	}
	switch {
	case errors.Is(err, term.ErrNUL):
		err = sandbox.Errorf(sandbox.ErrInvalidInput, "/command: %w; write \\0 in the language of the program that needs it", err)
	case errors.Is(err, term.ErrEnv):
		err = sandbox.Errorf(sandbox.ErrInvalidInput, "/env: %w", err)
	case errors.Is(err, term.ErrClosed):
		err = sandbox.Errorf(sandbox.ErrSessionLost, "%w", err)
	}
	return out, err
}

// outOfMemory says what became of a command while the kernel killed that many
// processes of its worker's.
func outOfMemory(limit int64, code int, killed int64) string {
	bound := "no limit is set, the host has no more"
	if limit == 0 {
		limit = jail.DefaultMemory
	}
	if limit > 0 {
		bound = "limit " + size.Format(limit)
	}
	if code == 128+int(syscall.SIGKILL) || code == -1 {
		return "killed: out of memory (" + bound + ")"
	}
	return fmt.Sprintf("out of memory (%s): %d of the worker's processes were killed while the command ran", bound, killed)
}

// stream takes what a call prints to one of its streams.
func (s *Shell) stream(call sandbox.Call, name string, limit int) *output.Stream {
	var live func(string)
	if call.Listening() {
		live = func(text string) {
			call.Emit(sandbox.Event{Kind: sandbox.EventOutput, Stream: name, Text: text})
		}
	}
	return output.New(limit, output.File{Kind: "bash", Ext: ".txt", Create: s.create}, live)
}

// create is the [output.Create] of the session's workspace.
func (s *Shell) create(name string) (io.WriteCloser, output.Commit, error) {
	files, err := s.env.Load().Files()
	if err != nil {
		return nil, nil, err
	}
	w, err := files.Create(name, sandbox.CreateOptions{Exclusive: true, Parents: true})
	if err != nil {
		return nil, nil, err
	}
	return w, func() (string, error) { info, err := w.Commit(); return info.Path, err }, nil
}
