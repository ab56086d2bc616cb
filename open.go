package sandbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/agentflow-go/sandbox/internal/wire"
)

// openSession opens a session for the worker. ws.mu is held at first and free
// on return. A temporary session is returned as it is; for an explicit one,
// callers see it in ws.sessions from the start and wait for its ready channel.
func (sb *Sandbox) openSession(ctx context.Context, ws *workerState, b *backendEntry, o SessionOptions, temporary bool) (*session, error) {
	s, parked, err := sb.prepare(ws, b, o, temporary)
	if err != nil {
		ws.touch() // it may have been made for this session
		ws.mu.Unlock()
		return nil, err
	}
	ctx, s.stopOpen = context.WithCancelCause(ctx)
	defer s.stopOpen(nil)
	ws.mu.Unlock()

	env := Env{Worker: ws.id, SessionID: s.id, Backend: b.spec.Name, Config: s.config, owner: &s.owner}
	var state any
	switch {
	case parked && b.bind != nil:
		state = s.state
		err = sb.openBounded(ctx, s, func(ctx context.Context) (any, error) { return state, b.bind(ctx, state, env) })
	case parked:
		state = s.state
	case b.open != nil:
		err = sb.openBounded(ctx, s, func(ctx context.Context) (any, error) { return b.open(ctx, env) })
	}
	return s, sb.opened(ctx, s, parked, err)
}

// prepare makes the session, or takes a parked one, and puts it on the
// worker's list. ws.mu is held.
func (sb *Sandbox) prepare(ws *workerState, b *backendEntry, o SessionOptions, temporary bool) (s *session, parked bool, err error) {
	if sb.base.Err() != nil { // Shutdown has closed, or is about to close, what it finds
		return nil, false, errStopping()
	}
	cfg, err := mergeConfig(b.spec.Config, o.Config)
	if err != nil {
		return nil, false, Errorf(ErrInvalidType, "session config of %s must be a JSON object: %w", b.spec.Name, err)
	}
	conf, err := narrow(sb.opts.Confine, o.Confinement)
	if err != nil {
		return nil, false, err
	}
	if err := sb.reserve(b); err != nil {
		return nil, false, err
	}
	if wire.Empty(o.Config) && o.Confinement == nil {
		s = ws.unpark(b)
	}
	if parked = s != nil; parked {
		s.phase, s.ready, s.created = opening, make(chan struct{}), time.Now()
	} else {
		s = sb.newSession(ws, b, cfg, conf)
		s.apart = narrowsEgress(sb.opts.Confine, o.Confinement)
		s.checks = o.Confinement != nil && o.Confinement.Egress.Check != nil
	}
	s.counted = true
	s.temporary, s.compatible = temporary, b.reg == nil
	s.ttl = orDefault(o.TTL, sb.opts.SessionTTL)
	s.setName(o.Name)
	s.last = s.created
	ws.sessions = append(ws.sessions, s)
	return s, parked, nil
}

// reserve counts a session about to be opened against the limits.
func (sb *Sandbox) reserve(b *backendEntry) error {
	if n := sb.sessions.Add(1); sb.opts.MaxSessions > 0 && n > int64(sb.opts.MaxSessions) {
		sb.sessions.Add(-1)
		return Errorf(ErrBusy, "all %d sessions of the sandbox are in use; try again later", sb.opts.MaxSessions)
	}
	if n := b.live.Add(1); b.spec.MaxSessions > 0 && n > int64(b.spec.MaxSessions) {
		b.live.Add(-1)
		sb.sessions.Add(-1)
		return Errorf(ErrBusy, "all %d sessions of %s are in use; try again later", b.spec.MaxSessions, b.spec.Name)
	}
	return nil
}

func (sb *Sandbox) unreserve(b *backendEntry) {
	b.live.Add(-1)
	sb.sessions.Add(-1)
}

// openBounded runs an Open or Bind and stores the state. If ctx ends and the
// hook does not return within the grace period it is left behind, and the
// state that it may still make is closed when it does.
func (sb *Sandbox) openBounded(ctx context.Context, s *session, open func(context.Context) (any, error)) error {
	type result struct {
		state any
		err   error
	}
	run := func() (r result) {
		r.err = errGoexit
		defer func() {
			if p := recover(); p != nil {
				r = result{err: sb.panicked("opening a session of", s.b.spec.Name, p)}
			}
		}()
		r.state, r.err = open(ctx)
		return r
	}
	if ctx.Done() == nil {
		r := run()
		s.state = r.state
		return r.err
	}
	done := make(chan result)
	left := make(chan struct{})
	go func() {
		r := result{err: errGoexit}
		defer func() {
			select {
			case done <- r:
			case <-left:
				if r.err == nil {
					sb.closeState(s, r.state)
				}
				sb.releaseSession(s)
			}
		}()
		r = run()
	}()
	select {
	case r := <-done:
		s.state = r.state
		return r.err
	case <-ctx.Done():
	}
	grace := time.NewTimer(sb.opts.CloseGrace)
	defer grace.Stop()
	select {
	case r := <-done:
		s.state = r.state
		return r.err
	case <-grace.C:
		close(left)
		sb.leftBehind("opening a session of", s.b.spec.Name, s.id)
		return errOpenLeft
	}
}

// errOpenLeft marks an Open that was left behind: it cleans up by itself.
var errOpenLeft = fmt.Errorf("its Open did not return in time and was left behind: %w", context.DeadlineExceeded)

// opened ends the opening of a session: it becomes active, or is gone.
func (sb *Sandbox) opened(ctx context.Context, s *session, parked bool, err error) error {
	ws, left := s.ws, errors.Is(err, errOpenLeft)
	ws.mu.Lock()
	ended := s.phase == over
	ready := s.ready
	s.stopOpen = nil
	switch {
	case err != nil:
		if ctx.Err() != nil {
			err = callError(ctx, err)
		}
		s.openErr = initError(s.b, err)
	case ended:
		s.openErr = &Error{Code: ErrCancelled, Message: "session " + s.id + " was destroyed while it was being opened", Session: s.id}
	}
	if s.openErr != nil {
		s.end(nil)
	} else {
		s.phase, s.last, s.ready = active, time.Now(), nil
		if at := s.expires(); !at.IsZero() {
			sb.reaper.Add(s, at)
		}
	}
	failure := s.openErr
	ws.mu.Unlock()
	if failure != nil && !left {
		// A failed Open left no state behind; a pooled session whose Bind
		// failed, and one that was destroyed meanwhile, have one to close.
		if err == nil || parked {
			sb.closeState(s, s.state)
		}
		sb.releaseSession(s)
	}
	close(ready)
	return failure
}

// initError is the protocol's error for a session that could not be opened. An
// error that tells more than its text keeps its code.
func initError(b *backendEntry, err error) error {
	code := CodeOf(err)
	if code == ErrUnexpected || code == 0 {
		code = ErrNotInitialized
	}
	return &Error{
		Code:    code,
		Message: "Resource initialization failed: " + err.Error(),
		Data:    map[string]any{"resource_type": b.spec.Name, "details": err.Error()},
		Err:     err,
	}
}

// finishSession closes a session that end has ended: it waits for its calls,
// which are cancelled, then closes its state and kills what it started. If its
// Open still runs, that closes what it opens; finishSession waits for it.
func (sb *Sandbox) finishSession(s *session) error {
	s.ws.mu.Lock()
	unopened, drained := s.unopened, s.drained
	if s.running > 0 && drained == nil {
		drained = make(chan struct{})
		s.drained = drained
	}
	s.ws.mu.Unlock()
	grace := time.NewTimer(sb.opts.CloseGrace)
	defer grace.Stop()
	if unopened {
		<-s.ready // bounded by openBounded, for end has cancelled it
		return nil
	}
	if drained != nil {
		select {
		case <-drained:
		case <-grace.C:
			sb.leftBehind("a call in a closing session of", s.b.spec.Name, s.id)
		}
	}
	err := sb.closeState(s, s.state)
	sb.releaseSession(s)
	return err
}

// closeState runs the backend's Close.
func (sb *Sandbox) closeState(s *session, state any) error {
	if s.b.close == nil {
		return nil
	}
	err := sb.bounded(context.Background(), "closing a session of", s.b.spec.Name, s.id, func(ctx context.Context) error {
		return s.b.close(ctx, state)
	})
	if err != nil {
		err = fmt.Errorf("closing session %s: %w", s.id, err)
		sb.opts.Logger.Warn("closing a session", "session", s.id, "err", err)
	}
	return err
}

// releaseSession gives back what the sandbox holds for a session besides its state.
func (sb *Sandbox) releaseSession(s *session) {
	if err := s.owner.release(); err != nil {
		sb.opts.Logger.Warn("releasing what a session held", "session", s.id, "err", err)
	}
	if s.counted {
		sb.unreserve(s.b)
	}
}

// mergeConfig lays over on base, key by key. Both are JSON objects or empty.
func mergeConfig(base, over json.RawMessage) (json.RawMessage, error) {
	if wire.Empty(over) && !wire.Empty(base) && base[0] == '{' {
		over = base // merging an object with itself checks it
	}
	var merged, top map[string]json.RawMessage
	if wire.Empty(base) && wire.Empty(over) {
		return json.RawMessage("{}"), nil
	}
	if err := wire.Unmarshal(base, &merged); err != nil {
		return nil, err
	}
	if err := wire.Unmarshal(over, &top); err != nil {
		return nil, err
	}
	if merged == nil {
		merged = map[string]json.RawMessage{}
	}
	maps.Copy(merged, top)
	return wire.Marshal(merged)
}
