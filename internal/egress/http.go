package egress

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// serveHTTP serves the requests of one connection, one after the other, until
// one is refused, a tunnel ends, or either side closes. Each request is judged
// by itself, whatever came before it on the connection.
func (s *server) serveHTTP(ctx context.Context, c *client) {
	next := s.upstreams(ctx, c)
	for {
		h, err := readHead(c.r, s.cfg.MaxHeader)
		if err != nil {
			s.refuse(c, err)
			return
		}
		c.in.silent(s.cfg.IdleTimeout)
		if h.method == http.MethodConnect {
			s.serveConnect(ctx, c, h)
			return
		}
		req, err := s.rebuild(c, h)
		if err != nil {
			s.refuse(c, err)
			return
		}
		if !s.forward(ctx, c, h, req, next) {
			return
		}
		c.in.silent(s.cfg.IdleTimeout)
		if _, err := c.r.Peek(1); err != nil {
			return
		}
		c.in.until(s.cfg.HandshakeTimeout)
	}
}

// upstreams returns the transport of one client connection. It is not shared
// with others: a kept connection was checked by this client's Guard, and goes
// when life, the client's context, ends.
func (s *server) upstreams(life context.Context, c *client) *http.Transport {
	return &http.Transport{
		DialContext: func(ctx context.Context, _, address string) (net.Conn, error) {
			ctx, cancel := context.WithCancel(ctx)
			defer cancel()
			defer context.AfterFunc(life, cancel)()
			h, port, err := ParseAuthority(address, 0)
			if err != nil {
				return nil, badHost(address, 0, err)
			}
			conn, err := s.dial(ctx, c, h, port)
			if err != nil {
				return nil, err
			}
			stop := context.AfterFunc(life, func() { conn.Close() })
			return &upstream{timedConn{conn, s.cfg.IdleTimeout}, stop}, nil
		},
		DisableCompression:     true, // what was asked for is what is passed on
		MaxIdleConnsPerHost:    1,
		MaxIdleConns:           2,
		IdleConnTimeout:        30 * time.Second,
		ResponseHeaderTimeout:  s.cfg.IdleTimeout,
		ExpectContinueTimeout:  time.Second,
		MaxResponseHeaderBytes: 256 << 10,
	}
}

// upstream is a connection that ends with the client it was made for.
type upstream struct {
	timedConn
	stop func() bool
}

func (u *upstream) Close() error {
	u.stop()
	return u.timedConn.Close()
}

// serveConnect answers CONNECT and carries the tunnel.
func (s *server) serveConnect(ctx context.Context, c *client, h *head) {
	host, port, err := connectTarget(h)
	if err != nil {
		s.refuse(c, err)
		return
	}
	up, err := s.dial(ctx, c, host, port)
	if err != nil {
		s.failed(err)
		s.answer(c, err)
		return
	}
	defer up.Close()
	if _, err := c.w.WriteString("HTTP/1.1 200 Connection established\r\n\r\n"); err != nil {
		return
	}
	if c.w.Flush() == nil {
		s.tunnel(ctx, c, up, host, port)
	}
}

func connectTarget(h *head) (Host, uint16, error) {
	if n, err := h.length(); err != nil {
		return Host{}, 0, err
	} else if n != 0 {
		return Host{}, 0, syntaxError("CONNECT with a body")
	}
	host, port, err := ParseAuthority(h.target, 0)
	if err != nil {
		return Host{}, 0, badHost(h.target, 0, err)
	}
	if err := h.checkUpgrade(host, port); err != nil {
		return Host{}, 0, err
	}
	return host, port, h.checkHost(host, port, 0)
}

// checkUpgrade refuses to change the protocol of a connection. h2c would hide
// further requests from the proxy; what is left, WebSocket, every known client
// asks for through CONNECT when it has a proxy.
func (h *head) checkUpgrade(host Host, port uint16) error {
	if h.header["Upgrade"] == nil && h.header["Http2-Settings"] == nil && !h.lists("Connection", "upgrade") {
		return nil
	}
	return &Denied{Host: host.String(), Port: port, Rule: RuleUpgrade,
		Reason: "is asked to upgrade the connection, which a proxied request may not; use CONNECT"}
}

// rebuild makes the request that goes upstream from one in absolute form. It
// keeps the method, path, query and end-to-end fields, and nothing of the
// framing. Its Body is not set yet.
func (s *server) rebuild(c *client, h *head) (*http.Request, error) {
	scheme, rest, ok := strings.Cut(h.target, "://")
	if !ok {
		return nil, syntaxError("target %q, expected an absolute URL, for this is a proxy", clip(h.target))
	}
	if !strings.EqualFold(scheme, "http") {
		return nil, syntaxError("scheme %q, expected http, or CONNECT for anything else", clip(scheme))
	}
	authority, path := rest, "/"
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		authority, path = rest[:i], rest[i:]
	}
	if path[0] == '?' {
		path = "/" + path
	}
	host, port, err := ParseAuthority(authority, 80)
	if err != nil {
		return nil, badHost(authority, 0, err)
	}
	u, err := url.ParseRequestURI(path)
	if err != nil || strings.Contains(path, "#") {
		return nil, syntaxError("a target that is not a URL")
	}
	size, err := h.length()
	if err != nil {
		return nil, err
	}
	if err := c.guard.permit(host, port); err != nil {
		return nil, err
	}
	if err := h.checkUpgrade(host, port); err != nil {
		return nil, err
	}
	if err := h.checkHost(host, port, 80); err != nil {
		return nil, err
	}
	removeHopByHop(h.header)
	delete(h.header, "Host")
	delete(h.header, "Content-Length")
	if h.header["User-Agent"] == nil {
		h.header["User-Agent"] = nil // keeps the transport from adding its own
	}
	u.Scheme, u.Host = "http", host.join(port)
	name := u.Host
	if port == 80 {
		name = strings.TrimSuffix(name, ":80")
	}
	return &http.Request{
		Method: h.method, URL: u, Host: name, Header: h.header, ContentLength: size,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}, nil
}

// forward sends req with the body that follows on c, and the response back. It
// reports whether the connection can take another request.
func (s *server) forward(ctx context.Context, c *client, h *head, req *http.Request, next *http.Transport) bool {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	x := &exchange{c: c, cancel: cancel, limit: s.cfg.MaxHeader}
	x.expect = h.http11 && h.lists("Expect", "100-continue")
	req.Body = x.body(req.ContentLength)
	resp, err := next.RoundTrip(req.WithContext(ctx))
	x.begin()
	if err != nil {
		x.finish()
		if isDeniedBy(err, RuleSyntax) { // the body's fault; s.dial told its own
			s.denied(err)
		}
		s.answer(c, s.unanswered(req, err))
		return false
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusSwitchingProtocols {
		x.finish()
		s.answer(c, s.unanswered(req, errors.New("it switched protocols unasked")))
		return false
	}
	if c.guard.isInner(req.URL) {
		revalidate(resp.Header)
	}
	keep, err := s.respond(c, h, resp)
	return x.finish() && err == nil && keep
}

// unanswered is the failure of req, which the transport ended with err, if it was
// not refused. It tells OnFailed.
func (s *server) unanswered(req *http.Request, err error) error {
	if _, denied := errors.AsType[*Denied](err); denied {
		return err
	}
	h, port, parse := ParseAuthority(req.URL.Host, 0)
	if parse != nil { // rebuild wrote it
		return err
	}
	f := unanswered(h, port, err)
	s.failed(f)
	return f
}

// respond writes resp to c and reports whether the connection may live on.
func (s *server) respond(c *client, h *head, resp *http.Response) (keep bool, err error) {
	bodyless := h.method == http.MethodHead || resp.StatusCode == http.StatusNoContent ||
		resp.StatusCode == http.StatusNotModified
	removeHopByHop(resp.Header)
	delete(resp.Header, StatusField)
	length := resp.ContentLength
	if bodyless {
		length = announced(resp)
	}
	delete(resp.Header, "Content-Length")
	keep = !h.close
	chunked := false
	switch {
	case length >= 0:
		resp.Header["Content-Length"] = []string{strconv.FormatInt(length, 10)}
	case bodyless:
	case h.http11:
		chunked = true
		resp.Header["Transfer-Encoding"] = []string{"chunked"}
	default:
		keep = false // the end of the connection is the end of the body
	}
	if !keep {
		resp.Header["Connection"] = []string{"close"}
	}
	fmt.Fprintf(c.w, "HTTP/1.1 %03d %s\r\n", resp.StatusCode, reason(resp))
	resp.Header.Write(c.w)
	c.w.WriteString("\r\n")
	if bodyless {
		return keep, c.w.Flush()
	}
	// A stream shows its head at once; a short answer goes out in one piece.
	if resp.ContentLength < 0 || resp.ContentLength > bufferSize {
		if err := c.w.Flush(); err != nil {
			return false, err
		}
	}
	return keep, s.copyBody(c, resp.Body, chunked)
}

// announced returns the length of the body that a response without one speaks
// of, or -1.
func announced(resp *http.Response) int64 {
	n, err := strconv.ParseUint(resp.Header.Get("Content-Length"), 10, 63)
	if err != nil || resp.StatusCode == http.StatusNoContent {
		return -1
	}
	return int64(n)
}

// copyBody passes on what comes as it comes.
func (s *server) copyBody(c *client, body io.Reader, chunked bool) error {
	buf := s.buffers.Get().(*[bufferSize]byte)
	defer s.buffers.Put(buf)
	for {
		n, err := body.Read(buf[:])
		if n > 0 && chunked {
			fmt.Fprintf(c.w, "%x\r\n", n)
		}
		c.w.Write(buf[:n])
		if n > 0 && chunked {
			c.w.WriteString("\r\n")
		}
		if err == io.EOF && chunked {
			c.w.WriteString("0\r\n\r\n")
		}
		// The writer keeps its first error.
		if ferr := c.w.Flush(); ferr != nil {
			return ferr
		}
		switch {
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		}
	}
}

func reason(resp *http.Response) string {
	_, text, _ := strings.Cut(resp.Status, " ")
	if text == "" || printable(text) != text {
		return http.StatusText(resp.StatusCode)
	}
	return text
}

// refuse tells OnDenied of err and answers the request with it. Errors of the
// connection itself are not answered.
func (s *server) refuse(c *client, err error) {
	_, denied := errors.AsType[*Denied](err)
	if !denied && !errors.Is(err, errHeadSize) {
		return
	}
	s.denied(err)
	s.answer(c, err)
}

// StatusField is a field of the responses that are the proxy's own, which RFC 9209
// says how to read. It is in no other: servers that send it lose it.
const StatusField = "Proxy-Status"

// answer renders err as a response, after which the connection ends. The status
// line has its text too: of CONNECT most clients show nothing else.
func (s *server) answer(c *client, err error) {
	status, cause, text := http.StatusBadGateway, CauseInternal, err.Error()
	line := http.StatusText(status)
	d, denied := errors.AsType[*Denied](err)
	f, failed := errors.AsType[*Failed](err)
	switch {
	case isDeniedBy(err, RuleSyntax):
		status, cause, line = http.StatusBadRequest, "http_request_error", d.Error()
	case denied:
		status, cause, line = http.StatusForbidden, "http_request_denied", d.Error()
	case failed:
		cause, line = f.Cause, f.Error()
		if f.timeout() {
			status = http.StatusGatewayTimeout
		}
	case errors.Is(err, errHeadSize):
		status, cause = http.StatusRequestHeaderFieldsTooLarge, "http_request_error"
		line = http.StatusText(status)
	}
	if denied || failed {
		text = line
	}
	if denied {
		text += "\nrule: " + d.Rule
	}
	text += "\n"
	fmt.Fprintf(c.w, "HTTP/1.1 %d %s\r\nContent-Type: text/plain; charset=utf-8\r\nX-Content-Type-Options: nosniff\r\n"+
		"Cache-Control: no-store\r\n%s: sandbox; error=%s\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s",
		status, printable(line), StatusField, cause, len(text), text)
	if c.w.Flush() == nil {
		s.linger(c)
	}
}

func isDeniedBy(err error, rule string) bool {
	d, ok := errors.AsType[*Denied](err)
	return ok && d.Rule == rule
}

// printable returns text as one line of printable ASCII.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, text)
}

// linger gives the client time to read the answer: closing a connection with
// unread input would reset it, and the answer with it.
func (s *server) linger(c *client) {
	if closeWrite(c.Conn) && c.SetReadDeadline(time.Now().Add(500*time.Millisecond)) == nil {
		io.CopyN(io.Discard, c.Conn, 256<<10)
	}
}
