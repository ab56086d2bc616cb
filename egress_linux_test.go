package sandbox_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/agentflow-go/sandbox"
	"github.com/agentflow-go/sandbox/internal/usertest"
	"github.com/google/go-cmp/cmp"
)

// site is a web server of this machine that says its name. Its address is a
// literal one, which a list can unlock.
func site(t *testing.T, name string) (addr string) {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "this is "+name) // the client's end shows
	}))
	t.Cleanup(srv.Close)
	return srv.Listener.Addr().String()
}

// fetch is a command that goes through the proxy to loopback addresses as well,
// which NO_PROXY excepts, and prints status and body.
func fetch(addr string) string {
	return `curl --noproxy "" -sS -m 60 -w ' %{http_code}' http://` + addr
}

func confined(allow ...string) sandbox.Confinement {
	return sandbox.Confinement{Egress: sandbox.Egress{Allow: allow}}
}

// narrowed opens a session with a list of its own.
func narrowed(t *testing.T, w *sandbox.Worker, allow ...string) {
	t.Helper()
	c := sandbox.Confinement{Egress: sandbox.Egress{Allow: append([]string{}, allow...)}}
	if _, err := w.CreateSession(t.Context(), "sh", sandbox.SessionOptions{Confinement: &c}); err != nil {
		t.Fatal(err)
	}
}

func TestEgressIsByList(t *testing.T) {
	t.Parallel()
	one, two, other := site(t, "one"), site(t, "two"), site(t, "the other")
	var reg sandbox.Registry
	tool := addShell(&reg, "sh")
	sb := newSandbox(t, &reg, sandbox.Options{Confine: confined(one, two)})
	a, b, all := sb.Worker("a"), sb.Worker("b"), sb.Worker("all")
	narrowed(t, a, one)
	narrowed(t, b, two)
	denied := func(addr string) string {
		return "network denied: " + addr + " is not in the allow list\nrule: allow list\n 403"
	}
	for _, tt := range []struct {
		name string
		w    *sandbox.Worker
		addr string
		want string
	}{
		{"a, its own", a, one, "this is one 200"},
		{"a, of b", a, two, denied(two)},
		{"b, its own", b, two, "this is two 200"},
		{"b, of a", b, one, denied(one)},
		{"the sandbox's list, first", all, one, "this is one 200"},
		{"the sandbox's list, second", all, two, "this is two 200"},
		{"not listed", all, other, denied(other)},
	} {
		if got := sh(t, tool, tt.w, fetch(tt.addr)); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
	python := `python3 -c 'import os, urllib.request
os.environ["no_proxy"] = os.environ["NO_PROXY"] = ""
print(urllib.request.urlopen("http://%s").read().decode())'`
	if got := sh(t, tool, a, fmt.Sprintf(python, one)); got != "this is one" {
		t.Errorf("python says %q", got)
	}
	// No other way leads out.
	if got := sh(t, tool, a, "curl --noproxy '*' -sS -m 60 http://"+one+"; echo $?"); !strings.HasSuffix(got, "\n7") {
		t.Errorf("without the proxy: %q, want exit status 7, no connection", got)
	}
	if got := sh(t, tool, a, "tail -n +3 /proc/net/dev | cut -d: -f1"); got != "lo" {
		t.Errorf("interfaces: %q", got)
	}
}

func TestEgressOfNothingHasNoProxy(t *testing.T) {
	t.Parallel()
	var reg sandbox.Registry
	tool := addShell(&reg, "sh")
	sb := newSandbox(t, &reg, sandbox.Options{Confine: confined("example.com")})
	none := sb.Worker("none")
	narrowed(t, none)
	const look = "env | grep -ci proxy; grep -c ' 0100007F:0C38 ' /proc/net/tcp; true"
	if got := sh(t, tool, none, look); got != "0\n0" {
		t.Errorf("variables and listeners: %q, want none", got)
	}
	if got := sh(t, tool, sb.Worker("some"), look); got != "8\n1" {
		t.Errorf("variables and listeners: %q, want 8 and 1", got)
	}
}

func TestEgressCheckDecidesLast(t *testing.T) {
	t.Parallel()
	good, bad, odd := site(t, "good"), site(t, "bad"), site(t, "odd")
	var mu sync.Mutex
	var asked []string
	c := confined(good, bad, odd)
	c.Egress.Check = func(_ context.Context, d sandbox.Dial) error {
		mu.Lock()
		defer mu.Unlock()
		asked = append(asked, d.Worker+" "+d.Host+" "+d.Addr.String())
		switch d.Addr.String() {
		case bad:
			return errors.New("not on Sundays")
		case odd:
			panic("a bug")
		}
		return nil
	}
	var reg sandbox.Registry
	tool := addShell(&reg, "sh")
	w := newSandbox(t, &reg, sandbox.Options{Confine: c}).Worker("w")
	for addr, want := range map[string]string{
		good: "this is good 200",
		bad:  "network denied: " + bad + " was refused: not on Sundays\nrule: check\n 403",
		odd:  "network denied: " + odd + " was refused: the check panicked: a bug\nrule: check\n 403",
	} {
		mu.Lock()
		asked = nil
		mu.Unlock()
		if got := sh(t, tool, w, fetch(addr)); got != want {
			t.Errorf("%q, want %q", got, want)
		}
		mu.Lock()
		if diff := cmp.Diff([]string{"w 127.0.0.1 " + addr}, asked); diff != "" {
			t.Errorf("Check was asked (-want +got):\n%s", diff)
		}
		mu.Unlock()
	}
}

func TestEgressPatternsAreRefusedByName(t *testing.T) {
	t.Parallel()
	var reg sandbox.Registry
	addShell(&reg, "sh")
	_, err := sandbox.New(sandbox.Options{Registry: &reg, Confine: confined("example.com", "https://a.example", "b.example:x", "")})
	e := wantCode(t, err, sandbox.ErrInvalidInput)
	for _, part := range []string{"confinement.egress.allow: ", `"https://a.example"`, `"b.example:x"`, `""`} {
		if !strings.Contains(e.Error(), part) {
			t.Errorf("New = %v, want %s in it", err, part)
		}
	}
	if strings.Contains(e.Error(), `"example.com"`) || strings.Contains(e.Error(), "\n") {
		t.Errorf("New = %q, want the bad patterns only, on one line", err)
	}
	bad := confined("a b")
	_, err = newSandbox(t, &reg, sandbox.Options{}).Worker("w").CreateSession(t.Context(), "sh", sandbox.SessionOptions{Confinement: &bad})
	wantCode(t, err, sandbox.ErrInvalidInput)
}

func TestEgressDenialsAreLoggedOnce(t *testing.T) {
	t.Parallel()
	var log safeBuffer
	var reg sandbox.Registry
	tool := addShell(&reg, "sh")
	sb := newSandbox(t, &reg, sandbox.Options{Confine: confined("example.com"), Logger: slog.New(slog.NewTextHandler(&log, nil))})
	for _, w := range []string{"a", "b"} {
		sh(t, tool, sb.Worker(w), "for i in 1 2 3; do curl -sS http://forbidden.example/$i; curl -sS -x $http_proxy http://also.example/; done")
		sh(t, tool, sb.Worker(w), `python3 -c 'import socket
s = socket.create_connection(("127.0.0.1", 3128)); s.sendall(b"GET http://x\x1b[31m/ HTTP/1.1\r\nHost: x\r\n\r\n"); print(s.recv(1000))'`)
	}
	for _, w := range []string{"a", "b"} {
		for _, host := range []string{"forbidden.example", "also.example"} {
			if n := strings.Count(log.String(), fmt.Sprintf(`msg="network denied" worker=%s rule="allow list" denial="network denied: %s:80 is not`, w, host)); n != 1 {
				t.Errorf("%s's denial of %s is logged %d times:\n%s", w, host, n, &log)
			}
		}
	}
	if !strings.Contains(log.String(), "total=14") || strings.Contains(log.String(), "\x1b") {
		t.Errorf("log:\n%s", &log)
	}
}

func TestEgressDenialsDoNotFloodTheLog(t *testing.T) {
	t.Parallel()
	var log safeBuffer
	var reg sandbox.Registry
	tool := addShell(&reg, "sh")
	sb := newSandbox(t, &reg, sandbox.Options{Confine: confined("example.com"), Logger: slog.New(slog.NewTextHandler(&log, nil))})
	begin := time.Now()
	got := sh(t, tool, sb.Worker("w"), `python3 -c 'import socket
for i in range(300):
    s = socket.create_connection(("127.0.0.1", 3128))
    s.sendall(b"CONNECT h%d.example:443 HTTP/1.1\r\nHost: h%d.example:443\r\n\r\n" % (i, i))
    assert s.recv(1000).startswith(b"HTTP/1.1 403 ")
    s.close()
print("done")'`)
	most := 256 * (1 + int(time.Since(begin)/time.Minute)) // a new span may have begun
	if n := strings.Count(log.String(), "network denied\""); got != "done" || n < 256 || n > most {
		t.Errorf("%q; %d of 300 denials are logged, want the first 256", got, n)
	}
}

// safeBuffer is a buffer that may be written to and read at once.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func TestEgressEndsWithTheSession(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	var reg sandbox.Registry
	tool := addShell(&reg, "sh")
	w := newSandbox(t, &reg, sandbox.Options{Confine: confined(ln.Addr().String())}).Worker("w")
	narrowed(t, w, ln.Addr().String())
	// A tunnel that nothing moves in, held by a process that outlives its call.
	got := sh(t, tool, w, `python3 -c 'import os, socket, time
s = socket.create_connection(("127.0.0.1", 3128))
s.sendall(b"CONNECT `+ln.Addr().String()+` HTTP/1.1\r\nHost: `+ln.Addr().String()+`\r\n\r\n")
print(s.recv(1000).decode(), flush=True)
if os.fork() == 0:
    null = os.open("/dev/null", os.O_RDWR); os.dup2(null, 1); os.dup2(null, 2)
    time.sleep(1000)'`)
	if !strings.HasPrefix(got, "HTTP/1.1 200 ") {
		t.Fatalf("CONNECT is answered %q", got)
	}
	conn, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := w.DestroySession(t.Context(), "sh"); err != nil {
		t.Errorf("DestroySession: %v", err)
	}
	// It has ended already: the session's end waited for the proxy's.
	if err := conn.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if n, err := conn.Read(make([]byte, 1)); n != 0 || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the tunnel is still open: %d, %v", n, err)
	}
}

// TestUnprivilegedEgress runs the tests above again as an ordinary user.
func TestUnprivilegedEgress(t *testing.T) {
	t.Parallel()
	usertest.Run(t, "TestEgressIsByList", "-test.run=^TestEgress")
}
