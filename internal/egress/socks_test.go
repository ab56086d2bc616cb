package egress

import (
	"bytes"
	"context"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSOCKS(t *testing.T) {
	t.Parallel()
	var got denials
	echo := echoServer(t)
	proxy := startProxy(t, Config{Guard: guardTo(t, map[string]string{"80": echo, "443": echo}, "a.test:80=127.0.0.0/8", "127.0.0.1:80", "a.test:443=127.0.0.0/8"), OnDenied: got.add})
	name := func(s string, port byte) string {
		return "\x05\x01\x00\x05\x01\x00\x03" + string(rune(len(s))) + s + "\x00" + string(rune(port))
	}
	const chosen = "\x05\x00"
	const ok = chosen + "\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00"
	tests := []struct {
		name, send, want, rule string
	}{
		{"a listed name", name("a.test", 80), ok, ""},
		{"in capitals with a trailing dot", name("A.TEST.", 80), ok, ""},
		{"an address", "\x05\x01\x00\x05\x01\x00\x01\x7f\x00\x00\x01\x00\x50", ok, ""},
		{"an address as a name", name("127.0.0.1", 80), ok, ""},
		{"a mapped address", "\x05\x01\x00\x05\x01\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\x7f\x00\x00\x01\x00\x50", ok, ""},
		{"one of several methods", "\x05\x03\x02\x01\x00" + name("a.test", 80)[3:], ok, ""},
		{"another name", name("b.test", 80), chosen + "\x05\x02", RuleAllowList},
		{"another port", name("a.test", 81), chosen + "\x05\x02", RuleAllowList},
		{"another address", "\x05\x01\x00\x05\x01\x00\x01\x7f\x00\x00\x02\x00\x50", chosen + "\x05\x02", RuleAllowList},
		{"NUL in the name", name("a.test\x00.b.test", 80), chosen + "\x05\x02", RuleHostName},
		{"NUL behind the name", name("a.test\x00", 80), chosen + "\x05\x02", RuleHostName},
		{"line feed in the name", name("a.test\n", 80), chosen + "\x05\x02", RuleHostName},
		{"empty name", name("", 80), chosen + "\x05\x02", RuleHostName},
		{"port in the name", name("a.test:80", 80), chosen + "\x05\x02", RuleHostName},
		{"an odd address", name("2130706433", 80), chosen + "\x05\x02", RuleHostName},
		{"port 0", name("a.test", 0), chosen + "\x05\x02", RuleAllowList},
		{"BIND", "\x05\x01\x00\x05\x02\x00\x01\x7f\x00\x00\x01\x00\x50", chosen + "\x05\x07", RuleNetwork},
		{"UDP ASSOCIATE", "\x05\x01\x00\x05\x03\x00\x01\x7f\x00\x00\x01\x00\x50", chosen + "\x05\x07", RuleNetwork},
		{"another type of address", "\x05\x01\x00\x05\x01\x00\x02\x00\x50", chosen + "\x05\x08", ""},
		{"reserved byte", "\x05\x01\x00\x05\x01\x01\x01\x7f\x00\x00\x01\x00\x50", chosen + "\x05\x01", ""},
		{"only a password", "\x05\x01\x02", "\x05\xff", ""},
		{"no methods", "\x05\x00", "\x05\xff", ""},
		{"not TLS on 443", strings.TrimSuffix(name("a.test", 0), "\x00\x00") + "\x01\xbbGET / HTTP/1.1\r\n", ok + string(accessDenied[:]), RuleServerName},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			conn, err := net.Dial("tcp", proxy)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			io.WriteString(conn, tt.send)
			if tt.want == ok {
				io.WriteString(conn, "GET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
			}
			conn.(*net.TCPConn).CloseWrite()
			out, err := io.ReadAll(conn)
			if err != nil {
				t.Fatalf("after %q: %v", out, err)
			}
			rest, found := strings.CutPrefix(string(out), tt.want)
			if !found || tt.want == ok && !strings.Contains(rest, "GET /x") {
				t.Errorf("answer %q, want %q", out, tt.want)
			}
			var want []string
			if tt.rule != "" {
				want = []string{tt.rule}
			}
			if diff := cmp.Diff(want, got.take()); diff != "" {
				t.Errorf("rules (-want +got):\n%s", diff)
			}
		})
	}
}

func FuzzSOCKS(f *testing.F) {
	f.Add([]byte("\x05\x01\x00\x03\x06a.test\x00\x50"))
	f.Add([]byte("\x05\x01\x00\x01\x7f\x00\x00\x01\x00\x50"))
	f.Add([]byte("\x05\x01\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\x7f\x00\x00\x01\x00\x50"))
	f.Add([]byte("\x05\x01\x00\x03\x07a.test\x00\x00\x50"))
	f.Fuzz(func(t *testing.T, in []byte) {
		h, port, err := readSOCKSRequest(bytes.NewReader(in))
		if err != nil {
			return
		}
		if port == 0 {
			return // no rule matches it
		}
		if again, p, err := ParseAuthority(h.join(port), 0); err != nil || again != h || p != port {
			t.Errorf("request %q for %v:%d reads back as %v:%d, %v", in, h, port, again, p, err)
		}
	})
}

func TestSOCKSReportsHowADialFailed(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		err   error
		reply byte
	}{
		{"refused", syscall.ECONNREFUSED, 5},
		{"unreachable", syscall.EHOSTUNREACH, 4},
		{"anything else", io.ErrUnexpectedEOF, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			guard := guardTo(t, nil, "a.test=127.0.0.0/8")
			guard.Connect = func(context.Context, string, string) (net.Conn, error) {
				return nil, &net.OpError{Op: "dial", Err: tt.err}
			}
			out := raw(t, startProxy(t, Config{Guard: guard}), "\x05\x01\x00\x05\x01\x00\x03\x06a.test\x00\x50")
			if want := "\x05\x00\x05" + string(rune(tt.reply)); !strings.HasPrefix(out, want) {
				t.Errorf("answer %q, want %q", out, want)
			}
		})
	}
}
