package sandbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/agentflow-go/sandbox/internal/reap"
)

// session is one worker's state in one backend. Everything but what is
// guarded by its worker's mu is set before anyone else sees it.
type session struct {
	reap.Entry
	owner // what Env leads to

	temporary, compatible bool
	counted               bool // against the limits on sessions; parked ones are not

	// Guarded by ws.mu:
	id       string
	nameLen  int // the name is id[:nameLen]
	ttl      time.Duration
	phase    phase
	created  time.Time
	last     time.Time
	running  int           // calls in it, queued ones included
	calls    *callCtx      // a list of them
	drained  chan struct{} // closed when it has ended and running is 0; made on demand
	ready    chan struct{} // closed when Open is over; nil once active
	unopened bool          // it ended while its Open ran: whoever opens it closes it
	openErr  error         // for those who waited on ready
	stopOpen context.CancelCauseFunc

	state  any           // set by Open; read while running > 0 or by whoever ended the session
	serial chan struct{} // holds a token while a call of a Serial session runs
}

// phase is where a session is in its life.
type phase uint8

const (
	opening phase = iota
	active
	over // ended: in nobody's list, closed or about to be
)

// newSession makes a session that is being opened. ws.mu is held unless ws is
// a blank worker.
func (sb *Sandbox) newSession(ws *workerState, b *backendEntry, cfg json.RawMessage, conf *Confinement) *session {
	s := &session{owner: owner{sb: sb, b: b, ws: ws, config: cfg, conf: conf}, ready: make(chan struct{}), created: time.Now()}
	s.owner.s = s
	if b.spec.Serial {
		s.serial = make(chan struct{}, 1)
	}
	return s
}

// setName gives the session its name and id, by the protocol's rules (4.4).
// ws.mu is held.
func (s *session) setName(custom string) {
	worker := cut(strings.Trim(plainName(s.ws.id), "-"), 32)
	if worker == "" {
		worker = "worker"
	}
	name := fmt.Sprintf("%s_%s_%03d", s.b.spec.Name, worker, s.ws.count(s.b.spec.Name))
	if custom = cut(strings.Trim(plainName(custom), "-_"), 32); custom != "" {
		name += "_" + custom
	}
	s.id, s.nameLen = fmt.Sprintf("%s_%08x", name, rand.Uint32()), len(name)
}

// plainName replaces every character but letters, digits, _ and -.
func plainName(s string) string {
	return strings.Map(func(r rune) rune {
		if r < 128 && (r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' || r == '-') {
			return r
		}
		return '-'
	}, s)
}

func cut(s string, n int) string { return s[:min(len(s), n)] }

// expires returns when the session is due, if nothing uses it; zero: never.
// ws.mu is held.
func (s *session) expires() time.Time {
	if s.ttl < 0 || s.temporary || s.phase != active {
		return time.Time{}
	}
	return s.last.Add(s.ttl)
}

// expired reports whether the session is due. ws.mu is held.
func (s *session) expired(now time.Time) bool {
	at := s.expires()
	return !at.IsZero() && s.running == 0 && !now.Before(at)
}

// Due ends the session if it has been idle for its TTL. It looks again later
// if it was used meanwhile, so that using it costs nothing here.
func (s *session) Due(now time.Time) {
	ws := s.ws
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if s.phase != active {
		return
	}
	if !s.expired(now) {
		at := s.expires()
		if s.running > 0 || at.Before(now) {
			at = now.Add(s.ttl)
		}
		s.sb.reaper.Add(s, at)
		return
	}
	s.expire()
}

// expire ends an expired session in the background. ws.mu is held.
func (s *session) expire() {
	s.ws.remember(s, false)
	s.end(&Error{Code: ErrSessionExpired, Message: "session " + s.id + " expired", Session: s.id})
	s.sb.background.Go(func() { s.sb.finishSession(s) })
}

// end takes the session from its worker and cancels its calls, and its Open if
// that still runs. The one caller for which it returns true goes on to
// finishSession. ws.mu is held.
func (s *session) end(cause *Error) bool {
	if s.phase == over {
		return false
	}
	s.unopened = s.phase == opening
	s.phase = over
	s.ws.remove(s)
	s.sb.reaper.Remove(s)
	if s.stopOpen != nil {
		s.stopOpen(cause)
	}
	for c := s.calls; c != nil; c = c.next {
		c.cancel(cause)
	}
	return true
}

// lose ends a session whose state is gone.
func (sb *Sandbox) lose(s *session, err error) {
	if err == nil {
		err = errors.New("its backend gave no reason")
	}
	s.ws.mu.Lock()
	id := s.id
	ended := s.end(&Error{Code: ErrSessionLost, Message: fmt.Sprintf("session %s was lost: %v", id, err), Session: id, Err: err})
	if ended && !s.temporary && id != "" {
		s.ws.remember(s, true)
	}
	s.ws.mu.Unlock()
	if !ended {
		return
	}
	sb.opts.Logger.Warn("session lost", "session", id, "backend", s.b.spec.Name, "err", err)
	sb.background.Go(func() { sb.finishSession(s) })
}

// info describes the session. ws.mu is held.
func (s *session) info() SessionInfo {
	status := SessionActive
	if s.phase == opening {
		status = SessionOpening
	}
	level, unenforced := s.level()
	return SessionInfo{
		ID: s.id, Name: s.id[:s.nameLen], Worker: s.ws.id, Backend: s.b.spec.Name,
		Status: status, Created: s.created, LastActivity: s.last, Expires: s.expires(),
		Temporary: s.temporary, Compatible: s.compatible,
		Level: level, Unenforced: unenforced, Running: s.running,
	}
}

// joinLogged logs errors and joins them.
func joinLogged(l *slog.Logger, doing string, errs []error) error {
	err := errors.Join(errs...)
	if err != nil {
		l.Warn(doing, "err", err)
	}
	return err
}
