package term

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// ProgramOptions say what [StartProgram] starts.
type ProgramOptions struct {
	Start StartFunc // required
	Path  string
	Args  []string
	Dir   string
	Env   []string

	Rows, Cols int   // 0: 24 and 80
	History    int   // bytes of output kept; 0: 1 MiB
	Pace       *Pace // shared with other programs; nil: of its own
}

// Program is a program on a terminal of its own. Its methods may be called
// concurrently.
type Program struct {
	proc    Process
	term    *tty
	out     *stream
	history *ring
	screen  *screen

	pace    *Pace
	typing  chan struct{} // holds one token: the right to write to the terminal
	answers chan []byte   // of the terminal, to the program
	ended   chan struct{} // closed when the program has ended
	closing chan struct{} // closed by Close
	done    chan struct{} // closed when the program has ended and its output is read
	code    int           // valid once done is closed
	once    sync.Once
}

// Errors of a program.
var (
	ErrEnded = errors.New("the program has ended") // for input and signals
	ErrSize  = errors.New("a terminal cannot have this size")
)

// StartProgram starts a program. The context covers the start only; whoever
// started it calls [Program.Close].
func StartProgram(ctx context.Context, o ProgramOptions) (*Program, error) {
	if o.Start == nil {
		return nil, errors.New("term: ProgramOptions.Start is nil: give the function that starts processes")
	}
	if o.Rows == 0 {
		o.Rows = 24
	}
	if o.Cols == 0 {
		o.Cols = 80
	}
	if o.History <= 0 {
		o.History = 1 << 20
	}
	if err := checkSize(o.Rows, o.Cols); err != nil {
		return nil, err
	}
	t, err := openTTY(o.Rows, o.Cols, false)
	if err != nil {
		return nil, err
	}
	slave, err := t.peer()
	if err != nil {
		t.close()
		return nil, err
	}
	defer slave.Close()
	p := &Program{
		term:    t,
		history: newRing(o.History),
		pace:    o.Pace,
		typing:  make(chan struct{}, 1),
		answers: make(chan []byte, 16),
		ended:   make(chan struct{}),
		closing: make(chan struct{}),
		done:    make(chan struct{}),
	}
	p.typing <- struct{}{}
	if p.pace == nil {
		p.pace = new(Pace)
	}
	p.screen = newScreen(o.Rows, o.Cols, answerer{p})
	p.out = newStream(t.master, 0)
	p.out.begin(p.take)
	p.proc, err = o.Start(ctx, Spec{Path: o.Path, Args: o.Args, Dir: o.Dir, Env: o.Env, TTY: slave})
	if err != nil {
		p.out.close()
		t.close()
		return nil, fmt.Errorf("start %s: %w", o.Path, err)
	}
	go p.answer()
	go p.await()
	return p, nil
}

// take gets the output. Rendering it may be slow, on purpose of the program's;
// once the program has ended there is not much more to come.
func (p *Program) take(b []byte) {
	p.screen.mu.Lock() // who has read the output finds it on the screen, and the other way round
	p.history.write(b)
	began := time.Now()
	p.screen.render(b)
	p.screen.mu.Unlock()
	if d := p.pace.spend(time.Since(began)); d > 0 {
		t := time.NewTimer(d)
		defer t.Stop()
		select {
		case <-t.C:
		case <-p.ended:
		case <-p.closing:
		}
	}
}

// answerer takes the emulator's answers. It never blocks: the emulator is
// called by the reader of the program's output.
type answerer struct{ p *Program }

func (a answerer) Write(b []byte) (int, error) {
	select {
	case a.p.answers <- append([]byte(nil), b...):
	default: // the program asks but does not listen
	}
	return len(b), nil
}

func (p *Program) answer() {
	for {
		select {
		case b := <-p.answers:
			ctx, cancel := context.WithTimeout(context.Background(), answerWait)
			_, _ = p.write(ctx, b) // the program asks but does not listen, or it has ended
			cancel()
		case <-p.done:
			return
		}
	}
}

func (p *Program) await() {
	code := exitCode(p.proc.Wait())
	close(p.ended)
	if p.term.restore() == nil {
		fence := []byte(digits())
		found := p.out.arm(fence)
		go p.term.slave.Write(fence)
		for range 10 { // seconds: what is left may be slow to render
			if waitFor(found, time.Second) || !p.out.moving() && !p.term.unread() {
				break
			}
		}
	}
	p.code = code
	close(p.done)
	p.history.end()
	p.Close() // gives the terminal back; it cannot fail any more
}

// Pid is the program's number as the host sees it.
func (p *Program) Pid() int { return p.proc.Pid() }

// Done is closed once the program has ended and all its output is there.
func (p *Program) Done() <-chan struct{} { return p.done }

// ExitCode returns the exit status, 128 plus the number for a signal; ok is
// false while the program runs.
func (p *Program) ExitCode() (code int, ok bool) {
	select {
	case <-p.done:
		return p.code, true
	default:
		return 0, false
	}
}

// Chunk is a piece of a program's output.
type Chunk struct {
	Data    []byte
	Next    int64 // where to go on
	Dropped int64 // bytes between the wanted position and Data that are not kept any more
}

// Output returns at most limit bytes of output from position since. If there is
// none it waits, for at most wait, until there is or the program has ended.
func (p *Program) Output(ctx context.Context, since int64, limit int, wait time.Duration) (Chunk, error) {
	var timeout <-chan time.Time
	if wait > 0 {
		t := time.NewTimer(wait)
		defer t.Stop()
		timeout = t.C
	}
	for {
		data, from, more := p.history.read(since, limit)
		if len(data) > 0 || timeout == nil {
			return Chunk{Data: data, Next: from + int64(len(data)), Dropped: max(0, from-since)}, nil
		}
		select {
		case <-more:
			if _, ok := p.ExitCode(); ok {
				timeout = nil
			}
		case <-timeout:
			timeout = nil
		case <-ctx.Done():
			return Chunk{Next: from}, ctx.Err()
		}
	}
}

// answerWait is how long a program whose input is full may take to read on, before
// the terminal's answer is dropped.
const answerWait = time.Second

// Input types text. It returns early, with what was taken, when the context
// ends before the program reads. Concurrent calls wait for each other.
func (p *Program) Input(ctx context.Context, text []byte) (int, error) {
	select {
	case <-p.ended:
		return 0, ErrEnded
	default:
	}
	if err := p.fits(text); errors.Is(err, os.ErrClosed) {
		return 0, ErrEnded
	} else if err != nil {
		return 0, err
	}
	n, err := p.write(ctx, text)
	switch {
	case err == nil:
		return n, nil
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, ctx.Err()):
		return n, fmt.Errorf("the program took %d of %d bytes of input: %w", n, len(text), ctx.Err())
	case errors.Is(err, os.ErrClosed), errors.Is(err, unix.EIO):
		return n, ErrEnded
	}
	return n, err
}

// write writes to the terminal's master until the context ends.
func (p *Program) write(ctx context.Context, b []byte) (int, error) {
	select {
	case <-p.typing:
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	defer func() { p.typing <- struct{}{} }()
	fired := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		p.term.master.SetWriteDeadline(time.Unix(1, 0))
		close(fired)
	})
	n, err := p.term.master.Write(b)
	if !stop() {
		<-fired // or it would hit the next writer
		p.term.master.SetWriteDeadline(time.Time{})
	}
	return n, err
}

// fits refuses what the kernel would cut without a word: a program that reads
// whole lines gets no more than 4095 bytes of one.
func (p *Program) fits(text []byte) error {
	const most = 4095
	longest := 0
	for line := range bytes.FieldsFuncSeq(text, func(r rune) bool { return r == '\n' || r == '\r' }) {
		longest = max(longest, len(line))
	}
	if longest <= most {
		return nil
	}
	return control(p.term.slave, func(fd int) error {
		t, err := unix.IoctlGetTermios(fd, unix.TCGETS)
		if err == nil && t.Lflag&unix.ICANON != 0 {
			return fmt.Errorf("a line of %d bytes: the program reads lines, and a terminal's line holds at most %d; put the input into a file", longest, most)
		}
		return nil
	})
}

// Keys presses keys, given by name; see the error for the names.
func (p *Program) Keys(ctx context.Context, keys []string) (int, error) {
	b, err := encodeKeys(keys, p.screen.applicationKeys())
	if err != nil {
		return 0, err
	}
	return p.Input(ctx, b)
}

// EOF types the terminal's end-of-file character, which ends the input of a
// program that reads lines. On a line that was begun it takes two of them.
func (p *Program) EOF(ctx context.Context) error {
	eof := p.term.plain.Cc[unix.VEOF]
	_, err := p.Input(ctx, []byte{eof})
	return err
}

// Resize changes the terminal's size; the program is told by SIGWINCH.
func (p *Program) Resize(rows, cols int) error {
	if err := checkSize(rows, cols); err != nil {
		return err
	}
	if _, ok := p.ExitCode(); !ok {
		if err := p.term.resize(rows, cols); err != nil {
			return err
		}
		if r := relayed(p.proc); r != nil {
			if err := r.ResizeTerminal(rows, cols); err != nil {
				return err
			}
		}
	}
	p.screen.resize(rows, cols)
	return nil
}

// Screen returns what the terminal shows.
func (p *Program) Screen() Screen { return p.screen.view() }

// Size returns the terminal's size.
func (p *Program) Size() (rows, cols int) {
	p.screen.mu.Lock()
	defer p.screen.mu.Unlock()
	return p.screen.rows, p.screen.cols
}

// Signal sends a signal to the program and what runs in its foreground. After
// ErrEnded it takes a moment at most until [Program.Done] is closed.
func (p *Program) Signal(sig os.Signal) error {
	select {
	case <-p.ended: // its output may still be on the way
		return ErrEnded
	default:
	}
	err := p.proc.Signal(sig)
	if errors.Is(err, os.ErrProcessDone) {
		return ErrEnded
	}
	if s, ok := sig.(unix.Signal); ok {
		if group, session := p.term.foreground(); group > 1 && group != session {
			if sid, e := unix.Getsid(group); e == nil && sid == session {
				_ = unix.Kill(-group, s)
			}
		}
	}
	return err
}

// Close kills the program if it runs, and gives its terminal back. Output and
// Screen still answer. It returns when the program has ended, or after 5 s.
func (p *Program) Close() error {
	var err error
	p.once.Do(func() {
		close(p.closing)
		if _, ok := p.ExitCode(); !ok {
			if e := p.Signal(unix.SIGKILL); e != nil && !errors.Is(e, ErrEnded) {
				p.proc.Kill()
			}
			if !waitFor(p.done, 5*time.Second) {
				err = errors.New("the program outlives SIGKILL")
			}
		}
		p.out.close()
		p.term.close()
	})
	return err
}

// maxCells bounds the memory a screen takes on the host, and the time it takes
// to clear.
const maxCells = 40_000

func checkSize(rows, cols int) error {
	const most = 500
	if rows < 1 || rows > most || cols < 1 || cols > most || rows*cols > maxCells {
		return fmt.Errorf("%w: %d rows and %d columns; each may be from 1 to %d, their product up to %d", ErrSize, rows, cols, most, maxCells)
	}
	return nil
}
