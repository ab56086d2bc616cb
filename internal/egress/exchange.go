package egress

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"sync"
)

// exchange is one request and its response. The transport reads the body on a
// goroutine of its own, which may outlive the response when the server answers
// early; what it shares with the connection's goroutine is here.
type exchange struct {
	c      *client
	cancel context.CancelFunc // of the request
	limit  int                // bytes of trailers
	expect bool               // the client waits for 100 Continue

	mu    sync.Mutex // guards what follows
	began bool       // the response is being written: c.w is taken
	over  bool       // the response is written
	ended bool       // the body was read to its end
	watch *watch     // nil until the body ended
}

var errAnswered = errors.New("the response came before the body was asked for")

// body returns the request's body of size bytes, -1: chunked.
func (x *exchange) body(size int64) io.ReadCloser {
	switch {
	case size == 0:
		x.end()
		return http.NoBody
	case size < 0:
		return &body{x: x, r: httputil.NewChunkedReader(x.c.r), chunked: true, left: -1}
	}
	return &body{x: x, r: io.LimitReader(x.c.r, size), left: size}
}

// end notes that the body ended, and starts to watch for the client's leaving.
func (x *exchange) end() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.ended = true
	if !x.over {
		x.watch = startWatch(x.c, x.cancel)
	}
}

// proceed asks the client for the body, if it waits to be asked.
func (x *exchange) proceed() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if !x.expect {
		return nil
	}
	x.expect = false
	if x.began {
		return errAnswered
	}
	if _, err := x.c.w.WriteString("HTTP/1.1 100 Continue\r\n\r\n"); err != nil {
		return err
	}
	return x.c.w.Flush()
}

// begin takes c.w for the response.
func (x *exchange) begin() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.began = true
}

// finish ends the exchange and reports whether c stands at the beginning of the
// next request. Otherwise the body's goroutine may still be reading it.
func (x *exchange) finish() bool {
	x.mu.Lock()
	x.over = true
	w, ended := x.watch, x.ended
	x.mu.Unlock()
	if w != nil {
		w.stop()
	}
	return ended
}

// body is a request's body. It belongs to the goroutine that reads it.
type body struct {
	x       *exchange
	r       io.Reader
	chunked bool
	left    int64 // unread bytes of a sized body
	err     error // what further reads return
}

func (b *body) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	if err := b.x.proceed(); err != nil {
		b.err = err
		return 0, err
	}
	n, err := b.r.Read(p)
	b.left -= int64(n)
	switch {
	case b.chunked && err == io.EOF:
		err = b.trailers()
	case b.chunked:
		err = chunkError(err)
	case b.left == 0:
		err = io.EOF
	case err == io.EOF:
		err = io.ErrUnexpectedEOF
	}
	if err == io.EOF {
		b.x.end()
	}
	b.err = err
	return n, err
}

// chunkError blames the client for what is no failure of the connection.
func chunkError(err error) error {
	_, network := errors.AsType[net.Error](err)
	if err == nil || network || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) {
		return err
	}
	return syntaxError("%v", err)
}

// trailers reads what follows the last chunk. Trailers are dropped: they may be,
// and what they may not say (a Host, a length) need not be looked for.
func (b *body) trailers() error {
	limit := b.x.limit
	for {
		line, err := readLine(b.x.c.r, &limit)
		switch {
		case err == io.EOF:
			return io.ErrUnexpectedEOF
		case err != nil:
			return err
		case len(line) == 0:
			return io.EOF
		}
	}
}

func (b *body) Close() error { return nil }

// watch waits for the client to leave while its request is under way, by
// looking, not reading: a pipelined request stays where it is.
type watch struct {
	c    *client
	done chan struct{}
}

func startWatch(c *client, left context.CancelFunc) *watch {
	w := &watch{c: c, done: make(chan struct{})}
	c.in.silent(0) // the server may take its time
	go func() {
		defer close(w.done)
		if _, err := c.r.Peek(1); err != nil {
			left()
		}
	}()
	return w
}

func (w *watch) stop() {
	w.c.in.stop()
	<-w.done
	w.c.in.resume()
}
