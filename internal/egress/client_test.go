package egress

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestClientFollowsOnlyPermittedRedirects(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if to := r.URL.Query().Get("to"); to != "" {
			w.Header().Set("Location", to)
			w.WriteHeader(http.StatusFound)
			return
		}
		fmt.Fprintf(w, "%s %s", r.Host, r.URL.Path)
	}))
	t.Cleanup(server.Close)
	addr := server.Listener.Addr().String()
	guard := guardTo(t, map[string]string{"80": addr}, "a.test=127.0.0.0/8", "xn--mnchen-3ya.test=127.0.0.0/8", "loop.test=127.0.0.0/8")
	client := guard.Client(ClientOptions{MaxRedirects: 3})
	t.Cleanup(client.CloseIdleConnections)
	tests := []struct{ name, url, want, rule string }{
		{"no redirect", "http://a.test/x", "a.test /x", ""},
		{"relative", "http://a.test/?to=/y", "a.test /y", ""},
		{"to another listed host", "http://a.test/?to=http://loop.test/z", "loop.test /z", ""},
		{"a name outside ASCII", "http://münchen.test/x", "xn--mnchen-3ya.test /x", ""},
		{"unlisted", "http://b.test/", "", RuleAllowList},
		{"to an unlisted host", "http://a.test/?to=http://b.test/", "", RuleAllowList},
		{"to the address itself", "http://a.test/?to=http://" + addr + "/", "", RuleAllowList},
		{"to the metadata service", "http://a.test/?to=http://169.254.169.254/latest", "", RuleAllowList},
		{"to an odd address", "http://a.test/?to=http://0x7f.1/", "", RuleHostName},
		{"to a file", "http://a.test/?to=file:///etc/passwd", "", RuleScheme},
		{"another scheme", "ftp://a.test/", "", RuleScheme},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			resp, err := client.Get(tt.url)
			if err != nil {
				if tt.rule == "" || !isDeniedBy(err, tt.rule) {
					t.Errorf("Get(%q) = %v, want rule %q", tt.url, err, tt.rule)
				}
				return
			}
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			if string(body) != tt.want || err != nil || tt.rule != "" {
				t.Errorf("Get(%q) = %q, %v, want %q or rule %q", tt.url, body, err, tt.want, tt.rule)
			}
		})
	}
}

func TestClientCountsRedirects(t *testing.T) {
	t.Parallel()
	var seen int
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen++
		http.Redirect(w, r, "/again", http.StatusFound)
	}))
	t.Cleanup(server.Close)
	guard := guardTo(t, map[string]string{"80": server.Listener.Addr().String()}, "a.test=127.0.0.0/8")
	for limit, want := range map[int]int{-1: 1, 0: 11, 3: 4} {
		seen = 0
		client := guard.Client(ClientOptions{MaxRedirects: limit})
		_, err := client.Get("http://a.test/")
		client.CloseIdleConnections()
		if !isDeniedBy(err, RuleRedirects) || seen != want {
			t.Errorf("with MaxRedirects %d: %v after %d requests, want %d", limit, err, seen, want)
		}
	}
}

// TestProxiesOfTheEnvironmentAreIgnored is not parallel: it sets variables.
func TestProxiesOfTheEnvironmentAreIgnored(t *testing.T) {
	trap := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t.Errorf("the environment's proxy was asked for %v", r.URL)
	}))
	t.Cleanup(trap.Close)
	for _, name := range []string{"HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"} {
		t.Setenv(name, trap.URL)
	}
	t.Setenv("NO_PROXY", "")
	t.Setenv("no_proxy", "")
	guard := guardTo(t, map[string]string{"80": echoServer(t)}, "a.test=127.0.0.0/8")
	client := guard.Client(ClientOptions{})
	defer client.CloseIdleConnections()
	resp, err := client.Get("http://a.test/direct")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); !strings.HasPrefix(string(body), "GET /direct ") || err != nil {
		t.Errorf("the server saw %q, %v", body, err)
	}
	out := raw(t, startProxy(t, Config{Guard: guard}), "GET http://a.test/proxied HTTP/1.0\r\n\r\n")
	if !strings.Contains(out, "GET /proxied ") {
		t.Errorf("through the proxy: %q", out)
	}
}

func TestClientBoundsBodies(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, strings.Repeat("x", len(r.URL.Path)-1))
	}))
	t.Cleanup(server.Close)
	client := guardTo(t, nil, server.Listener.Addr().String()).Client(ClientOptions{MaxBody: 5})
	t.Cleanup(client.CloseIdleConnections)
	for n, want := range map[int]error{0: nil, 4: nil, 5: nil, 6: ErrBodyTooLarge, 600: ErrBodyTooLarge} {
		resp, err := client.Get(server.URL + "/" + strings.Repeat("n", n))
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if !errors.Is(err, want) || len(body) != min(n, 5) {
			t.Errorf("a body of %d bytes: %d bytes, %v, want %v", n, len(body), err, want)
		}
	}
}

func TestClientTimesOut(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	t.Cleanup(server.Close)
	client := guardTo(t, nil, server.Listener.Addr().String()).Client(ClientOptions{Timeout: 50 * time.Millisecond})
	if _, err := client.Get(server.URL); err == nil || !isTimeout(err) {
		t.Errorf("Get = %v, want a timeout", err)
	}
}
