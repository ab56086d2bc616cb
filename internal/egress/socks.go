package egress

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
)

// RFC 1928.
const (
	socks5         = 5
	socksConnect   = 1
	socksIPv4      = 1
	socksName      = 3
	socksIPv6      = 4
	socksNoAuth    = 0
	socksNoMethods = 0xff
)

type socksReply byte

const (
	socksOK          socksReply = 0
	socksFailed      socksReply = 1
	socksDenied      socksReply = 2
	socksUnreachable socksReply = 4
	socksRefused     socksReply = 5
	socksBadCommand  socksReply = 7
	socksBadAddress  socksReply = 8
)

// socksError is a handshake that ends with a reply other than success.
type socksError struct {
	reply socksReply
	err   error
}

func (e *socksError) Error() string { return e.err.Error() }
func (e *socksError) Unwrap() error { return e.err }

// serveSOCKS serves a connection whose first byte is the version of SOCKS5.
func (s *server) serveSOCKS(ctx context.Context, c *client) {
	h, port, err := readSOCKS(c)
	if err == nil {
		var up net.Conn
		if up, err = s.dial(ctx, c, h, port); err == nil {
			defer up.Close()
			if writeSOCKS(c, socksOK) == nil {
				s.tunnel(ctx, c, up, h, port)
			}
			return
		}
		s.failed(err)
		err = &socksError{dialReply(err), err}
	} else {
		s.denied(err)
	}
	if failed, ok := errors.AsType[*socksError](err); ok {
		if writeSOCKS(c, failed.reply) == nil {
			s.linger(c)
		}
	}
}

// dialReply renders an error of Guard.dial.
func dialReply(err error) socksReply {
	if _, denied := errors.AsType[*Denied](err); denied {
		return socksDenied
	}
	if f, ok := errors.AsType[*Failed](err); ok {
		switch f.Cause {
		case CauseRefused:
			return socksRefused
		case CauseName, CauseNameTimeout, CauseUnreachable:
			return socksUnreachable
		}
	}
	return socksFailed
}

// readSOCKS reads the greeting, answers it, and reads the request. Only CONNECT
// without authentication is spoken: whoever reaches the listener is the worker
// it belongs to.
func readSOCKS(c *client) (Host, uint16, error) {
	var greeting [2]byte
	if _, err := io.ReadFull(c.r, greeting[:]); err != nil {
		return Host{}, 0, err
	}
	methods := make([]byte, greeting[1])
	if _, err := io.ReadFull(c.r, methods); err != nil {
		return Host{}, 0, err
	}
	method := byte(socksNoMethods)
	for _, m := range methods {
		if m == socksNoAuth {
			method = socksNoAuth
		}
	}
	if _, err := c.w.Write([]byte{socks5, method}); err != nil {
		return Host{}, 0, err
	}
	if err := c.w.Flush(); err != nil {
		return Host{}, 0, err
	}
	if method != socksNoAuth {
		return Host{}, 0, errors.New("the client insists on SOCKS5 authentication")
	}
	return readSOCKSRequest(c.r)
}

// readSOCKSRequest reads what the client wants. Its errors are *socksError
// where there is something to answer.
func readSOCKSRequest(r io.Reader) (Host, uint16, error) {
	var head [4]byte // version, command, reserved, type of address
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return Host{}, 0, err
	}
	if head[0] != socks5 || head[2] != 0 {
		return Host{}, 0, &socksError{socksFailed, errors.New("malformed SOCKS5 request")}
	}
	if head[1] != socksConnect {
		return Host{}, 0, &socksError{socksBadCommand, &Denied{Rule: RuleNetwork,
			Reason: fmt.Sprintf("SOCKS5 command %d is refused, only CONNECT is carried", head[1])}}
	}
	raw, err := readSOCKSAddress(r, head[3])
	if err != nil {
		return Host{}, 0, err
	}
	var portBytes [2]byte
	if _, err := io.ReadFull(r, portBytes[:]); err != nil {
		return Host{}, 0, err
	}
	port := binary.BigEndian.Uint16(portBytes[:])
	if head[3] != socksName {
		// netip prints what ParseHost would read, but a mapped address must not
		// pass for IPv6.
		addr, _ := netip.AddrFromSlice(raw)
		return Host{addr: addr.Unmap()}, port, nil
	}
	h, err := ParseHost(string(raw))
	if err != nil {
		return Host{}, 0, &socksError{socksDenied, badHost(string(raw), port, err)}
	}
	return h, port, nil
}

func readSOCKSAddress(r io.Reader, kind byte) ([]byte, error) {
	size := 0
	switch kind {
	case socksIPv4:
		size = 4
	case socksIPv6:
		size = 16
	case socksName:
		var n [1]byte
		if _, err := io.ReadFull(r, n[:]); err != nil {
			return nil, err
		}
		size = int(n[0])
	default:
		return nil, &socksError{socksBadAddress, fmt.Errorf("SOCKS5 address of type %d", kind)}
	}
	raw := make([]byte, size)
	_, err := io.ReadFull(r, raw)
	return raw, err
}

// writeSOCKS sends the reply. The bound address in it is left at zero: it would
// tell the client about the host's network.
func writeSOCKS(c *client, reply socksReply) error {
	if _, err := c.w.Write([]byte{socks5, byte(reply), 0, socksIPv4, 0, 0, 0, 0, 0, 0}); err != nil {
		return err
	}
	return c.w.Flush()
}
