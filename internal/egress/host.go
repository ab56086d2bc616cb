package egress

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// Host is a host name in normal form or a literal address. Two Hosts are equal
// (==) when they name the same host. The zero value is no host.
type Host struct {
	name string     // lower case, without trailing dot; "" for an address
	addr netip.Addr // unmapped, without zone; invalid for a name
}

// Addr returns the literal address, and false for a name.
func (h Host) Addr() (netip.Addr, bool) { return h.addr, h.addr.IsValid() }

// String returns the name, or the address without brackets.
func (h Host) String() string {
	if h.addr.IsValid() {
		return h.addr.String()
	}
	return h.name
}

// join returns host:port, an IPv6 address in brackets.
func (h Host) join(port uint16) string {
	if h.addr.IsValid() {
		return netip.AddrPortFrom(h.addr, port).String()
	}
	return h.name + ":" + strconv.Itoa(int(port))
}

// ParseHost reads a host name or a literal IPv4 or IPv6 address (with or without
// brackets). Names are put in lower case and lose one trailing dot; an
// IPv4-mapped IPv6 address becomes the IPv4 address it is.
//
// It refuses control bytes, zones, names outside ASCII (international names are
// written in their xn-- form; the conversion would need tables of 1 MB in the
// core) and everything that some resolvers take for an address though it is none
// in the usual notation: 127.1, 0x7f.1, 0177.0.0.1, 2130706433, 127.0.0.1. with
// a trailing dot.
func ParseHost(s string) (Host, error) {
	switch {
	case s == "":
		return Host{}, errors.New("empty host, expected a name such as example.com or an address such as 192.0.2.1")
	case len(s) > 255:
		return Host{}, fmt.Errorf("host of %d bytes, expected at most 253", len(s))
	}
	for i := range len(s) {
		switch c := s[i]; {
		case c <= ' ' || c == 0x7f:
			return Host{}, fmt.Errorf("host %q holds the control byte or space 0x%02x", s, c)
		case c >= 0x80:
			return Host{}, fmt.Errorf("host %q is not ASCII, expected the name's xn-- form", s)
		case c == '%':
			return Host{}, fmt.Errorf("host %q holds %%, expected neither a zone nor percent-encoding", s)
		}
	}
	if inner, ok := strings.CutPrefix(s, "["); ok {
		inner, ok = strings.CutSuffix(inner, "]")
		a, err := netip.ParseAddr(inner)
		if !ok || err != nil || !a.Is6() {
			return Host{}, fmt.Errorf("host %q, expected an IPv6 address in brackets such as [2001:db8::1]", s)
		}
		return Host{addr: a.Unmap()}, nil
	}
	if strings.Contains(s, ":") {
		a, err := netip.ParseAddr(s)
		if err != nil {
			return Host{}, fmt.Errorf("host %q is neither a name nor an IPv6 address", s)
		}
		return Host{addr: a.Unmap()}, nil
	}
	if a, err := netip.ParseAddr(s); err == nil {
		return Host{addr: a}, nil
	}
	return parseName(s)
}

func parseName(s string) (Host, error) {
	name := strings.TrimSuffix(strings.ToLower(s), ".")
	if len(name) > 253 {
		return Host{}, fmt.Errorf("host name of %d bytes, expected at most 253", len(name))
	}
	last := name[strings.LastIndexByte(name, '.')+1:]
	if numeric(last) {
		return Host{}, fmt.Errorf("host %q looks like an address in an unusual notation, expected four decimal numbers such as 192.0.2.1", s)
	}
	for label := range strings.SplitSeq(name, ".") {
		if err := checkLabel(label); err != nil {
			return Host{}, fmt.Errorf("host %q: %w", s, err)
		}
	}
	return Host{name: name}, nil
}

func checkLabel(label string) error {
	switch {
	case label == "":
		return errors.New("empty label, expected a name such as example.com")
	case len(label) > 63:
		return fmt.Errorf("label of %d bytes, expected at most 63", len(label))
	case label[0] == '-' || label[len(label)-1] == '-':
		return errors.New("a label begins or ends with a hyphen")
	}
	for i := range len(label) {
		if c := label[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return fmt.Errorf("unexpected %q, expected letters, digits, hyphens and dots", c)
		}
	}
	return nil
}

// numeric reports whether a name that ends in label is an IPv4 address to
// inet_aton or to a browser: its last label is a decimal, octal or hexadecimal
// number.
func numeric(label string) bool {
	if hex, ok := strings.CutPrefix(label, "0x"); ok {
		return strings.Trim(hex, "0123456789abcdef") == ""
	}
	return label != "" && strings.Trim(label, "0123456789") == ""
}

// ParseAuthority reads host:port, IPv6 addresses in brackets. Without a port it
// returns fallback, or an error where fallback is 0.
func ParseAuthority(s string, fallback uint16) (Host, uint16, error) {
	host, port, err := splitAuthority(s)
	if err != nil {
		return Host{}, 0, err
	}
	h, err := ParseHost(host)
	switch {
	case err != nil:
		return Host{}, 0, err
	case port != "":
		p, err := parsePort(port)
		return h, p, err
	case fallback == 0:
		return Host{}, 0, fmt.Errorf("%q has no port, expected host:port such as example.com:443", clip(s))
	}
	return h, fallback, nil
}

// splitAuthority takes the port off; it is "" where there is none.
func splitAuthority(s string) (host, port string, err error) {
	if strings.HasPrefix(s, "[") {
		end := strings.IndexByte(s, ']') + 1
		rest := s[end:]
		switch {
		case end == 0:
			return "", "", fmt.Errorf("%q lacks the closing bracket", clip(s))
		case rest == "":
			return s, "", nil
		case len(rest) > 1 && rest[0] == ':':
			return s[:end], rest[1:], nil
		}
		return "", "", fmt.Errorf("%q, expected [address]:port such as [2001:db8::1]:443", clip(s))
	}
	host, port, found := strings.Cut(s, ":")
	switch {
	case strings.Contains(port, ":"):
		return "", "", fmt.Errorf("%q has more than one colon, expected an IPv6 address in brackets such as [2001:db8::1]:443", clip(s))
	case found && port == "":
		return "", "", fmt.Errorf("%q has an empty port, expected a number such as 443", clip(s))
	}
	return host, port, nil
}

// parsePort accepts plain decimal numbers only: no sign, no leading zero.
func parsePort(s string) (uint16, error) {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil || n == 0 || s[0] == '0' {
		return 0, fmt.Errorf("port %q, expected a number from 1 to 65535", clip(s))
	}
	return uint16(n), nil
}

// clip shortens text that came from outside before it is quoted in an error.
func clip(s string) string {
	if len(s) > 256 {
		return s[:256] + "…"
	}
	return s
}
