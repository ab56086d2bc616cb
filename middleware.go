package sandbox

import (
	"context"
	"encoding/json"
)

// Handler runs one call. The error it returns is the call's error.
type Handler func(ctx context.Context, inv *Invocation) error

// Middleware wraps a [Handler]. It runs for every call and every batch item,
// typed or not, after the tool's name is resolved and before its input is
// checked and its session acquired. A middleware must call next at most once
// per invocation unless the tool is Idempotent, and must not keep inv.
type Middleware func(next Handler) Handler

// Invocation is one call on its way through the middlewares.
type Invocation struct {
	Call Call
	Info ToolInfo

	meta     Meta
	body     invocationBody
	mayLeave bool // a tool that does not return in time is left behind
}

// invocationBody holds the input and output of a call, as Go values or JSON.
type invocationBody interface {
	inputJSON() (json.RawMessage, error)
	outputJSON() (json.RawMessage, error)
	partialJSON() json.RawMessage
	setOutputJSON(json.RawMessage) error
	run(ctx context.Context, inv *Invocation) error
}

// InputJSON returns the call's arguments as JSON. For a typed call they are
// encoded on demand.
func (i *Invocation) InputJSON() (json.RawMessage, error) { return i.body.inputJSON() }

// OutputJSON returns the tool's output as JSON, once the handler has returned
// without error.
func (i *Invocation) OutputJSON() (json.RawMessage, error) { return i.body.outputJSON() }

// SetOutputJSON gives the call its output without calling next, or replaces
// the tool's. It fails if out does not decode into the tool's output type.
func (i *Invocation) SetOutputJSON(out json.RawMessage) error { return i.body.setOutputJSON(out) }

// Denied returns what policy refused while the call ran, once the handler has
// returned; see [Meta].
func (i *Invocation) Denied() []Denial { return i.meta.Denied }

// chain composes the middlewares around the call itself; first is outermost.
func chain(mw []Middleware) Handler {
	h := Handler(func(ctx context.Context, inv *Invocation) error { return inv.body.run(ctx, inv) })
	for i := len(mw) - 1; i >= 0; i-- {
		h = mw[i](h)
	}
	return h
}
