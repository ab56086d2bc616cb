package sandbox

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"

	"github.com/agentflow-go/sandbox/internal/egress"
)

// maxEgressConns bounds the connections to one proxy at once: each costs this
// program two descriptors.
const maxEgressConns = 128

// allowList compiles e.Allow. The error names every bad pattern.
func allowList(e Egress) (*egress.Policy, error) {
	p, err := egress.ParsePolicy(e.Allow)
	if err != nil {
		return nil, &Error{
			Code: ErrInvalidInput, Err: err,
			Message: "confinement.egress.allow: " + strings.ReplaceAll(err.Error(), "\n", "; "),
		}
	}
	return p, nil
}

// proxy returns what serves the network of the owner's jails; nil for none.
func (o *owner) proxy(e Egress) (func(net.Listener), error) {
	config, err := o.egressConfig(e)
	if err != nil || config.Guard.Policy.Empty() {
		return nil, err
	}
	return func(ln net.Listener) { o.serveProxy(ln, config) }, nil // ends with the listener, which is the jail's
}

// egressConfig is a proxy by e's rules.
func (o *owner) egressConfig(e Egress) (egress.Config, error) {
	policy, err := allowList(e)
	if err != nil {
		return egress.Config{}, err
	}
	guard := &egress.Guard{Policy: policy}
	if e.Check != nil {
		guard.Check = func(ctx context.Context, d egress.Dial) error {
			return e.Check(ctx, Dial{Worker: o.workerID(), Host: d.Host, Addr: d.Addr})
		}
	}
	return egress.Config{
		Guard: guard, MaxConns: maxEgressConns,
		OnDenied: func(d egress.Denied) { o.denied(&d) },
	}, nil
}

// serveProxy serves until ln is closed.
func (o *owner) serveProxy(ln net.Listener, config egress.Config) {
	if err := egress.Serve(context.Background(), ln, config); err != nil {
		o.sb.opts.Logger.Error("a network proxy failed; programs that use it have no network", "worker", o.workerID(), "error", err)
	}
}

// ProxyOptions are those of [Env.Proxy]. The zero value is useful.
type ProxyOptions struct {
	// OnUnreachable hears, before the program does, of each host that policy permits
	// and that was not reached. It is called from many goroutines at once and must
	// not block. nil: nobody listens.
	OnUnreachable func(Unreachable)
}

// Unreachable is a host that policy permits and that a proxy did not reach.
type Unreachable struct {
	Host  string // as asked for, in normal form
	Port  int
	Cause string // as in RFC 9209: dns_error, connection_refused, connection_timeout …
	Text  string // for people and models: cannot reach example.com:443: the name does not resolve; check its spelling
}

// envProxy is a proxy of [Env.Proxy].
type envProxy struct {
	ln     net.Listener
	in, of *owner // whose loopback it is on, and whose policy it serves
	served chan struct{}
}

func (o *owner) proxyFor(ctx context.Context, worker *owner, opts ProxyOptions) (string, func(), error) {
	switch {
	case o == nil || worker == nil:
		return "", nil, errNoSandbox()
	case o.sb != worker.sb:
		return "", nil, Errorf(ErrInvalidRequest, "the worker's Env is another sandbox's")
	case o.ws != nil && o != worker:
		return "", nil, Errorf(ErrInvalidRequest, "a session serves no policy but its own: programs of its worker would have another's network; call Proxy on the Env of a Warmup")
	}
	config, err := worker.egressConfig(worker.policyOf().Egress)
	if err != nil {
		return "", nil, err
	}
	switch {
	case worker.ws == nil:
		// On the loopback of a warmup are the proxies of others.
	case worker.apart:
		// Who shared the worker's loopback would share the proxy on it, which lets
		// more out.
		config.Guard.LoopbackHint = "the worker's own servers are out of reach of a session that narrows the network policy: create it without egress in its confinement"
	default:
		config.Guard.Loopback = worker.dialLoopback
	}
	if opts.OnUnreachable != nil {
		config.OnFailed = func(f egress.Failed) {
			opts.OnUnreachable(Unreachable{Host: f.Host, Port: int(f.Port), Cause: f.Cause, Text: f.Error()})
		}
	}
	j, err := o.jailed(ctx)
	if err != nil {
		return "", nil, err
	}
	if level, _ := o.sb.host.level(o.policyOf()); level == "none" {
		return "", func() {}, nil
	}
	ln, addr, err := j.Listen(ctx)
	if err != nil {
		return "", nil, jailError(err)
	}
	p := &envProxy{ln: ln, in: o, of: worker, served: make(chan struct{})}
	go func() { // ends with the listener, which stop, or the end of either owner, closes
		defer close(p.served)
		worker.serveProxy(ln, config)
	}()
	if !o.keep(p) || !worker.keep(p) {
		p.stop()
		return "", nil, errOwnerGone()
	}
	return addr, p.stop, nil
}

// dialLoopback connects to addr on the loopback that the worker's sessions share.
func (o *owner) dialLoopback(ctx context.Context, addr netip.AddrPort) (net.Conn, error) {
	id := o.files().identity()
	if id == nil { // no program of the worker's ever ran
		return nil, syscall.ECONNREFUSED
	}
	return id.Dial(ctx, addr)
}

// keep makes p end with the owner, unless that has happened.
func (o *owner) keep(p *envProxy) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.released {
		return false
	}
	if o.proxies == nil {
		o.proxies = map[*envProxy]struct{}{}
	}
	o.proxies[p] = struct{}{}
	return true
}

func (p *envProxy) stop() {
	_ = p.ln.Close() // the jail may have done it
	<-p.served
	for _, o := range []*owner{p.in, p.of} {
		o.mu.Lock()
		delete(o.proxies, p)
		o.mu.Unlock()
	}
}

func (o *owner) sameEgress(other *owner) bool {
	if o == other {
		return true
	}
	if o == nil || other == nil || o.sb != other.sb || o.checks || other.checks {
		return false
	}
	a, b := o.policyOf().Egress.Allow, other.policyOf().Egress.Allow
	within := func(a, b []string) bool {
		return !slices.ContainsFunc(a, func(host string) bool { return !slices.Contains(b, host) })
	}
	return within(a, b) && within(b, a)
}
