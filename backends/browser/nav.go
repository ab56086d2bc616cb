package browser

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"

	"github.com/agentflow-go/sandbox"
	"github.com/agentflow-go/sandbox/internal/egress"
)

// GotoInput is what browser:goto takes.
type GotoInput struct {
	URL       string  `json:"url" jsonschema:"http or https address; a host alone is taken as https, localhost as http"`
	WaitUntil string  `json:"wait_until,omitzero" jsonschema:"load (default), domcontentloaded or networkidle"`
	Timeout   float64 `json:"timeout,omitzero" jsonschema:"seconds; default 30"`
}

// GotoOutput is what browser:goto returns.
type GotoOutput struct {
	URL      string   `json:"url" jsonschema:"where the page is, after redirects"`
	Title    string   `json:"title"`
	Status   int      `json:"status" jsonschema:"HTTP status; 0 if there was none"`
	TimedOut bool     `json:"timed_out,omitzero" jsonschema:"the page is there but had not finished loading"`
	Download string   `json:"download,omitzero" jsonschema:"the address was a file, which is being downloaded under this name: see downloads"`
	Denied   []string `json:"denied,omitempty" jsonschema:"what policy refused to the page meanwhile"`
}

// PageOutput is where a page is.
type PageOutput struct {
	URL      string `json:"url"`
	Title    string `json:"title"`
	TimedOut bool   `json:"timed_out,omitzero" jsonschema:"the page is there but had not finished loading"`
}

// TimeoutInput is what browser:back, forward and reload take.
type TimeoutInput struct {
	Timeout float64 `json:"timeout,omitzero" jsonschema:"seconds; default 30"`
}

const maxURL = 4096 // bytes of an address that are kept

// checkAddress returns the address to load.
func checkAddress(raw string) (string, error) {
	raw = strings.NewReplacer("\t", "", "\n", "", "\r", "").Replace(strings.TrimSpace(raw)) // as browsers do
	if raw == "" || len(raw) > 1<<20 {
		return "", sandbox.Errorf(sandbox.ErrInvalidURL, "/url: give an address of 1 to %d bytes", 1<<20)
	}
	if raw == "about:blank" {
		return raw, nil
	}
	if !strings.Contains(raw, "://") && !hasScheme(raw) {
		raw = schemeOf(raw) + raw
	}
	u, err := url.Parse(raw)
	if err != nil {
		return "", sandbox.Errorf(sandbox.ErrInvalidURL, "/url: %v", err)
	}
	switch strings.ToLower(u.Scheme) {
	case "http", "https":
		if u.Host == "" {
			return "", sandbox.Errorf(sandbox.ErrInvalidURL, "/url: %q has no host", clip(raw, 200))
		}
		return raw, nil
	case "data":
		return raw, nil
	}
	return "", deniedScheme(u.Scheme)
}

// schemeOf is what an address without a scheme is meant to have: few have a
// certificate for a server on their own loopback.
func schemeOf(raw string) string {
	authority := raw
	if i := strings.IndexAny(raw, "/?#"); i >= 0 {
		authority = raw[:i]
	}
	if h, _, err := egress.ParseAuthority(authority, 80); err == nil && h.OnLoopback() {
		return "http://"
	}
	return "https://"
}

// hasScheme tells data:text/html,x from localhost:8080/x.
func hasScheme(raw string) bool {
	scheme, rest, ok := strings.Cut(raw, ":")
	if !ok || strings.ContainsAny(scheme, "./[?#@") {
		return false
	}
	return rest == "" || rest[0] < '0' || rest[0] > '9'
}

// deniedScheme refuses an address for its scheme, as the rule that it is.
func deniedScheme(scheme string) error {
	return sandbox.Errorf(sandbox.ErrDenied, "navigation denied: %q addresses are not opened; rule: URL scheme (http, https, data and about:blank are)", clip(scheme, 40))
}

// allowedNow reports whether a page may be at an address, however it got there.
func allowedNow(raw string) bool {
	scheme, _, _ := strings.Cut(raw, ":")
	return slices.Contains([]string{"http", "https", "data", "blob", "chrome-error", ""}, scheme) || raw == "about:blank" || raw == "about:srcdoc"
}

// visited remembers the origins that may have storage. It is called with a tab's
// lock held.
func (s *session) visited(raw string) {
	u, err := url.Parse(raw)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.origins) < 200 {
		s.origins[u.Scheme+"://"+u.Host] = true
	}
}

func lifecycle(waitUntil string) (string, error) {
	switch waitUntil {
	case "", "load":
		return "load", nil
	case "domcontentloaded":
		return "DOMContentLoaded", nil
	case "networkidle":
		return "networkIdle", nil
	}
	return "", invalid("/wait_until: %q; give load, domcontentloaded or networkidle", clip(waitUntil, 40))
}

func (s *session) goTo(ctx context.Context, call sandbox.Call, in GotoInput) (out GotoOutput, err error) {
	address, err := checkAddress(in.URL)
	if err != nil {
		return out, err
	}
	wait, err := lifecycle(in.WaitUntil)
	if err != nil {
		return out, err
	}
	limit, err := seconds("/timeout", in.Timeout, gotoTimeout)
	if err != nil {
		return out, err
	}
	ctx, cancel := limited(ctx, limit)
	defer cancel()
	t, err := s.awake(ctx)
	if err != nil {
		return out, problem(ctx, err)
	}
	ctx, done := t.guard(ctx)
	defer done()
	defer func() { out.Denied = denials(call) }()
	before := s.downloads.count()
	res, err := t.navigate(ctx, address)
	if err != nil {
		if isLate(ctx) {
			t.link.send(context.WithoutCancel(ctx), page.CommandStopLoading, nil)
			return out, sandbox.Errorf(sandbox.ErrTimeout, "%s did not answer within %s", clip(address, 200), limit)
		}
		return out, problem(ctx, err)
	}
	if res.IsDownload || res.ErrorText == "net::ERR_ABORTED" {
		within := time.Duration(0)
		if res.IsDownload { // then there is one
			within = limit
		}
		if name, ok := s.downloads.started(ctx, before, within); ok {
			out.URL, out.Download = t.url(), name
			return out, nil
		}
	}
	if res.ErrorText != "" {
		if res.ErrorText != "net::ERR_ABORTED" { // then the browser shows a page of its own, which the next call is to find
			wait, cancel := context.WithTimeout(ctx, time.Second)
			_ = t.until(wait, func() bool { return t.document(res.LoaderID).committed })
			cancel()
		}
		t.mu.Lock()
		asked := cmp.Or(t.document(res.LoaderID).asked, address)
		t.mu.Unlock()
		return out, s.navigationError(call, asked, res.ErrorText)
	}
	if res.LoaderID != "" {
		err = t.until(ctx, func() bool {
			f := t.frames[t.main]
			return t.document(res.LoaderID).committed && f.reached[wait]
		})
		if out.TimedOut = isLate(ctx); err != nil && !out.TimedOut {
			return out, problem(ctx, err)
		}
	}
	// The time may be over, and the page still there to be told of.
	tell, cancel := context.WithTimeout(context.WithoutCancel(ctx), titleTimeout)
	defer cancel()
	if !out.TimedOut {
		tell = ctx
	}
	t.mu.Lock()
	f := t.frames[t.main]
	d := *t.document(f.loader)
	out.URL, out.Status = f.url, d.status
	t.mu.Unlock()
	if err := s.loadError(call, d); err != nil {
		return out, err
	}
	out.Title = t.title(tell)
	return out, nil
}

// navigate asks for a page.
func (t *tab) navigate(ctx context.Context, address string) (page.NavigateResult, error) {
	var res page.NavigateResult
	err := t.link.Call(ctx, page.CommandNavigate, page.NavigateParams{URL: address}, &res)
	return res, err
}

// How long a page may take to answer before its script is ended, and then before its
// tab is replaced. A busy machine holds up pages that are not stuck, too.
const (
	pingTime = time.Second
	lastTime = 5 * time.Second
)

// awake returns the tab for a navigation. A page that is stuck, in a script or in
// dialogs without end, is freed; if that does not help its tab is replaced.
func (s *session) awake(ctx context.Context) (*tab, error) {
	t, err := s.tab(ctx)
	if err != nil {
		return nil, err
	}
	t.mu.Lock()
	crashed, d, pending := t.crashed, t.dialog, t.pendingNav != 0
	t.crashed, t.pendingNav = false, 0
	t.mu.Unlock()
	if pending { // or it would answer nothing before the server does
		t.link.send(ctx, page.CommandStopLoading, nil)
	}
	if crashed {
		return t, nil // the browser gives it another process
	}
	for _, patience := range []time.Duration{pingTime, lastTime} {
		if over, ok := ctx.Deadline(); ok { // in a short time too, another tab can be had
			patience = min(patience, time.Until(over)/2)
		}
		if d != nil {
			// A script that goes on asking ends with its answer.
			t.link.send(ctx, runtime.CommandTerminateExecution, nil)
			t.answerDialog(ctx, d, false, "")
		}
		if t.ping(ctx, patience) || ctx.Err() != nil {
			return t, ctx.Err()
		}
		t.link.send(ctx, runtime.CommandTerminateExecution, nil)
		t.mu.Lock()
		d = t.dialog
		t.mu.Unlock()
	}
	fresh, err := s.newTab(ctx)
	if err != nil {
		return nil, err
	}
	s.replace(t, fresh)
	s.spawn(func() { t.close(s.base) })
	return fresh, nil
}

// ping reports whether the page answers within a time.
func (t *tab) ping(ctx context.Context, within time.Duration) bool {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	err := t.link.Call(ctx, runtime.CommandEvaluate, runtime.EvaluateParams{Expression: "1"}, nil)
	return err == nil || ctx.Err() == nil
}

// isLate reports whether ctx ended at the tool's own time limit.
func isLate(ctx context.Context) bool {
	_, ok := context.Cause(ctx).(*lateError)
	return ok
}

// problem is the error of a tool: why its context ended, if it has.
func problem(ctx context.Context, err error) error {
	if err == nil || ctx.Err() == nil {
		return err
	}
	if _, told := errors.AsType[*sandbox.Error](err); told {
		return err
	}
	cause := context.Cause(ctx)
	if late, ok := cause.(*lateError); ok {
		return sandbox.Errorf(sandbox.ErrTimeout, "the page did not answer within %s; it may be busy, or waiting for the network", late.limit)
	}
	if errors.Is(cause, context.Canceled) || errors.Is(cause, context.DeadlineExceeded) {
		return err
	}
	return cause
}

// direct are errors of a browser that goes to servers itself, as one does whose
// network process died: it forgets the proxies of its contexts.
var direct = [...]string{"net::ERR_CONNECTION_REFUSED", "net::ERR_NAME_NOT_RESOLVED", "net::ERR_ADDRESS_UNREACHABLE"}

// noTunnel is what Chromium says if the proxy makes no tunnel, whatever the reason.
const noTunnel = "net::ERR_TUNNEL_CONNECTION_FAILED"

// navigationError explains why a page could not be loaded.
func (s *session) navigationError(call sandbox.Call, address, text string) error {
	if err := denial(call, address); err != nil {
		return err
	}
	if why := s.unreached.why(address); why != "" && text == noTunnel {
		return sandbox.Errorf(sandbox.ErrCrawling, "%s: %s", clip(address, 200), why)
	}
	if text == noTunnel || text == "" {
		if d := call.Denied(); len(d) > 0 {
			return deniedBy(d[len(d)-1])
		}
	}
	if s.proxy != "" && slices.Contains(direct[:], text) {
		s.chrome.giveUp(errors.New("the browser lost its way to the network and was ended"))
	}
	explain := map[string]string{
		"net::ERR_ABORTED":                 "there is nothing to show: the server answered without a page, or another navigation took over",
		"net::ERR_TOO_MANY_REDIRECTS":      "it redirects without end",
		noTunnel:                           "the host could not be reached, or network policy does not allow it",
		"net::ERR_EMPTY_RESPONSE":          "the server closed the connection without an answer",
		"net::ERR_UNSAFE_REDIRECT":         "it redirects to an address that pages must not lead to; rule: URL scheme",
		"net::ERR_INVALID_REDIRECT":        "it redirects to no valid address",
		"net::ERR_PROXY_CONNECTION_FAILED": "there is no network here",
		"net::ERR_UNSAFE_PORT":             "Chromium does not open this port, which belongs to another protocol: trying again does not help; a server of your own can listen on another, such as 8000",
	}[text]
	switch {
	case strings.HasPrefix(text, "net::ERR_CERT_"):
		explain = "its certificate is not trusted; a session with ignore_https_errors takes it"
	case strings.HasPrefix(text, "net::ERR_SSL_"):
		explain = "the server does not speak TLS as it should; if it has none, give the address with http://"
	case explain == "":
		explain = "it could not be loaded"
	}
	if text == "net::ERR_UNSAFE_REDIRECT" {
		return sandbox.Errorf(sandbox.ErrDenied, "navigation denied: %s: %s", clip(address, 200), explain)
	}
	return sandbox.Errorf(sandbox.ErrCrawling, "%s: %s (%s)", clip(address, 200), explain, clip(text, 100))
}

// denial returns the refusal of the address's host, if there was one.
func denial(call sandbox.Call, address string) error {
	u, err := url.Parse(address)
	if err != nil {
		return nil
	}
	for _, d := range call.Denied() {
		if strings.EqualFold(d.Host, u.Hostname()) {
			return deniedBy(d)
		}
	}
	return nil
}

func deniedBy(d sandbox.Denial) error {
	advice := ""
	if h, err := egress.ParseHost(d.Host); err == nil && d.Rule == egress.RuleAllowList && !h.OnLoopback() { // whose text has advice
		advice = "; trying again does not help: whoever runs the server lists hosts in confinement.egress.allow"
	}
	return sandbox.Errorf(sandbox.ErrDenied, "%s; rule: %s%s", d.Text, d.Rule, advice)
}

// travel is back, forward and reload: it begins a navigation with start and waits
// for its end.
func (s *session) travel(ctx context.Context, call sandbox.Call, in TimeoutInput, start func(context.Context, *tab) error) (out PageOutput, err error) {
	limit, err := seconds("/timeout", in.Timeout, gotoTimeout)
	if err != nil {
		return out, err
	}
	ctx, cancel := limited(ctx, limit)
	defer cancel()
	t, err := s.awake(ctx)
	if err != nil {
		return out, problem(ctx, err)
	}
	ctx, done := t.guard(ctx)
	defer done()
	t.mu.Lock()
	old, was := t.frames[t.main].loader, t.frames[t.main].url
	t.mu.Unlock()
	if err := start(ctx, t); err != nil {
		return out, problem(ctx, err)
	}
	err = t.until(ctx, func() bool {
		f := t.frames[t.main]
		return f.loader != old && f.reached["load"] || f.loader == old && f.url != was
	})
	if out.TimedOut = isLate(ctx); err != nil && !out.TimedOut {
		return out, problem(ctx, err)
	}
	if out.TimedOut && t.mainFrame().loader == old {
		t.link.send(context.WithoutCancel(ctx), page.CommandStopLoading, nil)
		return out, sandbox.Errorf(sandbox.ErrTimeout, "the page did not change within %s", limit)
	}
	// The time may be over, and the page still there to be told of.
	tell, cancel := context.WithTimeout(context.WithoutCancel(ctx), titleTimeout)
	defer cancel()
	if !out.TimedOut {
		tell = ctx
	}
	t.mu.Lock()
	f := t.frames[t.main]
	d := *t.document(f.loader)
	out.URL = f.url
	t.mu.Unlock()
	if err := s.loadError(call, d); err != nil {
		return out, err
	}
	out.Title = t.title(tell)
	return out, nil
}

func (s *session) back(ctx context.Context, call sandbox.Call, in TimeoutInput) (PageOutput, error) {
	return s.travel(ctx, call, in, func(ctx context.Context, t *tab) error { return t.step(ctx, -1) })
}

func (s *session) forward(ctx context.Context, call sandbox.Call, in TimeoutInput) (PageOutput, error) {
	return s.travel(ctx, call, in, func(ctx context.Context, t *tab) error { return t.step(ctx, 1) })
}

func (s *session) reload(ctx context.Context, call sandbox.Call, in TimeoutInput) (PageOutput, error) {
	return s.travel(ctx, call, in, func(ctx context.Context, t *tab) error {
		return t.link.Call(ctx, page.CommandReload, page.ReloadParams{}, nil)
	})
}

// step goes through the history.
func (t *tab) step(ctx context.Context, by int) error {
	h, err := cdp.Call(ctx, t.link, page.GetNavigationHistory, cdp.Empty{})
	if err != nil {
		return err
	}
	to := int(h.CurrentIndex) + by
	if to < 0 || to >= len(h.Entries) {
		return sandbox.Errorf(sandbox.ErrBusinessFailure, "the history ends here: there is no page to go to")
	}
	if !allowedNow(h.Entries[to].URL) {
		scheme, _, _ := strings.Cut(h.Entries[to].URL, ":")
		return deniedScheme(scheme)
	}
	if err := t.link.Call(ctx, page.CommandNavigateToHistoryEntry, page.NavigateToHistoryEntryParams{EntryID: h.Entries[to].ID}, nil); err != nil {
		return fmt.Errorf("go through the history: %w", err)
	}
	return nil
}
