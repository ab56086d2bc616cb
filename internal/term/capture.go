package term

import (
	"fmt"
	"io"
	"sync"
)

// capture keeps the output of one call within a limit: all of it, or once it
// is longer, the first and the last half of the limit. That is what a reader
// needs: how it began and how it ended. The whole then goes to the spill
// writer.
type capture struct {
	limit int
	spill func() (io.Writer, error) // opened when the limit is passed; nil: none
	event func([]byte)              // nil: none

	mu    sync.Mutex // guards what follows; the reader writes, Run reads
	head  []byte
	tail  []byte // ring of the last bytes, used once head is full
	at    int    // next position in tail
	total int64
	out   io.Writer
	err   error // the spill writer's first fault; its output ends there
}

func newCapture(limit int, spill func() (io.Writer, error), event func([]byte)) *capture {
	return &capture{limit: limit, spill: spill, event: event}
}

func (c *capture) write(p []byte) {
	if c.event != nil {
		c.event(p)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.total += int64(len(p))
	if c.tail == nil {
		if len(c.head)+len(p) <= c.limit {
			c.head = append(c.head, p...)
			return
		}
		c.overflow()
	}
	if c.out != nil && c.err == nil {
		_, c.err = c.out.Write(p)
	}
	c.keepLast(p)
}

// overflow splits what was kept into a head and a tail, and opens the spill.
func (c *capture) overflow() {
	half := c.limit / 2
	c.tail = make([]byte, c.limit-half)
	if c.spill != nil {
		if c.out, c.err = c.spill(); c.err == nil && c.out != nil {
			_, c.err = c.out.Write(c.head)
		}
	}
	if len(c.head) < half { // one write jumped over the middle
		return
	}
	rest := c.head[half:]
	c.head = c.head[:half:half]
	c.keepLast(rest)
}

func (c *capture) keepLast(p []byte) {
	half := c.limit / 2
	if n := half - len(c.head); n > 0 {
		n = min(n, len(p))
		c.head = append(c.head, p[:n]...)
		p = p[n:]
	}
	if len(p) > len(c.tail) {
		p = p[len(p)-len(c.tail):]
	}
	for len(p) > 0 {
		n := copy(c.tail[c.at:], p)
		c.at = (c.at + n) % len(c.tail)
		p = p[n:]
	}
}

// Output is what a command wrote to one stream.
type Output struct {
	// Head and Tail are the first and last bytes. Tail is empty unless the
	// output was longer than the limit; then Dropped bytes between the two are
	// missing.
	Head, Tail []byte
	Dropped    int64
	Size       int64 // of the whole output

	// SpillErr tells why the spill file does not hold the whole output; nil if
	// it does, or if none was needed.
	SpillErr error
}

// Truncated reports whether a part of the output is missing.
func (o Output) Truncated() bool { return o.Dropped > 0 }

// Bytes returns the output; where bytes are missing, a line says how many.
func (o Output) Bytes() []byte {
	if o.Dropped == 0 {
		return o.Head
	}
	return fmt.Appendf(append([]byte(nil), o.Head...), "\n[… %d bytes left out …]\n%s", o.Dropped, o.Tail)
}

func (c *capture) result() Output {
	c.mu.Lock()
	defer c.mu.Unlock()
	o := Output{Head: c.head, Size: c.total, SpillErr: c.err}
	if c.tail != nil {
		kept := min(c.total-int64(len(c.head)), int64(len(c.tail)))
		if kept < int64(len(c.tail)) {
			o.Tail = c.tail[:kept:kept]
		} else {
			o.Tail = append(append([]byte(nil), c.tail[c.at:]...), c.tail[:c.at]...)
		}
		o.Dropped = c.total - int64(len(c.head)) - kept
	}
	return o
}
