package browser

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/chromedp/cdproto"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/cdp/jsonv2"
	"github.com/chromedp/cdproto/target"
	"github.com/chromedp/chromedp"

	"github.com/agentflow-go/sandbox"
)

// errGone is the error of a call whose target went away before it answered.
var errGone = errors.New("the page, or the frame, went away")

// conn is a connection to one browser over which its targets are spoken to, each
// through a [link]. chromedp's own [chromedp.Browser] is not used: it mirrors the
// document of every page in this program's memory, queues events without bound,
// and drops the sessions of frames in other processes.
type conn struct {
	tr   chromedp.Transport
	root *link         // the browser itself
	done chan struct{} // closed when the connection has ended
	err  error         // why; set before done is closed
	out  chan *cdproto.Message

	mu    sync.Mutex // guards the rest
	last  int64
	calls map[int64]*call
	links map[target.SessionID]*link
}

// call waits for an answer.
type call struct {
	link  *link
	reply chan *cdproto.Message // holds one
}

// link is a session of the protocol with one target.
type link struct {
	c    *conn
	id   target.SessionID
	on   func(*cdproto.Message) // gets events in their order on the reader's goroutine; must not wait
	gone chan struct{}          // closed when the target is gone
}

var _ cdp.Session = (*link)(nil)

// newConn speaks over tr, which it owns. on gets the browser's own events.
func newConn(tr chromedp.Transport, on func(*cdproto.Message)) *conn {
	c := &conn{
		tr: tr, done: make(chan struct{}), out: make(chan *cdproto.Message, 64),
		calls: map[int64]*call{}, links: map[target.SessionID]*link{},
	}
	c.root = &link{c: c, on: on, gone: make(chan struct{})}
	go c.read()
	go c.write()
	return c
}

// close ends the connection.
func (c *conn) close() { c.tr.Close() }

func (c *conn) read() {
	for {
		msg := new(cdproto.Message)
		if err := c.tr.Read(context.Background(), msg); err != nil {
			c.fail(err)
			return
		}
		c.mu.Lock()
		if msg.ID != 0 {
			call := c.calls[msg.ID]
			delete(c.calls, msg.ID)
			c.mu.Unlock()
			if call != nil {
				call.reply <- msg
			}
			continue
		}
		to := c.root
		if msg.SessionID != "" {
			to = c.links[msg.SessionID]
		}
		c.mu.Unlock()
		if to == nil || to.on == nil {
			continue
		}
		to.on(msg)
	}
}

func (c *conn) fail(err error) {
	c.err = err
	close(c.done)
	c.tr.Close()
}

func (c *conn) write() {
	for {
		select {
		case <-c.done:
			return
		case msg := <-c.out:
			if err := c.tr.Write(context.Background(), msg); err != nil {
				c.tr.Close() // the reader then fails
				return
			}
		}
	}
}

// attach makes a link to a target that the browser attached. It must be called
// by the reader's goroutine, so that no event of the target is lost.
func (c *conn) attach(id target.SessionID, on func(*cdproto.Message)) *link {
	l := &link{c: c, id: id, on: on, gone: make(chan struct{})}
	c.mu.Lock()
	c.links[id] = l
	c.mu.Unlock()
	return l
}

// detach ends the link of a session, and the calls that wait on it.
func (c *conn) detach(id target.SessionID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if l := c.links[id]; l != nil {
		delete(c.links, id)
		close(l.gone)
	}
}

// send writes a command whose answer is read by wait.
func (l *link) send(ctx context.Context, method string, params any) (*pending, error) {
	raw := jsonv2.Value("{}")
	if params != nil {
		var err error
		if raw, err = jsonv2.Marshal(params, chromedp.DefaultMarshalOptions); err != nil {
			return nil, fmt.Errorf("%s: %w", method, err)
		}
	}
	c := l.c
	cl := &call{link: l, reply: make(chan *cdproto.Message, 1)}
	c.mu.Lock()
	c.last++
	id := c.last
	c.calls[id] = cl
	c.mu.Unlock()
	p := &pending{call: cl, id: id, method: method}
	msg := &cdproto.Message{ID: id, SessionID: l.id, Method: cdproto.MethodType(method), Params: raw}
	select {
	case c.out <- msg:
		return p, nil
	case <-ctx.Done():
		p.forget()
		return nil, ctx.Err()
	case <-l.gone:
		p.forget()
		return nil, errGone
	case <-c.done:
		p.forget()
		return nil, c.lost()
	}
}

// lost is the error of calls after the connection has ended.
func (c *conn) lost() error { return &lostError{c.err} }

// lostError says that the browser is gone.
type lostError struct{ err error }

func (e *lostError) Error() string {
	if e.err == nil || errors.Is(e.err, io.EOF) || errors.Is(e.err, os.ErrClosed) {
		return "the browser ended"
	}
	return "the browser ended: " + e.err.Error()
}

func (e *lostError) Unwrap() error { return e.err }

// pending is a command that was sent.
type pending struct {
	call   *call
	id     int64
	method string
}

// forget gives the answer up.
func (p *pending) forget() {
	c := p.call.link.c
	c.mu.Lock()
	delete(c.calls, p.id)
	c.mu.Unlock()
}

// wait stores the answer in res, if that is not nil.
func (p *pending) wait(ctx context.Context, res any) error {
	l := p.call.link
	var msg *cdproto.Message
	select {
	case msg = <-p.call.reply:
	case <-ctx.Done():
		p.forget()
		return ctx.Err()
	case <-l.gone:
		select { // the answer may have come just before
		case msg = <-p.call.reply:
		default:
			p.forget()
			return errGone
		}
	case <-l.c.done:
		p.forget()
		return l.c.lost()
	}
	switch {
	case msg.Error != nil && msg.Error.Code == tooLong:
		return sandbox.Errorf(sandbox.ErrTooLarge, "the browser's answer to %s is too long: it has more than %d MiB, or cannot be read", p.method, maxAnswerMessage>>20)
	case msg.Error != nil:
		return &protocolError{p.method, msg.Error.Code, clip(msg.Error.Message, 500)}
	case res != nil:
		if err := jsonv2.Unmarshal(msg.Result, res, chromedp.DefaultUnmarshalOptions); err != nil {
			return fmt.Errorf("answer to %s: %w", p.method, err)
		}
	}
	return nil
}

// protocolError is an answer of the browser that says no.
type protocolError struct {
	method string
	code   int64
	text   string
}

func (e *protocolError) Error() string { return e.method + ": " + e.text }

// Call runs a command; see [cdp.Session].
func (l *link) Call(ctx context.Context, method string, params, res any) error {
	p, err := l.send(ctx, method, params)
	if err != nil {
		return err
	}
	return p.wait(ctx, res)
}

// Subscribe is there for [cdp.Session]; events go to the link's function.
func (l *link) Subscribe(string) (<-chan jsonv2.Value, func()) {
	none := make(chan jsonv2.Value)
	close(none)
	return none, func() {}
}

// command is a command that several are sent of at once.
type command struct {
	method string
	params any
}

// cmd pairs a command with its parameters.
func cmd[P, R any](c cdp.Command[P, R], params P) command { return command{c.Method, params} }

// all sends commands in order without waiting in between, then waits for all
// answers. It returns the first error.
func (l *link) all(ctx context.Context, cmds ...command) error {
	sent := make([]*pending, 0, len(cmds))
	var first error
	for _, cm := range cmds {
		p, err := l.send(ctx, cm.method, cm.params)
		if err != nil {
			first = err
			break
		}
		sent = append(sent, p)
	}
	for _, p := range sent {
		if err := p.wait(ctx, nil); err != nil && first == nil {
			first = err
		}
	}
	return first
}

// decode reads an event's parameters; an event that cannot be read is as good as
// none.
func decode[E any](_ cdp.Event[E], msg *cdproto.Message) (e E, ok bool) {
	err := jsonv2.Unmarshal(msg.Params, &e, chromedp.DefaultUnmarshalOptions)
	return e, err == nil
}

func ptr[T any](v T) *T { return &v }
