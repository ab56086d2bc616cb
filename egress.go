package sandbox

import (
	"context"
	"log/slog"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/agentflow-go/sandbox/internal/egress"
)

// maxEgressConns bounds the connections of one jail at once: each costs this
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
	policy, err := allowList(e)
	if err != nil || policy.Empty() {
		return nil, err
	}
	guard := &egress.Guard{Policy: policy}
	if e.Check != nil {
		guard.Check = func(ctx context.Context, d egress.Dial) error {
			return e.Check(ctx, Dial{Worker: o.workerID(), Host: d.Host, Addr: d.Addr})
		}
	}
	config := egress.Config{
		Guard: guard, MaxConns: maxEgressConns,
		OnDenied: func(d egress.Denied) { o.sb.denials.add(o.sb.opts.Logger, o.workerID(), &d) },
	}
	return func(ln net.Listener) {
		// Ends with the listener, which is the jail's.
		if err := egress.Serve(context.Background(), ln, config); err != nil {
			o.sb.opts.Logger.Error("the network proxy of a session failed; its programs have no network", "worker", o.workerID(), "error", err)
		}
	}, nil
}

// Denials are logged once each. A process that asks for ever new hosts gets
// maxDenials lines in denialSpan, and the rest counted.
const (
	maxDenials = 256
	denialSpan = time.Minute
)

// denials remembers which refusals of the proxy were logged. The zero value
// remembers none.
type denials struct {
	mu    sync.Mutex
	seen  map[denial]struct{} // at most maxDenials
	since time.Time           // when seen was empty
	total int64               // all there were
}

type denial struct{ worker, rule, host string }

// add counts d and logs it if it is new. What a process sent is quoted in d's text.
func (ds *denials) add(log *slog.Logger, worker string, d *egress.Denied) {
	key := denial{worker, d.Rule, d.Host}
	if len(key.host) > 253 { // no host has more; what is asked for may
		key.host = strings.Clone(key.host[:253])
	}
	ds.mu.Lock()
	ds.total++
	total := ds.total
	if now := time.Now(); len(ds.seen) == 0 || len(ds.seen) >= maxDenials && now.Sub(ds.since) >= denialSpan {
		ds.seen, ds.since = map[denial]struct{}{}, now
	}
	_, known := ds.seen[key]
	fresh := !known && len(ds.seen) < maxDenials
	if fresh {
		ds.seen[key] = struct{}{}
	}
	ds.mu.Unlock()
	if fresh {
		log.Warn("network denied", "worker", worker, "rule", d.Rule, "denial", d.Error(), "total", total)
	}
}
