package jail_test

import (
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/agentflow-go/sandbox/internal/jail"
	"github.com/google/go-cmp/cmp"
)

// greeter answers everything that comes to a proxy, until its listener closes.
func greeter(ended chan<- error) func(net.Listener) {
	return func(ln net.Listener) {
		err := http.Serve(ln, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, "you asked for "+r.RequestURI) // the client's end shows
		}))
		ended <- err
	}
}

func TestProxyIsServedByTheHost(t *testing.T) { eachConfined(t, testProxyIsServedByTheHost) }

func testProxyIsServedByTheHost(t *testing.T, h *jail.Host) {
	ended := make(chan error, 2)
	p := policy(t, h)
	p.Proxy = greeter(ended)
	j := newJailOf(t, h, p)
	if got := sh(t, j, "curl -sS http://example.com/a"); got != "you asked for http://example.com/a" {
		t.Errorf("curl says %q", got)
	}
	if out, err := run(t, j, jail.Cmd{Path: "curl", Args: []string{"-sS", "http://example.com/b"}, NestedUserNS: true}); err != nil || out != "you asked for http://example.com/b" {
		t.Errorf("in a jail of its own curl says %q, %v", out, err)
	}
	// Its place cannot be taken, and the listener is nobody's inside.
	sh(t, j, `! python3 -c 'import socket
s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
s.bind(("127.0.0.1", 3128)); s.listen()' && test "$(cd /proc/self/fd && echo *)" = "0 1 2 3"`)
	if err := j.Close(); err != nil {
		t.Errorf("Close() = %v", err)
	}
	select {
	case err := <-ended:
		if !errors.Is(err, net.ErrClosed) {
			t.Errorf("serving ended with %v", err)
		}
	default:
		t.Error("Close did not wait for the proxy")
	}
}

func TestOnlyAProxyIsAnnounced(t *testing.T) { eachConfined(t, testOnlyAProxyIsAnnounced) }

func testOnlyAProxyIsAnnounced(t *testing.T, h *jail.Host) {
	const look = `env | grep -i proxy | LC_ALL=C sort; grep -c 0100007F:0C38 /proc/net/tcp; true`
	if got := sh(t, newJail(t, h), look); got != "0\n" {
		t.Errorf("without a proxy there is %q", got)
	}
	p := policy(t, h)
	p.Proxy = greeter(make(chan error, 1))
	want := []string{"ALL_PROXY=http://127.0.0.1:3128", "HTTPS_PROXY=http://127.0.0.1:3128", "HTTP_PROXY=http://127.0.0.1:3128", "NO_PROXY=localhost,127.0.0.1,::1"}
	for _, e := range want[:len(want):len(want)] {
		name, value, _ := strings.Cut(e, "=")
		want = append(want, strings.ToLower(name)+"="+value)
	}
	slices.Sort(want)
	want = append(want, "1")
	if diff := cmp.Diff(want, strings.Fields(sh(t, newJailOf(t, h, p), look))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
