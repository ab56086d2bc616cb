package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/agentflow-go/sandbox"
	"github.com/agentflow-go/sandbox/httpserver/api"
	"github.com/google/go-cmp/cmp"
)

func TestParseTokens(t *testing.T) {
	t.Parallel()
	const a, b = "aaaaaaaaaaaaaaaa", "bbbbbbbbbbbbbbbb"
	tests := []struct {
		name, in string
		want     []api.Token
		err      string
	}{
		{"one", a, []api.Token{{Secret: a}}, ""},
		{"with prefix and comments", "# all\n\n  " + a + "\t team- \r\n#" + b + "\n" + b + "\n",
			[]api.Token{{Secret: a, WorkerPrefix: "team-"}, {Secret: b}}, ""},
		{"none", "# nothing\n", nil, "holds no token"},
		{"three words", a + " x y", nil, "line 1: expected a token and at most one"},
		{"short", "\nsecret", nil, "line 2: the token has 6 characters, expected at least 16"},
		{"twice", a + "\n\n" + a + " p", nil, "line 3: the token is in line 1 already"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := parseTokens(strings.NewReader(tt.in))
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("tokens (-want +got):\n%s", diff)
			}
			if (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Errorf("error %v, want %q", err, tt.err)
			}
			if err != nil && (strings.Contains(err.Error(), a) || strings.Contains(err.Error(), "secret")) {
				t.Errorf("the error %q gives a token away", err)
			}
		})
	}
}

func TestReadTokensWantsASecret(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for mode, ok := range map[os.FileMode]bool{0o600: true, 0o400: true, 0o640: true, 0o604: false, 0o620: false, 0o602: false, 0o601: false} {
		path := filepath.Join(dir, fmt.Sprintf("%o", mode))
		if err := errors.Join(os.WriteFile(path, []byte("aaaaaaaaaaaaaaaa\n"), 0o600), os.Chmod(path, mode)); err != nil {
			t.Fatal(err)
		}
		if _, err := readTokens(path); (err == nil) != ok {
			t.Errorf("readTokens of a file with mode %04o = %v, want accepted: %v", mode, err, ok)
		}
	}
	if _, err := readTokens(dir); err == nil {
		t.Error("a directory was accepted")
	}
	big := filepath.Join(dir, "big")
	if err := errors.Join(os.WriteFile(big, nil, 0o600), os.Truncate(big, maxTokens+1)); err != nil {
		t.Fatal(err)
	}
	if _, err := readTokens(big); err == nil {
		t.Error("a huge file was accepted")
	}
}

func TestFlagsWinOverTheFile(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]string{
		"":                        "file:1",
		"--host h":                "h:1",
		"-p 2":                    "file:2",
		"-p 0":                    "file:0",
		"--host ::1 --port=2":     "[::1]:2",
		"--addr a:3":              "a:3",
		"-addr :0":                ":0",
		"-c x --host 127.0.0.1":   "127.0.0.1:1",
		"--config=x --insecure":   "file:1",
		"--log-level WARNING":     "file:1",
		"--log-level debug -p 65": "file:65",
	} {
		f, err := parseFlags(strings.Fields(args), io.Discard)
		if got := f.address("file:1"); err != nil || got != want {
			t.Errorf("address with %q = %s, %v; want %s", args, got, err, want)
		}
	}
}

func TestLogQuotesAgentText(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	p := program{stderr: &out}
	level := slog.LevelDebug
	log := p.logger(flags{logLevel: &level}, sandbox.ServerConfig{LogLevel: slog.LevelError})
	log.Debug("said \x1b[2J", "text", "a\nlevel=ERROR \x9b\u202eevil\x07")
	if strings.ContainsAny(out.String(), "\x1b\x07\u202e\u009b") || strings.Count(out.String(), "\n") != 1 {
		t.Errorf("logged %q, want one line of plain characters", out.String())
	}
}

// TestBodyTimeEndsWithTheBody pins that a slow body is cut off, and that a
// call which runs longer than a body may take is not.
func TestBodyTimeEndsWithTheBody(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const limit = time.Minute
		arrived := make(chan error, 2)
		srv := &http.Server{Handler: limitBody(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, err := io.ReadAll(r.Body)
			arrived <- err
			select {
			case <-r.Context().Done():
				http.Error(w, "cancelled", http.StatusInternalServerError)
			case <-time.After(3 * limit):
				fmt.Fprint(w, "done")
			}
		}), limit)}
		l := make(pipes)
		served := make(chan error, 1)
		go func() { served <- srv.Serve(l) }()
		post := func(body string) net.Conn {
			conn, there := net.Pipe()
			l <- there
			fmt.Fprint(conn, "POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 10\r\n\r\n"+body)
			return conn
		}

		long := post("in a hurry")
		defer long.Close()
		if answer, err := io.ReadAll(long); !strings.HasSuffix(string(answer), "\r\n\r\ndone") || err != nil {
			t.Errorf("a long call answered %q, %v; want done", answer, err)
		}
		if err := <-arrived; err != nil {
			t.Errorf("reading a body that is there = %v", err)
		}

		began := time.Now()
		slow := post("hal")
		defer slow.Close()
		var timeout net.Error
		if err := <-arrived; !errors.As(err, &timeout) || !timeout.Timeout() || time.Since(began) != limit {
			t.Errorf("reading a slow body = %v after %v, want a time-out after %v", err, time.Since(began), limit)
		}
		close(l)
		if err := <-served; !errors.Is(err, net.ErrClosed) {
			t.Errorf("Serve = %v", err)
		}
		if err := srv.Close(); err != nil {
			t.Error(err)
		}
	})
}

// pipes is a listener that has what is sent on it: in a bubble there are no
// sockets.
type pipes chan net.Conn

func (p pipes) Accept() (net.Conn, error) {
	if conn, ok := <-p; ok {
		return conn, nil
	}
	return nil, net.ErrClosed
}

func (p pipes) Close() error   { return nil }
func (p pipes) Addr() net.Addr { return &net.TCPAddr{} }

func TestReachable(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"0.0.0.0:5": "127.0.0.1:5", "[::]:5": "127.0.0.1:5", "127.0.0.1:5": "127.0.0.1:5", "[::1]:5": "[::1]:5",
	} {
		addr, err := net.ResolveTCPAddr("tcp", in)
		if err != nil {
			t.Fatal(err)
		}
		if got := reachable(addr); got != want {
			t.Errorf("reachable(%s) = %s, want %s", in, got, want)
		}
	}
}

// TestBusyAddressHidesNothing: where the port is taken, most of all by the
// server itself, --validate must still refuse what a start would.
func TestBusyAddressHidesNothing(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	for host, want := range map[string]string{
		"127.0.0.1": "server.port",
		"0.0.0.0":   "server.host: 0.0.0.0:" + port + " can be reached from other machines",
	} {
		problems := checkServer(flags{addr: net.JoinHostPort(host, port)}, sandbox.ServerConfig{})
		if len(problems) == 0 || !strings.HasPrefix(problems[0].String(), want) {
			t.Errorf("checkServer on %s = %v, want %q first", host, problems, want)
		}
	}
}
