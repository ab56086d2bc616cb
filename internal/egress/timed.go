package egress

import (
	"net"
	"os"
	"sync"
	"time"
)

// A deadline can be set on every connection that is not closed, and reading or
// writing a closed one tells so itself: errors of setting are not looked at.

// timedReader reads from a connection under a limit that its user chooses: a
// point in time for a handshake, which a slow sender cannot put off, or a time
// of silence for everything else.
type timedReader struct {
	conn net.Conn

	mu      sync.Mutex    // guards what follows, and setting the deadline
	end     time.Time     // zero: idle counts
	idle    time.Duration // 0: no limit
	stopped bool          // reads fail at once
}

// until limits all reads from now on to the next d.
func (t *timedReader) until(d time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.end = time.Now().Add(d)
}

// silent lets each read wait for d, or without limit where d is 0.
func (t *timedReader) silent(d time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.end, t.idle = time.Time{}, d
}

// stop ends a running read, and every later one until resume.
func (t *timedReader) stop() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stopped = true
	t.conn.SetReadDeadline(time.Unix(1, 0))
}

func (t *timedReader) resume() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stopped = false
}

func (t *timedReader) Read(p []byte) (int, error) {
	if !t.arm() {
		return 0, os.ErrDeadlineExceeded
	}
	return t.conn.Read(p)
}

// arm sets the limit of the next read and reports whether there may be one.
func (t *timedReader) arm() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	deadline := t.end
	if deadline.IsZero() && t.idle > 0 {
		deadline = time.Now().Add(t.idle)
	}
	if !t.stopped {
		t.conn.SetReadDeadline(deadline)
	}
	return !t.stopped
}

// timedWriter fails a write that does not progress for idle.
type timedWriter struct {
	conn net.Conn
	idle time.Duration
}

func (t timedWriter) Write(p []byte) (int, error) {
	t.conn.SetWriteDeadline(time.Now().Add(t.idle))
	return t.conn.Write(p)
}

// timedConn is an upstream connection that fails where it is silent, or takes
// nothing, for idle.
type timedConn struct {
	net.Conn
	idle time.Duration
}

func (t timedConn) Read(p []byte) (int, error) {
	t.SetReadDeadline(time.Now().Add(t.idle))
	return t.Conn.Read(p)
}

func (t timedConn) Write(p []byte) (int, error) {
	return timedWriter{conn: t.Conn, idle: t.idle}.Write(p)
}
