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
	"github.com/agentflow-go/sandbox/internal/runes"
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
	c := term.Command{Text: in.Command, Env: in.Env, Timeout: limit, MaxOutput: most}
	if in.Cwd != "" {
		c.Dir = s.dir(in.Cwd)
	}
	spills := map[term.Stream]*spill{term.Stdout: {s: s}, term.Stderr: {s: s}}
	c.Spill = func(st term.Stream) (io.Writer, error) { return spills[st], nil }
	var live map[term.Stream]*runes.Decoder
	if call.Listening() {
		live = map[term.Stream]*runes.Decoder{term.Stdout: {}, term.Stderr: {}}
		c.OnOutput = func(st term.Stream, p []byte) {
			if text := live[st].Next(p); text != "" {
				call.Emit(sandbox.Event{Kind: sandbox.EventOutput, Stream: string(st), Text: text})
			}
		}
	}
	env := s.env.Load()
	before := env.OOMKills()
	res, err := s.term.Run(ctx, c)
	var killed int64
	if before >= 0 {
		killed = env.OOMKills() - before // negative when the jail is gone
	}
	for st, d := range live {
		if text := d.Rest(); text != "" {
			call.Emit(sandbox.Event{Kind: sandbox.EventOutput, Stream: string(st), Text: text})
		}
	}
	out := RunOutput{
		Command: in.Command, ExitCode: res.ExitCode, ReturnCode: res.ExitCode, Cwd: res.Dir, TimedOut: res.TimedOut,
		Truncated: res.Stdout.Truncated() || res.Stderr.Truncated(),
		Restarted: res.Restarted, RestartReason: res.Reason,
		DurationMS: float64(res.Duration.Microseconds()) / 1000,
	}
	for _, d := range call.Denied() {
		out.Denied = append(out.Denied, d.Text)
	}
	out.Stdout, out.OutputPath = text(res.Stdout, spills[term.Stdout])
	out.Stderr, out.StderrPath = text(res.Stderr, spills[term.Stderr])
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

// text turns output into valid UTF-8, saying what was left out and where it is.
func text(o term.Output, sp *spill) (text, file string) {
	head := strings.ToValidUTF8(string(o.Head), "\uFFFD")
	where, err := sp.close()
	if !o.Truncated() {
		return head, ""
	}
	note := fmt.Sprintf("[… %d of %d bytes left out", o.Dropped, o.Size)
	switch {
	case where != "" && err == nil:
		note += "; the whole output is in " + where
	case where != "":
		note += fmt.Sprintf("; the output up to a fault (%v) is in %s", err, where)
	case err != nil:
		note += fmt.Sprintf("; it could not be saved: %v", err)
	}
	return head + "\n" + note + " …]\n" + strings.ToValidUTF8(string(o.Tail), "\uFFFD"), where
}
