package egress

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// The tests in this file run in bubbles, whose time is their own and which fail
// if a goroutine is left when they end. Connections are pipes.

type pipeListener struct {
	conns  chan net.Conn
	once   sync.Once
	closed chan struct{}
}

func newPipeListener() *pipeListener {
	return &pipeListener{conns: make(chan net.Conn), closed: make(chan struct{})}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *pipeListener) Addr() net.Addr { return &net.TCPAddr{} }

func (l *pipeListener) dial() net.Conn {
	a, b := net.Pipe()
	l.conns <- b
	return a
}

// bubble serves a proxy in a synctest bubble. Each connection to an upstream
// server is given to upstream, whichever host it is for; a.test is permitted.
func bubble(t *testing.T, upstream func(net.Conn), test func(t *testing.T, l *pipeListener, stop func())) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		l := newPipeListener()
		var servers sync.WaitGroup
		g := &Guard{Policy: mustPolicy(t, "a.test"), Own: noAddrs, Resolver: always("a.test", "93.184.216.34"),
			Connect: func(context.Context, string, string) (net.Conn, error) {
				a, b := net.Pipe()
				servers.Go(func() {
					defer b.Close()
					upstream(b)
				})
				return a, nil
			}}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() {
			done <- Serve(ctx, l, Config{Guard: g, HandshakeTimeout: 15 * time.Second, IdleTimeout: time.Minute, MaxConns: 3})
		}()
		test(t, l, cancel)
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve = %v", err)
		}
		servers.Wait()
	})
}

// lifetime returns how long conn lives, reading all that comes.
func lifetime(conn net.Conn) time.Duration {
	start := time.Now()
	io.Copy(io.Discard, conn)
	return time.Since(start)
}

func send(t *testing.T, conn net.Conn, s string) {
	t.Helper()
	if _, err := io.WriteString(conn, s); err != nil {
		t.Fatalf("sending %q: %v", s, err)
	}
}

func expect(t *testing.T, conn net.Conn, want string) {
	t.Helper()
	got := make([]byte, len(want))
	if n, err := io.ReadFull(conn, got); err != nil || string(got) != want {
		t.Fatalf("received %q, %v, want %q", got[:n], err, want)
	}
}

const (
	connect80  = "CONNECT a.test:80 HTTP/1.1\r\nHost: a.test\r\n\r\n"
	connect443 = "CONNECT a.test:443 HTTP/1.1\r\nHost: a.test\r\n\r\n"
	connected  = "HTTP/1.1 200 Connection established\r\n\r\n"
	get        = "GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n"
)

func discard(c net.Conn) { io.Copy(io.Discard, c) }

func TestSlowHandshakesEnd(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ before, answer, drip string }{
		"nothing at all":  {"", "", ""},
		"request line":    {"", "", strings.Repeat("G", 100)},
		"header":          {"GET http://a.test/ HTTP/1.1\r\nX: ", "", strings.Repeat("x", 100)},
		"SOCKS methods":   {"", "", "\x05\xff" + strings.Repeat("\x01", 200)},
		"SOCKS request":   {"\x05\x01\x00", "\x05\x00", "\x05\x01\x00\x03\xff" + strings.Repeat("a", 200)},
		"ClientHello":     {connect443, connected, "\x16\x03\x01\x01\x00" + strings.Repeat("\x01", 200)},
		"no ClientHello":  {connect443, connected, ""},
		"a second header": {get, "", get[:30] + strings.Repeat("x", 200)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := func(c net.Conn) {
				r := bufio.NewReader(c)
				for {
					if _, err := http.ReadRequest(r); err != nil {
						return
					}
					io.WriteString(c, "HTTP/1.1 204 No Content\r\n\r\n")
				}
			}
			bubble(t, server, func(t *testing.T, l *pipeListener, _ func()) {
				conn := l.dial()
				defer conn.Close()
				send(t, conn, tt.before)
				expect(t, conn, tt.answer)
				if tt.before == get {
					expect(t, conn, "HTTP/1.1 204 No Content\r\n\r\n")
				}
				var drip sync.WaitGroup
				defer drip.Wait()
				drip.Go(func() {
					for i := range len(tt.drip) {
						<-time.After(time.Second) // of the bubble
						if _, err := io.WriteString(conn, tt.drip[i:i+1]); err != nil {
							return
						}
					}
				})
				// A kept connection's limit begins with the next request.
				if got := lifetime(conn); got < 15*time.Second || got > 16*time.Second {
					t.Errorf("the connection lived for %v, want 15s", got)
				}
			})
		})
	}
}

func TestIdleConnectionsEnd(t *testing.T) {
	t.Parallel()
	noContent := func(c net.Conn) {
		http.ReadRequest(bufio.NewReader(c))
		io.WriteString(c, "HTTP/1.1 204 No Content\r\n\r\n")
		discard(c)
	}
	stall := func(c net.Conn) {
		http.ReadRequest(bufio.NewReader(c))
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\nabc")
		discard(c)
	}
	for name, tt := range map[string]struct {
		server func(net.Conn)
		send   string
	}{
		"between requests":             {noContent, get},
		"tunnel":                       {discard, connect80},
		"tunnel with a last word":      {discard, connect80 + "hello"},
		"no answer":                    {discard, get},
		"no body":                      {discard, "POST http://a.test/ HTTP/1.1\r\nHost: a.test\r\nContent-Length: 9\r\n\r\nabc"},
		"the server stops in the body": {stall, get},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, tt.server, func(t *testing.T, l *pipeListener, _ func()) {
				conn := l.dial()
				defer conn.Close()
				send(t, conn, tt.send)
				if got := lifetime(conn); got < 59*time.Second || got > 2*time.Minute {
					t.Errorf("the connection lived for %v, want one to two minutes", got)
				}
			})
		})
	}
}

func TestSilentServerIsATimeout(t *testing.T) {
	t.Parallel()
	bubble(t, discard, func(t *testing.T, l *pipeListener, _ func()) {
		conn := l.dial()
		defer conn.Close()
		send(t, conn, get)
		expect(t, conn, "HTTP/1.1 504 cannot reach a.test:80: the server did not answer in time; try again later\r\n")
		lifetime(conn)
	})
}

func TestTunnelLivesWhileOneDirectionMoves(t *testing.T) {
	t.Parallel()
	const ticks = 10
	ticking := func(c net.Conn) {
		for range ticks {
			<-time.After(30 * time.Second) // of the bubble
			if _, err := io.WriteString(c, "."); err != nil {
				return
			}
		}
		discard(c)
	}
	bubble(t, ticking, func(t *testing.T, l *pipeListener, _ func()) {
		conn := l.dial()
		defer conn.Close()
		send(t, conn, connect80)
		expect(t, conn, connected+strings.Repeat(".", ticks))
		if got := lifetime(conn); got < time.Minute || got > 2*time.Minute {
			t.Errorf("after the last byte the tunnel lived for %v, want one to two minutes", got)
		}
	})
}

func TestTheEndEndsEverything(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(l *pipeListener, cancel func()){
		"listener closed": func(l *pipeListener, _ func()) { l.Close() },
		"context ended":   func(_ *pipeListener, cancel func()) { cancel() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, discard, func(t *testing.T, l *pipeListener, cancel func()) {
				fresh, tunnel, waiting := l.dial(), l.dial(), l.dial()
				send(t, tunnel, connect80)
				expect(t, tunnel, connected)
				send(t, waiting, get)
				synctest.Wait()
				end(l, cancel)
				for _, conn := range []net.Conn{fresh, tunnel, waiting} {
					if got := lifetime(conn); got != 0 {
						t.Errorf("a connection lived on for %v", got)
					}
					conn.Close()
				}
			})
		})
	}
}

func TestLeavingClientEndsItsRequest(t *testing.T) {
	t.Parallel()
	ended := make(map[string]bool)
	for name, text := range map[string]string{
		"without body": get,
		"with a body":  "POST http://a.test/ HTTP/1.1\r\nHost: a.test\r\nContent-Length: 3\r\n\r\nabc",
		"in a body":    "POST http://a.test/ HTTP/1.1\r\nHost: a.test\r\nContent-Length: 9\r\n\r\nabc",
		"in a tunnel":  connect80,
	} {
		t.Run(name, func(t *testing.T) {
			server := func(c net.Conn) {
				discard(c)
				ended[name] = true
			}
			bubble(t, server, func(t *testing.T, l *pipeListener, _ func()) {
				conn := l.dial()
				go discard(conn)
				send(t, conn, text)
				synctest.Wait()
				if ended[name] {
					t.Fatal("ended before the client left")
				}
				conn.Close()
				synctest.Wait()
				if !ended[name] {
					t.Error("the server still waits though the client left")
				}
			})
		})
	}
}

func TestAnEarlyAnswerEndsTheConnection(t *testing.T) {
	t.Parallel()
	early := func(c net.Conn) {
		bufio.NewReader(c).ReadString('\n')
		io.WriteString(c, "HTTP/1.1 204 No Content\r\n\r\n")
		discard(c)
	}
	bubble(t, early, func(t *testing.T, l *pipeListener, _ func()) {
		conn := l.dial()
		defer conn.Close()
		// What is left of the body must not be taken for a request.
		send(t, conn, "POST http://a.test/ HTTP/1.1\r\nHost: a.test\r\nContent-Length: 900\r\n\r\nabc")
		expect(t, conn, "HTTP/1.1 204 No Content\r\n\r\n")
		if got := lifetime(conn); got != 0 {
			t.Errorf("the connection lived on for %v", got)
		}
	})
}

func TestTooManyConnectionsAreClosed(t *testing.T) {
	t.Parallel()
	bubble(t, discard, func(t *testing.T, l *pipeListener, _ func()) {
		first, second, third := l.dial(), l.dial(), l.dial()
		defer second.Close()
		defer third.Close()
		synctest.Wait()
		if got := lifetime(l.dial()); got != 0 {
			t.Errorf("the fourth connection lived for %v", got)
		}
		first.Close()
		synctest.Wait()
		again := l.dial()
		defer again.Close()
		send(t, again, connect80)
		expect(t, again, connected)
	})
}

func TestServeReportsAFailingListener(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	if err := Serve(t.Context(), failingListener{newPipeListener(), broken}, Config{}); !errors.Is(err, broken) {
		t.Errorf("Serve = %v, want %v", err, broken)
	}
}

type failingListener struct {
	*pipeListener
	err error
}

func (l failingListener) Accept() (net.Conn, error) { return nil, l.err }

func TestDialTakesItsShareOfTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := &Guard{Policy: mustPolicy(t, "a.test"), Own: noAddrs, Resolver: always("a.test", "93.184.216.34 2a00::1 8.8.8.8"),
			Connect: func(ctx context.Context, _, address string) (net.Conn, error) {
				if address == "8.8.8.8:80" {
					a, _ := net.Pipe()
					return a, nil
				}
				<-ctx.Done()
				return nil, ctx.Err()
			}}
		start := time.Now()
		conn, err := g.DialContext(t.Context(), "tcp", "a.test:80")
		if err != nil {
			t.Fatal(err)
		}
		conn.Close()
		if got := time.Since(start); got >= dialTimeout {
			t.Errorf("reached the third address after %v, want less than %v", got, dialTimeout)
		}
	})
}

func TestServeRetriesWhatPasses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := &exhaustedListener{pipeListener: newPipeListener(), left: 10}
		done := make(chan error, 1)
		go func() { done <- Serve(t.Context(), l, Config{}) }()
		conn := l.dial()
		defer conn.Close()
		send(t, conn, get)
		expect(t, conn, "HTTP/1.1 403 ")
		l.Close()
		if err := <-done; err != nil {
			t.Errorf("Serve = %v", err)
		}
	})
}

// exhaustedListener lacks descriptors for its first left calls.
type exhaustedListener struct {
	*pipeListener
	left int
}

func (l *exhaustedListener) Accept() (net.Conn, error) {
	if l.left--; l.left >= 0 {
		return nil, &net.OpError{Op: "accept", Err: os.NewSyscallError("accept4", syscall.EMFILE)}
	}
	return l.pipeListener.Accept()
}
