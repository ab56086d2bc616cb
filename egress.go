package sandbox

import (
	"context"
	"net"
	"strings"

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
		OnDenied: func(d egress.Denied) { o.denied(&d) },
	}
	return func(ln net.Listener) {
		// Ends with the listener, which is the jail's.
		if err := egress.Serve(context.Background(), ln, config); err != nil {
			o.sb.opts.Logger.Error("the network proxy of a session failed; its programs have no network", "worker", o.workerID(), "error", err)
		}
	}, nil
}
