package egress

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"syscall"
)

// The causes of a [Failed], in the words of RFC 9209 (Proxy-Status).
const (
	CauseName        = "dns_error"               // the name does not resolve
	CauseNameTimeout = "dns_timeout"             // no name server answered
	CauseUnreachable = "destination_unavailable" // no way leads there
	CauseRefused     = "connection_refused"      // nothing listens on the port
	CauseTimeout     = "connection_timeout"      // nobody answered
	CauseEnded       = "connection_terminated"   // the server hung up
	CauseSilent      = "http_response_timeout"   // it was connected to, and did not answer
	CauseProtocol    = "http_protocol_error"     // it does not speak HTTP
	CauseInternal    = "proxy_internal_error"    // the machine did not say what its own addresses are
)

// Failed is a connection or request that policy permits and that came to nothing,
// as opposed to one that was [Denied].
type Failed struct {
	Host  string // as asked for, in normal form
	Port  uint16
	Cause string // one of the constants
	Inner bool   // it was meant for the worker's own loopback
	Err   error  // nil: nothing more is known
}

// Error returns text such as "cannot reach example.com:443: the name does not
// resolve; check its spelling". It tells nothing of the machine's network.
func (f *Failed) Error() string {
	what, remedy := f.reason()
	return "cannot reach " + (&Denied{Host: f.Host, Port: f.Port}).target() + ": " + what + "; " + remedy
}

func (f *Failed) reason() (what, remedy string) {
	switch f.Cause {
	case CauseName:
		return "the name does not resolve", "check its spelling"
	case CauseNameTimeout:
		return "no name server answered", "try again later"
	case CauseTimeout:
		return "nobody answered in time", "the host may be down or behind a firewall: check the address and the port, or try again later"
	case CauseEnded:
		return "the server closed the connection without an answer", "check the port and the protocol, http or https"
	case CauseSilent:
		return "the server did not answer in time", "try again later"
	case CauseProtocol:
		return "what answered does not speak HTTP as it should", "check the port and the protocol, http or https"
	case CauseInternal:
		return "the machine's own addresses, which are not to be reached, are not known", "try again later"
	case CauseRefused:
		if f.Inner {
			return "the connection was refused: nothing listens there on the worker's own loopback", "start the server first, in a session of the same worker; one that was just started may need a moment"
		}
		return "the connection was refused: nothing listens there", "check the port, and that the server runs"
	}
	return "no way leads there", "check the address"
}

// timeout reports whether somebody was waited for in vain.
func (f *Failed) timeout() bool {
	return f.Cause == CauseTimeout || f.Cause == CauseNameTimeout || f.Cause == CauseSilent
}

func (f *Failed) Unwrap() error { return f.Err }

// unresolved is the failure of a lookup.
func unresolved(h Host, port uint16, err error) *Failed {
	f := &Failed{Host: h.String(), Port: port, Cause: CauseName, Err: err}
	dns, ok := errors.AsType[*net.DNSError](err)
	if isTimeout(err) || ok && dns.IsTemporary && !dns.IsNotFound {
		f.Cause = CauseNameTimeout
	}
	return f
}

// unconnected is the failure of a dial.
func unconnected(h Host, port uint16, err error) *Failed {
	f := &Failed{Host: h.String(), Port: port, Cause: CauseEnded, Err: err}
	switch {
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EADDRNOTAVAIL):
		f.Cause = CauseUnreachable
	case errors.Is(err, syscall.ECONNREFUSED):
		f.Cause = CauseRefused
	case isTimeout(err), errors.Is(err, syscall.ETIMEDOUT):
		f.Cause = CauseTimeout
	}
	return f
}

// unanswered is the failure of a request whose connection was made: err is what
// the transport returned.
func unanswered(h Host, port uint16, err error) *Failed {
	if f, ok := errors.AsType[*Failed](err); ok {
		return f
	}
	f := &Failed{Host: h.String(), Port: port, Cause: CauseProtocol, Err: err}
	switch {
	case isTimeout(err):
		f.Cause = CauseSilent
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE),
		errors.Is(err, net.ErrClosed),                                  // the transport, which saw the end first, was still writing
		strings.Contains(err.Error(), "server closed idle connection"): // an error of net/http's that has no name
		f.Cause = CauseEnded
	}
	return f
}

// isTimeout reports whether time was up, and not that somebody gave up.
func isTimeout(err error) bool {
	ne, ok := errors.AsType[net.Error](err)
	return ok && ne.Timeout() || errors.Is(err, context.DeadlineExceeded)
}
