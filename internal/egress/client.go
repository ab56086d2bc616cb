package egress

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"
)

// ErrBodyTooLarge is what reading a response beyond ClientOptions.MaxBody ends
// with.
var ErrBodyTooLarge = errors.New("response body is larger than permitted")

// ClientOptions bounds an HTTP client. Zero values mean the defaults.
type ClientOptions struct {
	Timeout      time.Duration // of a whole exchange, body included; 0: 60 s
	MaxBody      int64         // bytes of a body after decompression; 0: 32 MiB
	MaxRedirects int           // 0: 10; negative: none is followed
}

// Client returns an HTTP client for tools that fetch URLs on an agent's behalf.
// All its connections are the Guard's: proxies of the environment (HTTP_PROXY)
// are ignored, because a guard that dials a proxy checks only the proxy. Every
// redirect is checked like the first URL; only http and https are followed.
//
// Its connections are its own; CloseIdleConnections ends the idle ones.
func (g *Guard) Client(o ClientOptions) *http.Client {
	if o.Timeout == 0 {
		o.Timeout = time.Minute
	}
	if o.MaxBody == 0 {
		o.MaxBody = 32 << 20
	}
	if o.MaxRedirects == 0 {
		o.MaxRedirects = 10
	}
	return &http.Client{
		Timeout:   o.Timeout,
		Transport: &guarded{guard: g, next: g.transport(), maxBody: o.MaxBody},
		CheckRedirect: func(req *http.Request, via []*http.Request) error {
			if len(via) > max(o.MaxRedirects, 0) {
				return &Denied{Host: req.URL.Hostname(), Rule: RuleRedirects,
					Reason: fmt.Sprintf("was not asked: more than %d redirects", max(o.MaxRedirects, 0))}
			}
			return nil // the next RoundTrip checks where it leads
		},
	}
}

func (g *Guard) transport() *http.Transport {
	return &http.Transport{
		Proxy:                  nil,
		DialContext:            g.DialContext,
		ForceAttemptHTTP2:      true,
		TLSHandshakeTimeout:    10 * time.Second,
		ResponseHeaderTimeout:  time.Minute,
		MaxResponseHeaderBytes: 256 << 10,
		MaxIdleConns:           16,
		IdleConnTimeout:        30 * time.Second,
	}
}

// checkURL refuses early what the dial would refuse, with the URL's own words.
// A host outside ASCII passes here: the transport turns it into its xn-- form
// before the dial checks it.
func (g *Guard) checkURL(u *url.URL) error {
	if u.Scheme != "http" && u.Scheme != "https" {
		return &Denied{Host: u.Hostname(), Rule: RuleScheme,
			Reason: fmt.Sprintf("is refused under scheme %q, expected http or https", clip(u.Scheme))}
	}
	for i := range len(u.Host) {
		if u.Host[i] >= 0x80 {
			return nil
		}
	}
	fallback := uint16(80)
	if u.Scheme == "https" {
		fallback = 443
	}
	h, port, err := ParseAuthority(u.Host, fallback)
	if err != nil {
		return badHost(u.Host, 0, err)
	}
	return g.permit(h, port)
}

// guarded is a RoundTripper over a Guard's connections.
type guarded struct {
	guard   *Guard
	next    *http.Transport
	maxBody int64
}

func (t *guarded) CloseIdleConnections() { t.next.CloseIdleConnections() }

func (t *guarded) RoundTrip(req *http.Request) (*http.Response, error) {
	if err := t.guard.checkURL(req.URL); err != nil {
		if req.Body != nil {
			req.Body.Close() // a RoundTripper closes it, errors included
		}
		return nil, err
	}
	resp, err := t.next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	// A body that can be written to is a connection of another protocol.
	if _, upgraded := resp.Body.(io.Writer); !upgraded {
		resp.Body = &boundedBody{ReadCloser: resp.Body, left: t.maxBody}
	}
	return resp, nil
}

// boundedBody gives left bytes, then ErrBodyTooLarge unless that was all.
type boundedBody struct {
	io.ReadCloser
	left int64
}

func (b *boundedBody) Read(p []byte) (int, error) {
	// One byte more than permitted tells a body of the permitted size from a
	// longer one.
	if int64(len(p)) > b.left+1 {
		p = p[:b.left+1]
	}
	n, err := b.ReadCloser.Read(p)
	if int64(n) > b.left {
		n, err = int(b.left), ErrBodyTooLarge
	}
	b.left -= int64(n)
	return n, err
}
