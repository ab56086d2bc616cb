package browser

import (
	"cmp"
	"context"
	"net"
	"net/url"
	"strconv"
	"strings"
	"sync"

	"github.com/agentflow-go/sandbox"
	"github.com/agentflow-go/sandbox/internal/egress"
)

// unreached remembers which hosts a session's proxy did not reach, and why: of a
// tunnel the browser says only that there is none.
type unreached struct {
	mu   sync.Mutex        // guards text
	text map[string]string // by host:port, of the last time
}

// maxUnreached bounds what is remembered: pages choose whom they ask for.
const maxUnreached = 256

func (r *unreached) add(u sandbox.Unreachable) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.text == nil || len(r.text) >= maxUnreached {
		r.text = map[string]string{}
	}
	r.text[net.JoinHostPort(u.Host, strconv.Itoa(u.Port))] = u.Text
}

// why returns why the host of an address was not reached, "" if that is not known.
func (r *unreached) why(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "ws": "80", "https": "443", "wss": "443"}[u.Scheme]
	}
	h, err := egress.ParseHost(u.Hostname())
	if err != nil {
		return ""
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text[net.JoinHostPort(h.String(), port)]
}

// serveProxy makes the proxy that applies the session's policy to a browser in the
// jail of home. There is none where nothing is confined.
func (s *session) serveProxy(ctx context.Context, home sandbox.Env) error {
	addr, stop, err := home.Proxy(ctx, *s.env.Load(), sandbox.ProxyOptions{OnUnreachable: s.unreached.add})
	if err != nil {
		return err
	}
	s.proxy, s.stopProxy = addr, stop
	return nil
}

// fromProxy reports whether a response is the proxy's own. Other servers cannot say
// so: the proxy drops the field from what it passes on, and what it does not see,
// because it is encrypted or a page's own worker made it, does not count.
func (s *session) fromProxy(address string, fromWorker bool, fields map[string]string) bool {
	if s.proxy == "" || fromWorker || !strings.HasPrefix(address, "http://") {
		return false
	}
	for name := range fields {
		if strings.EqualFold(name, egress.StatusField) {
			return true
		}
	}
	return false
}

// loadError explains why a document is not what was asked for; nil if it is.
func (s *session) loadError(call sandbox.Call, d document) error {
	asked := cmp.Or(d.asked, d.url)
	switch {
	case d.own && d.status == 403:
		if err := denial(call, asked); err != nil {
			return err
		}
		return sandbox.Errorf(sandbox.ErrDenied, "%s", clip(d.text, 500))
	case d.own:
		return sandbox.Errorf(sandbox.ErrCrawling, "%s: %s", clip(asked, 200), clip(d.text, 500))
	case strings.HasPrefix(d.url, "chrome-error:"):
		return s.navigationError(call, asked, d.failed)
	}
	return nil
}

// loadErrorText is loadError of what the tab shows, as text; "" for none.
func (t *tab) loadErrorText(call sandbox.Call) string {
	t.mu.Lock()
	d := *t.document(t.frames[t.main].loader)
	t.mu.Unlock()
	if err := t.s.loadError(call, d); err != nil {
		return err.Error()
	}
	return ""
}
