package egress

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// tunnel carries bytes between c and up, which it closes, until both directions
// have ended, one has failed, nothing moved for IdleTimeout, or ctx ends.
//
// To port 443 nothing is sent before a ClientHello with the right server name
// came. To other ports everything passes: there is no telling what protocol is
// spoken there, and the check of host and address is the promise made.
func (s *server) tunnel(ctx context.Context, c *client, up net.Conn, h Host, port uint16) {
	defer up.Close()
	defer context.AfterFunc(ctx, func() { up.Close() })()
	if port == 443 {
		c.in.until(s.cfg.HandshakeTimeout)
		raw, name, err := readHello(c.r)
		if err == nil || !silence(err) {
			err = checkServerName(h, port, name, err)
		}
		if err != nil {
			s.denied(err)
			if _, ok := errors.AsType[*Denied](err); ok {
				timedWriter{c.Conn, s.cfg.IdleTimeout}.Write(accessDenied[:])
				s.linger(c)
			}
			return
		}
		if _, err := (timedWriter{up, s.cfg.IdleTimeout}).Write(raw); err != nil {
			return
		}
	}
	c.in.silent(s.cfg.IdleTimeout)
	var moved atomic.Int64
	moved.Store(time.Now().UnixNano())
	var wg sync.WaitGroup
	wg.Go(func() { s.pump(up, c.Conn, c.r, &moved) })
	s.pump(c.Conn, up, timedConn{up, s.cfg.IdleTimeout}, &moved)
	wg.Wait()
}

// silence reports whether a client sent nothing more, which is no attempt to
// get around a rule: a browser opens tunnels ahead of need.
func silence(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, net.ErrClosed)
}

// checkServerName refuses a ClientHello (or what came instead, with err) whose
// name is not h. An address has no server name: RFC 6066 forbids it.
func checkServerName(h Host, port uint16, name string, err error) error {
	deny := func(format string, args ...any) error {
		return &Denied{Host: h.String(), Port: port, Rule: RuleServerName,
			Reason: "carries only TLS to that very host: " + fmt.Sprintf(format, args...)}
	}
	if err != nil {
		return deny("%v", err)
	}
	_, literal := h.Addr()
	if name == "" {
		if literal {
			return nil
		}
		return deny("the ClientHello names no server")
	}
	if got, err := ParseHost(name); err != nil || got != h {
		return deny("the ClientHello names %q", clip(name))
	}
	return nil
}

// pump copies from src, read through r, to dst until src ends, one of them
// fails, or neither direction of the tunnel moved for IdleTimeout. The end of
// src is passed on to dst; a failure closes both, which ends the other direction.
func (s *server) pump(dst, src net.Conn, r io.Reader, moved *atomic.Int64) {
	buf := s.buffers.Get().(*[bufferSize]byte)
	defer s.buffers.Put(buf)
	out := timedWriter{dst, s.cfg.IdleTimeout}
	for {
		n, err := r.Read(buf[:])
		if n > 0 {
			moved.Store(time.Now().UnixNano())
			if _, werr := out.Write(buf[:n]); werr != nil {
				err = werr
			}
		}
		switch {
		case err == nil:
		case errors.Is(err, os.ErrDeadlineExceeded) && time.Since(time.Unix(0, moved.Load())) < s.cfg.IdleTimeout:
			// Silent here, but the other direction moved.
		case err == io.EOF && closeWrite(dst):
			return
		default:
			src.Close()
			dst.Close()
			return
		}
	}
}

// closeWrite tells the peer that no more comes, where conn can say so without
// being closed whole.
func closeWrite(conn net.Conn) bool {
	half, ok := conn.(interface{ CloseWrite() error })
	return ok && half.CloseWrite() == nil
}
