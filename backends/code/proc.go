package code

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/agentflow-go/sandbox"
)

const (
	// interruptGrace is how long code may take to end once it is interrupted; it
	// is interrupted again after the half of it, twice more soon after, and then
	// killed.
	interruptGrace = 2 * time.Second
	// kernelGrace is the same for a Jupyter kernel, which imports much before it
	// shows its first traceback.
	kernelGrace = 10 * time.Second
	killWait    = 5 * time.Second         // for the end of a killed interpreter
	endWait     = 2500 * time.Millisecond // for the end of one that has closed its answers
	nonsense    = 500 * time.Millisecond  // for the end of one that answers nonsense
	startLimit  = 30 * time.Second
	maxVersion  = 100 // bytes of an interpreter's version
)

// driver is how an interpreter of one language is started.
type driver struct {
	source []byte
	// boot returns the arguments that make the interpreter read n bytes of
	// source from descriptor 3 and run them.
	boot func(n int) []string
	env  []string // added to the interpreter's
	// signal tells it of interrupts by SIGINT, besides descriptor 5.
	signal bool
	grace  time.Duration
}

//go:embed show.py
var showSource []byte

//go:embed driver.py
var pythonSource []byte

func pythonDriver() driver {
	return driver{source: slices.Concat(showSource, pythonSource), signal: true, grace: interruptGrace, boot: func(n int) []string {
		// It gets builtins of its own, and leaves no name in __main__.
		return []string{"-c", fmt.Sprintf("exec(compile(open(3,'rb',closefd=False).read(%d),'<driver>','exec'),{'__name__':'driver','__builtins__':dict(vars(__import__('builtins')))})", n)}
	}}
}

//go:embed driver.js
var javascriptSource []byte

func javascriptDriver() driver {
	return driver{source: javascriptSource, grace: interruptGrace, boot: func(n int) []string {
		return []string{"-e", fmt.Sprintf("(()=>{const b=Buffer.alloc(%d);for(let n=0;n<b.length;)n+=require('fs').readSync(3,b,n,b.length-n);"+
			"new (require('vm').Script)(b.toString(),{filename:'<driver>'}).runInThisContext()(require,s=>import(s))})()", n)}
	}}
}

//go:embed bridge.py
var bridgeSource []byte

// bridgeDriver is a Python that has a Jupyter kernel do the work.
func bridgeDriver(kernel string) driver {
	return driver{source: bridgeSource, grace: kernelGrace, boot: pythonDriver().boot, env: []string{"SANDBOX_KERNEL=" + kernel}}
}

// proc is an interpreter process with a driver in it.
type proc struct {
	p       *sandbox.Process
	to      *os.File // requests
	from    *os.File // answers
	breaker *os.File // numbers of requests to interrupt
	signal  bool     // interrupts are told by SIGINT as well
	grace   time.Duration
	frames  frameReader
	version string // of the interpreter

	stdout, stderr *stream

	exited chan struct{} // closed once ended is set
	ended  error

	mu    sync.Mutex // guards what follows; held while a signal is sent
	busy  bool       // a request is being answered
	id    uint32     // of the last request
	tries int        // interrupts of it so far

	// interruptGroup sends SIGINT to the interpreter's process group.
	interruptGroup func() error
}

// request is what a driver is asked.
type request struct {
	ID   uint32 `json:"id"` // counts the requests to a process; not 0
	Op   string `json:"op"`
	Code string `json:"code"`
	Max  int    `json:"max"`           // characters of a text
	Most int    `json:"most,omitzero"` // variables
}

// answer is what drivers answer; each operation has its part.
type answer struct {
	ID      uint32 `json:"id"` // of the request; 0 when it has just started
	Version string `json:"version"`

	Result  *Text         `json:"result"`
	Cut     bool          `json:"cut"`
	Outputs items[Output] `json:"outputs"`
	Error   *CellError    `json:"error"`
	Code    int           `json:"code"`
	Memory  int64         `json:"memory"`

	Variables items[Variable] `json:"variables"`
	Unknown   bool            `json:"unknown"` // it cannot list them
	Left      int             `json:"left"`
}

// startProc starts an interpreter and waits for its driver.
func startProc(ctx context.Context, env sandbox.Env, d driver, program string, environ []string) (_ *proc, err error) {
	ws, err := env.Workspace()
	if err != nil {
		return nil, err
	}
	uid, err := owner(ws)
	if err != nil {
		return nil, err
	}
	p := &proc{exited: make(chan struct{}), signal: d.signal, grace: d.grace}
	var theirs, ours []*os.File
	defer func() {
		for _, f := range theirs {
			f.Close()
		}
		if err != nil && p.p == nil {
			for _, f := range ours {
				f.Close()
			}
		}
	}()
	for _, host := range []bool{true, false, false, false, true} { // to, from, stdout, stderr, breaker
		h, t, err := pipe(uid, host)
		if err != nil {
			return nil, fmt.Errorf("pipes of the interpreter: %w", err)
		}
		ours, theirs = append(ours, h), append(theirs, t)
	}
	p.to, p.from, p.breaker = ours[0], ours[1], ours[4]
	p.frames.r = p.from
	files := []*os.File{theirs[0], theirs[1], theirs[4]}
	if p.stdout, err = newStream(ours[2]); err != nil {
		return nil, err
	}
	if p.stderr, err = newStream(ours[3]); err != nil {
		return nil, err
	}
	p.p, err = env.Start(ctx, sandbox.Cmd{
		Path: program, Args: d.boot(len(d.source)), Env: append(environ, d.env...), Files: files, Stdout: theirs[2], Stderr: theirs[3],
	})
	if err != nil {
		return nil, err
	}
	for _, f := range theirs { // their end must be the interpreter's alone
		f.Close()
	}
	theirs = nil
	p.interruptGroup = func() error {
		ctx, cancel := context.WithTimeout(context.Background(), interruptGrace)
		defer cancel()
		return runProgram(ctx, env, sandbox.Cmd{Path: "/bin/sh", Args: []string{"-c", `kill -INT -"$0"`, strconv.Itoa(p.p.Pid())}})
	}
	go func() {
		p.ended = p.p.Wait()
		close(p.exited)
		p.wake()
	}()
	if err := p.hello(ctx, d); err != nil {
		return nil, errors.Join(err, p.close())
	}
	return p, nil
}

// hello gives the interpreter its driver and waits for that to run.
func (p *proc) hello(ctx context.Context, d driver) error {
	o := p.talk(ctx, d.source, startLimit)
	if o.err == nil && (o.timedOut || o.answer == nil) {
		said := append(p.stderr.rest(), p.stdout.rest()...)
		return sandbox.Errorf(sandbox.ErrDependency, "the interpreter did not start: %s: %.2000q", o.how(), bytes.TrimSpace(said))
	}
	if o.answer != nil {
		p.version = clip(o.answer.Version, maxVersion)
	}
	return o.err
}

// outcome is how a request ended. Without an answer the interpreter is dead.
type outcome struct {
	answer   *answer
	timedOut bool  // it was interrupted, for its time was up
	killed   bool  // it had to be killed
	broken   error // it was killed, for it answered nonsense
	ended    error // how the interpreter ended; nil for exit status 0
	err      error // of ctx
}

// ask sends a request and waits for the answer. After limit, or when ctx ends,
// the code is interrupted, and killed if that does not help.
func (p *proc) ask(ctx context.Context, r request, limit time.Duration) outcome {
	p.mu.Lock()
	p.id++
	r.ID = p.id
	p.mu.Unlock()
	frame, err := encodeFrame(r)
	if err != nil {
		return outcome{err: err}
	}
	return p.talk(ctx, frame, limit)
}

func (p *proc) talk(ctx context.Context, data []byte, limit time.Duration) outcome {
	var o outcome
	p.setBusy(p.asked())
	defer p.setBusy(false)
	stop := context.AfterFunc(ctx, p.wake)
	defer stop()
	deadline := time.Now().Add(limit)
	// What waits for a child without listening, as system(3) does, goes on when
	// the second interrupt has ended the child; then comes the third, and one for
	// a child that took its time.
	patience := [...]time.Duration{p.grace / 2, p.grace / 8, p.grace / 8, p.grace / 4}
	stage := 0 // interrupts so far
	for {
		p.setDeadline(deadline)
		select {
		case <-p.exited:
			// What it had answered is in the pipe; a child may hold that open.
			p.frames.r = ready{p.from}
			if frame, err := p.frames.next(); err == nil {
				o.answer = p.decodeAnswer(frame)
			}
			o.ended = p.ended
			return o
		default:
		}
		if stage == 0 && (ctx.Err() != nil || !time.Now().Before(deadline)) {
			o.err = ctx.Err()
			o.timedOut = o.err == nil
		}
		if ctx.Err() != nil && stage == 0 || !time.Now().Before(deadline) {
			stage++
			if stage > len(patience) || !p.asked() {
				o.killed = true
				o.ended = p.kill()
				return o
			}
			p.interrupt()
			deadline = time.Now().Add(patience[stage-1])
			continue
		}
		if len(data) > 0 {
			n, err := p.to.Write(data)
			data = data[n:]
			if err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
				continue
			}
			// It does not read any more. Its end, or its answer, tells why.
			data = nil
		}
		frame, err := p.frames.next()
		wait := endWait
		switch {
		case err == nil:
			p.setBusy(false) // no interrupt reaches the next request
			if o.answer = p.decodeAnswer(frame); o.answer != nil {
				return o
			}
			err, wait = errFrame, nonsense
		case errors.Is(err, os.ErrDeadlineExceeded):
			continue
		case errors.Is(err, errFrame):
			wait = nonsense
		}
		// The end of the pipe comes with the end of the process, or the code has
		// closed the driver's descriptors.
		select {
		case <-p.exited:
			o.ended = p.ended
		case <-time.After(wait):
			if o.ended = p.kill(); wasKilled(o.ended) { // else it had ended before
				o.broken = err
			}
		}
		return o
	}
}

// wasKilled reports whether an interpreter was ended by SIGKILL, or has not ended.
func wasKilled(ended error) bool {
	e, ok := errors.AsType[*sandbox.ExitError](ended)
	if !ok {
		return ended != nil
	}
	return e.Signal == syscall.SIGKILL && !e.OOM && !e.Lost
}

// decodeAnswer returns the answer to the last request; nil if it is none.
func (p *proc) decodeAnswer(frame []byte) *answer {
	a := new(answer)
	p.mu.Lock()
	defer p.mu.Unlock()
	if json.Unmarshal(frame, a) != nil || a.ID != p.id {
		return nil
	}
	return a
}

// asked reports whether there was a request. Before that the interpreter starts: it
// has nothing that an interrupt could keep.
func (p *proc) asked() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.id != 0
}

func (p *proc) setBusy(busy bool) {
	p.mu.Lock()
	p.busy, p.tries = busy, 0
	p.mu.Unlock()
}

// setDeadline and wake end what talk waits in. Errors would be those of closed
// files, which end it as well.
func (p *proc) setDeadline(t time.Time) {
	_ = p.from.SetDeadline(t)
	_ = p.to.SetDeadline(t)
}

func (p *proc) wake() { p.setDeadline(time.Unix(1, 0)) }

// interrupt interrupts what runs; it reports whether anything did. If it is not
// the first time, it interrupts what the code has started as well: the code may
// be waiting for a program, deaf to anything else.
func (p *proc) interrupt() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.busy || !p.alive() {
		return false
	}
	if p.tries++; p.tries > 1 {
		_ = p.interruptGroup() // then it is killed
	}
	// The number tells what a signal does not: a driver that has not come to the
	// request yet finds it there.
	var err error
	if p.tries == 1 || !p.signal {
		_ = p.breaker.SetWriteDeadline(time.Now().Add(time.Second))
		_, err = p.breaker.Write(binary.BigEndian.AppendUint32(nil, p.id))
	}
	if p.signal {
		err = p.p.Signal(syscall.SIGINT)
	}
	return err == nil
}

func (p *proc) alive() bool {
	select {
	case <-p.exited:
		return false
	default:
		return true
	}
}

// kill kills the interpreter and what it has started, and returns how it ended.
func (p *proc) kill() error {
	if err := p.p.Kill(); err != nil {
		return err
	}
	select {
	case <-p.exited:
		return p.ended
	case <-time.After(killWait):
		return errors.New("it did not end when it was killed")
	}
}

// close ends the interpreter with all it has started, and frees what it has here.
func (p *proc) close() error {
	_ = p.kill() // its status is of no interest, and the jail ends what is left
	return errors.Join(p.to.Close(), p.from.Close(), p.breaker.Close(), p.stdout.close(), p.stderr.close())
}

// how says in words how the interpreter came to its end.
func (o *outcome) how() string {
	switch {
	case o.broken != nil:
		return "the code disturbed the interpreter's connection to the sandbox (" + o.broken.Error() + ")"
	case o.killed:
		return "the interpreter did not react to being interrupted and was killed"
	}
	return howEnded(o.ended)
}

func howEnded(err error) string {
	e, ok := errors.AsType[*sandbox.ExitError](err)
	switch {
	case err == nil:
		return "the interpreter exited with status 0"
	case !ok:
		return "the interpreter is gone: " + err.Error()
	case e.OOM:
		return "the interpreter was killed: out of memory"
	case e.Lost:
		return "the interpreter's jail is gone"
	case e.Signal != nil:
		return fmt.Sprintf("the interpreter was ended by signal %d (%s)", e.Signal, e.Signal)
	}
	return fmt.Sprintf("the interpreter exited with status %d", e.Code)
}

// status returns the exit status in the form that a shell gives it.
func status(err error) int {
	e, ok := errors.AsType[*sandbox.ExitError](err)
	switch {
	case err == nil:
		return 0
	case !ok:
		return -1
	}
	if n, ok := e.Signal.(syscall.Signal); ok && n != 0 {
		return 128 + int(n)
	}
	return e.Code
}
