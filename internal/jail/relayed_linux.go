package jail

import (
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// flushTime is how long the report of a program's end waits for its output.
const flushTime = time.Second

// endRelayed reports the end of a program whose terminal is relayed, after all that
// it has written there.
func (s *server) endRelayed(m *message, r *relay) {
	flushed := make(chan struct{})
	go func() { // ends with the host's patience, or the jail
		defer close(flushed)
		r.flush()
	}()
	t := time.NewTimer(flushTime)
	defer t.Stop()
	select {
	case <-flushed:
	case <-t.C: // the host reads no more for now; the program has ended all the same
	}
	_ = s.c.write(m, nil) // see answer
	s.mu.Lock()
	p := s.byID[m.id]
	s.mu.Unlock()
	if p == nil || !s.leads(p.pid) {
		r.stop()
	} // else what it left in its session has the terminal, until the jail ends
}

// leads tells whether a session still has processes.
func (s *server) leads(session int) bool {
	for _, p := range processes() {
		if p.session == session && p.state != 'Z' {
			return true
		}
	}
	return false
}

// terminal signals, or resizes, the terminal of a program if it is relayed.
func (s *server) terminal(m *message) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.byID[m.about]
	if p == nil || p.ended {
		return unix.ESRCH
	}
	if p.relay == nil {
		return unix.ENOTTY
	}
	if sig := m.num(0); sig > 0 {
		return p.relay.signal(syscall.Signal(sig), p.pid)
	}
	return p.relay.resize(uint16(m.num(1)), uint16(m.num(2)))
}
