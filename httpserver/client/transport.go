package client

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"strings"
	"syscall"
	"time"

	"github.com/agentflow-go/sandbox"
	"github.com/agentflow-go/sandbox/internal/wire"
)

// message is one request.
type message struct {
	method, path string
	body         []byte
	key          string              // Idempotency-Key; "": none
	onEvent      func(sandbox.Event) // asks for a stream; nil: no
}

// post sends v to a path, again where that is safe.
func (c *Client) post(ctx context.Context, path string, v any) (*answer, error) {
	body, err := wire.Marshal(v)
	if err != nil {
		return nil, sandbox.Errorf(sandbox.ErrInvalidInput, "encoding the request: %w", err)
	}
	return c.send(ctx, &message{method: http.MethodPost, path: path, body: body})
}

// send sends m until it had an effect, or an error that time does not cure, or
// the retries are used up.
func (c *Client) send(ctx context.Context, m *message) (*answer, error) {
	delay := c.o.RetryDelay
	for try := 0; ; try++ {
		a, err := c.once(ctx, m)
		if err == nil || try >= c.o.Retries || !c.retryable(m, err) {
			return a, err
		}
		pause := time.NewTimer(delay/2 + mathrand.N(delay)) // apart from others
		select {
		case <-ctx.Done():
			pause.Stop()
			return nil, err
		case <-pause.C:
		}
		delay *= 2
	}
}

// retryable reports whether m may be sent again after err.
func (c *Client) retryable(m *message, err error) bool {
	e, ok := errors.AsType[*sandbox.Error](err)
	if !ok {
		return false
	}
	if refused(err) || !e.Ran && (e.Code == sandbox.ErrBusy || e.Code == sandbox.ErrStopping) {
		return true
	}
	// A connection that broke: the server knows the key.
	_, broken := errors.AsType[*brokenError](err)
	return broken && m.key != ""
}

// brokenError is a connection that failed after something may have been sent.
type brokenError struct{ err error }

func (e *brokenError) Error() string { return e.err.Error() }
func (e *brokenError) Unwrap() error { return e.err }

// refused reports whether nobody listens.
func refused(err error) bool { return errors.Is(err, syscall.ECONNREFUSED) }

// once sends m one time. Its error is an *sandbox.Error: the server's, or what
// went wrong on the way.
func (c *Client) once(ctx context.Context, m *message) (*answer, error) {
	r, err := http.NewRequestWithContext(ctx, m.method, c.base+m.path, bytes.NewReader(m.body))
	if err != nil {
		return nil, sandbox.Errorf(sandbox.ErrInvalidInput, "%w", err)
	}
	if m.method == http.MethodPost {
		r.Header.Set("Content-Type", "application/json")
	}
	if m.onEvent != nil {
		r.Header.Set("Accept", "text/event-stream")
	}
	if m.key != "" {
		r.Header.Set("Idempotency-Key", m.key)
	}
	if c.o.Token != "" {
		r.Header.Set("Authorization", "Bearer "+c.o.Token)
	}
	resp, err := c.http.Do(r)
	if err != nil {
		return nil, c.onTheWay(ctx, err)
	}
	defer resp.Body.Close()
	if m.onEvent != nil && strings.HasPrefix(resp.Header.Get("Content-Type"), "text/event-stream") {
		return c.readStream(ctx, resp.Body, m.onEvent)
	}
	raw, err := io.ReadAll(io.LimitReader(resp.Body, c.o.MaxAnswer+1))
	if err != nil {
		return nil, c.onTheWay(ctx, err)
	}
	if int64(len(raw)) > c.o.MaxAnswer {
		return nil, c.tooLarge()
	}
	return parse(resp.StatusCode, raw)
}

func (c *Client) tooLarge() error {
	return &sandbox.Error{Code: sandbox.ErrTooLarge, Ran: true,
		Message: fmt.Sprintf("the answer is larger than %d bytes (Options.MaxAnswer)", c.o.MaxAnswer)}
}

// onTheWay is the error of a request that got no answer. Unless the connection
// was never made, the call may have run.
func (c *Client) onTheWay(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ended(ctx, err)
	}
	e := sandbox.Errorf(sandbox.ErrDependency, "%s does not answer: %w", c.base, err)
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "dial" {
		return e
	}
	e.Ran, e.Err = true, &brokenError{err}
	return e
}

// ended is the error of a call whose context ended here, in the words that a
// Sandbox has for it.
func ended(ctx context.Context, err error) error {
	if le, ok := context.Cause(ctx).(*limitError); ok {
		return le.error(err)
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return &sandbox.Error{Code: sandbox.ErrTimeout, Message: "Tool execution timed out at the caller's deadline",
			Ran: true, Err: errors.Join(ctx.Err(), err)}
	}
	return &sandbox.Error{Code: sandbox.ErrCancelled, Message: "cancelled by the caller", Ran: true, Err: errors.Join(ctx.Err(), err)}
}

// newKey returns a random Idempotency-Key.
func newKey() string { return rand.Text() }
