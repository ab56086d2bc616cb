package sandbox

import (
	"context"
	"encoding/json"
	"sync"
)

// Call is what a tool knows about the call it answers. It is a value that is
// safe to keep; once the call has ended, Emit does nothing.
type Call struct {
	TraceID   string // "" for a typed call
	Tool      string // full name
	Worker    string
	SessionID string // "" for a tool without session

	run *callRun
	in  *callCtx // nil for a tool without session
}

// callRun is the part of a running call that its copies share.
type callRun struct {
	w      *Worker
	events *emitter // nil: nobody listens
}

// Emit tells the caller something while the call runs. It blocks while the
// caller handles an earlier event, so that nothing piles up, and does nothing
// when nobody listens.
func (c Call) Emit(e Event) {
	if c.run != nil && c.run.events != nil {
		c.run.events.emit(e)
	}
}

// Listening reports whether anybody receives what Emit sends, for tools whose
// events are costly to make.
func (c Call) Listening() bool { return c.run != nil && c.run.events != nil }

// Denied returns what policy refused to the worker's programs while the call has
// run, and since the worker's last call: the first 16 distinct ones, each with
// its count. Programs of one worker are not told apart, so every running call of
// the worker has them all. A tool that starts programs puts the texts into its
// output, for a caller without [Meta] and for the model. It is empty for a tool
// without session.
func (c Call) Denied() []Denial {
	if c.in == nil {
		return nil
	}
	d, _ := c.in.denials()
	return d
}

// Execute runs another tool as the same worker. params is encoded as JSON. Use
// the ctx that the tool was given: a call into the running call's own Serial
// session is then an error instead of a deadlock.
func (c Call) Execute(ctx context.Context, tool string, params any) Response {
	if c.run == nil {
		return Response{Err: Errorf(ErrInvalidRequest, "this Call was not made by a sandbox"), Meta: Meta{Tool: tool}}
	}
	ctx = context.WithValue(ctx, nestedKey{}, true)
	return c.run.w.execute(ctx, tool, params, c.TraceID)
}

// Event is what a call tells while it runs.
type Event struct {
	Kind   EventKind       `json:"kind"`
	Stream string          `json:"stream,omitzero"` // output: stdout or stderr
	Text   string          `json:"text,omitzero"`
	Done   float64         `json:"done,omitzero"` // progress
	Total  float64         `json:"total,omitzero"`
	Data   json.RawMessage `json:"data,omitzero"` // anything else
}

// EventKind says what an [Event] is about.
type EventKind string

// The kinds of events.
const (
	EventOutput   EventKind = "output"   // a piece of a program's output: Stream, Text
	EventProgress EventKind = "progress" // Done of Total, with Text
	EventArtifact EventKind = "artifact" // a file appeared in the workspace: Text is its path
	EventDenial   EventKind = "denial"   // something was refused by policy: Text says what, Data has host, port and rule; see [Denial]
	EventLog      EventKind = "log"      // anything worth a line: Text
)

// emitter passes events to one listener until the call ends.
type emitter struct {
	mu     sync.Mutex // held while the listener runs: one event at a time
	to     func(Event)
	closed bool
}

func (m *emitter) emit(e Event) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.closed {
		m.to(e)
	}
}

func (m *emitter) close() {
	m.mu.Lock()
	m.closed = true
	m.mu.Unlock()
}
