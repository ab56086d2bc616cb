package browser

import (
	"context"

	"github.com/agentflow-go/sandbox"
)

// proxyFor returns the address of the proxy that applies the policy of worker to
// a browser in the jail of home, and what ends it. "" means that there is none,
// because nothing is confined.
func proxyFor(ctx context.Context, home, worker sandbox.Env) (addr string, stop func(), err error) {
	addr, stop, err = home.Proxy(ctx, worker, sandbox.ProxyOptions{})
	if err != nil {
		stop = func() {}
	}
	return addr, stop, err
}
