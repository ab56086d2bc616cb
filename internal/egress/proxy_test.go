package egress

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// startProxy serves cfg until the test ends and returns the proxy's address.
func startProxy(t testing.TB, cfg Config) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	ctx, cancel := context.WithCancel(context.Background())
	go func() { done <- Serve(ctx, ln, cfg) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve = %v", err)
		}
	})
	return ln.Addr().String()
}

// denials records what OnDenied hears.
type denials struct {
	mu    sync.Mutex // guards rules
	rules []string
}

func (d *denials) add(x Denied) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.rules = append(d.rules, x.Rule)
}

func (d *denials) take() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	rules := d.rules
	d.rules = nil
	return rules
}

// hosts resolves every name to 127.0.0.1 and dials what servers says instead,
// "host's port" to "real address", so that tests can have a port 443.
type hosts struct {
	servers map[string]string
}

func (h hosts) LookupNetIP(context.Context, string, string) ([]netip.Addr, error) {
	return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
}

func (h hosts) connect(ctx context.Context, network, address string) (net.Conn, error) {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	if to, ok := h.servers[port]; ok {
		address = to
	}
	var d net.Dialer
	return d.DialContext(ctx, network, address)
}

// guardTo permits patterns, with every name at 127.0.0.1.
func guardTo(t testing.TB, servers map[string]string, patterns ...string) *Guard {
	h := hosts{servers}
	return &Guard{Policy: mustPolicy(t, patterns...), Resolver: h, Connect: h.connect}
}

// echoServer answers with the request as it came over the wire.
func echoServer(t testing.TB) (addr string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var conns sync.WaitGroup
	conns.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			conns.Go(func() {
				defer conn.Close()
				var wire bytes.Buffer
				r := bufio.NewReader(io.TeeReader(conn, &wire))
				for {
					wire.Reset()
					req, err := http.ReadRequest(r)
					if err != nil {
						return
					}
					io.Copy(io.Discard, req.Body)
					fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", wire.Len(), wire.Bytes())
				}
			})
		}
	})
	t.Cleanup(func() {
		ln.Close()
		conns.Wait()
	})
	return ln.Addr().String()
}

// raw sends text to the proxy and returns all that it answers.
func raw(t *testing.T, proxy, text string) string {
	t.Helper()
	conn, err := net.Dial("tcp", proxy)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	go io.WriteString(conn, text)
	out, err := io.ReadAll(conn)
	if err != nil {
		t.Fatalf("after %q: %v", out, err)
	}
	return string(out)
}

func TestProxyRefusesRequests(t *testing.T) {
	t.Parallel()
	var got denials
	proxy := startProxy(t, Config{Guard: guardTo(t, map[string]string{"80": echoServer(t)}, "a.test=127.0.0.0/8", "private.test", "127.0.0.1:9"),
		OnDenied: got.add, MaxHeader: 4096})
	const ok = "Host: a.test\r\n\r\n"
	tests := []struct {
		name, send string
		status     string
		rule       string
	}{
		{"not listed", "GET http://b.test/ HTTP/1.1\r\nHost: b.test\r\n\r\n", "403", RuleAllowList},
		{"prefix confusion", "GET http://evil-a.test/ HTTP/1.1\r\nHost: evil-a.test\r\n\r\n", "403", RuleAllowList},
		{"suffix confusion", "GET http://a.test.evil.org/ HTTP/1.1\r\nHost: a.test.evil.org\r\n\r\n", "403", RuleAllowList},
		{"private", "GET http://private.test/ HTTP/1.1\r\nHost: private.test\r\n\r\n", "403", "loopback (127.0.0.0/8, RFC 1122)"},
		{"odd address", "GET http://0x7f.1:9/ HTTP/1.1\r\nHost: 0x7f.1:9\r\n\r\n", "403", RuleHostName},
		{"mapped address on another port", "GET http://[::ffff:127.0.0.1]/ HTTP/1.1\r\nHost: [::ffff:127.0.0.1]\r\n\r\n", "403", RuleAllowList},
		{"userinfo", "GET http://a.test@b.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n", "403", RuleHostName},
		{"backslash", "GET http://b.test\\.a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n", "403", RuleHostName},
		{"percent", "GET http://a%2etest/ HTTP/1.1\r\nHost: a.test\r\n\r\n", "403", RuleHostName},
		{"Host is another", "GET http://a.test/ HTTP/1.1\r\nHost: b.test\r\n\r\n", "403", RuleHostHeader},
		{"Host has another port", "GET http://a.test/ HTTP/1.1\r\nHost: a.test:81\r\n\r\n", "403", RuleHostHeader},
		{"Host twice", "GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\nHost: a.test\r\n\r\n", "400", RuleSyntax},
		{"no Host", "GET http://a.test/ HTTP/1.1\r\n\r\n", "400", RuleSyntax},
		{"origin form", "GET / HTTP/1.1\r\n" + ok, "400", RuleSyntax},
		{"https", "GET https://a.test/ HTTP/1.1\r\n" + ok, "400", RuleSyntax},
		{"file", "GET file:///etc/passwd HTTP/1.1\r\n" + ok, "400", RuleSyntax},
		{"fragment", "GET http://a.test/#x HTTP/1.1\r\n" + ok, "400", RuleSyntax},
		{"HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "400", RuleSyntax},
		{"h2c", "GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n", "403", RuleUpgrade},
		{"WebSocket", "GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n", "403", RuleUpgrade},
		{"CL and TE", "POST http://a.test/ HTTP/1.1\r\nHost: a.test\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "400", RuleSyntax},
		{"CL twice", "POST http://a.test/ HTTP/1.1\r\nHost: a.test\r\nContent-Length: 4\r\nContent-Length: 4\r\n\r\nabcd", "400", RuleSyntax},
		{"CL list", "POST http://a.test/ HTTP/1.1\r\nHost: a.test\r\nContent-Length: 4, 4\r\n\r\nabcd", "400", RuleSyntax},
		{"CL signed", "POST http://a.test/ HTTP/1.1\r\nHost: a.test\r\nContent-Length: +4\r\n\r\nabcd", "400", RuleSyntax},
		{"CL hexadecimal", "POST http://a.test/ HTTP/1.1\r\nHost: a.test\r\nContent-Length: 0x4\r\n\r\nabcd", "400", RuleSyntax},
		{"CL huge", "POST http://a.test/ HTTP/1.1\r\nHost: a.test\r\nContent-Length: 18446744073709551620\r\n\r\nabcd", "400", RuleSyntax},
		{"TE twice", "POST http://a.test/ HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "400", RuleSyntax},
		{"TE gzip", "POST http://a.test/ HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "400", RuleSyntax},
		{"TE with a vertical tab", "POST http://a.test/ HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: \vchunked\r\n\r\n0\r\n\r\n", "400", RuleSyntax},
		{"TE in 1.0", "POST http://a.test/ HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "400", RuleSyntax},
		{"folded line", "GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\nX: a\r\n b\r\n\r\n", "400", RuleSyntax},
		{"folded first line", "GET http://a.test/ HTTP/1.1\r\n Host: a.test\r\n\r\n", "400", RuleSyntax},
		{"bare LF", "GET http://a.test/ HTTP/1.1\nHost: a.test\n\n", "400", RuleSyntax},
		{"bare CR", "GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\nX: a\rContent-Length: 5\r\n\r\n", "400", RuleSyntax},
		{"NUL in a value", "GET http://a.test/ HTTP/1.1\r\nHost: a.test\x00b.test\r\n\r\n", "400", RuleSyntax},
		{"space before the colon", "GET http://a.test/ HTTP/1.1\r\nHost : a.test\r\n\r\n", "400", RuleSyntax},
		{"no colon", "GET http://a.test/ HTTP/1.1\r\nHost\r\n\r\n", "400", RuleSyntax},
		{"two spaces", "GET  http://a.test/ HTTP/1.1\r\n" + ok, "400", RuleSyntax},
		{"space in the target", "GET http://a.test/a b HTTP/1.1\r\n" + ok, "400", RuleSyntax},
		{"byte above ASCII in the target", "GET http://a.test/\xe9 HTTP/1.1\r\n" + ok, "400", RuleSyntax},
		{"bad escape", "GET http://a.test/%zz HTTP/1.1\r\n" + ok, "400", RuleSyntax},
		{"HTTP/0.9", "GET http://a.test/\r\n", "400", RuleSyntax},
		{"large head", "GET http://a.test/ HTTP/1.1\r\nX: " + strings.Repeat("a", 5000) + "\r\n" + ok, "431", ""},
		{"many fields", "GET http://a.test/ HTTP/1.1\r\n" + strings.Repeat("X: a\r\n", 1000) + ok, "431", ""},
		{"CONNECT not listed", "CONNECT b.test:443 HTTP/1.1\r\nHost: b.test:443\r\n\r\n", "403", RuleAllowList},
		{"CONNECT without port", "CONNECT a.test HTTP/1.1\r\n" + ok, "403", RuleHostName},
		{"CONNECT with a URL", "CONNECT http://a.test:80/ HTTP/1.1\r\n" + ok, "403", RuleHostName},
		{"CONNECT with a body", "CONNECT a.test:80 HTTP/1.1\r\nHost: a.test\r\nContent-Length: 3\r\n\r\nabc", "400", RuleSyntax},
		{"CONNECT with another Host", "CONNECT a.test:80 HTTP/1.1\r\nHost: b.test:80\r\n\r\n", "403", RuleHostHeader},
		{"CONNECT to a loopback name", "CONNECT localhost:80 HTTP/1.1\r\nHost: localhost:80\r\n\r\n", "403", RuleAllowList},
		{"SOCKS4", "\x04\x01\x00\x50\x7f\x00\x00\x01\x00", "", RuleNetwork},
		{"TLS", "\x16\x03\x01\x00\x05hello", "", RuleNetwork},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			out := raw(t, proxy, tt.send)
			status := ""
			if f := strings.Fields(out); len(f) > 1 {
				status = f[1]
			}
			var want []string
			if tt.rule != "" {
				want = []string{tt.rule}
			}
			if diff := cmp.Diff(want, got.take()); status != tt.status || diff != "" {
				t.Errorf("answer %q, want status %q; rules (-want +got):\n%s", out, tt.status, diff)
			}
			if status == "403" && !strings.HasSuffix(out, "\nrule: "+tt.rule+"\n") {
				t.Errorf("answer %q does not name the rule", out)
			}
		})
	}
}

func TestProxyNamesTheRuleInTheStatusLine(t *testing.T) {
	t.Parallel()
	proxy := startProxy(t, Config{Guard: guardTo(t, nil)})
	out := raw(t, proxy, "CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n")
	const want = "HTTP/1.1 403 network denied: example.com:443 is not in the allow list, which is empty\r\n"
	if !strings.HasPrefix(out, want) {
		t.Errorf("answer %q, want %q", out, want)
	}
}

func TestProxyRebuildsRequests(t *testing.T) {
	t.Parallel()
	echo := echoServer(t)
	proxy := startProxy(t, Config{Guard: guardTo(t, map[string]string{"80": echo, "8080": echo}, "a.test=127.0.0.0/8")})
	tests := []struct{ name, send, want string }{
		{"absolute form", "GET http://A.TEST./p/q?x=1&y HTTP/1.1\r\nHost: a.test\r\nX-One: 1\r\nConnection: close\r\n\r\n",
			"GET /p/q?x=1&y HTTP/1.1\r\nHost: a.test\r\nX-One: 1\r\n\r\n"},
		{"scheme in capitals, no path", "GET HTTP://a.test:80?q HTTP/1.0\r\n\r\n", "GET /?q HTTP/1.1\r\nHost: a.test\r\n\r\n"},
		{"port", "GET http://a.test:8080/ HTTP/1.0\r\n\r\n", "GET / HTTP/1.1\r\nHost: a.test:8080\r\n\r\n"},
		{"path that looks like an authority", "GET http://a.test//b.test/x%2fy HTTP/1.0\r\n\r\n", "GET //b.test/x%2fy HTTP/1.1\r\nHost: a.test\r\n\r\n"},
		{"hop-by-hop fields", "GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: 5\r\n" +
			"Proxy-Connection: keep-alive\r\nProxy-Authorization: Basic x\r\nTE: trailers\r\nX-End: 1\r\n\r\n",
			"GET / HTTP/1.1\r\nHost: a.test\r\nX-End: 1\r\n\r\n"},
		{"sized body", "POST http://a.test/ HTTP/1.1\r\nHost: a.test\r\ncontent-length: 3\r\nConnection: close, content-length\r\n\r\nabc",
			"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 3\r\n\r\nabc"},
		{"chunked body with an extension and trailers",
			"POST http://a.test/ HTTP/1.1\r\nHost: a.test\r\ntransfer-encoding: Chunked\r\nTrailer: Host\r\nConnection: close\r\n\r\n" +
				"3;a=\"b\"\r\nabc\r\n0002\r\nde\r\n0;x\r\nHost: b.test\r\n\r\n",
			"POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n"},
		{"a request inside a body stays a body",
			"POST http://a.test/ HTTP/1.1\r\nHost: a.test\r\nContent-Length: 33\r\nConnection: close\r\n\r\nGET /evil HTTP/1.1\r\nHost: b\r\n\r\n\r\n",
			"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 33\r\n\r\nGET /evil HTTP/1.1\r\nHost: b\r\n\r\n\r\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			out := raw(t, proxy, tt.send)
			head, body, _ := strings.Cut(out, "\r\n\r\n")
			if !strings.HasPrefix(head, "HTTP/1.1 200 OK\r\n") || !strings.HasPrefix(body, tt.want) {
				t.Fatalf("answer %q, want the server to have seen %q", out, tt.want)
			}
			if !strings.Contains(tt.want, "chunked") {
				if body != tt.want {
					t.Errorf("the server saw %q, want %q", body, tt.want)
				}
				return
			}
			req, err := http.ReadRequest(bufio.NewReader(strings.NewReader(body)))
			if err != nil {
				t.Fatal(err)
			}
			data, err := io.ReadAll(req.Body)
			if string(data) != "abcde" || err != nil || len(req.Trailer) > 0 {
				t.Errorf("the server saw the body %q, %v, trailer %v", data, err, req.Trailer)
			}
		})
	}
}

func TestProxyRefusesMalformedChunks(t *testing.T) {
	t.Parallel()
	var got denials
	proxy := startProxy(t, Config{Guard: guardTo(t, map[string]string{"80": echoServer(t)}, "a.test=127.0.0.0/8"), OnDenied: got.add})
	for _, chunks := range []string{
		"3\r\nabcd\r\n0\r\n\r\n",        // longer than it says
		"3\nabc\n0\n\n",                 // bare line feeds
		"3;a\nb\r\nabc\r\n0\r\n\r\n",    // a bare line feed in the extension
		"-3\r\nabc\r\n0\r\n\r\n",        // signed
		"0x3\r\nabc\r\n0\r\n\r\n",       // a prefix
		"\r\nabc\r\n0\r\n\r\n",          // no size
		"fffffffffffffffff\r\nabc\r\n0", // overflow
		"3\r\nabc\r\n0\r\nX: a\n\r\n",   // a bare line feed in a trailer
		"3;" + strings.Repeat("x", 5000) + "\r\nabc\r\n0\r\n\r\n",
	} {
		out := raw(t, proxy, "POST http://a.test/ HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n"+chunks+
			"GET http://a.test/second HTTP/1.1\r\nHost: a.test\r\n\r\n")
		if !strings.HasPrefix(out, "HTTP/1.1 400 ") || strings.Contains(out, "second") {
			t.Errorf("chunks %q: answer %q, want 400 and no second request", chunks, out)
		}
		if diff := cmp.Diff([]string{RuleSyntax}, got.take()); diff != "" {
			t.Errorf("chunks %q: rules (-want +got):\n%s", chunks, diff)
		}
	}
}

func TestProxyChecksEveryRequestOfAConnection(t *testing.T) {
	t.Parallel()
	var got denials
	proxy := startProxy(t, Config{Guard: guardTo(t, map[string]string{"80": echoServer(t)}, "a.test=127.0.0.0/8"), OnDenied: got.add})
	out := raw(t, proxy, "GET http://a.test/1 HTTP/1.1\r\nHost: a.test\r\n\r\n"+
		"POST http://a.test/2 HTTP/1.1\r\nHost: a.test\r\nContent-Length: 2\r\n\r\nhi"+
		"GET http://b.test/3 HTTP/1.1\r\nHost: b.test\r\n\r\n"+
		"GET http://a.test/4 HTTP/1.1\r\nHost: a.test\r\n\r\n")
	for want, n := range map[string]int{"GET /1 ": 1, "POST /2 ": 1, "HTTP/1.1 403 ": 1, "/3": 0, "/4": 0} {
		if strings.Count(out, want) != n {
			t.Errorf("answers %q, want %d times %q", out, n, want)
		}
	}
	if diff := cmp.Diff([]string{RuleAllowList}, got.take()); diff != "" {
		t.Errorf("rules (-want +got):\n%s", diff)
	}
}
