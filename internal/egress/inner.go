package egress

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
)

// Read only.
var (
	loopback4 = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	loopback6 = netip.IPv6Loopback()
)

// inner returns where on the worker's own loopback h is, in the order to be tried:
// nowhere if there is no such loopback, if h is no host of one, or if a rule gives
// that of the machine in its place.
func (g *Guard) inner(h Host, port uint16) []netip.Addr {
	if g.Loopback == nil {
		return nil
	}
	addrs := onLoopback(h)
	for _, a := range addrs {
		if g.Policy.unlocks(h, port, a, loopbackOf(a)) {
			return nil
		}
	}
	return addrs
}

// OnLoopback reports whether h is a host of loopback, as it is written.
func (h Host) OnLoopback() bool { return onLoopback(h) != nil }

// onLoopback returns what h means on a loopback, nothing if it is elsewhere. How h
// is written decides: localhost, the names below it (RFC 6761), literal addresses
// of loopback, and the unspecified ones, by which servers say where they listen.
// Where another name leads is a resolver's word, which counts for nothing here.
func onLoopback(h Host) []netip.Addr {
	addr, literal := h.Addr()
	switch {
	case h.name == "localhost", strings.HasSuffix(h.name, ".localhost"):
		return []netip.Addr{loopback4, loopback6}
	case !literal:
		return nil
	case addr == netip.IPv4Unspecified():
		return []netip.Addr{loopback4}
	case addr == netip.IPv6Unspecified():
		return []netip.Addr{loopback6}
	case addr.IsLoopback():
		return []netip.Addr{addr}
	}
	return nil
}

// loopbackOf is the special block that a belongs to.
func loopbackOf(a netip.Addr) netip.Prefix {
	if a.Is4() {
		return netip.PrefixFrom(loopback4, 8).Masked()
	}
	return netip.PrefixFrom(loopback6, 128)
}

// dialInner connects to h on the worker's own loopback. What is there is the
// worker's, so there is nothing to resolve, to vet or to ask.
func (g *Guard) dialInner(ctx context.Context, h Host, port uint16, addrs []netip.Addr) (net.Conn, Dial, error) {
	var errs []error
	for i, addr := range addrs {
		d := Dial{Worker: g.Worker, Host: h.String(), Addr: netip.AddrPortFrom(addr, port)}
		share, cancel := g.share(ctx, len(addrs)-i)
		conn, err := g.Loopback(share, d.Addr)
		cancel()
		if err == nil {
			return conn, d, nil
		}
		errs = append(errs, err)
	}
	f := unconnected(h, port, errors.Join(errs...))
	f.Inner = true
	return nil, Dial{}, f
}

// isInner reports whether u is of a server on the worker's own loopback.
func (g *Guard) isInner(u *url.URL) bool {
	h, port, err := ParseAuthority(u.Host, 80)
	return err == nil && g.inner(h, port) != nil
}

// revalidate has browsers ask anew for what a server gives no time to live. They
// would guess one from its age (RFC 9111, 4.2.2), and go on showing a file that the
// worker has edited since.
func revalidate(header http.Header) {
	if header["Cache-Control"] == nil && header["Expires"] == nil {
		header["Cache-Control"] = []string{"no-cache"}
	}
}
