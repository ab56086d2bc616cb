package egress

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"syscall"
	"testing"
)

func TestLoopbackIsTheWorkersOwn(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, target, allow string
		want                string // what was dialled inside, "out ADDR" for outside, or the error
	}{
		{"a literal address", "127.0.0.1:8000", "", "127.0.0.1:8000"},
		{"another of the block", "127.5.6.7:8000", "", "127.5.6.7:8000"},
		{"IPv6", "[::1]:8000", "", "[::1]:8000"},
		{"IPv4 in IPv6", "[::ffff:127.0.0.1]:8000", "", "127.0.0.1:8000"},
		{"localhost, both addresses", "localhost:8000", "", "127.0.0.1:8000 [::1]:8000"},
		{"with a dot", "LOCALHOST.:8000", "", "127.0.0.1:8000 [::1]:8000"},
		{"below localhost", "app.localhost:8000", "", "127.0.0.1:8000 [::1]:8000"},
		{"where servers say they listen", "0.0.0.0:8000", "", "127.0.0.1:8000"},
		{"the same in IPv6", "[::]:8000", "", "[::1]:8000"},
		{"the rest of 0.0.0.0/8", "0.0.0.1:8000", "", "network denied: 0.0.0.1:8000 is not in the allow list, which is empty"},
		{"a name that resolves to loopback", "evil.test:8000", "", "network denied: evil.test:8000 is not in the allow list, which is empty"},
		{"one that is listed", "evil.test:8000", "evil.test", "network denied: evil.test:8000 resolves to 127.0.0.1, which is loopback (127.0.0.0/8, RFC 1122)"},
		{"a name that looks like it", "localhost.evil.test:8000", "", "network denied: localhost.evil.test:8000 is not in the allow list, which is empty"},
		{"another one", "notlocalhost:8000", "", "network denied: notlocalhost:8000 is not in the allow list, which is empty"},
		{"an odd notation", "127.1:8000", "", `network denied: "127.1:8000" is refused: host "127.1" looks like an address in an unusual notation, expected four decimal numbers such as 192.0.2.1`},
		{"a private address", "10.0.0.1:80", "", "network denied: 10.0.0.1:80 is not in the allow list, which is empty"},
		{"everything listed is everything public", "127.0.0.1:8000", "*", "127.0.0.1:8000"},
		{"and names", "localhost:8000", "*", "127.0.0.1:8000 [::1]:8000"},
		{"the machine's, listed by its address", "127.0.0.1:8000", "127.0.0.1:8000", "out 127.0.0.1:8000"},
		{"another port than the listed one", "127.0.0.1:8001", "127.0.0.1:8000", "127.0.0.1:8001"},
		{"the machine's, listed by its block", "127.0.0.1:8000", "127.0.0.0/8", "out 127.0.0.1:8000"},
		{"localhost listed as the machine's", "localhost:8000", "localhost=127.0.0.0/8", "out 127.0.0.1:8000"},
		{"localhost listed as a name", "localhost:8000", "localhost", "127.0.0.1:8000 [::1]:8000"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var dialed []string
			g := &Guard{
				Own: noAddrs, Resolver: always("evil.test", "127.0.0.1", "localhost", "127.0.0.1"),
				Loopback: func(_ context.Context, a netip.AddrPort) (net.Conn, error) {
					dialed = append(dialed, a.String())
					return nil, syscall.ECONNREFUSED
				},
				Connect: func(_ context.Context, _, address string) (net.Conn, error) {
					dialed = append(dialed, "out "+address)
					return nil, syscall.ECONNREFUSED
				},
				Check: func(_ context.Context, d Dial) error {
					if len(dialed) == 0 && tt.want != "out "+d.Addr.String() {
						t.Errorf("Check was asked of %v, which is the worker's own", d)
					}
					return nil
				},
			}
			if tt.allow != "" {
				g.Policy = mustPolicy(t, tt.allow)
			}
			_, err := g.DialContext(t.Context(), "tcp", tt.target)
			got := strings.Join(dialed, " ")
			if got == "" {
				got = err.Error()
			}
			if got != tt.want {
				t.Errorf("%s under %q: %q, want %q", tt.target, tt.allow, got, tt.want)
			}
			if inside := !strings.HasPrefix(tt.want, "out ") && len(dialed) > 0; inside != strings.Contains(err.Error(), "the worker's own loopback") {
				t.Errorf("%s under %q: error %q", tt.target, tt.allow, err)
			}
		})
	}
}

func TestWithoutALoopbackItIsSaidWhy(t *testing.T) {
	t.Parallel()
	g := &Guard{LoopbackHint: "there is none"}
	for target, want := range map[string]string{
		"localhost:80":   "network denied: localhost:80 is not in the allow list, which is empty; there is none",
		"127.0.0.1:80":   "network denied: 127.0.0.1:80 is not in the allow list, which is empty; there is none",
		"example.com:80": "network denied: example.com:80 is not in the allow list, which is empty",
	} {
		if _, err := g.DialContext(t.Context(), "tcp", target); err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %s", target, err, want)
		}
	}
}

func TestBrowsersAskAWorkersOwnServersAnew(t *testing.T) {
	t.Parallel()
	const modified = "Last-Modified: Wed, 01 Jan 2020 00:00:00 GMT\r\n"
	for _, tt := range []struct {
		name, status, fields, allow string
		want                        string // Cache-Control of the answer
	}{
		{"no time to live", "200 OK", modified, "", "no-cache"},
		{"unchanged", "304 Not Modified", modified, "", "no-cache"},
		{"a Cache-Control", "200 OK", "Cache-Control: max-age=60\r\n", "", "max-age=60"},
		{"an Expires", "200 OK", "Expires: Wed, 01 Jan 2020 00:00:00 GMT\r\n", "", ""},
		{"the machine's own", "200 OK", modified, "127.0.0.1:8000", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			connect := func(context.Context) (net.Conn, error) {
				near, far := net.Pipe()
				go func() {
					defer far.Close()
					if _, err := http.ReadRequest(bufio.NewReader(far)); err == nil {
						io.WriteString(far, "HTTP/1.1 "+tt.status+"\r\n"+tt.fields+"Content-Length: 0\r\n\r\n")
					}
				}()
				return near, nil
			}
			g := &Guard{
				Own:      noAddrs,
				Loopback: func(ctx context.Context, _ netip.AddrPort) (net.Conn, error) { return connect(ctx) },
				Connect:  func(ctx context.Context, _, _ string) (net.Conn, error) { return connect(ctx) },
			}
			if tt.allow != "" {
				g.Policy = mustPolicy(t, tt.allow)
			}
			out := raw(t, startProxy(t, Config{Guard: g}), "GET http://127.0.0.1:8000/ HTTP/1.1\r\nHost: 127.0.0.1:8000\r\nConnection: close\r\n\r\n")
			resp, err := http.ReadResponse(bufio.NewReader(strings.NewReader(out)), nil)
			if err != nil {
				t.Fatalf("%q: %v", out, err)
			}
			defer resp.Body.Close()
			if got := resp.Header.Get("Cache-Control"); got != tt.want || resp.Status != tt.status {
				t.Errorf("answer %q: Cache-Control %q, want %q", out, got, tt.want)
			}
		})
	}
}
