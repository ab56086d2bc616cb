package egress

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestRealClients(t *testing.T) {
	t.Parallel()
	serve := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s %s", r.Host, r.URL.Path, body)
	})
	plain, secure := httptest.NewServer(serve), httptest.NewTLSServer(serve)
	t.Cleanup(plain.Close)
	t.Cleanup(secure.Close)
	plainAddr, secureAddr := plain.Listener.Addr().String(), secure.Listener.Addr().String()
	var mu sync.Mutex
	var dials []string
	proxy := startProxy(t, Config{
		Guard: guardTo(t, map[string]string{"443": secureAddr, "80": plainAddr}, "*.test:80,443=127.0.0.0/8", plainAddr),
		OnDial: func(d Dial) {
			mu.Lock()
			defer mu.Unlock()
			dials = append(dials, d.Host)
		},
	})

	for _, scheme := range []string{"http", "socks5"} {
		t.Run("net/http over "+scheme, func(t *testing.T) {
			tr := &http.Transport{
				Proxy:           http.ProxyURL(&url.URL{Scheme: scheme, Host: proxy}),
				TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
			}
			defer tr.CloseIdleConnections()
			client := &http.Client{Transport: tr}
			for u, want := range map[string]string{
				"http://a.test/x":           "a.test /x hello",
				"https://a.test/y":          "a.test /y hello",
				"http://" + plainAddr + "/": plainAddr + " / hello",
			} {
				for range 3 { // the later ones on the same connection
					resp, err := client.Post(u, "text/plain", strings.NewReader("hello"))
					if err != nil {
						t.Fatal(err)
					}
					body, err := io.ReadAll(resp.Body)
					resp.Body.Close()
					if string(body) != want || err != nil {
						t.Errorf("POST %s = %q, %v, want %q", u, body, err, want)
					}
				}
			}
			if resp, err := client.Get("https://example.org/"); err == nil {
				resp.Body.Close()
				t.Errorf("GET https://example.org/ = %v", resp.Status)
			}
		})
	}

	t.Run("curl", func(t *testing.T) {
		curl, err := exec.LookPath("curl")
		if err != nil {
			t.Skip("curl is not installed")
		}
		large := strings.Repeat("x", 2<<20) // large enough for Expect: 100-continue
		for _, tt := range []struct {
			args []string
			want string
		}{
			{[]string{"-x", "http://" + proxy, "http://a.test/x"}, "a.test /x "},
			{[]string{"-x", "http://" + proxy, "-d", "@-", "http://a.test/x"}, "a.test /x " + large},
			{[]string{"-x", "http://" + proxy, "-d", "@-", "-H", "Transfer-Encoding: chunked", "http://a.test/x"}, "a.test /x " + large},
			{[]string{"-x", "http://" + proxy, "-p", "http://a.test/x"}, "a.test /x "},
			{[]string{"-x", "http://" + proxy, "-k", "https://a.test/x"}, "a.test /x "},
			{[]string{"-x", "http://" + proxy, "-0", "http://a.test/x"}, "a.test /x "},
			{[]string{"-x", "socks5h://" + proxy, "-k", "https://a.test/x"}, "a.test /x "},
			{[]string{"-x", "socks5h://" + proxy, "http://a.test/x", "http://b.test/y"}, "a.test /x b.test /y "},
			{[]string{"-x", "socks5://" + proxy, "http://" + plainAddr + "/"}, plainAddr + " / "},
			{[]string{"-x", "http://" + proxy, "-k", "-w", "%{http_connect}", "https://b.org/x"}, "403"},
			// Tunnel to one name, TLS to another.
			{[]string{"-x", "http://" + proxy, "-k", "-w", "%{exitcode}", "--connect-to", "b.test:443:a.test:443", "https://b.test/x"}, "35"},
		} {
			cmd := exec.CommandContext(t.Context(), curl, append([]string{"-sS", "--max-time", "120"}, tt.args...)...)
			cmd.Env = append(os.Environ(), "NO_PROXY=", "no_proxy=")
			cmd.Stdin = strings.NewReader(large)
			out, _ := cmd.Output() // the last cases exit with an error
			if string(out) != tt.want {
				t.Errorf("curl %q printed %.200q, want %.200q", tt.args, out, tt.want)
			}
		}
	})

	mu.Lock()
	defer mu.Unlock()
	for _, h := range dials {
		if h != "a.test" && h != "b.test" && h != "127.0.0.1" {
			t.Errorf("dialled %q", h)
		}
	}
	if len(dials) == 0 {
		t.Error("OnDial heard nothing")
	}
}

func TestTunnelsToPort443NeedTheSameServerName(t *testing.T) {
	t.Parallel()
	got := &denials{}
	reached := make(chan string, 100)
	secure := httptest.NewUnstartedServer(nil)
	secure.TLS = &tls.Config{GetConfigForClient: func(h *tls.ClientHelloInfo) (*tls.Config, error) {
		reached <- h.ServerName
		return nil, nil
	}}
	secure.StartTLS()
	t.Cleanup(secure.Close)
	addr := secure.Listener.Addr().String()
	proxy := startProxy(t, Config{Guard: guardTo(t, map[string]string{"443": addr, "8443": addr}, "a.test=127.0.0.0/8", "127.0.0.1:443"), OnDenied: got.add})
	tests := []struct {
		name, target, sni string
		ok                bool
	}{
		{"same name", "a.test:443", "a.test", true},
		{"another name", "a.test:443", "b.test", false},
		{"no name", "a.test:443", "", false},
		{"no name for an address", "127.0.0.1:443", "", true},
		{"a name for an address", "127.0.0.1:443", "a.test", false},
		{"another port is not looked at", "a.test:8443", "b.test", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			conn, err := net.Dial("tcp", proxy)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			fmt.Fprintf(conn, "CONNECT %s HTTP/1.1\r\nHost: %[1]s\r\n\r\n", tt.target)
			resp, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: "CONNECT"})
			if err != nil || resp.StatusCode != 200 {
				t.Fatalf("CONNECT = %v, %v", resp, err)
			}
			err = tls.Client(conn, &tls.Config{ServerName: tt.sni, InsecureSkipVerify: true}).Handshake()
			if err == nil != tt.ok {
				t.Errorf("handshake = %v, want ok %v", err, tt.ok)
			}
			if !tt.ok && !strings.Contains(fmt.Sprint(err), "access denied") {
				t.Errorf("handshake = %v, want the alert access_denied", err)
			}
			var want []string
			if !tt.ok {
				want = []string{RuleServerName}
			}
			if diff := cmp.Diff(want, got.take()); diff != "" {
				t.Errorf("rules (-want +got):\n%s", diff)
			}
			select {
			case name := <-reached:
				if !tt.ok {
					t.Errorf("the server saw a ClientHello for %q", name)
				}
			default:
				if tt.ok {
					t.Error("the server saw no ClientHello")
				}
			}
		})
	}
}
