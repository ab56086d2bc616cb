package code

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/agentflow-go/sandbox"
	"github.com/agentflow-go/sandbox/internal/jail"
)

// driven is an engine whose interpreter is a process with a driver in it.
type driven struct {
	s        *Session
	language string
	driver   driver

	mu      sync.Mutex // guards what follows
	p       *proc      // nil: none runs
	gone    string     // why the state of earlier calls is lost; told by the next one
	late    [2]string  // what a lost one had printed to stdout and stderr since
	version string
}

var _ engine = (*driven)(nil)

// program returns the language whose interpreter the driver is for.
func (d *driven) program() string {
	if d.s.set.Kernels[d.language] != "" {
		return python
	}
	return d.language
}

func (d *driven) warm(ctx context.Context) error {
	_, err := d.ready(ctx)
	return err
}

// ready returns the running interpreter, starting one if there is none.
func (d *driven) ready(ctx context.Context) (*proc, error) {
	d.mu.Lock()
	p := d.p
	d.mu.Unlock()
	if p != nil && p.alive() {
		return p, nil
	}
	if p != nil {
		d.drop(p, howEnded(p.ended)+" between two calls")
	}
	if d.s.closing.Load() {
		return nil, errClosing()
	}
	env := *d.s.env.Load()
	home, err := env.Home(ctx)
	if err != nil {
		return nil, err
	}
	p, err = startProc(ctx, env, d.driver, d.s.set.interpreter(d.program()), d.s.set.environ(home))
	if err != nil {
		d.s.lost(err)
		return nil, absent(d.program(), err)
	}
	d.mu.Lock()
	d.p, d.version = p, p.version
	closing := d.s.closing.Load()
	d.mu.Unlock()
	if closing { // close has not seen it
		return nil, errors.Join(errClosing(), p.close())
	}
	return p, nil
}

// absent adds to an error what is to be done about an interpreter that is not there.
func absent(language string, err error) error {
	if !errors.Is(err, jail.ErrNotFound) {
		return err
	}
	return sandbox.Errorf(sandbox.ErrDependency, "the interpreter of %s cannot be started: %w; install it on the host, or name another in the configuration's interpreters", language, err)
}

// drop forgets an interpreter that has ended, keeping what it had printed. The
// next call says why it is gone.
func (d *driven) drop(p *proc, why string) {
	stdout, stderr := p.stdout.rest(), p.stderr.rest()
	_ = p.close() // it has ended: nothing can go wrong that matters
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.p == p { // else it was reset
		d.p, d.gone = nil, why
		d.late = [2]string{d.late[0] + string(stdout), d.late[1] + string(stderr)}
	}
	d.s.lost(p.ended)
}

// takeGone returns what is to be told of a lost interpreter, once.
func (d *driven) takeGone() (why string, late [2]string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	why, late = d.gone, d.late
	d.gone, d.late = "", [2]string{}
	return why, late
}

func (d *driven) run(ctx context.Context, call sandbox.Call, c cell) (RunOutput, error) {
	p, err := d.ready(ctx)
	if err != nil {
		return RunOutput{}, err
	}
	why, late := d.takeGone()
	streams := d.s.streams(call, d.language, c.maxOutput)
	for i, pipe := range [2]*stream{p.stdout, p.stderr} {
		io.WriteString(streams[i], late[i])
		pipe.begin(streams[i])
	}
	start := time.Now()
	o := p.ask(ctx, request{Op: "run", Code: c.code, Max: c.maxOutput}, c.timeout)
	elapsed := time.Since(start)
	p.stdout.end()
	p.stderr.end()
	out := RunOutput{
		Language: d.language, TimedOut: o.timedOut, Restarted: why != "", RestartReason: why,
		ExecutionTimeMS: float64(elapsed.Microseconds()) / 1000, Outputs: []Output{},
	}
	if a := o.answer; a != nil {
		a.bound(c.maxOutput)
		out.Result, out.Error, out.ReturnCode, out.Truncated = a.Result, a.Error, a.Code, a.Cut
		out.MemoryUsedMB = float64(a.Memory) / (1 << 20)
		for _, note := range d.keepOutputs(&out, a.Outputs) {
			io.WriteString(streams[1], note)
		}
	} else if o.err == nil || o.ended != nil || o.killed || o.broken != nil {
		d.died(p, &o, &out)
	}
	if o.timedOut {
		d.timedOut(c, &out)
	}
	if out.Error != nil && out.Error.Traceback != "" {
		io.WriteString(streams[1], out.Error.Traceback) // as an interpreter prints it
	}
	out.take(streams)
	return out, o.err
}

// died fills in the result of a call whose interpreter is dead.
func (d *driven) died(p *proc, o *outcome, out *RunOutput) {
	d.mu.Lock()
	wasReset := d.p != p
	d.mu.Unlock()
	name, how := "InterpreterDied", o.how()
	if wasReset {
		name, how = "Reset", "the interpreter was reset while the code ran"
	} else {
		d.drop(p, how)
	}
	out.Error = &CellError{Name: name, Value: how}
	out.ReturnCode = status(o.ended)
	out.Restarted, out.RestartReason = true, how
}

// timedOut fills in the result of a call that ran into its time-out.
func (d *driven) timedOut(c cell, out *RunOutput) {
	e := CellError{Name: "TimedOut", Value: "Code timed out after " + c.timeout.String()}
	if out.Restarted && out.Error != nil && out.Error.Name == "InterpreterDied" {
		e.Value += "; " + out.Error.Value
	} else if out.Error != nil {
		e.Traceback = out.Error.Traceback
	}
	out.Error, out.ReturnCode = &e, -1
}

func (d *driven) variables(ctx context.Context) ([]Variable, int, error) {
	d.mu.Lock()
	p := d.p
	d.mu.Unlock()
	if p == nil || !p.alive() { // the next run says what became of it
		return nil, 0, nil
	}
	o := p.ask(ctx, request{Op: "variables", Max: maxPreview, Most: maxVariables}, previewLimit)
	if o.err != nil {
		return nil, 0, o.err
	}
	if o.answer == nil {
		d.drop(p, o.how())
		return nil, 0, sandbox.Errorf(sandbox.ErrExecution, "%s; its variables are gone", o.how())
	}
	if o.answer.Unknown {
		return nil, 0, sandbox.Errorf(sandbox.ErrInvalidInput, "/language: the kernel of %s does not list its variables", d.language)
	}
	vars := o.answer.Variables
	if len(vars) > maxVariables { // no driver of ours
		vars = vars[:maxVariables]
	}
	for i := range vars {
		v := &vars[i]
		v.Name, v.Type, v.Preview = clip(v.Name, 4*maxPreview), clip(v.Type, 4*maxPreview), clip(v.Preview, 4*maxPreview)
	}
	return vars, o.answer.Left, nil
}

// bound holds an answer to what drivers promise, which code may have replaced.
// most is in characters.
func (a *answer) bound(most int) {
	if a.Result != nil {
		*a.Result = Text(clip(string(*a.Result), 4*most+200))
	}
	if e := a.Error; e != nil {
		e.Name, e.Value, e.Traceback = clip(e.Name, 1<<10), clip(e.Value, 1<<17), clip(e.Traceback, 1<<19)
	}
	for i := range a.Outputs {
		a.Outputs[i].MIME = clip(a.Outputs[i].MIME, 200)
	}
	a.Memory = max(0, a.Memory)
}

// clip returns at most the first most bytes of s, without keeping the rest in
// memory.
func clip(s string, most int) string {
	if len(s) > most {
		return strings.Clone(strings.ToValidUTF8(s[:most], ""))
	}
	return s
}

func (d *driven) refresh(ctx context.Context) error {
	d.mu.Lock()
	p := d.p
	d.mu.Unlock()
	if p == nil || !p.alive() {
		return nil
	}
	o := p.ask(ctx, request{Op: "refresh"}, previewLimit)
	if o.answer == nil && o.err == nil {
		d.drop(p, o.how())
	}
	return o.err
}

func (d *driven) interrupt() bool {
	d.mu.Lock()
	p := d.p
	d.mu.Unlock()
	return p != nil && p.interrupt()
}

// forget makes the next call start anew.
func (d *driven) forget() *proc {
	d.mu.Lock()
	defer d.mu.Unlock()
	p := d.p
	d.p, d.gone, d.late = nil, "", [2]string{}
	return p
}

func (d *driven) reset() bool {
	p := d.forget()
	if p == nil {
		return false
	}
	_ = p.kill() // its status is of no interest
	d.s.closers.Go(func() { _ = p.close() })
	return true
}

func (d *driven) status() (bool, string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.p != nil && d.p.alive(), d.version
}

func (d *driven) close() error {
	if p := d.forget(); p != nil {
		return p.close()
	}
	return nil
}
