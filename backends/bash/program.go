package bash

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"github.com/agentflow-go/sandbox"
	"github.com/agentflow-go/sandbox/internal/runes"
	"github.com/agentflow-go/sandbox/internal/term"
)

const (
	maxPrograms = 32 // running at once in a session
	maxEnded    = 32 // whose output is kept
	killWait    = 2 * time.Second
	inputWait   = 10 * time.Second
)

// program is one that was started.
type program struct {
	*term.Program
	id, name, command string
	started           time.Time
}

// StartInput is what bash:start takes.
type StartInput struct {
	Command string            `json:"command" jsonschema:"the program and its arguments, as a shell command"`
	Name    string            `json:"name,omitzero" jsonschema:"a name to recognise it by in list; default: the command"`
	Cwd     string            `json:"cwd,omitzero" jsonschema:"directory, relative to the workspace or absolute; default: the workspace"`
	Env     map[string]string `json:"env,omitempty" jsonschema:"environment variables for the program"`
	Rows    int               `json:"rows,omitzero" jsonschema:"height of its terminal; default 24"`
	Cols    int               `json:"cols,omitzero" jsonschema:"width of its terminal; default 80"`
}

// StartOutput is what bash:start returns.
type StartOutput struct {
	ID  string `json:"id" jsonschema:"the name that output, input, screen and kill know it by"`
	PID int    `json:"pid" jsonschema:"its process number, as commands in the session see it"`
}

// Start starts a program on a terminal of its own. It runs until it ends, is
// killed, or the session is closed.
func (s *Shell) Start(ctx context.Context, in StartInput) (StartOutput, error) {
	if strings.TrimSpace(in.Command) == "" {
		return StartOutput{}, sandbox.Errorf(sandbox.ErrInvalidInput, "/command: empty; give a program to start")
	}
	if strings.Contains(in.Command, "\x00") || strings.Contains(in.Cwd, "\x00") {
		return StartOutput{}, sandbox.Errorf(sandbox.ErrInvalidInput, "/command: neither it nor /cwd can contain a NUL byte")
	}
	if err := checkEnviron(in.Env); err != nil {
		return StartOutput{}, err
	}
	if err := s.reserve(); err != nil {
		return StartOutput{}, err
	}
	p, err := term.StartProgram(ctx, term.ProgramOptions{
		Start: s.start, Path: "/bin/bash", Args: []string{"-c", in.Command}, Dir: s.dir(in.Cwd),
		Env: append([]string{"TERM=xterm-256color"}, s.environ(in.Env)...), Rows: in.Rows, Cols: in.Cols, Pace: &s.pace,
	})
	if errors.Is(err, term.ErrSize) {
		err = sandbox.Errorf(sandbox.ErrInvalidInput, "/rows, /cols: %w", err)
	}
	if err != nil {
		s.mu.Lock()
		s.starting--
		s.mu.Unlock()
		return StartOutput{}, err
	}
	if in.Name == "" {
		in.Name = firstRunes(in.Command, 60)
	}
	s.mu.Lock()
	s.starting--
	s.lastID++
	pr := &program{Program: p, id: "p" + strconv.Itoa(s.lastID), name: in.Name, command: in.Command, started: time.Now()}
	s.programs = append(s.programs, pr)
	closing := s.closing.Load()
	s.mu.Unlock()
	if closing { // Close has not seen it
		return StartOutput{}, errors.Join(sandbox.Errorf(sandbox.ErrSessionLost, "the session is being closed"), p.Close())
	}
	return StartOutput{ID: pr.id, PID: p.Pid()}, nil
}

// reserve refuses one program too many and forgets the oldest that ended. It
// counts one as starting.
func (s *Shell) reserve() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var kept, ended []*program
	for _, p := range s.programs {
		if _, over := p.ExitCode(); over {
			ended = append(ended, p)
		}
	}
	if running := len(s.programs) - len(ended) + s.starting; running >= maxPrograms {
		return sandbox.Errorf(sandbox.ErrBusy, "%d programs are running in this session; kill one first", running)
	}
	drop := max(0, len(ended)-maxEnded+1)
	for _, p := range s.programs {
		if drop > 0 && p == ended[0] {
			ended, drop = ended[1:], drop-1
			continue
		}
		kept = append(kept, p)
	}
	s.programs = kept
	s.starting++
	return nil
}

func (s *Shell) program(id string) (*program, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.programs {
		if p.id == id {
			return p, nil
		}
	}
	ids := make([]string, len(s.programs))
	for i, p := range s.programs {
		ids[i] = p.id
	}
	if len(ids) == 0 {
		return nil, sandbox.Errorf(sandbox.ErrInvalidInput, "/id: no program %q in this session, nor any other; programs end with the session that started them, and a call without a session has one to itself", id)
	}
	return nil, sandbox.Errorf(sandbox.ErrInvalidInput, "/id: no program %q in this session; there are: [%s]", id, strings.Join(ids, " "))
}

// OutputInput is what bash:output takes.
type OutputInput struct {
	ID        string  `json:"id" jsonschema:"from start"`
	Since     int64   `json:"since,omitzero" jsonschema:"byte position to read from; default 0"`
	Wait      float64 `json:"wait,omitzero" jsonschema:"seconds to wait for output or the end, if there is no output yet; default 0"`
	MaxOutput int     `json:"max_output,omitzero" jsonschema:"bytes to return at most; default 1048576"`
}

// OutputOutput is what bash:output returns.
type OutputOutput struct {
	Output   string `json:"output"`
	Next     int64  `json:"next" jsonschema:"give this as since to go on"`
	Dropped  int64  `json:"dropped,omitzero" jsonschema:"bytes after since that are not kept any more: the last MiB is"`
	Running  bool   `json:"running"`
	ExitCode *int   `json:"exit_code,omitempty" jsonschema:"once it has ended"`
}

// Output returns a program's output from a position.
func (s *Shell) Output(ctx context.Context, in OutputInput) (OutputOutput, error) {
	p, err := s.program(in.ID)
	if err != nil {
		return OutputOutput{}, err
	}
	most, err := s.outputLimit(in.MaxOutput)
	if err != nil {
		return OutputOutput{}, err
	}
	wait, err := seconds("wait", in.Wait, 0)
	if err != nil {
		return OutputOutput{}, err
	}
	if in.Since < 0 {
		return OutputOutput{}, sandbox.Errorf(sandbox.ErrInvalidInput, "/since: %d; give 0 or a position from next", in.Since)
	}
	deadline := time.Now().Add(wait)
	// Asked before reading: output that comes with the end is then not missed.
	code, over := p.ExitCode()
	c, err := p.Output(ctx, in.Since, max(most, utf8.UTFMax), wait)
	if n := runes.Whole(c.Data); err == nil && !over && n == 0 && len(c.Data) > 0 {
		// The beginning of a rune only: there has to be one byte more.
		if _, err = p.Output(ctx, c.Next, 1, time.Until(deadline)); err == nil {
			code, over = p.ExitCode()
			c, err = p.Output(ctx, in.Since, max(most, utf8.UTFMax), 0)
		}
	}
	if len(c.Data) == 0 && !over {
		code, over = p.ExitCode()
	}
	if n := runes.Whole(c.Data); !over { // the rest of the rune is still to come
		c.Next -= int64(len(c.Data) - n)
		c.Data = c.Data[:n]
	}
	out := OutputOutput{Output: strings.ToValidUTF8(string(c.Data), "\uFFFD"), Next: c.Next, Dropped: c.Dropped, Running: !over}
	if over {
		out.ExitCode = &code
	}
	return out, err
}

// InputInput is what bash:input takes: one of Text, Keys and EOF.
type InputInput struct {
	ID   string   `json:"id" jsonschema:"from start"`
	Text string   `json:"text,omitzero" jsonschema:"text to type; a newline ends a line"`
	Keys []string `json:"keys,omitempty" jsonschema:"keys to press: enter, tab, esc, backspace, delete, up, down, left, right, home, end, page-up, page-down, f1 to f12, ctrl-c, alt-x, or single characters"`
	EOF  bool     `json:"eof,omitzero" jsonschema:"true: end of input"`
}

// InputOutput is what bash:input returns.
type InputOutput struct {
	Written int `json:"written" jsonschema:"bytes typed"`
}

// Input types into a program.
func (s *Shell) Input(ctx context.Context, in InputInput) (InputOutput, error) {
	given := 0
	for _, g := range []bool{in.Text != "", len(in.Keys) > 0, in.EOF} {
		if g {
			given++
		}
	}
	if given != 1 {
		return InputOutput{}, sandbox.Errorf(sandbox.ErrInvalidInput, "give exactly one of text, keys and eof; there are %d", given)
	}
	p, err := s.program(in.ID)
	if err != nil {
		return InputOutput{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, inputWait)
	defer cancel()
	var out InputOutput
	switch {
	case in.Text != "":
		out.Written, err = p.Input(ctx, []byte(in.Text))
	case in.EOF:
		if err = p.EOF(ctx); err == nil {
			out.Written = 1
		}
	default:
		out.Written, err = p.Keys(ctx, in.Keys)
	}
	if err != nil {
		switch {
		case errors.Is(err, context.Canceled):
			return out, err
		case errors.Is(err, term.ErrEnded), errors.Is(err, context.DeadlineExceeded):
			return out, sandbox.Errorf(sandbox.ErrBusinessFailure, "%w", err)
		}
		return out, sandbox.Errorf(sandbox.ErrInvalidInput, "%w", err)
	}
	return out, nil
}

// ScreenInput is what bash:screen takes.
type ScreenInput struct {
	ID   string `json:"id" jsonschema:"from start"`
	Rows int    `json:"rows,omitzero" jsonschema:"new height of the terminal; default: as it is"`
	Cols int    `json:"cols,omitzero" jsonschema:"new width of the terminal; default: as it is"`
}

// ScreenOutput is what bash:screen returns.
type ScreenOutput struct {
	Text   string `json:"text" jsonschema:"one line per row, without trailing blanks"`
	Cursor [2]int `json:"cursor" jsonschema:"row and column, from 0"`
	Title  string `json:"title"`
}

// Screen returns a program's screen.
func (s *Shell) Screen(ctx context.Context, in ScreenInput) (ScreenOutput, error) {
	p, err := s.program(in.ID)
	if err != nil {
		return ScreenOutput{}, err
	}
	if in.Rows != 0 || in.Cols != 0 {
		rows, cols := p.Size()
		if in.Rows != 0 {
			rows = in.Rows
		}
		if in.Cols != 0 {
			cols = in.Cols
		}
		if err := p.Resize(rows, cols); err != nil {
			return ScreenOutput{}, sandbox.Errorf(sandbox.ErrInvalidInput, "%w", err)
		}
	}
	v := p.Program.Screen()
	return ScreenOutput{Text: v.Text, Cursor: [2]int{v.Row, v.Col}, Title: v.Title}, nil
}

// KillInput is what bash:kill takes.
type KillInput struct {
	ID     string `json:"id" jsonschema:"from start"`
	Signal string `json:"signal,omitzero" jsonschema:"TERM, KILL, INT, HUP, QUIT, USR1, USR2, STOP or CONT; default TERM"`
}

// KillOutput is what bash:kill returns.
type KillOutput struct {
	Running  bool `json:"running"`
	ExitCode *int `json:"exit_code,omitempty" jsonschema:"if it has ended"`
}

// Kill sends a signal to a program. For signals that usually end one it waits
// up to two seconds for that.
func (s *Shell) Kill(ctx context.Context, in KillInput) (KillOutput, error) {
	p, err := s.program(in.ID)
	if err != nil {
		return KillOutput{}, err
	}
	if in.Signal == "" {
		in.Signal = "TERM"
	}
	sig := unix.SignalNum("SIG" + strings.TrimPrefix(strings.ToUpper(in.Signal), "SIG"))
	if sig == 0 {
		return KillOutput{}, sandbox.Errorf(sandbox.ErrInvalidInput, "/signal: unknown signal %q; give TERM, KILL, INT, HUP, QUIT, USR1, USR2, STOP or CONT", in.Signal)
	}
	err = p.Signal(sig)
	if err != nil && !errors.Is(err, term.ErrEnded) {
		return KillOutput{}, fmt.Errorf("signal program %s: %w", in.ID, err)
	}
	mild := []unix.Signal{unix.SIGSTOP, unix.SIGTSTP, unix.SIGCONT, unix.SIGUSR1, unix.SIGUSR2, unix.SIGWINCH, unix.SIGCHLD, unix.SIGURG}
	if err != nil || !slices.Contains(mild, sig) {
		t := time.NewTimer(killWait)
		defer t.Stop()
		select {
		case <-p.Done():
		case <-t.C:
		case <-ctx.Done():
		}
	}
	if code, over := p.ExitCode(); over {
		return KillOutput{ExitCode: &code}, nil
	}
	return KillOutput{Running: true}, nil
}

// ListInput is what bash:list takes: nothing.
type ListInput struct{}

// ListOutput is what bash:list returns.
type ListOutput struct {
	Processes []ProcessInfo `json:"processes"`
}

// ProcessInfo is one started program.
type ProcessInfo struct {
	ID       string    `json:"id"`
	Name     string    `json:"name"`
	Command  string    `json:"command"`
	Running  bool      `json:"running"`
	ExitCode *int      `json:"exit_code,omitempty"`
	Started  time.Time `json:"started"`
}

// List returns the programs in the order of their start. Of those that have
// ended only the last 32 are kept.
func (s *Shell) List(context.Context, ListInput) (ListOutput, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := ListOutput{Processes: make([]ProcessInfo, 0, len(s.programs))}
	for _, p := range s.programs {
		info := ProcessInfo{ID: p.id, Name: p.name, Command: p.command, Started: p.started.UTC()}
		if code, over := p.ExitCode(); over {
			info.ExitCode = &code
		} else {
			info.Running = true
		}
		out.Processes = append(out.Processes, info)
	}
	return out, nil
}

// firstRunes returns at most n runes of s's first line.
func firstRunes(s string, n int) string {
	s, _, _ = strings.Cut(strings.TrimSpace(s), "\n")
	if r := []rune(s); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return s
}
