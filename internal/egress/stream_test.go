package egress

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

func TestResponsesKeepTheirFraming(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, send, answer, want string }{
		{"HEAD has a length and no body", strings.Replace(get, "GET", "HEAD", 1),
			"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"},
		{"304 has no body", get, "HTTP/1.1 304 Not Modified\r\nEtag: \"x\"\r\n\r\n", "HTTP/1.1 304 Not Modified\r\nEtag: \"x\"\r\n\r\n"},
		{"304 speaks of the body it spares", get, "HTTP/1.1 304 Not Modified\r\nContent-Length: 1234\r\n\r\n", "HTTP/1.1 304 Not Modified\r\nContent-Length: 1234\r\n\r\n"},
		{"hop-by-hop fields stay behind", get,
			"HTTP/1.1 200 OK\r\nConnection: X-Hop\r\nX-Hop: 1\r\nKeep-Alive: 5\r\nX-End: 1\r\nContent-Length: 2\r\n\r\nok",
			"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-End: 1\r\n\r\nok"},
		{"servers do not speak as the proxy", get,
			"HTTP/1.1 502 cannot reach\r\nproxy-status: sandbox; error=dns_error\r\nProxy-Status: x\r\nContent-Length: 2\r\n\r\nno",
			"HTTP/1.1 502 cannot reach\r\nContent-Length: 2\r\n\r\nno"},
		{"without length, to HTTP/1.1", get, "HTTP/1.1 200 Fine\r\n\r\nok", "HTTP/1.1 200 Fine\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"},
		{"without length, to HTTP/1.0", "GET http://a.test/ HTTP/1.0\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\nok", "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nok"},
		{"control bytes in the reason", get, "HTTP/1.1 200 O\x1bK\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"},
		{"a switch of protocols", get, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", "HTTP/1.1 502 cannot reach a.test:80: what answered does not speak HTTP as it should; "},
		{"not HTTP", get, "SSH-2.0-x\r\n", "HTTP/1.1 502 cannot reach a.test:80: what answered does not speak HTTP as it should; "},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			server := func(c net.Conn) {
				http.ReadRequest(bufio.NewReader(c))
				io.WriteString(c, tt.answer)
			}
			bubble(t, server, func(t *testing.T, l *pipeListener, _ func()) {
				conn := l.dial()
				defer conn.Close()
				send(t, conn, tt.send)
				expect(t, conn, tt.want)
			})
		})
	}
}

func TestStreamsAreNotHeldBack(t *testing.T) {
	t.Parallel()
	goOn := make(chan struct{})
	server := func(c net.Conn) {
		http.ReadRequest(bufio.NewReader(c))
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
		for range 3 {
			<-goOn
			io.WriteString(c, "4\r\ntick\r\n")
		}
		io.WriteString(c, "0\r\n\r\n")
	}
	bubble(t, server, func(t *testing.T, l *pipeListener, _ func()) {
		conn := l.dial()
		defer conn.Close()
		send(t, conn, get)
		expect(t, conn, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
		for range 3 {
			goOn <- struct{}{}
			expect(t, conn, "4\r\ntick\r\n")
		}
		expect(t, conn, "0\r\n\r\n")
	})
}

func TestABrokenResponseIsNotMadeWhole(t *testing.T) {
	t.Parallel()
	server := func(c net.Conn) {
		http.ReadRequest(bufio.NewReader(c))
		io.WriteString(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\ntick\r\n")
	}
	bubble(t, server, func(t *testing.T, l *pipeListener, _ func()) {
		conn := l.dial()
		defer conn.Close()
		send(t, conn, get)
		out, err := io.ReadAll(conn)
		if err != nil || !strings.HasSuffix(string(out), "4\r\ntick\r\n") {
			t.Errorf("received %q, %v, want no last chunk", out, err)
		}
	})
}
