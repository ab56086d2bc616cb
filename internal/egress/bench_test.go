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

// The requests of these benchmarks are answered with 1 KB.
const answerSize = 1024

func answer(w http.ResponseWriter, _ *http.Request) {
	w.Write(make([]byte, answerSize))
}

// BenchmarkRequests sends requests on a kept connection: straight to the server,
// through the proxy in absolute form, and in a tunnel.
func BenchmarkRequests(b *testing.B) {
	server := httptest.NewServer(http.HandlerFunc(answer))
	b.Cleanup(server.Close)
	proxy := startProxy(b, Config{Guard: guardTo(b, nil, server.Listener.Addr().String())})
	for _, way := range ways(proxy) {
		b.Run(way.name, func(b *testing.B) {
			c := newClient(way.proxy)
			defer c.CloseIdleConnections()
			b.ReportAllocs()
			for b.Loop() {
				fetch(b, c, server.URL)
			}
		})
	}
}

// BenchmarkRatio sends each request all three ways in turn, so that the noise of
// the machine falls on all alike, and reports rates as parts of the direct one.
func BenchmarkRatio(b *testing.B) {
	server := httptest.NewServer(http.HandlerFunc(answer))
	b.Cleanup(server.Close)
	all := ways(startProxy(b, Config{Guard: guardTo(b, nil, server.Listener.Addr().String())}))
	clients := make([]*http.Client, len(all))
	for i, way := range all {
		clients[i] = newClient(way.proxy)
		defer clients[i].CloseIdleConnections()
	}
	took := make([]time.Duration, len(all))
	for b.Loop() {
		for i, c := range clients {
			start := time.Now()
			fetch(b, c, server.URL)
			took[i] += time.Since(start)
		}
	}
	for i, way := range all[1:] {
		b.ReportMetric(float64(took[0])/float64(took[i+1]), way.name+"/direct")
	}
}

type way struct {
	name  string
	proxy *url.URL // nil: none
}

func ways(proxy string) []way {
	return []way{
		{"direct", nil},
		{"absolute", &url.URL{Scheme: "http", Host: proxy}},
		{"SOCKS5", &url.URL{Scheme: "socks5", Host: proxy}},
	}
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
	if n, err := io.Copy(io.Discard, resp.Body); n != answerSize || err != nil {
		b.Fatalf("%d bytes, %v", n, err)
	}
}

// BenchmarkBulk carries 16 MB in one response.
func BenchmarkBulk(b *testing.B) {
	block := make([]byte, 16<<20)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Write(block) }))
	b.Cleanup(server.Close)
	proxy := startProxy(b, Config{Guard: guardTo(b, nil, server.Listener.Addr().String())})
	for _, way := range ways(proxy) {
		b.Run(way.name, func(b *testing.B) {
			c := newClient(way.proxy)
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
	server := httptest.NewServer(http.HandlerFunc(answer))
	b.Cleanup(server.Close)
	proxy := startProxy(b, Config{Guard: guardTo(b, nil, server.Listener.Addr().String())})
	for _, way := range ways(proxy) {
		b.Run(way.name, func(b *testing.B) {
			b.ReportAllocs()
			c := newClient(way.proxy)
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
