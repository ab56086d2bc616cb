package term

import "sync"

// ring keeps the last bytes of an endless output. Positions count from the
// first byte ever written.
type ring struct {
	limit int

	mu    sync.Mutex // guards what follows
	buf   []byte     // grows to limit, then wraps
	total int64
	more  chan struct{} // closed, and replaced, by each write
	ended bool
}

func newRing(limit int) *ring { return &ring{limit: limit, more: make(chan struct{})} }

func (r *ring) write(p []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if n := len(p) - r.limit; n > 0 { // only its end will be left
		r.total += int64(n)
		p = p[n:]
	}
	for len(p) > 0 {
		at := int(r.total % int64(r.limit))
		if at == len(r.buf) { // still growing
			n := min(len(p), r.limit-at)
			r.buf = append(r.buf, p[:n]...)
			r.total += int64(n)
			p = p[n:]
			continue
		}
		if at > len(r.buf) { // a jump over the middle before it was full
			r.buf = append(r.buf, make([]byte, r.limit-len(r.buf))...)
		}
		n := copy(r.buf[at:], p)
		r.total += int64(n)
		p = p[n:]
	}
	if !r.ended {
		close(r.more)
		r.more = make(chan struct{})
	}
}

// end wakes all readers for good. What is written afterwards is kept, too.
func (r *ring) end() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.ended {
		r.ended = true
		close(r.more)
	}
}

// read returns at most limit bytes from position since, or from the oldest that
// is kept, with their position. The channel is closed when there is more.
func (r *ring) read(since int64, limit int) (p []byte, from int64, more <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	from = min(max(since, r.total-int64(len(r.buf)), 0), r.total)
	n := int(min(r.total-from, int64(limit)))
	p = make([]byte, 0, n)
	for len(p) < n {
		at := int((from + int64(len(p))) % int64(r.limit))
		end := min(at+n-len(p), len(r.buf))
		p = append(p, r.buf[at:end]...)
	}
	return p, from, r.more
}
