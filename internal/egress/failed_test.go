package egress

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestProxySaysWhyAHostIsNotReached(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, host string
		dial       error // nil: not asked
		status     string
		cause      string
		want       string
	}{
		{"the name does not resolve", "no.test", nil, "502", CauseName,
			"cannot reach no.test:80: the name does not resolve; check its spelling"},
		{"refused", "a.test", syscall.ECONNREFUSED, "502", CauseRefused,
			"cannot reach a.test:80: the connection was refused: nothing listens there; check the port, and that the server runs"},
		{"no way", "a.test", syscall.EHOSTUNREACH, "502", CauseUnreachable, "cannot reach a.test:80: no way leads there; check the address"},
		{"no answer", "a.test", os.ErrDeadlineExceeded, "504", CauseTimeout,
			"cannot reach a.test:80: nobody answered in time; the host may be down or behind a firewall: check the address and the port, or try again later"},
		{"hung up", "a.test", io.EOF, "502", CauseEnded,
			"cannot reach a.test:80: the server closed the connection without an answer; check the port and the protocol, http or https"},
	} {
		for kind, request := range map[string]string{
			"plain":  "GET http://" + tt.host + "/ HTTP/1.1\r\nHost: " + tt.host + "\r\n\r\n",
			"tunnel": "CONNECT " + tt.host + ":80 HTTP/1.1\r\nHost: " + tt.host + ":80\r\n\r\n",
		} {
			t.Run(tt.name+", "+kind, func(t *testing.T) {
				t.Parallel()
				var heard failures
				guard := &Guard{Policy: mustPolicy(t, "*"), Own: noAddrs, Resolver: always("a.test", "93.184.215.14")}
				guard.Connect = func(context.Context, string, string) (net.Conn, error) {
					return nil, &net.OpError{Op: "dial", Err: tt.dial}
				}
				got := raw(t, startProxy(t, Config{Guard: guard, OnFailed: heard.add}), request)
				head, body, _ := strings.Cut(got, "\r\n\r\n")
				line, fields, _ := strings.Cut(head, "\r\n")
				if want := "HTTP/1.1 " + tt.status + " " + tt.want; line != want || body != tt.want+"\n" {
					t.Errorf("answer %q with the body %q, want %q and the same text", line, body, want)
				}
				if want := "Proxy-Status: sandbox; error=" + tt.cause; !strings.Contains(fields, want) {
					t.Errorf("fields %q, want %q", fields, want)
				}
				if diff := cmp.Diff([]string{tt.cause + " " + tt.want}, heard.list); diff != "" {
					t.Errorf("OnFailed heard (-want +got):\n%s", diff)
				}
			})
		}
	}
}

func TestServersThatDoNotAnswerFail(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var served sync.WaitGroup
	served.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			c.Close()
		}
	})
	t.Cleanup(func() { ln.Close(); served.Wait() })
	var heard failures
	guard := guardTo(t, map[string]string{"80": ln.Addr().String()}, "a.test=127.0.0.0/8")
	got := raw(t, startProxy(t, Config{Guard: guard, OnFailed: heard.add}), "GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n")
	if want := "HTTP/1.1 502 cannot reach a.test:80: the server closed the connection without an answer"; !strings.HasPrefix(got, want) || len(heard.list) != 1 {
		t.Errorf("answer %q, heard %q, want %q, once", got, heard.list, want)
	}
}

// How the transport tells that a server hung up depends on what it was doing.
func TestAServerThatHangsUpIsOneFailure(t *testing.T) {
	t.Parallel()
	for _, err := range []error{
		io.EOF, io.ErrUnexpectedEOF, errors.New("http: server closed idle connection"),
		&net.OpError{Op: "read", Net: "tcp", Err: os.NewSyscallError("read", syscall.ECONNRESET)},
		&net.OpError{Op: "write", Net: "tcp", Err: os.NewSyscallError("write", syscall.EPIPE)},
		&net.OpError{Op: "write", Net: "tcp", Err: net.ErrClosed},
	} {
		f := unanswered(Host{name: "a.test"}, 80, fmt.Errorf("net/http: HTTP/1.x transport connection broken: %w", err))
		if f.Cause != CauseEnded || !errors.Is(f, err) {
			t.Errorf("%v is %q, want %q", err, f.Cause, CauseEnded)
		}
	}
}

// failures are what OnFailed heard.
type failures struct {
	mu   sync.Mutex // guards list
	list []string
}

func (f *failures) add(x Failed) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.list = append(f.list, x.Cause+" "+x.Error())
}
