package client

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/agentflow-go/sandbox"
)

// Options configures a [Client]. The zero value is useful.
type Options struct {
	// Token is sent as Authorization: Bearer; "": none. It is not sent to
	// other hosts: redirects are not followed.
	Token string
	// HTTPClient sends the requests; nil: one of the Client's own, without
	// time limit, with connections enough for many workers.
	HTTPClient *http.Client
	// Heartbeat is how often the server is told that workers with explicit
	// sessions made through this Client are alive; 0: never. Most servers only
	// report then what the worker has.
	Heartbeat time.Duration
	// Retries is how often a request is sent again that had no effect; 0:
	// twice; negative: never.
	Retries int
	// RetryDelay is the pause before the first of them, doubled before each
	// further; 0: 250 ms.
	RetryDelay time.Duration
	// IdempotencyKeys sends a random key with each call, so that calls whose
	// connection broke are repeated safely. The server then finishes a call
	// even if its context ends here.
	IdempotencyKeys bool
	// Grace is how long past a call's Timeout its answer is waited for; the
	// server needs it to end the tool. 0: 15 s.
	Grace time.Duration
	// MaxAnswer is how many bytes of an answer are read; 0: 256 MiB.
	MaxAnswer int64
	// Local is the server to start where none answers; nil: none is started.
	Local *LocalServer
}

const (
	defaultRetries    = 2
	defaultRetryDelay = 250 * time.Millisecond
	defaultGrace      = 15 * time.Second
	defaultMaxAnswer  = 256 << 20
)

// Client is an Executor on a server. It may be used concurrently. Close it.
type Client struct {
	base string // without trailing slash
	o    Options
	http *http.Client

	ctx    context.Context // of the heartbeat
	cancel context.CancelFunc
	beat   heartbeat

	mu    sync.Mutex // guards the following
	local *process   // the server that this Client started
}

var _ sandbox.Executor = (*Client)(nil)

// New returns a client of the server at baseURL, such as
// http://127.0.0.1:18890. It sends nothing and starts nothing.
func New(baseURL string, o Options) (*Client, error) {
	u, err := url.Parse(baseURL)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("client: base URL %q: want http://host:port or https://host:port", baseURL)
	}
	if u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return nil, fmt.Errorf("client: base URL %q: want no user, query or fragment; a token goes into Options.Token", u.Redacted())
	}
	if o.Local != nil {
		if err := o.Local.check(u); err != nil {
			return nil, err
		}
	}
	switch {
	case o.Retries == 0:
		o.Retries = defaultRetries
	case o.Retries < 0:
		o.Retries = 0
	}
	if o.RetryDelay <= 0 {
		o.RetryDelay = defaultRetryDelay
	}
	if o.Grace <= 0 {
		o.Grace = defaultGrace
	}
	if o.MaxAnswer <= 0 {
		o.MaxAnswer = defaultMaxAnswer
	}
	c := &Client{base: strings.TrimRight(baseURL, "/"), o: o}
	c.http = noRedirects(o.HTTPClient)
	c.ctx, c.cancel = context.WithCancel(context.Background())
	c.beat.sessions = map[string]map[string]bool{}
	return c, nil
}

// noRedirects returns a copy of h that does not follow redirects: the token and
// the call are for this server only.
func noRedirects(h *http.Client) *http.Client {
	var own http.Client
	if h != nil {
		own = *h
	} else {
		t := http.DefaultTransport.(*http.Transport).Clone()
		t.MaxIdleConns, t.MaxIdleConnsPerHost = 512, 512
		own.Transport = t
	}
	own.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &own
}

// Connect returns a client of a server that answers, as [New] and
// [Client.Connect] do.
func Connect(ctx context.Context, baseURL string, o Options) (*Client, error) {
	c, err := New(baseURL, o)
	if err != nil {
		return nil, err
	}
	if err := c.Connect(ctx); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// Connect checks that the server answers. If it does not and Options.Local is
// set, it starts the server and waits until it is ready.
func (c *Client) Connect(ctx context.Context) error {
	err := c.Health(ctx)
	if err == nil || c.o.Local == nil || !refused(err) {
		return err
	}
	return c.startLocal(ctx)
}

// Health returns nil if the server answers that it is healthy.
func (c *Client) Health(ctx context.Context) error {
	var view struct {
		Status string `json:"status"`
	}
	a, err := c.once(ctx, &message{method: http.MethodGet, path: "/health"})
	if err != nil {
		return err
	}
	if err := a.decode(&view); err != nil {
		return err
	}
	if view.Status != "healthy" {
		return sandbox.Errorf(sandbox.ErrDependency, "%s is not a sandbox server, or not healthy", c.base)
	}
	return nil
}

// Close ends the heartbeat, closes idle connections, and stops the server if
// this Client started it. Sessions stay, unless the server goes.
func (c *Client) Close() error {
	c.beat.mu.Lock() // no heartbeat begins from here on
	c.cancel()
	c.beat.mu.Unlock()
	c.beat.running.Wait()
	c.mu.Lock()
	local := c.local
	c.local = nil
	c.mu.Unlock()
	var err error
	if local != nil {
		err = local.stop()
	}
	if c.o.HTTPClient == nil {
		c.http.CloseIdleConnections()
	}
	return err
}
