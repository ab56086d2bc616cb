package term

import (
	"bytes"
	"os"
	"sync"
)

// stream reads one output channel (a pty's master, the pipe of a separate
// standard error) for the shell's whole life. While a call runs, what is read
// goes to the call's sink; otherwise it is held for the next call, and when
// limit bytes are held reading stops until then, so that nothing is lost.
type stream struct {
	r     *os.File
	limit int
	ended chan struct{} // closed when the reader has returned

	mu    sync.Mutex
	room  sync.Cond    // hold was taken, or the stream closed
	hold  []byte       // read between calls
	sink  func([]byte) // nil between calls; called by the reader without mu
	busy  bool         // the reader is in sink
	moved bool         // something was read since somebody last asked
	fence []byte       // nil unless armed
	carry []byte       // bytes that may be the fence's beginning
	found chan struct{}
	stop  bool
}

func newStream(r *os.File, limit int) *stream {
	s := &stream{r: r, limit: limit, ended: make(chan struct{})}
	s.room.L = &s.mu
	go s.loop()
	return s
}

func (s *stream) loop() {
	defer close(s.ended)
	buf := make([]byte, 64<<10)
	for {
		n, err := s.r.Read(buf)
		if n > 0 && !s.feed(buf[:n]) {
			return
		}
		if err != nil {
			// The host keeps a writing end open, so this is its own closing.
			return
		}
	}
}

// feed passes on what was read. It reports false once the stream is closed.
func (s *stream) feed(p []byte) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.moved = true
	for !s.stop && (s.busy || s.sink == nil && len(s.hold)+len(p) > s.limit) {
		s.room.Wait() // busy: begin is handing over what was held
	}
	if s.stop {
		return false
	}
	if s.sink == nil {
		s.hold = append(s.hold, p...)
		return true
	}
	if s.fence == nil {
		s.pass(p)
		return true
	}
	// Incremental: no byte is looked at more than twice.
	if len(s.carry) > 0 {
		p = append(s.carry, p...)
		s.carry = nil
	}
	if i := bytes.Index(p, s.fence); i >= 0 {
		s.pass(p[:i])
		s.hold = append(s.hold, p[i+len(s.fence):]...)
		s.fence, s.sink = nil, nil
		close(s.found)
		return true
	}
	keep := overlap(p, s.fence)
	s.pass(p[:len(p)-keep])
	s.carry = append([]byte(nil), p[len(p)-keep:]...)
	return true
}

// pass calls the sink with mu released, so that a slow sink holds up only the
// reader.
func (s *stream) pass(p []byte) {
	if len(p) == 0 || s.sink == nil {
		return
	}
	sink := s.sink
	s.busy = true
	s.mu.Unlock()
	sink(p)
	s.mu.Lock()
	s.busy = false
	s.room.Broadcast()
}

// overlap returns the length of the longest suffix of p that begins fence.
func overlap(p, fence []byte) int {
	n := min(len(fence)-1, len(p))
	for ; n > 0; n-- {
		if bytes.HasPrefix(fence, p[len(p)-n:]) {
			return n
		}
	}
	return 0
}

// begin starts a call: sink gets what was held, then all that is read.
func (s *stream) begin(sink func([]byte)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	hold := s.hold
	s.hold = nil
	s.sink = sink
	s.pass(hold)
	s.room.Broadcast()
}

// arm makes the stream look for fence, which the caller writes afterwards. The
// returned channel is closed when all that came before it has reached the sink.
func (s *stream) arm(fence []byte) <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fence = fence
	s.found = make(chan struct{})
	return s.found
}

// abandon ends a call whose fence did not come.
func (s *stream) abandon() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.busy {
		s.room.Wait()
	}
	s.pass(s.carry)
	s.fence, s.sink, s.carry = nil, nil, nil
}

// close ends the reader and waits for it; the file is closed by then.
func (s *stream) close() {
	s.mu.Lock()
	s.stop = true
	s.room.Broadcast()
	s.mu.Unlock()
	s.r.Close()
	<-s.ended
}

// moving reports whether the sink is at work, or something was read since the
// last time it was asked.
func (s *stream) moving() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	moved := s.moved
	s.moved = false
	return moved || s.busy
}

// slow reports whether the sink is still at work on earlier output.
func (s *stream) slow() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.busy
}
