package egress

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"
)

// BenchmarkRequests compares requests of 1 KB answers on a kept connection:
// straight to the server, through the proxy in absolute form, and in a tunnel.
// The metric x-direct is the ratio of rates in one run.
func BenchmarkRequests(b *testing.B) {
	answer := strings.Repeat("x", 1024)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, answer) }))
	b.Cleanup(server.Close)
	proxy := startProxy(b, Config{Guard: guardTo(b, nil, server.Listener.Addr().String())})
	run := func(proxyURL *url.URL) func(b *testing.B) {
		return func(b *testing.B) {
			b.ReportAllocs()
			direct := newClient(nil)
			through := newClient(proxyURL)
			defer direct.CloseIdleConnections()
			defer through.CloseIdleConnections()
			fetch(b, through, server.URL)
			for b.Loop() {
				fetch(b, through, server.URL)
			}
			if proxyURL == nil {
				return
			}
			// The same number of requests without the proxy, in the same run.
			mine := b.Elapsed()
			b.StopTimer()
			start := time.Now()
			for range b.N {
				fetch(b, direct, server.URL)
			}
			b.ReportMetric(float64(time.Since(start))/float64(mine), "x-direct")
		}
	}
	b.Run("direct", run(nil))
	b.Run("absolute form", run(&url.URL{Scheme: "http", Host: proxy}))
	b.Run("SOCKS5 tunnel", run(&url.URL{Scheme: "socks5", Host: proxy}))
}

func newClient(proxy *url.URL) *http.Client {
	return &http.Client{Transport: &http.Transport{Proxy: http.ProxyURL(proxy), DisableCompression: true}}
}

func fetch(b *testing.B, c *http.Client, u string) {
	resp, err := c.Get(u)
	if err != nil {
		b.Fatal(err)
	}
	defer resp.Body.Close()
	if n, err := io.Copy(io.Discard, resp.Body); n != 1024 || err != nil {
		b.Fatalf("%d bytes, %v", n, err)
	}
}

// BenchmarkBulk carries 16 MB in one response.
func BenchmarkBulk(b *testing.B) {
	block := make([]byte, 16<<20)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Write(block) }))
	b.Cleanup(server.Close)
	proxy := startProxy(b, Config{Guard: guardTo(b, nil, server.Listener.Addr().String())})
	for name, u := range map[string]*url.URL{
		"direct":        nil,
		"absolute form": {Scheme: "http", Host: proxy},
		"SOCKS5 tunnel": {Scheme: "socks5", Host: proxy},
	} {
		b.Run(name, func(b *testing.B) {
			c := newClient(u)
			defer c.CloseIdleConnections()
			b.SetBytes(int64(len(block)))
			b.ReportAllocs()
			for b.Loop() {
				resp, err := c.Get(server.URL)
				if err != nil {
					b.Fatal(err)
				}
				if n, err := io.Copy(io.Discard, resp.Body); n != int64(len(block)) || err != nil {
					b.Fatalf("%d bytes, %v", n, err)
				}
				resp.Body.Close()
			}
		})
	}
}

// BenchmarkConnect is the cost of one new proxied connection and request.
func BenchmarkConnect(b *testing.B) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, strings.Repeat("x", 1024)) }))
	b.Cleanup(server.Close)
	proxy := startProxy(b, Config{Guard: guardTo(b, nil, server.Listener.Addr().String())})
	for name, u := range map[string]*url.URL{"direct": nil, "absolute form": {Scheme: "http", Host: proxy}} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			c := newClient(u)
			for b.Loop() {
				fetch(b, c, server.URL)
				c.CloseIdleConnections()
			}
		})
	}
}

func BenchmarkPermits(b *testing.B) {
	var patterns []string
	for _, tld := range []string{"com", "org", "net", "io", "dev"} {
		for _, n := range strings.Fields("a b c d e f g h i j k l m n o p q r s t") {
			patterns = append(patterns, n+".example."+tld, "*."+n+".example."+tld+":443")
		}
	}
	p := mustPolicy(b, patterns...)
	h, err := ParseHost("www.t.example.dev")
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if !p.Permits(h, 443) {
			b.Fatal("not permitted")
		}
	}
}
