package sandbox

import (
	"context"
	"sync/atomic"
	"time"
)

// callCtx is the context of a call in a session. It ends when its parent does,
// when the session ends, and when the call is over; it remembers the session,
// so that a call into its own Serial session is noticed.
type callCtx struct {
	context.Context
	cancel context.CancelCauseFunc
	s      *session
	outer  *callCtx     // the call that made this one, if it ran in a session
	token  bool         // it holds the session's serial token
	began  atomic.Bool  // the tool's code runs, or did
	denied *callDenials // what was refused meanwhile, guarded by ws.mu; nil: nothing

	prev, next *callCtx // in s.calls, guarded by ws.mu
}

// callKey finds the nearest callCtx, nestedKey whether a call comes from a tool.
type (
	callKey   struct{}
	nestedKey struct{}
)

func (c *callCtx) Value(key any) any {
	switch key {
	case callKey{}:
		return c
	case nestedKey{}:
		return true
	}
	return c.Context.Value(key)
}

// nested reports whether a call with this context comes from a tool, as far as
// that can be told: through Call.Execute, or with the context of a call in a
// session.
func nested(ctx context.Context) bool { return ctx.Value(nestedKey{}) != nil }

// acquire enters the worker's session for the tool, or a temporary one.
func (sb *Sandbox) acquire(ctx context.Context, w *Worker, e *toolEntry, meta *Meta) (*callCtx, error) {
	b := e.backend
	for {
		ws := sb.lockWorker(w, true)
		s := ws.explicit(b.spec.Name)
		if s != nil && s.phase == opening {
			if err := s.await(ctx); err != nil {
				return nil, err
			}
			continue
		}
		if s != nil && s.running == 0 && s.expired(time.Now()) {
			s.expire()
			s = nil
		}
		if s == nil {
			return sb.acquireTemporary(ctx, ws, e, meta)
		}
		c := s.enter(ctx)
		ws.mu.Unlock()
		return sb.queue(c, e, meta)
	}
}

// await waits, with ws.mu held at first, until the session's Open is over. The
// error of a failed Open goes to everyone who waited.
func (s *session) await(ctx context.Context) error {
	ready := s.ready
	s.ws.mu.Unlock()
	select {
	case <-ready:
		return s.openErr // set before ready was closed
	case <-ctx.Done():
		return ended(ctx, ctx.Err())
	}
}

// enter counts a call into the session. ws.mu is held.
func (s *session) enter(ctx context.Context) *callCtx {
	c := &callCtx{s: s}
	c.outer, _ = ctx.Value(callKey{}).(*callCtx)
	c.Context, c.cancel = context.WithCancelCause(ctx)
	s.running++
	if c.next = s.calls; c.next != nil {
		c.next.prev = c
	}
	s.calls = c
	if s.ws.untold != nil {
		c.inherit(s.ws.untold)
		s.ws.untold = nil
	}
	return c
}

// queue waits for the call's turn in a Serial session.
func (sb *Sandbox) queue(c *callCtx, e *toolEntry, meta *Meta) (*callCtx, error) {
	s := c.s
	if meta != nil {
		meta.SessionID, meta.Temporary = s.id, s.temporary
	}
	if s.serial == nil || e.spec.Concurrent {
		return c, nil
	}
	for o := c.outer; o != nil; o = o.outer {
		if o.s == s && o.token {
			sb.release(c, c)
			return nil, Errorf(ErrConflict, "%s would wait for the call of session %s that it comes from; tools may not call back into their own serial session", e.info.FullName, s.id)
		}
	}
	select {
	case s.serial <- struct{}{}:
		c.token = true
		return c, nil
	default:
	}
	select {
	case s.serial <- struct{}{}:
		c.token = true
		return c, nil
	case <-c.Done():
		err := ended(c, c.Err())
		sb.release(c, c)
		return nil, err
	}
}

// release ends a call in its session: the session's idle time begins anew, and
// a temporary session is closed. ctx bounds only the wait for that.
func (sb *Sandbox) release(ctx context.Context, c *callCtx) {
	s := c.s
	if c.token {
		<-s.serial
	}
	s.ws.mu.Lock()
	if c.prev != nil {
		c.prev.next = c.next
	} else {
		s.calls = c.next
	}
	if c.next != nil {
		c.next.prev = c.prev
	}
	s.running--
	s.last = time.Now()
	if s.running == 0 && s.drained != nil {
		close(s.drained)
		s.drained = nil
	}
	mine := s.temporary && s.end(&Error{Code: ErrCancelled, Message: "the call is over", Session: s.id})
	s.ws.mu.Unlock()
	c.cancel(nil)
	if mine {
		// The answer does not depend on it: it is logged where it fails.
		_ = sb.waitFor(ctx, func() error { return sb.finishSession(s) })
	}
}

// acquireTemporary opens a session for one call. ws.mu is held at first.
func (sb *Sandbox) acquireTemporary(ctx context.Context, ws *workerState, e *toolEntry, meta *Meta) (*callCtx, error) {
	gone := ws.forget(e.backend.spec.Name)
	if gone.id != "" && sb.opts.StrictSessions {
		ws.mu.Unlock()
		code, how := ErrSessionExpired, "expired"
		if gone.lost {
			code, how = ErrSessionLost, "was lost"
		}
		return nil, &Error{
			Code: code, Session: gone.id,
			Message: "session " + gone.id + " " + how + "; create a new one, or call again to use a temporary one",
			Data:    map[string]any{"session_id": gone.id},
		}
	}
	if meta != nil {
		meta.Expired = gone.id
	}
	s, err := sb.openSession(ctx, ws, e.backend, SessionOptions{}, true)
	if err != nil {
		return nil, err
	}
	ws.mu.Lock()
	if s.phase != active { // ended between its opening and here
		err := s.openErr
		ws.mu.Unlock()
		if err == nil {
			err = errWorkerClosed()
		}
		return nil, err
	}
	c := s.enter(ctx)
	ws.mu.Unlock()
	return sb.queue(c, e, meta)
}
