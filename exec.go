package sandbox

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"strconv"
	"time"
)

// execTool runs the tool's own code, in a session if it wants one. meta is nil
// for a typed call without middleware. With mayLeave a tool that does not
// return in time is left behind.
func execTool[In, Out any](ctx context.Context, sb *Sandbox, t *Tool[In, Out], w *Worker, call Call, meta *Meta, in In, mayLeave bool) (out Out, err error) {
	e := t.entry
	if b := e.backend; b != nil && !b.warm.Load() {
		if err := sb.warmBackend(ctx, b); err != nil {
			return out, e.complete(err, "", false)
		}
	}
	if t.sfn == nil {
		if err := ctx.Err(); err != nil {
			return out, e.complete(ended(ctx, err), "", false)
		}
		if meta != nil {
			meta.Ran = true
		}
		out, _, err := t.runCode(ctx, sb, call, nil, in, mayLeave)
		if err != nil {
			err = e.complete(callError(ctx, err), "", true)
		}
		return out, err
	}
	c, err := sb.acquire(ctx, w, e, meta)
	if err != nil {
		return out, e.complete(err, "", false)
	}
	call.SessionID, call.in = c.s.id, c
	if err := c.Err(); err != nil { // it ended while the call was on its way here
		sb.release(ctx, c)
		return out, e.complete(ended(c, err), c.s.id, false)
	}
	if meta != nil {
		meta.Ran = true
	}
	c.began.Store(true)
	if call.Listening() {
		c.listen(call.run.events)
	}
	// Deferred, for a function on the caller's goroutine may end that
	// (runtime.Goexit, as a test's FailNow does).
	left := false
	defer func() {
		if left {
			sb.lose(c.s, errors.New("a call did not return in time and was left behind"))
		}
		sb.release(ctx, c)
		if meta != nil {
			meta.Denied, meta.DeniedTotal = c.finish()
		}
	}()
	out, left, err = t.runCode(c, sb, call, c.s.state, in, mayLeave)
	if err != nil {
		err = e.complete(callError(c, err), c.s.id, true)
	}
	return out, err
}

// runCode runs the function, on this goroutine or, where it may be left
// behind, on one of its own.
func (t *Tool[In, Out]) runCode(ctx context.Context, sb *Sandbox, call Call, state any, in In, mayLeave bool) (out Out, left bool, err error) {
	if !mayLeave || ctx.Done() == nil {
		out, err = t.callFunc(ctx, sb, call, state, in)
		return out, false, err
	}
	type result struct {
		out Out
		err error
	}
	done := make(chan result, 1)
	go func() {
		r := result{err: errGoexit}
		defer func() {
			if r.err == errGoexit {
				r.err = fmt.Errorf("tool %s: %w", call.Tool, errGoexit)
			}
			done <- r
		}()
		r.out, r.err = t.callFunc(ctx, sb, call, state, in)
	}()
	select {
	case r := <-done:
		return r.out, false, r.err
	case <-ctx.Done():
	}
	// A result that was there when the time ran out is a success.
	select {
	case r := <-done:
		return r.out, false, r.err
	default:
	}
	grace := time.NewTimer(sb.opts.CloseGrace)
	defer grace.Stop()
	select {
	case r := <-done:
		if r.err == nil {
			r.err = ctx.Err()
		}
		return r.out, false, r.err
	case <-grace.C:
		sb.leftBehind("tool", call.Tool, call.SessionID)
		return out, true, ctx.Err()
	}
}

var errGoexit = errors.New("it ended its goroutine (runtime.Goexit)")

// spawn runs code that is not ours on a goroutine of its own and sends its
// error, or the one that a panic becomes.
func (sb *Sandbox) spawn(kind, name string, code func() error) <-chan error {
	done := make(chan error, 1)
	go func() {
		err := errGoexit
		defer func() {
			if r := recover(); r != nil {
				err = sb.panicked(kind, name, r)
			}
			done <- err
		}()
		err = code()
	}()
	return done
}

// callFunc calls the function and turns a panic into an error.
func (t *Tool[In, Out]) callFunc(ctx context.Context, sb *Sandbox, call Call, state any, in In) (out Out, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = sb.panicked("tool", call.Tool, r)
		}
	}()
	if t.fn != nil {
		return t.fn(ctx, call, in)
	}
	return t.sfn(ctx, call, state, in)
}

// panicked logs a panic with its stack and returns the error for the caller,
// without the stack.
func (sb *Sandbox) panicked(kind, name string, r any) error {
	sb.opts.Logger.Error("panic in "+kind, "name", name, "panic", fmt.Sprint(r), "stack", string(debug.Stack()))
	return &Error{Code: ErrUnexpected, Message: fmt.Sprintf("%s %s panicked: %v", kind, name, r)}
}

// leftBehind counts and logs something that did not end in time.
func (sb *Sandbox) leftBehind(kind, name, session string) {
	sb.abandoned.Add(1)
	sb.opts.Logger.Error(kind+" did not return in time and was left behind", "name", name, "session", session)
}

// limitError is the cause of a context whose call reached its time limit.
type limitError struct{ limit time.Duration }

func (e *limitError) Error() string { return "time limit of " + e.limit.String() + " reached" }

// Unwrap makes it visible to errors.Is(err, context.DeadlineExceeded).
func (e *limitError) Unwrap() error { return context.DeadlineExceeded }

// limitOf returns the nearest of the limits that are set; nil if none is.
func limitOf(limits ...time.Duration) *limitError {
	var nearest *limitError
	for _, d := range limits {
		if d > 0 && (nearest == nil || d < nearest.limit) {
			nearest = &limitError{d}
		}
	}
	return nearest
}

// limit derives a context that ends at the nearest of the given limit, the
// tool's and the sandbox's. The cancel function is nil if there is none.
func (sb *Sandbox) limit(ctx context.Context, e *toolEntry, given time.Duration) (context.Context, context.CancelFunc) {
	limit := e.limit
	if given > 0 && (limit == nil || given < limit.limit) {
		limit = &limitError{given}
	}
	if limit == nil {
		return ctx, nil
	}
	return context.WithTimeoutCause(ctx, limit.limit, limit)
}

// callError says why a call failed: its context ended, or what the tool
// returned. Only the call's own limits end in ErrTimeout; a deadline that a
// tool ran into by itself is an error of the tool.
func callError(ctx context.Context, err error) error {
	if ctx.Err() == nil {
		return err
	}
	if !errors.Is(err, ctx.Err()) {
		err = errors.Join(ctx.Err(), err)
	}
	return ended(ctx, err)
}

// ended is the error of a call whose context has ended; err is its cause.
func ended(ctx context.Context, err error) error {
	cause := context.Cause(ctx)
	if le, ok := cause.(*limitError); ok {
		seconds := le.limit.Seconds()
		return &Error{
			Code:    ErrTimeout,
			Message: "Tool execution timed out after " + strconv.FormatFloat(seconds, 'f', -1, 64) + "s",
			Data:    map[string]any{"timeout": seconds},
			Err:     err,
		}
	}
	if e, ok := cause.(*Error); ok { // the session was destroyed or lost
		c := *e
		if c.Err == nil {
			c.Err = err
		}
		return &c
	}
	if errors.Is(cause, context.DeadlineExceeded) {
		return &Error{Code: ErrTimeout, Message: "Tool execution timed out at the caller's deadline", Err: err}
	}
	return &Error{Code: ErrCancelled, Message: "cancelled by the caller", Err: err}
}

// complete returns err as the call's *Error.
func (t *toolEntry) complete(err error, session string, ran bool) error {
	plain := t.spec.ErrorCode
	if plain == 0 {
		plain = ErrUnexpected
	}
	e := asError(err, plain)
	if e.Tool == "" {
		e.Tool = t.info.FullName
	}
	if e.Session == "" {
		e.Session = session
	}
	e.Ran = e.Ran || ran
	return e
}
