package code

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"sync"

	"github.com/agentflow-go/sandbox"
	"github.com/agentflow-go/sandbox/internal/output"
	"github.com/agentflow-go/sandbox/internal/term"
)

// shell is the engine of bash. It runs in the terminal that package term gives
// shells, with standard error apart and nothing to read.
type shell struct {
	s *Session

	mu    sync.Mutex // guards what follows
	sh    *term.Shell
	stop  context.CancelFunc // interrupts the running call; nil: none runs
	given map[string]bool    // names that a fresh shell has
	gone  string             // why the state of earlier calls is lost; told by the next one too
}

var _ engine = (*shell)(nil)

func (b *shell) warm(ctx context.Context) error {
	_, err := b.ready(ctx)
	return err
}

func (b *shell) ready(ctx context.Context) (*term.Shell, error) {
	b.mu.Lock()
	sh := b.sh
	b.mu.Unlock()
	if sh != nil {
		return sh, nil
	}
	if b.s.closing.Load() {
		return nil, errClosing()
	}
	home, err := b.s.env.Load().Home(ctx)
	if err != nil {
		return nil, err
	}
	sh, err = term.Open(ctx, term.Options{
		Start: b.start, Bash: b.s.set.interpreter(bash), Dir: home, SeparateStderr: true, NoInput: true,
		Env: append(b.s.set.environ(home), "PAGER=cat", "GIT_PAGER=cat"), Grace: interruptGrace, Hold: maxHeld,
	})
	if err != nil {
		b.s.lost(err)
		return nil, absent(bash, err)
	}
	given := map[string]bool{"OLDPWD": true} // comes with cd
	vars, _, err := listShell(ctx, sh, nil)
	for _, v := range vars {
		given[v.Name] = true
	}
	b.mu.Lock()
	b.sh, b.given = sh, given
	closing := b.s.closing.Load()
	b.mu.Unlock()
	if closing { // close has not seen it
		err = errClosing()
	}
	if err != nil {
		return nil, errors.Join(err, b.close())
	}
	return sh, nil
}

func errClosing() error {
	return sandbox.Errorf(sandbox.ErrSessionLost, "the session is being closed")
}

// start starts a process of the terminal's in the worker's jail.
func (b *shell) start(ctx context.Context, sp term.Spec) (term.Process, error) {
	p, err := b.s.env.Load().Start(ctx, sandbox.Cmd{
		Path: sp.Path, Args: sp.Args, Dir: sp.Dir, Env: sp.Env, Files: sp.Files,
		TTY: sp.TTY, Stdout: sp.Stdout, Stderr: sp.Stderr,
	})
	if err != nil {
		b.s.lost(err)
		return nil, err
	}
	return shellProcess{p, b.s}, nil
}

// shellProcess is a process whose status has the form that a shell gives it.
type shellProcess struct {
	*sandbox.Process
	s *Session
}

func (p shellProcess) Wait() error {
	err := p.Process.Wait()
	e, ok := errors.AsType[*sandbox.ExitError](err)
	if !ok {
		return err
	}
	p.s.lost(err)
	return term.ExitStatus(status(e))
}

func (b *shell) run(ctx context.Context, call sandbox.Call, c cell) (RunOutput, error) {
	sh, err := b.ready(ctx)
	if err != nil {
		return RunOutput{}, err
	}
	if strings.Contains(c.code, "\x00") {
		return RunOutput{}, sandbox.Errorf(sandbox.ErrInvalidInput, "/code: %w; write \\0 in the language of the program that needs it", term.ErrNUL)
	}
	stoppable, stop := context.WithCancel(ctx)
	defer stop()
	b.setStop(stop)
	defer b.setStop(nil)
	streams := b.s.streams(call, bash, c.maxOutput)
	res, err := sh.Run(stoppable, term.Command{Text: c.code, Timeout: c.timeout, Stdout: streams[0], Stderr: streams[1]})
	out := RunOutput{
		Language: bash, Outputs: []Output{}, ReturnCode: res.ExitCode, TimedOut: res.TimedOut,
		ExecutionTimeMS: float64(res.Duration.Microseconds()) / 1000,
		Restarted:       res.Restarted, RestartReason: res.Reason,
	}
	if why := b.swapGone(sh, res); why != "" && !res.Restarted {
		out.Restarted, out.RestartReason = true, why
	}
	interrupted := err != nil && errors.Is(err, context.Canceled) && ctx.Err() == nil
	switch {
	case res.TimedOut:
		out.ReturnCode, out.Error = -1, &CellError{Name: "TimedOut", Value: "Code timed out after " + c.timeout.String()}
	case interrupted:
		out.ReturnCode, out.Error, err = 130, &CellError{Name: "Interrupted", Value: "the code was interrupted"}, nil
	case res.Died:
		out.Error = &CellError{Name: "InterpreterDied", Value: res.Reason}
	}
	out.take(streams)
	if errors.Is(err, term.ErrClosed) {
		if b.s.closing.Load() {
			return out, sandbox.Errorf(sandbox.ErrSessionLost, "%w", err)
		}
		out.Error, out.ReturnCode, err = &CellError{Name: "Reset", Value: "the interpreter was reset while the code ran"}, -1, nil
		out.Restarted, out.RestartReason = true, out.Error.Value
	}
	return out, err
}

// swapGone notes whether a call has ended the shell, which the next call tells
// too, and returns what was noted before.
func (b *shell) swapGone(sh *term.Shell, res term.Result) (why string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.sh != sh { // it was reset
		return ""
	}
	why, b.gone = b.gone, ""
	if res.Died {
		b.gone = res.Reason
	}
	return why
}

func (b *shell) setStop(stop context.CancelFunc) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.stop = stop
}

// listText prints the names of variables and functions with what they are and
// the beginning of their values, in a subshell that leaves nothing behind.
const listText = `(for n in $(compgen -v); do
declare -n r=$n 2>/dev/null || continue
case ${r@a} in *A*) t=map v="${r[*]:0:50}";; *a*) t=array v="${r[*]:0:50}";; *i*) t=integer v=$r;; *) t=string v=$r;; esac
printf '%s\037%s\037%s\036' "$n" $t "${v:0:200}"
done
for n in $(compgen -A function); do printf '%s\037function\037\036' "$n"; done) 2>/dev/null`

// listShell lists the names in a shell, without those that are given.
func listShell(ctx context.Context, sh *term.Shell, given map[string]bool) (vars []Variable, left int, err error) {
	stdout := output.New(1<<20, output.File{}, nil)
	_, err = sh.Run(ctx, term.Command{Text: listText, Timeout: previewLimit, Stdout: stdout})
	if err != nil {
		return nil, 0, err
	}
	list, _ := stdout.Ends()
	for item := range bytes.SplitSeq(list, []byte{0o36}) {
		f := strings.Split(strings.ToValidUTF8(string(item), "\uFFFD"), "\x1f")
		if len(f) != 3 || given[f[0]] || f[0] == "n" || f[0] == "r" || f[0] == "t" || f[0] == "v" {
			continue
		}
		if len(vars) == maxVariables {
			left++
			continue
		}
		vars = append(vars, Variable{Name: f[0], Type: f[1], Preview: f[2]})
	}
	slices.SortFunc(vars, func(a, b Variable) int { return strings.Compare(a.Name, b.Name) })
	return vars, left, nil
}

func (b *shell) variables(ctx context.Context) ([]Variable, int, error) {
	b.mu.Lock()
	sh, given := b.sh, b.given
	b.mu.Unlock()
	if sh == nil {
		return nil, 0, nil
	}
	return listShell(ctx, sh, given)
}

// refresh has nothing to do: bash looks a program up when it is called.
func (b *shell) refresh(context.Context) error { return nil }

func (b *shell) interrupt() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.stop == nil {
		return false
	}
	b.stop()
	return true
}

// forget makes the next call start anew.
func (b *shell) forget() *term.Shell {
	b.mu.Lock()
	defer b.mu.Unlock()
	sh := b.sh
	b.sh, b.gone = nil, ""
	return sh
}

func (b *shell) reset() bool {
	sh := b.forget()
	if sh == nil {
		return false
	}
	b.s.closers.Go(func() { _ = sh.Close() }) // the jail ends what is left
	return true
}

func (b *shell) status() (bool, string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.sh != nil, ""
}

func (b *shell) close() error {
	if sh := b.forget(); sh != nil {
		return sh.Close()
	}
	return nil
}
