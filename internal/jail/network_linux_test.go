package jail_test

import (
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/agentflow-go/sandbox/internal/jail"
)

// serveInside starts a web server in the jail and waits until it answers. Its
// port is the same in every test: each network has its own.
func serveInside(t *testing.T, j *jail.Jail, c jail.Cmd) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	c.Path, c.Stdout = "python3", w
	c.Args = []string{"-c", `
import http.server, sys
class H(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(b"from inside")
    def log_message(self, *a): pass
s = http.server.HTTPServer(("127.0.0.1", 8080), H)
print("ready", flush=True)
s.serve_forever()`}
	_, err = j.Start(t.Context(), c)
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	if b := make([]byte, 5); true {
		if _, err := io.ReadFull(r, b); err != nil || string(b) != "ready" {
			t.Fatalf("the server says %q, %v", b, err)
		}
	}
}

const askInside = `curl --noproxy '*' -sS -m 60 http://127.0.0.1:8080; echo " $?"`

func TestJailsOfAWorkerShareItsNetwork(t *testing.T) {
	eachConfined(t, testJailsOfAWorkerShareItsNetwork)
}

func testJailsOfAWorkerShareItsNetwork(t *testing.T, h *jail.Host) {
	p := policy(t, h)
	one, two := newJailOf(t, h, p), newJailOf(t, h, p)
	other := newJail(t, h)
	p.PrivateNet = true
	private := newJailOf(t, h, p)

	serveInside(t, one, jail.Cmd{})
	const yes = "from inside 0\n"
	for _, tt := range []struct {
		name string
		j    *jail.Jail
		cmd  jail.Cmd
		sees bool
	}{
		{"another jail of the worker", two, jail.Cmd{}, true},
		{"a program with user namespaces", two, jail.Cmd{NestedUserNS: true}, true},
		{"a program with mounts", two, jail.Cmd{Mounts: []jail.Mount{{Host: "/usr/share", Inside: "/mnt/x"}}}, true},
		{"another worker's", other, jail.Cmd{}, false},
		{"a private one of the worker", private, jail.Cmd{}, false},
		{"a program with user namespaces in it", private, jail.Cmd{NestedUserNS: true}, false},
	} {
		tt.cmd.Path, tt.cmd.Args = "bash", []string{"-c", askInside}
		out, err := run(t, tt.j, tt.cmd)
		if sees := out == yes; err != nil || sees != tt.sees || !sees && !strings.HasSuffix(out, " 7\n") {
			t.Errorf("%s: %q, %v; reached it: %v, want %v", tt.name, out, err, sees, tt.sees)
		}
	}
	// A program in a jail of its own is reached as well, and its port is free in
	// the others' networks.
	serveInside(t, private, jail.Cmd{NestedUserNS: true})
	if got := sh(t, private, askInside); got != yes {
		t.Errorf("a server with user namespaces: %q", got)
	}
	// The network outlives the jail that it was made for, but not the last.
	if err := one.Close(); err != nil {
		t.Error(err)
	}
	serveInside(t, two, jail.Cmd{})
	if got := sh(t, two, askInside); got != yes {
		t.Errorf("after the first jail: %q", got)
	}
}

// networks lists the network namespaces but this program's that any process is in
// or has a descriptor of, by name. Nothing else keeps one: a mount of one would show
// in the host's table, and nothing of jail's mounts there.
func networks(t *testing.T) map[string]bool {
	t.Helper()
	own, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	links, _ := filepath.Glob("/proc/[0-9]*/ns/net")
	fds, _ := filepath.Glob("/proc/[0-9]*/fd/*")
	found := map[string]bool{}
	for _, l := range append(links, fds...) {
		if name, err := os.Readlink(l); err == nil && strings.HasPrefix(name, "net:[") && name != own {
			found[name] = true
		}
	}
	return found
}

// networksEnd waits until each of the networks was gone at one time: the kernel
// gives their numbers to others', which other tests and programs make.
func networksEnd(t *testing.T, names []string) {
	t.Helper()
	eventually(t, "no network namespace is left", func() bool {
		now := networks(t)
		names = slices.DeleteFunc(names, func(name string) bool { return !now[name] })
		return len(names) == 0
	})
}

func TestANetworkIsTheWorkersAndNobodyElses(t *testing.T) {
	eachConfinedInTurn(t, testANetworkIsTheWorkersAndNobodyElses)
}

func testANetworkIsTheWorkersAndNobodyElses(t *testing.T, h *jail.Host) {
	p := policy(t, h)
	const name = "readlink /proc/self/ns/net"
	a, b := newJailOf(t, h, p), newJailOf(t, h, p)
	first := strings.TrimSpace(sh(t, a, name))
	if second := strings.TrimSpace(sh(t, b, name)); second != first {
		t.Errorf("two jails of a worker are in %s and %s", first, second)
	}
	if !networks(t)[first] {
		t.Errorf("%s is not among %v", first, networks(t))
	}
	// Nothing inside has a right over it, and it has a loopback only.
	got := sh(t, a, `unshare -n true 2>/dev/null; echo $?; ip link set lo down 2>/dev/null || echo no; tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' '; ls /sys 2>/dev/null; curl -s -m 60 http://127.0.0.1:1; echo $?`)
	if got != "1\nno\nlo\n7\n" {
		t.Errorf("inside: %q", got)
	}
	if err := errors.Join(a.Close(), b.Close()); err != nil {
		t.Error(err)
	}
	networksEnd(t, []string{first})
}

func TestManyWorkersAtOnce(t *testing.T) { eachConfinedInTurn(t, testManyWorkersAtOnce) }

func testManyWorkersAtOnce(t *testing.T, h *jail.Host) {
	workers := 24
	if testing.Short() {
		workers = 10
	}
	fds := count(t, "/proc/self/fd")
	policies := make([]jail.Policy, workers)
	for i := range policies {
		policies[i] = policy(t, h)
		policies[i].Proxy = greeter(make(chan error, 1))
	}
	var mu sync.Mutex
	jails, names := []*jail.Jail{}, map[string]int{}
	var wg sync.WaitGroup
	for i := range 2 * len(policies) {
		wg.Go(func() {
			j, err := h.NewJail(t.Context(), policies[i/2])
			if err != nil {
				t.Error(err)
				return
			}
			var out strings.Builder
			p, err := j.Start(t.Context(), jail.Cmd{Path: "readlink", Args: []string{"/proc/self/ns/net"}, Stdout: &out})
			if err == nil {
				err = p.Wait()
			}
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			jails = append(jails, j)
			names[strings.TrimSpace(out.String())]++
		})
	}
	wg.Wait()
	for name, n := range names {
		if n != 2 {
			t.Errorf("%d jails are in %s, want the 2 of one worker", n, name)
		}
	}
	if len(names) != len(policies) {
		t.Errorf("there are %d networks, want %d", len(names), len(policies))
	}
	for _, j := range jails {
		wg.Go(func() {
			if err := j.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	networksEnd(t, slices.Collect(maps.Keys(names)))
	eventually(t, "no descriptor is left", func() bool { return count(t, "/proc/self/fd") <= fds })
}

func TestAPrivateNetworkHasItsOwnProxy(t *testing.T) {
	eachConfined(t, testAPrivateNetworkHasItsOwnProxy)
}

func testAPrivateNetworkHasItsOwnProxy(t *testing.T, h *jail.Host) {
	p := policy(t, h)
	p.Proxy = greeter(make(chan error, 2))
	wide := newJailOf(t, h, p)
	narrow := p
	narrow.PrivateNet, narrow.Proxy = true, nil
	none := newJailOf(t, h, narrow)
	const ask = "curl -sS -m 60 -x http://127.0.0.1:3128 http://example.com/; echo \" $?\""
	if got := sh(t, wide, ask); got != "you asked for http://example.com/ 0\n" {
		t.Errorf("the wide one: %q", got)
	}
	if got := sh(t, none, ask); !strings.HasSuffix(got, " 7\n") {
		t.Errorf("the one without network reaches %q", got)
	}
	// What shares a network cannot have less of it.
	narrow.PrivateNet = false
	if j, err := h.NewJail(t.Context(), narrow); err == nil || !strings.Contains(err.Error(), "PrivateNet") {
		if err == nil {
			j.Close()
		}
		t.Errorf("NewJail without a proxy beside one with = %v, want a refusal", err)
	}
}

func TestListenIsOnTheJailsLoopback(t *testing.T) { eachConfined(t, testListenIsOnTheJailsLoopback) }

func testListenIsOnTheJailsLoopback(t *testing.T, h *jail.Host) {
	p := policy(t, h)
	j := newJailOf(t, h, p)
	ended := make(chan error, 2)
	var addrs []string
	for range 2 {
		ln, addr, err := j.Listen(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if want := ln.Addr().String(); addr != want || !strings.HasPrefix(addr, "127.0.0.1:") {
			t.Errorf("Listen() = %s, the listener is at %s", addr, want)
		}
		addrs = append(addrs, addr)
		go greeter(ended)(ln)
	}
	for _, c := range []jail.Cmd{{}, {NestedUserNS: true}} {
		for _, addr := range addrs {
			c.Path, c.Args = "curl", []string{"-sS", "-m", "60", "-x", "http://" + addr, "http://example.com/"}
			if out, err := run(t, j, c); err != nil || out != "you asked for http://example.com/" {
				t.Errorf("through %s: %q, %v", addr, out, err)
			}
		}
	}
	// Another program of the host may listen there, and answer something else or
	// nothing.
	const target = "http://outside.test/"
	outside := &http.Client{
		Transport: &http.Transport{Proxy: http.ProxyURL(&url.URL{Scheme: "http", Host: addrs[0]}), DisableKeepAlives: true},
		Timeout:   10 * time.Second,
	}
	if resp, err := outside.Get(target); err == nil {
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if string(body) == "you asked for "+target {
			t.Errorf("%s is reached from outside: %q, %v", addrs[0], body, err)
		}
	}
	if err := j.Close(); err != nil {
		t.Error(err)
	}
	for range addrs {
		if err := <-ended; !errors.Is(err, net.ErrClosed) {
			t.Errorf("serving ended with %v", err)
		}
	}
	if _, _, err := j.Listen(t.Context()); !errors.Is(err, jail.ErrClosed) {
		t.Errorf("Listen() of a closed jail = %v", err)
	}
	none := newJail(t, open(t, jail.Options{Level: "none"}))
	if _, _, err := none.Listen(t.Context()); !errors.Is(err, jail.ErrUnavailable) {
		t.Errorf("Listen() under level none = %v", err)
	}
}

func TestListenWhileTheJailCloses(t *testing.T) { eachConfined(t, testListenWhileTheJailCloses) }

func testListenWhileTheJailCloses(t *testing.T, h *jail.Host) {
	p := policy(t, h)
	for range 5 {
		j := newJailOf(t, h, p)
		var wg sync.WaitGroup
		some := make(chan struct{}, 1000)
		for range 4 {
			wg.Go(func() {
				for {
					ln, _, err := j.Listen(t.Context())
					some <- struct{}{}
					if err != nil {
						if !errors.Is(err, jail.ErrClosed) {
							t.Errorf("Listen() = %v", err)
						}
						return
					}
					_ = http.Serve(ln, nil) // until the jail ends
				}
			})
		}
		<-some
		if err := j.Close(); err != nil {
			t.Error(err)
		}
		wg.Wait()
	}
}

func TestNetworksApart(t *testing.T) {
	t.Parallel()
	h := open(t, jail.Options{Driver: jail.ApartDriver()})
	if names := h.Degraded(); !slices.Contains(names, "net-per-session") {
		t.Errorf("Degraded() = %q, want net-per-session", names)
	}
	p := policy(t, h)
	ended := make(chan error, 3)
	p.Proxy = greeter(ended)
	one, two := newJailOf(t, h, p), newJailOf(t, h, p)
	serveInside(t, one, jail.Cmd{})
	if got := sh(t, two, askInside); !strings.HasSuffix(got, " 7\n") {
		t.Errorf("another jail reaches %q", got)
	}
	for _, c := range []jail.Cmd{{}, {NestedUserNS: true}} {
		c.Path, c.Args = "curl", []string{"-sS", "http://example.com/"}
		if out, err := run(t, two, c); err != nil || out != "you asked for http://example.com/" {
			t.Errorf("its proxy: %q, %v", out, err)
		}
	}
	if _, _, err := two.Listen(t.Context()); !errors.Is(err, jail.ErrUnavailable) {
		t.Errorf("Listen() = %v, want ErrUnavailable", err)
	}
	if err := errors.Join(one.Close(), two.Close()); err != nil {
		t.Error(err)
	}
	for range cap(ended) {
		if err := <-ended; !errors.Is(err, net.ErrClosed) {
			t.Errorf("serving ended with %v", err)
		}
	}
}
