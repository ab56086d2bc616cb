package egress

import (
	"bufio"
	"context"
	"errors"
	"net"
	"sync"
	"syscall"
	"time"
)

// Config says whose connections a proxy makes, and its limits.
type Config struct {
	// Guard makes the connections; nil permits nothing.
	Guard *Guard
	// GuardFor, where it is set, chooses the Guard of each client connection
	// instead, for a listener that several workers share. nil as its answer
	// permits nothing.
	GuardFor func(client net.Conn) *Guard

	// OnDenied, OnFailed and OnDial hear of every refusal, of everything that was
	// permitted and failed, before the client does, and of every connection once it
	// is made. They are called from many goroutines at once, hold up what they tell
	// of, and so must not block. nil: nobody listens.
	OnDenied func(Denied)
	OnFailed func(Failed)
	OnDial   func(Dial)

	// HandshakeTimeout bounds the time from a connection's, or a further
	// request's, first byte to the end of its request head, SOCKS handshake or
	// ClientHello. A connection's first byte has as long to come. 0: 15 s.
	HandshakeTimeout time.Duration
	// IdleTimeout ends what moves no byte: a tunnel in both directions, a body,
	// the wait for a response or for the next request. 0: 10 minutes.
	IdleTimeout time.Duration

	MaxConns  int // client connections at once; more are closed. 0: 512
	MaxHeader int // bytes of a request head. 0: 64 KiB
}

func (c Config) withDefaults() Config {
	if c.HandshakeTimeout <= 0 {
		c.HandshakeTimeout = 15 * time.Second
	}
	if c.IdleTimeout <= 0 {
		c.IdleTimeout = 10 * time.Minute
	}
	if c.MaxConns <= 0 {
		c.MaxConns = 512
	}
	if c.MaxHeader <= 0 {
		c.MaxHeader = 64 << 10
	}
	return c
}

// Serve accepts connections from ln and serves each as the proxy that the
// package comment describes, until ctx ends or ln is closed: it then closes ln
// and every connection, waits for its goroutines and returns nil. It returns an
// error, after the same clean-up, only where accepting fails for good.
//
// A refusal is answered with status 403 (400 for a malformed request) and one
// line of text that names the rule, which for CONNECT is the status line's
// reason too, because that is all that most clients show; with reply 2 over
// SOCKS5; with a TLS alert where a tunnel is refused for its server name. What
// fails is answered with 502 or 504 in the same way. By [StatusField] a client
// tells such answers from a server's.
func Serve(ctx context.Context, ln net.Listener, cfg Config) error {
	ctx, cancel := context.WithCancel(ctx)
	s := &server{cfg: cfg.withDefaults()}
	s.buffers.New = func() any { return new([bufferSize]byte) }
	stop := context.AfterFunc(ctx, func() { ln.Close() })
	defer func() {
		stop()
		ln.Close()
		cancel()
		s.conns.Wait()
	}()
	slots := make(chan struct{}, s.cfg.MaxConns)
	for {
		conn, err := accept(ctx, ln)
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return nil
			}
			return err
		}
		select {
		case slots <- struct{}{}:
			s.conns.Go(func() {
				defer func() { <-slots }()
				s.serve(ctx, conn)
			})
		default:
			conn.Close()
			s.denied(&Denied{Rule: RuleConns, Reason: "too many connections at once"})
		}
	}
}

// accept retries what passes by itself, such as a lack of descriptors.
func accept(ctx context.Context, ln net.Listener) (net.Conn, error) {
	for delay := 5 * time.Millisecond; ; delay = min(2*delay, time.Second) {
		conn, err := ln.Accept()
		if !passing(err) {
			return conn, err
		}
		select {
		case <-time.After(delay):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func passing(err error) bool {
	for _, e := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.ECONNABORTED} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// bufferSize is what a direction of a tunnel, or a response body, holds at most.
const bufferSize = 32 << 10

type server struct {
	cfg     Config
	conns   sync.WaitGroup
	buffers sync.Pool // *[bufferSize]byte
}

// client is a connection from a confined process. It belongs to one goroutine,
// but for its timedReader.
type client struct {
	net.Conn
	in    *timedReader
	r     *bufio.Reader // over in
	w     *bufio.Writer
	guard *Guard
}

func (s *server) serve(ctx context.Context, conn net.Conn) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	defer conn.Close()
	boundRead(conn, clientBuffer)
	boundWrite(conn, clientBuffer)

	guard := s.cfg.Guard
	if s.cfg.GuardFor != nil {
		guard = s.cfg.GuardFor(conn)
	}
	if guard == nil {
		guard = new(Guard)
	}
	in := &timedReader{conn: conn}
	out := timedWriter{conn: conn, idle: s.cfg.IdleTimeout}
	c := &client{Conn: conn, in: in, r: bufio.NewReaderSize(in, 4096), w: bufio.NewWriterSize(out, 4096), guard: guard}

	c.in.until(s.cfg.HandshakeTimeout)
	first, err := c.r.Peek(1)
	switch {
	case err != nil:
	case first[0] == socks5:
		s.serveSOCKS(ctx, c)
	case 'A' <= first[0] && first[0] <= 'Z', 'a' <= first[0] && first[0] <= 'z':
		s.serveHTTP(ctx, c)
	default:
		s.denied(&Denied{Rule: RuleNetwork, Reason: "neither HTTP/1.1 nor SOCKS5 was spoken to the proxy"})
	}
}

// dial connects for c and tells OnDial or OnDenied.
func (s *server) dial(ctx context.Context, c *client, h Host, port uint16) (net.Conn, error) {
	conn, d, err := c.guard.dial(ctx, "tcp", h, port)
	if err != nil {
		s.denied(err)
		return nil, err
	}
	if s.cfg.OnDial != nil {
		s.cfg.OnDial(d)
	}
	boundWrite(conn, upstreamBuffer)
	return conn, nil
}

// clientBuffer and upstreamBuffer bound what the kernel holds of a connection for this
// program, in bytes, of which it makes twice as many: of one that a process fills, or
// does not read, it would hold some 10 MB, which are in no limit of that process's. What
// comes from servers is left to the kernel, which knows how far they are.
const (
	clientBuffer   = 256 << 10
	upstreamBuffer = 1 << 20 // written
)

// boundRead and boundWrite keep a buffer of a connection, if it is the kernel's, to
// size. They fail only once it is closed.
func boundRead(conn net.Conn, size int) {
	if c, ok := conn.(interface{ SetReadBuffer(int) error }); ok {
		_ = c.SetReadBuffer(size)
	}
}

func boundWrite(conn net.Conn, size int) {
	if c, ok := conn.(interface{ SetWriteBuffer(int) error }); ok {
		_ = c.SetWriteBuffer(size)
	}
}

// failed tells OnFailed of err if it is a failure, and not that of a client who
// left.
func (s *server) failed(err error) {
	if f, ok := errors.AsType[*Failed](err); ok && s.cfg.OnFailed != nil && !errors.Is(err, context.Canceled) {
		s.cfg.OnFailed(*f)
	}
}

// denied tells OnDenied of err if it is a refusal.
func (s *server) denied(err error) {
	if d, ok := errors.AsType[*Denied](err); ok && s.cfg.OnDenied != nil {
		s.cfg.OnDenied(*d)
	}
}
