package sandbox

import (
	"context"
	"encoding/json"
	"errors"
	"reflect"

	"github.com/agentflow-go/sandbox/internal/wire"
)

// typedCall is one call of a Tool[In, Out] on its way through the middlewares.
type typedCall[In, Out any] struct {
	Invocation
	sb   *Sandbox
	t    *Tool[In, Out]
	w    *Worker
	json bool // the input came as JSON, the output leaves as JSON

	raw     json.RawMessage // the input as JSON; nil: not encoded yet
	in      In
	out     Out
	outJSON json.RawMessage // out as JSON; nil: not encoded yet
}

// invocation makes a call with JSON input.
func (t *Tool[In, Out]) invocation(sb *Sandbox, w *Worker, params json.RawMessage) *Invocation {
	c := &typedCall[In, Out]{sb: sb, t: t, w: w, json: true, raw: params}
	c.Info, c.body = t.entry.info, c
	return &c.Invocation
}

// callTyped is the path without JSON.
func callTyped[In, Out any](ctx context.Context, sb *Sandbox, t *Tool[In, Out], w *Worker, in In) (Out, error) {
	done, err := sb.enter(ctx, w)
	if err != nil {
		var zero Out
		return zero, t.entry.complete(err, "", false)
	}
	defer done.leave()
	ctx, cancel := sb.limit(ctx, t.entry, 0)
	if cancel != nil {
		defer cancel()
	}
	call := Call{Tool: t.entry.info.FullName, Worker: w.id, run: &w.run}
	if len(sb.opts.Middleware) == 0 && !sb.opts.ValidateTyped {
		return execTool(ctx, sb, t, w, call, nil, in, false)
	}
	c := &typedCall[In, Out]{sb: sb, t: t, w: w, in: in}
	c.Info, c.Call, c.body = t.entry.info, call, c
	if err := sb.handleSafely(ctx, &c.Invocation); err != nil {
		return c.out, t.entry.complete(err, c.meta.SessionID, c.meta.Ran)
	}
	return c.out, nil
}

// callJSON is the path through an Executor, which may be elsewhere.
func callJSON[In, Out any](ctx context.Context, w *Worker, tool string, in In) (out Out, err error) {
	err = w.Execute(ctx, tool, in).Decode(&out)
	return out, err
}

func (c *typedCall[In, Out]) inputJSON() (json.RawMessage, error) {
	if c.raw == nil {
		if c.json {
			return json.RawMessage("{}"), nil
		}
		var err error
		if c.raw, err = wire.Marshal(c.in); err != nil {
			return nil, Errorf(ErrInvalidInput, "input of %s: %w", c.Info.FullName, err)
		}
	}
	return c.raw, nil
}

func (c *typedCall[In, Out]) outputJSON() (json.RawMessage, error) {
	if c.outJSON == nil {
		var err error
		if c.outJSON, err = wire.Marshal(c.out); err != nil {
			return nil, Errorf(ErrUnexpected, "output of %s cannot be JSON: %w", c.Info.FullName, err)
		}
	}
	return c.outJSON, nil
}

func (c *typedCall[In, Out]) setOutputJSON(out json.RawMessage) error {
	var v Out
	if err := wire.Unmarshal(out, &v); err != nil {
		return Errorf(ErrUnexpected, "output given to %s: %w", c.Info.FullName, err)
	}
	c.out, c.outJSON = v, out
	return nil
}

// partialJSON is what a failed tool returned besides its error; nil if nothing.
func (c *typedCall[In, Out]) partialJSON() json.RawMessage {
	if reflect.ValueOf(&c.out).Elem().IsZero() {
		return nil
	}
	out, err := c.outputJSON()
	if err != nil {
		return nil
	}
	return out
}

// run is the innermost handler: check, decode, execute.
func (c *typedCall[In, Out]) run(ctx context.Context, inv *Invocation) error {
	switch {
	case c.json:
		if err := c.decode(); err != nil {
			return err
		}
	case c.sb.opts.ValidateTyped:
		in, err := c.inputJSON()
		if err != nil {
			return err
		}
		if _, err := c.t.entry.in.Check(in); err != nil {
			return inputError(err)
		}
	}
	var err error
	c.outJSON = nil
	c.out, err = execTool(ctx, c.sb, c.t, c.w, inv.Call, &inv.meta, c.in, inv.mayLeave)
	if err != nil || !c.sb.opts.ValidateTyped {
		return err
	}
	out, err := c.outputJSON()
	if err != nil {
		return err
	}
	if _, err := c.t.entry.out.Check(out); err != nil {
		return Errorf(ErrUnexpected, "output does not fit the tool's schema: %w", err)
	}
	return nil
}

// decode checks the JSON input as the tool's DecodeMode says and decodes it.
func (c *typedCall[In, Out]) decode() error {
	e, raw := c.t.entry, c.raw
	var err error
	switch e.spec.Decode {
	case Strict:
		raw, err = e.in.Check(raw)
	case IgnoreUnknown:
		raw, err = e.in.CheckKnown(raw)
	}
	if err != nil {
		return inputError(err)
	}
	if wire.Empty(raw) {
		raw = json.RawMessage("{}")
	}
	if err = wire.Unmarshal(raw, &c.in); err == nil {
		return nil
	}
	if plain, perr := wire.PlainIntegers(raw); perr == nil {
		var in In
		if wire.Unmarshal(plain, &in) == nil {
			c.in = in
			return nil
		}
	}
	return inputError(err)
}

// inputError gives a refused input its code: absent, of the wrong type or
// unknown, not a permitted value, or not JSON at all.
func inputError(err error) error {
	fe, ok := errors.AsType[*wire.FieldError](err)
	if !ok {
		return &Error{Code: ErrInvalidRequest, Message: "params: " + err.Error(), Err: err}
	}
	code := ErrInvalidType
	switch fe.Kind {
	case wire.Missing:
		code = ErrMissingField
	case wire.Invalid:
		code = ErrInvalidInput
	}
	data := map[string]string{"pointer": fe.Pointer, "expected": fe.Want}
	if fe.Got != "" {
		data["got"] = fe.Got
	}
	return &Error{Code: code, Message: code.Error() + ": " + fe.Error(), Data: data, Err: err}
}
