package term

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// run is one call of Shell.Run.
type run struct {
	s    *Shell
	c    Command
	text string
	res  Result

	nonce   string
	fields  []string // of the report, once its nonce has come
	begun   bool     // by the report
	nonces  int      // bytes in the command pipe that are no command
	step    step
	killing time.Time // when that began
	cause   error     // why the command is being ended: errTimeout or the context's
}

// step is how far the ending of a command has come.
type step int

const (
	running step = iota
	interrupted
	killing // what it runs in the foreground
	ending  // the shell itself
)

var (
	errTimeout = errors.New("time-out")

	// errUnbegun means that bash did not take the command: an earlier one has
	// broken the shell. It is safe to run it in a fresh one.
	errUnbegun = errors.New("an earlier command broke the shell")

	// errBroken means that the command ran and broke the shell.
	errBroken = errors.New("the command broke the shell's control functions or descriptors")
)

const (
	startLimit  = 10 * time.Second      // for bash to take a command
	killLimit   = 3 * time.Second       // for bash to report after its children were killed
	killAgain   = time.Second / 10      // between two kills of them
	beginLimit  = 2 * time.Second       // for a command to begin
	settleLimit = 5 * time.Second       // for bash to run an empty command
	hearsay     = 50 * time.Millisecond // for a report to overtake the prompt that follows it
	hearLimit   = 3 * time.Second       // to read what a dead bash reported, while others write there too
	asideLimit  = 5 * time.Second       // to read what a dead bash printed
)

func (r *run) do(ctx context.Context) error {
	began := time.Now()
	s := r.s
	defer func() {
		r.res.Dir = cmp.Or(s.dir, s.o.Dir)
		r.res.Duration = time.Since(began)
	}()
	if err := ctx.Err(); err != nil {
		r.res.ExitCode = -1
		return err
	}
	if s.bash == nil || !s.bash.alive() {
		if s.bash != nil {
			r.restarted(fmt.Sprintf("the shell had ended with status %d since the last call", s.bash.exitCode))
		} else {
			r.restarted("the shell was gone")
		}
		if err := s.start(ctx); err != nil {
			r.res.ExitCode = -1
			return err
		}
	}
	s.begin(r.c)
	err := r.once(ctx)
	if errors.Is(err, errUnbegun) {
		// Nothing of it ran.
		r.restarted(err.Error())
		err = s.start(context.WithoutCancel(ctx))
		r.step, r.cause = running, ctx.Err()
		switch {
		case err != nil:
		case r.cause != nil:
			r.res.ExitCode = -1
		default:
			s.begin(r.c) // the terminal may be another
			err = r.once(ctx)
		}
	}
	ferr := r.fence()
	if s.bash != nil && !s.bash.alive() {
		r.died(fmt.Sprintf("the shell ended with status %d", s.bash.exitCode))
	}
	select {
	case <-s.closing:
		return errors.Join(ErrClosed, r.cause)
	default:
	}
	switch {
	case errors.Is(err, errUnbegun), err != nil && s.bash == nil:
		r.res.ExitCode = -1
		return err
	case err != nil:
		r.died(err.Error())
	case ferr != nil:
		r.died(ferr.Error())
	}
	s.spoilt = ferr != nil
	if r.res.Restarted && (err != nil || ferr != nil || !s.bash.alive()) {
		if err := s.start(context.WithoutCancel(ctx)); err != nil {
			return err
		}
	}
	if r.cause == errTimeout {
		r.res.TimedOut = true
		return nil
	}
	return r.cause
}

func (r *run) restarted(why string) {
	r.res.Restarted, r.res.Reason = true, why
}

func (r *run) died(why string) {
	r.res.Died = true
	r.restarted(why)
}

// once attempts the command and leaves the shell ready for the next one.
func (r *run) once(ctx context.Context) error {
	err := r.attempt(ctx)
	if err != nil || r.step == running {
		return err
	}
	err = r.settle(ctx)
	if r.fields != nil && !r.begun && r.cause == errTimeout && (err != nil || r.c.Timeout >= beginLimit) {
		return errUnbegun // and not because the time was so short
	}
	return err
}

// attempt gives the command to bash and waits for the report. It returns nil
// when there is one, or when bash has ended (also because it had to be killed).
func (r *run) attempt(ctx context.Context) error {
	s, b := r.s, r.s.bash
	r.nonce, r.fields, r.begun = randomHex(8), nil, false
	b.notes.reset()

	status := s.status
	if strings.Contains(s.flags, "e") {
		status = 0 // under errexit the control function must not fail
	}
	k := b.script.key
	s.seq++
	in := "C" + k + "." + strconv.Itoa(s.seq) + ":" + strconv.Itoa(status) + "\x00" + r.text + "\x00N" + r.nonce + "\x00"
	r.nonces = len(r.nonce) + 2
	var sent chan error
	if len(in) <= 32<<10 {
		if err := b.send(in, "\n"); err != nil { // bash has ended
			return fmt.Errorf("%w: %w", errUnbegun, err)
		}
	} else { // longer than the pipe: bash has to read meanwhile
		sent = make(chan error, 1)
		go func() { sent <- b.send(in, "\n") }()
		defer func() {
			b.in.SetWriteDeadline(time.Unix(1, 0)) // wakes it, should bash be gone
			<-sent
			b.in.SetWriteDeadline(time.Time{})
		}()
	}

	var timeout <-chan time.Time
	if r.c.Timeout > 0 {
		t := time.NewTimer(r.c.Timeout)
		defer t.Stop()
		timeout = t.C
	}
	// Bash reads a pipe byte by byte.
	start := time.NewTimer(startLimit + time.Duration(len(in))*10*time.Microsecond)
	defer start.Stop()
	next := newStopped() // the next step of ending the command
	defer next.Stop()
	doubt := newStopped() // bash prompts, but has not reported
	defer doubt.Stop()
	eaten := newStopped() // the interrupt may have taken the nonce from bash
	defer eaten.Stop()
	if r.step != running {
		eaten.Reset(hearsay)
	}
	healed := false
	done, mute := ctx.Done(), b.mute

	for {
		select {
		case ts := <-b.tokens:
			if r.take(ts) {
				switch {
				case r.begun:
				case r.step == running:
					return errUnbegun
				default: // our interrupt came before the command did
					r.res.ExitCode = 128 + int(unix.SIGINT)
				}
				return nil
			}
		case <-b.exited:
			return r.ended()
		case <-mute:
			if !b.replaced(s.term) {
				if waitFor(b.exited, s.o.Heal) {
					return r.ended()
				}
				return r.broken() // it closed its descriptors, and lives
			}
			mute = nil // by exec, or it is about to be reaped; that end is the shell's
		case n := <-b.notes.prompts:
			if n == s.seq && !healed {
				doubt.Reset(hearsay)
			}
		case <-doubt.C:
			// The prompt after this call was printed, so the call is over, but
			// bash did not report.
			if b.unheard() {
				doubt.Reset(hearsay) // it did, and this program is late
				continue
			}
			if healed {
				return r.broken()
			}
			healed = true
			r.nonces *= 2
			if err := b.send("N"+r.nonce+"\x00", b.script.control()+"\n"); err != nil && b.alive() {
				return r.broken()
			}
			doubt.Reset(s.o.Heal)
		case <-start.C:
			if !r.taken() {
				return r.broken()
			}
		case <-timeout:
			r.cause, timeout, done = errTimeout, nil, nil
			if r.step == ending {
				return r.broken() // not even an empty command: see settle
			}
			r.end(next)
			eaten.Reset(hearsay)
		case <-done:
			r.cause, timeout, done = ctx.Err(), nil, nil
			r.end(next)
			eaten.Reset(hearsay)
		case <-eaten.C:
			if n, err := r.unread(); err == nil && n == 0 {
				if b.send("N"+r.nonce+"\x00", "") != nil {
					continue // nobody reads any more: bash is about to end, or does with the next step
				}
			}
			eaten.Reset(hearsay)
		case <-s.closing:
			return r.broken()
		case <-next.C:
			if r.end(next); r.step == ending {
				return r.broken()
			}
		}
	}
}

// settle waits until an interrupt that came too late for the command has been
// taken by bash: it notes a signal and acts on it at the next opportunity, which
// may be the next command. So empty commands are run until one succeeds.
func (r *run) settle(ctx context.Context) error {
	s := r.s
	code, status := r.res.ExitCode, s.status
	defer func() { r.res.ExitCode, s.status = code, status }()
	for range 5 {
		if !s.bash.alive() {
			return nil
		}
		s.status = 0
		empty := &run{s: s, c: Command{Timeout: settleLimit, Stdout: r.c.Stdout, Stderr: r.c.Stderr}, step: ending}
		if err := empty.attempt(context.WithoutCancel(ctx)); err != nil {
			return errBroken
		}
		if empty.res.ExitCode == 0 {
			return nil
		}
	}
	return nil
}

// broken kills a shell that does not report any more.
func (r *run) broken() error {
	why := errBroken
	switch {
	case !r.taken():
		why = errUnbegun
	case r.step == ending:
		why = errors.New("the command could not be interrupted, so the shell was killed")
	}
	r.res.ExitCode = -1
	if err := r.s.bash.kill(5 * time.Second); err != nil {
		return errors.Join(why, err)
	}
	return why
}

// ended takes leave of a shell that ended by itself.
func (r *run) ended() error {
	b := r.s.bash
	// What it still reported is read first. Somebody else may hold the
	// reporting end: a subshell in the background.
	began, limit := time.Now(), time.NewTimer(hearsay)
	defer limit.Stop()
	for mute := false; !mute; {
		select {
		case ts := <-b.tokens:
			if r.take(ts) {
				return nil // the command had ended before the shell did
			}
		case <-b.mute:
			mute = len(b.tokens) == 0
		case <-limit.C:
			mute = !b.unheard() || time.Since(began) > hearLimit
			limit.Reset(time.Millisecond)
		}
	}
	if !r.taken() {
		return fmt.Errorf("%w: it ended with status %d", errUnbegun, b.exitCode)
	}
	r.res.ExitCode = b.exitCode
	fence := []byte(randomHex(16))
	found := b.aside.arm(fence)
	go b.asideW.Write(fence)
	if waitFor(found, asideLimit) {
		if left := b.notes.left(strings.Contains(r.s.flags, "x")); len(left) > 0 {
			r.last(left)
		}
	}
	return nil
}

// taken reports whether bash has read the command: what follows it, the nonce,
// is then all that is left in the pipe.
func (r *run) taken() bool {
	n, err := r.unread()
	return err != nil || n <= r.nonces
}

// unread returns the number of bytes in the command pipe.
func (r *run) unread() (n int, err error) {
	err = control(r.s.bash.in, func(fd int) (err error) {
		n, err = unix.IoctlGetInt(fd, unix.TIOCINQ)
		return err
	})
	return n, err
}

// take reads a part of bash's report; it reports whether that is complete.
func (r *run) take(ts []string) bool {
	for _, t := range ts {
		switch {
		case r.fields != nil:
			r.fields = append(r.fields, t)
		case t == r.nonce:
			r.fields = []string{t}
		}
		if len(r.fields) == 5 {
			s := r.s
			code, err := strconv.Atoi(r.fields[1])
			if err != nil {
				code = -1
			}
			r.res.ExitCode, s.status, s.flags = code, max(code, 0), r.fields[2]
			r.begun = r.fields[3] != "2"
			dir, exact := strings.CutPrefix(r.fields[4], "=")
			if !exact {
				dir = strings.TrimSuffix(dir, "\n") // printed by pwd
			}
			if dir != "" {
				s.dir = dir
			}
			return true
		}
	}
	return false
}

// end takes the next step in ending the command and sets the time of the one
// after.
func (r *run) end(next *time.Timer) {
	s := r.s
	switch r.step {
	case running:
		r.step = interrupted
		s.bash.interrupt(s.term)
		next.Reset(s.o.Grace)
	case interrupted, killing:
		if r.step == killing && time.Since(r.killing) > killLimit {
			r.step = ending
			return
		}
		if r.step == interrupted {
			r.step, r.killing = killing, time.Now()
		}
		// Repeatedly, because a list or a loop goes on to its next command.
		s.bash.killForeground(s.term)
		s.bash.interrupt(s.term) // for the shell, when it has taken the terminal back
		next.Reset(killAgain)
	case ending:
	}
}

// fence waits until all that the command wrote has been read.
func (r *run) fence() error {
	s := r.s
	err := s.term.restore()
	out := r.fenceOne(s.stdout, s.term.slave)
	if s.stderr == nil {
		return errors.Join(err, out)
	}
	return errors.Join(err, out, r.fenceOne(s.stderr, s.errW))
}

func (r *run) fenceOne(st *stream, w *os.File) error {
	// Digits pass every terminal setting unchanged.
	fence := []byte(digits())
	found := st.arm(fence)
	// A blocking write is atomic; it waits for the reader while the buffer is
	// full. Closing the master wakes it.
	go w.Write(fence)
	if waitFor(found, 5*time.Second) {
		return nil
	}
	// Nothing within 5 s: either the sink is slow, which is no fault, or the
	// fence was flushed away.
	for st.slow() {
		if waitFor(found, time.Second) {
			return nil
		}
	}
	if waitFor(found, time.Second) {
		return nil
	}
	st.abandon()
	return errors.New("the command disturbed the terminal")
}

// last adds to the output, after everything on the terminal.
func (r *run) last(p []byte) {
	err := r.fence() // now nothing else writes
	r.c.Stdout.Write(p)
	if err == nil {
		r.s.begin(r.c)
	}
}

func waitFor(c <-chan struct{}, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-c:
		return true
	case <-t.C:
		return false
	}
}

func newStopped() *time.Timer {
	t := time.NewTimer(time.Hour)
	t.Stop()
	return t
}
