package egress

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"
)

const (
	dialTimeout = 15 * time.Second // resolving and connecting together
	maxAddrs    = 8                // of one name that are tried
)

// Resolver turns a name into addresses. *net.Resolver is one.
type Resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// Guard makes connections that a policy permits. The zero value permits none.
// Its fields are not to be changed once it is in use; then it may be used by any
// number of goroutines. It holds nothing that needs closing.
type Guard struct {
	Policy *Policy // nil: nothing is permitted
	Worker string  // handed to Check as Dial.Worker

	// Check is asked last, once a connection (not once a request), after the
	// address passed. An error refuses and is what [Denied.Err] holds. nil: yes.
	Check func(ctx context.Context, d Dial) error

	// Loopback connects to an address of the worker's own loopback, where hosts of
	// loopback then are, listed or not, that no rule unlocks as the machine's. It
	// must be unable to connect to any other. nil: there is only the machine's.
	Loopback func(ctx context.Context, addr netip.AddrPort) (net.Conn, error)
	// LoopbackHint, where there is no Loopback, completes the refusal of a host of
	// loopback: why there is none, and what to do. "": nothing is added.
	LoopbackHint string

	Resolver Resolver // nil: net.DefaultResolver
	// Connect dials an address that passed, given as ip:port. nil: a net.Dialer.
	Connect func(ctx context.Context, network, address string) (net.Conn, error)
	// Own returns the machine's addresses. nil: net.InterfaceAddrs. It is asked
	// for every connection, because addresses come and go.
	Own func() ([]net.Addr, error)
}

// DialContext connects to address, host:port, over TCP (network "tcp", "tcp4" or
// "tcp6"). It matches the allow list before it resolves, resolves once, drops
// every address that is not permitted, asks Check, and dials the addresses that
// are left, in the resolver's order, so that no second lookup can lead
// elsewhere. A refusal is a [*Denied], a failure to resolve or connect a [*Failed].
func (g *Guard) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	conn, _, err := g.dialAddress(ctx, network, address)
	return conn, err
}

func (g *Guard) dialAddress(ctx context.Context, network, address string) (net.Conn, Dial, error) {
	if network != "tcp" && network != "tcp4" && network != "tcp6" {
		return nil, Dial{}, &Denied{Host: address, Rule: RuleNetwork, Reason: "over " + network + ": only TCP is carried"}
	}
	h, port, err := ParseAuthority(address, 0)
	if err != nil {
		return nil, Dial{}, badHost(address, 0, err)
	}
	return g.dial(ctx, network, h, port)
}

func badHost(host string, port uint16, err error) *Denied {
	return &Denied{Host: clip(host), Port: port, Rule: RuleHostName, Reason: "is refused: " + err.Error()}
}

// permit is the check that comes before resolving.
func (g *Guard) permit(h Host, port uint16) error {
	if g.Policy.Permits(h, port) || g.inner(h, port) != nil {
		return nil
	}
	reason := "is not in the allow list"
	if g.Policy.Empty() {
		reason = "is not in the allow list, which is empty"
	}
	if g.LoopbackHint != "" && h.OnLoopback() {
		reason += "; " + g.LoopbackHint
	}
	return &Denied{Host: h.String(), Port: port, Rule: RuleAllowList, Reason: reason}
}

func (g *Guard) dial(ctx context.Context, network string, h Host, port uint16) (net.Conn, Dial, error) {
	if err := g.permit(h, port); err != nil {
		return nil, Dial{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	if addrs := g.inner(h, port); addrs != nil {
		return g.dialInner(ctx, h, port, addrs)
	}
	addrs, err := g.resolve(ctx, network, h, port)
	if err != nil {
		return nil, Dial{}, err
	}
	var errs []error
	for i, addr := range addrs {
		d := Dial{Worker: g.Worker, Host: h.String(), Addr: netip.AddrPortFrom(addr, port)}
		if err := g.check(ctx, d); err != nil {
			return nil, Dial{}, &Denied{Host: d.Host, Port: port, Addr: addr, Rule: RuleCheck,
				Reason: "was refused: " + err.Error(), Err: err}
		}
		conn, err := g.connect(ctx, d.Addr, len(addrs)-i)
		if err == nil {
			return conn, d, nil
		}
		errs = append(errs, err)
	}
	return nil, Dial{}, unconnected(h, port, errors.Join(errs...))
}

// check asks Check. A panic in it is a no: a confined process chooses the hosts
// it is asked about, and must not find one that ends the program.
func (g *Guard) check(ctx context.Context, d Dial) (err error) {
	if g.Check == nil {
		return nil
	}
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the check panicked: %v", p)
		}
	}()
	return g.Check(ctx, d)
}

// share gives an address its share of the time that is left, so that one that
// swallows packets leaves some for the others.
func (g *Guard) share(ctx context.Context, left int) (context.Context, context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, time.Until(deadline)/time.Duration(left))
}

func (g *Guard) connect(ctx context.Context, addr netip.AddrPort, left int) (net.Conn, error) {
	ctx, cancel := g.share(ctx, left)
	defer cancel()
	if g.Connect != nil {
		return g.Connect(ctx, "tcp", addr.String())
	}
	var d net.Dialer
	return d.DialContext(ctx, "tcp", addr.String())
}

// resolve returns the addresses of h that may be dialled, at least one, or the
// reason why there is none. Some addresses of a name may be refused while others
// pass: behind DNS64 every name has a synthetic address that does not.
func (g *Guard) resolve(ctx context.Context, network string, h Host, port uint16) ([]netip.Addr, error) {
	addrs := []netip.Addr{h.addr}
	if _, literal := h.Addr(); !literal {
		var r Resolver = net.DefaultResolver
		if g.Resolver != nil {
			r = g.Resolver
		}
		var err error
		addrs, err = r.LookupNetIP(ctx, strings.Replace(network, "tcp", "ip", 1), h.name)
		if err != nil {
			return nil, unresolved(h, port, withoutServer(err))
		}
	}
	own, err := g.own()
	if err != nil {
		return nil, &Failed{Host: h.String(), Port: port, Cause: CauseInternal, Err: fmt.Errorf("reading the machine's own addresses: %w", err)}
	}
	var first *Denied
	pass := make([]netip.Addr, 0, len(addrs))
	for _, addr := range addrs {
		addr = addr.Unmap()
		if d := g.vet(h, port, addr, own); d != nil {
			if first == nil {
				first = d
			}
			continue
		}
		if pass = append(pass, addr); len(pass) == maxAddrs {
			break
		}
	}
	switch {
	case len(pass) > 0:
		return pass, nil
	case first != nil:
		return nil, first
	}
	return nil, unresolved(h, port, errors.New("no addresses"))
}

// withoutServer keeps the address of the host's name server to the host: the
// error is shown to the confined process.
func withoutServer(err error) error {
	d, ok := errors.AsType[*net.DNSError](err)
	if !ok {
		return err
	}
	c := *d
	c.Server = ""
	return &c
}

// own returns the machine's addresses.
func (g *Guard) own() ([]netip.Addr, error) {
	list := net.InterfaceAddrs
	if g.Own != nil {
		list = g.Own
	}
	nets, err := list()
	if err != nil {
		return nil, err
	}
	addrs := make([]netip.Addr, 0, len(nets))
	for _, n := range nets {
		ip, ok := n.(*net.IPNet)
		if !ok {
			return nil, fmt.Errorf("address %v of type %T is not understood", n, n)
		}
		if a, ok := netip.AddrFromSlice(ip.IP); ok {
			addrs = append(addrs, a.Unmap())
		}
	}
	return addrs, nil
}

// vet returns why h may not lead to addr, or nil. Of several reasons it gives
// the most particular one.
func (g *Guard) vet(h Host, port uint16, addr netip.Addr, own []netip.Addr) *Denied {
	deny := func(rule, what string) *Denied {
		verb := "resolves to " + addr.String() + ", which is "
		if _, literal := h.Addr(); literal {
			verb = "is permitted only when listed by itself, being "
		}
		return &Denied{Host: h.String(), Port: port, Addr: addr, Rule: rule, Reason: verb + what}
	}
	if !addr.IsValid() || addr.Zone() != "" {
		return deny(RuleHostName, "not an address without a zone")
	}
	var worst *block
	for i, b := range special {
		locked := b.never || !g.Policy.unlocks(h, port, addr, b.net)
		if b.net.Contains(addr) && locked && (worst == nil || b.net.Bits() > worst.net.Bits()) {
			worst = &special[i]
		}
	}
	if worst != nil {
		return deny(worst.String(), worst.String())
	}
	// A loopback address is the machine's own in every way, and was judged as
	// such above: listing 127.0.0.0/8 is enough for it.
	for _, o := range own {
		if o.WithZone("") == addr && !addr.IsLoopback() &&
			!g.Policy.unlocks(h, port, addr, netip.PrefixFrom(addr, addr.BitLen())) {
			return deny(RuleOwn, "an address of this machine")
		}
	}
	return nil
}
