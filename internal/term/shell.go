package term

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

// Options configure a [Shell].
type Options struct {
	Start StartFunc // required
	Bash  string    // "": /bin/bash
	Dir   string    // where it starts, as the shell sees it; "": the start function's choice
	Env   []string  // added to the start function's environment

	// SeparateStderr gives commands a pipe as standard error, so that the two
	// streams can be told apart; their order relative to each other is lost.
	SeparateStderr bool

	// NoInput has commands find the end of their standard input at once, where
	// the terminal would have them wait for what is typed.
	NoInput bool

	Rows, Cols int // of the terminal; 0: 40 and 160

	// Grace is how long an interrupted command may take to end, before what it
	// runs is killed. 0: 2 s.
	Grace time.Duration

	// Heal is how long a shell whose control functions a command has overwritten may
	// take to report, once it was given them again, before it is replaced; and one that
	// has closed its descriptors, to end. 0: 10 s, which is enough with 50 such shells
	// starting at once.
	Heal time.Duration

	// Hold is how many bytes of background output are kept between two calls.
	// 0: 1 MiB.
	Hold int
}

// Command is one call of [Shell.Run].
type Command struct {
	Text string            // any bytes but NUL, of any length
	Dir  string            // "": where the shell is; otherwise it goes there first, and stays
	Env  map[string]string // for this command only

	Timeout time.Duration // 0: none but the context's

	// Stdout and Stderr get the output as it comes, each from one goroutine at a
	// time and until Run returns. A slow one slows the command down; errors of
	// theirs change nothing. Without [Options.SeparateStderr] everything goes to
	// Stdout. nil: output is dropped.
	Stdout, Stderr io.Writer
}

// Result tells how a command ended.
type Result struct {
	ExitCode  int    // 128 plus the signal's number for a signal; -1: unknown, the shell was killed
	Dir       string // the shell's directory afterwards
	TimedOut  bool   // Command.Timeout passed; the command was ended
	Restarted bool   // the shell is a fresh one: variables, functions and options are gone
	Reason    string // why it was restarted
	Died      bool   // this command ended the shell, or had it killed; else it ran in the fresh one
	Duration  time.Duration
}

// Errors of a shell.
var (
	ErrClosed = errors.New("the shell is closed")
	ErrNUL    = errors.New("a command cannot contain a NUL byte")
	ErrEnv    = errors.New("a variable cannot be set")
)

// Shell is an interactive bash on a private terminal. Its methods may be
// called concurrently; calls of Run wait for each other.
type Shell struct {
	o      Options
	name   string // prefix of what all its bashes have of ours
	term   *tty
	stdout *stream
	stderr *stream  // nil unless separate
	errW   *os.File // the host's and bash's end of the stderr pipe

	turn   chan struct{} // holds one token: the right to run; guards what follows
	bash   *bash         // nil: could not be restarted
	dir    string
	status int // of the last command
	flags  string
	seq    int  // of the last call
	base   int  // of the control descriptors; 0: high
	spoilt bool // the terminal is not to be used again

	closeOnce sync.Once
	closing   chan struct{}
	closeErr  error
}

// Open starts a shell. The context covers the start only.
func Open(ctx context.Context, o Options) (*Shell, error) {
	if o.Start == nil {
		return nil, errors.New("term: Options.Start is nil: give the function that starts processes")
	}
	if o.Bash == "" {
		o.Bash = "/bin/bash"
	}
	if o.Rows == 0 {
		o.Rows = 40
	}
	if o.Cols == 0 {
		o.Cols = 160
	}
	if o.Grace == 0 {
		o.Grace = 2 * time.Second
	}
	if o.Heal == 0 {
		o.Heal = 10 * time.Second
	}
	if o.Hold == 0 {
		o.Hold = 1 << 20
	}
	t, err := openTTY(o.Rows, o.Cols, true)
	if err != nil {
		return nil, err
	}
	s := &Shell{o: o, name: "__" + randomHex(4), term: t, turn: make(chan struct{}, 1), closing: make(chan struct{})}
	s.turn <- struct{}{}
	s.stdout = newStream(t.master, o.Hold)
	if o.SeparateStderr {
		r, w, err := pipe(true)
		if err != nil {
			s.Close()
			return nil, err
		}
		s.errW, s.stderr = w, newStream(r, o.Hold)
	}
	if err := s.start(ctx); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// start gives the shell a bash, in the last directory.
func (s *Shell) start(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if s.bash != nil {
		err := s.bash.close()
		s.bash = nil
		if err != nil {
			return err
		}
	}
	if s.spoilt || s.term.restore() != nil {
		if err := s.replaceTerminal(); err != nil {
			return err
		}
	}
	o := s.o
	b, err := startBash(ctx, o, newScript(s.name, s.base, o), s.term, s.errW, s.dir)
	if errors.Is(err, errNoRoom) && s.base == 0 {
		s.base = lowBase
		b, err = startBash(ctx, o, newScript(s.name, s.base, o), s.term, s.errW, s.dir)
	}
	if err != nil && s.dir != "" && o.Dir != "" && ctx.Err() == nil {
		o.Dir = "" // the directory it first started in may be gone
		b, err = startBash(ctx, o, newScript(s.name, s.base, o), s.term, s.errW, s.dir)
	}
	if err != nil && s.seq > 0 && ctx.Err() == nil { // the terminal may be somebody else's
		if err = s.replaceTerminal(); err == nil {
			b, err = startBash(ctx, o, newScript(s.name, s.base, o), s.term, s.errW, s.dir)
		}
	}
	if err != nil {
		return err
	}
	s.bash, s.status, s.flags = b, 0, ""
	return nil
}

// replaceTerminal gives the shell a new terminal. What a command has left
// running can make a terminal useless in many ways: own it as a session's
// leader, stop or flush it all the time, give it another line discipline.
func (s *Shell) replaceTerminal() error {
	t, err := openTTY(s.o.Rows, s.o.Cols, true)
	if err != nil {
		return err
	}
	s.stdout.close()
	s.term.close()
	s.term, s.stdout, s.spoilt = t, newStream(t.master, s.o.Hold), false
	return nil
}

// begin lets the output go to a command's writers.
func (s *Shell) begin(c Command) {
	s.stdout.begin(func(p []byte) { c.Stdout.Write(p) })
	if s.stderr != nil {
		s.stderr.begin(func(p []byte) { c.Stderr.Write(p) })
	}
}

// Close kills the shell; background jobs are the caller's to kill, with the
// jail. It waits for nothing but the shell's end, and may be called during Run.
func (s *Shell) Close() error {
	s.closeOnce.Do(func() {
		close(s.closing)
		<-s.turn
		if s.bash != nil {
			s.closeErr = s.bash.close()
			s.bash = nil
		}
		s.stdout.close()
		if s.stderr != nil {
			s.stderr.close()
			s.errW.Close()
		}
		s.term.close()
		s.turn <- struct{}{}
	})
	return s.closeErr
}

// Run runs a command in the shell and returns its status. A command that fails
// is no error, nor is one that ran into its Timeout.
//
// When the context ends, the command is ended as by a time-out and the result
// is returned beside the context's error. An error other than that, [ErrNUL],
// [ErrEnv] and [ErrClosed] means that there is no shell: it could not be started
// again. The next Run tries once more.
func (s *Shell) Run(ctx context.Context, c Command) (Result, error) {
	if strings.IndexByte(c.Text, 0) >= 0 || strings.IndexByte(c.Dir, 0) >= 0 {
		return Result{}, ErrNUL
	}
	text, err := compose(c)
	if err != nil {
		return Result{}, err
	}
	select {
	case <-s.turn:
	case <-ctx.Done():
		return Result{}, ctx.Err()
	case <-s.closing:
		return Result{}, ErrClosed
	}
	defer func() { s.turn <- struct{}{} }()
	select {
	case <-s.closing:
		return Result{}, ErrClosed
	default:
	}
	for _, w := range []*io.Writer{&c.Stdout, &c.Stderr} {
		if *w == nil {
			*w = io.Discard
		}
	}
	r := &run{s: s, c: c, text: text}
	err = r.do(ctx)
	return r.res, err
}

// compose adds a command's own directory and environment to its text. What is
// added is one line, so that bash numbers the command's lines rightly.
func compose(c Command) (string, error) {
	if c.Dir == "" && len(c.Env) == 0 {
		return c.Text, nil
	}
	var b strings.Builder
	if c.Dir != "" {
		b.WriteString("CDPATH= \\builtin cd -- " + quote(c.Dir) + " && ")
	}
	for _, k := range slices.Sorted(maps.Keys(c.Env)) {
		if !validName(k) {
			return "", fmt.Errorf("%w: %q is no name for one: use letters, digits and _", ErrEnv, k)
		}
		if strings.IndexByte(c.Env[k], 0) >= 0 {
			return "", fmt.Errorf("%w: the value of %s contains a NUL byte", ErrEnv, k)
		}
		b.WriteString(k + "=" + quote(c.Env[k]) + " ")
	}
	b.WriteString("\\builtin eval " + quote(c.Text))
	return b.String(), nil
}

func validName(k string) bool {
	for i, r := range k {
		if r != '_' && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (i == 0 || r < '0' || r > '9') {
			return false
		}
	}
	return k != ""
}
