package sandbox_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/agentflow-go/sandbox"
)

// Ports of servers in sessions. The system gives nobody else these, so that nothing
// listens on them where the test says so.
const ownPort, otherPort = "20011", "20012"

// serve starts a web server in a session, on all addresses of its loopback, that
// says text and sends who asks for /to/X to http://X/.
func serve(t *testing.T, env sandbox.Env, port, text string) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	_, err = env.Start(t.Context(), sandbox.Cmd{Path: "python3", Stdout: w, Args: []string{"-c", `
import http.server, socket, sys
class Server(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        to = self.path.startswith("/to/")
        self.send_response(302 if to else 200)
        if to: self.send_header("Location", "http://" + self.path[4:] + "/")
        self.end_headers(); self.wfile.write(b"" if to else sys.argv[1].encode())
    def log_message(self, *a): pass
s = Server(("::", int(sys.argv[2])), Handler)
print("ready", flush=True)
s.serve_forever()`, text, port}})
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	var ready string
	if _, err := fmt.Fscan(r, &ready); err != nil {
		t.Fatalf("the server does not say that it is ready: %v", err)
	}
}

// proxied is a sandbox whose warmup serves workers, and their proxies there.
type proxied struct {
	warm sandbox.Env
	envs map[string]sandbox.Env
	at   map[string]string // addresses of proxies

	mu     sync.Mutex // guards failed
	failed []sandbox.Unreachable
}

// proxiedWorkers opens a session for each worker, and a proxy.
func proxiedWorkers(t *testing.T, conf sandbox.Confinement, workers ...string) *proxied {
	t.Helper()
	p := &proxied{envs: map[string]sandbox.Env{}, at: map[string]string{}}
	var reg sandbox.Registry
	shared(&reg, &p.warm)
	sandbox.AddBackend(&reg, sandbox.BackendSpec{Name: "keep"}, sandbox.BackendFuncs[sandbox.Env]{
		OpenFunc: func(_ context.Context, env sandbox.Env) (sandbox.Env, error) {
			p.envs[env.Worker] = env
			return env, nil
		},
	})
	sb := newSandbox(t, &reg, sandbox.Options{Confine: conf})
	if _, err := sb.Warmup(t.Context(), "shared"); err != nil {
		t.Fatal(err)
	}
	for _, w := range workers {
		p.serve(t, w, envOf(t, sb, w, p.envs, nil))
	}
	return p
}

func (p *proxied) serve(t *testing.T, name string, env sandbox.Env) {
	t.Helper()
	addr, stop, err := p.warm.Proxy(t.Context(), env, sandbox.ProxyOptions{OnUnreachable: func(u sandbox.Unreachable) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.failed = append(p.failed, u)
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	p.at[name] = addr
}

func TestAWorkersOwnServersAreReachedThroughItsProxy(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		allow []string
	}{
		{"a list", []string{"example.com"}},
		{"no network", nil},
		{"everything public", []string{"*"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			hosts := site(t, "the host")
			p := proxiedWorkers(t, sandbox.Confinement{Egress: sandbox.Egress{Allow: tt.allow}}, "a", "b", "idle")
			p.serve(t, "warmup", p.warm)
			const port, away = ownPort, otherPort
			serve(t, p.envs["a"], port, "this is a")
			serve(t, p.envs["b"], away, "this is b")
			const refused = "the connection was refused: nothing listens there on the worker's own loopback; start the server first, in a session of the same worker; one that was just started may need a moment\n 502"
			for _, tc := range []struct{ name, proxy, addr, want string }{
				{"its address", "a", "127.0.0.1:" + port, "this is a 200"},
				{"its name", "a", "localhost:" + port, "this is a 200"},
				{"a name below it", "a", "app.localhost:" + port, "this is a 200"},
				{"IPv6", "a", "[::1]:" + port, "this is a 200"},
				{"another address", "a", "127.9.9.9:" + port, "this is a 200"},
				{"where it says it listens", "a", "0.0.0.0:" + port, "this is a 200"},
				{"a redirect to itself", "a", "localhost:" + port + "/to/127.0.0.1:" + port, "this is a 200"},
				{"another worker", "b", "127.0.0.1:" + port, refused},
				{"another worker's server", "a", "localhost:" + away, refused},
				{"a worker without programs", "idle", "127.0.0.1:" + port, refused},
				{"the host's server", "a", hosts, refused},
				{"a redirect to the host's server", "a", "localhost:" + port + "/to/" + hosts, refused},
				{"a redirect to another worker's", "a", "localhost:" + port + "/to/0.0.0.0:" + away, refused},
				{"another worker's proxy", "a", p.at["b"], refused},
				{"the proxy itself", "a", p.at["a"], refused},
				{"the proxy of the warmup, for a server", "warmup", "127.0.0.1:" + port, "rule: allow list\n 403"},
				{"for another proxy", "warmup", p.at["a"], "rule: allow list\n 403"},
			} {
				if tt.name == "everything public" && tc.proxy == "warmup" {
					tc.want = "loopback (127.0.0.0/8, RFC 1122)\n 403"
				}
				if got := ask(t, p.warm, p.at[tc.proxy], tc.addr, true); !strings.HasSuffix(got, tc.want) {
					t.Errorf("%s: %q, want %q at the end", tc.name, got, tc.want)
				}
			}
			// The proxy of the worker's programs answers nobody who does not speak to a proxy.
			if got := ask(t, p.warm, p.at["a"], "127.0.0.1:3128", false); !strings.HasSuffix(got, " 502") && !strings.HasSuffix(got, " 400") {
				t.Errorf("the proxy of the worker's programs: %q", got)
			}
			p.mu.Lock()
			defer p.mu.Unlock()
			var heard bool
			for _, u := range p.failed {
				heard = heard || u.Host == "127.0.0.1" && fmt.Sprint(u.Port) == port && u.Cause == "connection_refused" &&
					strings.HasPrefix(u.Text, "cannot reach 127.0.0.1:"+port+": the connection was refused")
			}
			if !heard {
				t.Errorf("OnUnreachable heard %+v, want what worker b did not reach", p.failed)
			}
		})
	}
}

func TestAListedLoopbackIsTheHosts(t *testing.T) {
	t.Parallel()
	hosts := site(t, "the host")
	p := proxiedWorkers(t, confined(hosts, "localhost=127.0.0.0/8"), "a")
	const port = ownPort
	serve(t, p.envs["a"], port, "this is a")
	for addr, want := range map[string]string{
		hosts:               "this is the host 200",
		"127.0.0.1:" + port: "this is a 200", // another port than the listed one
		"localhost:" + port: " 502",
		strings.Replace(hosts, "127.0.0.1", "localhost", 1): "this is the host 200",
	} {
		if got := ask(t, p.warm, p.at["a"], addr, false); !strings.HasSuffix(got, want) {
			t.Errorf("%s: %q, want %q", addr, got, want)
		}
	}
}

// A session that narrows the network policy shares no loopback with its worker's
// others, on which the proxy lets more out.
func TestANarrowedSessionHasNoOtherLoopback(t *testing.T) {
	t.Parallel()
	var reg sandbox.Registry
	var warm sandbox.Env
	shared(&reg, &warm)
	envs := map[string]sandbox.Env{}
	for _, name := range []string{"wide", "narrow"} {
		sandbox.AddBackend(&reg, sandbox.BackendSpec{Name: name}, sandbox.BackendFuncs[sandbox.Env]{
			OpenFunc: func(_ context.Context, env sandbox.Env) (sandbox.Env, error) { envs[name] = env; return env, nil },
		})
	}
	sb := newSandbox(t, &reg, sandbox.Options{Confine: confined("example.com", "example.org")})
	if _, err := sb.Warmup(t.Context(), "shared"); err != nil {
		t.Fatal(err)
	}
	less := confined("example.com")
	for name, c := range map[string]*sandbox.Confinement{"wide": nil, "narrow": &less} {
		if _, err := sb.Worker("w").CreateSession(t.Context(), name, sandbox.SessionOptions{Confinement: c}); err != nil {
			t.Fatal(err)
		}
	}
	const port, own = ownPort, otherPort
	serve(t, envs["wide"], port, "wide")
	serve(t, envs["narrow"], own, "narrow")
	addr, stop, err := warm.Proxy(t.Context(), envs["narrow"], sandbox.ProxyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	for _, target := range []string{"127.0.0.1:" + port, "localhost:" + port, "127.0.0.1:3128", "127.0.0.1:" + own} {
		if got := ask(t, warm, addr, target, false); !strings.HasSuffix(got, "create it without egress in its confinement\nrule: allow list\n 403") {
			t.Errorf("%s: %q, want a refusal that says what to do", target, got)
		}
	}
}

func TestAnIsolatedProgramReachesItsWorkersServers(t *testing.T) {
	t.Parallel()
	p := proxiedWorkers(t, sandbox.Confinement{}, "a", "b")
	const port = ownPort
	serve(t, p.envs["a"], port, "this is a")
	for worker, want := range map[string]string{"a": "this is a 200", "b": " 502"} {
		env := p.envs[worker]
		addr, stop, err := env.Proxy(t.Context(), env, sandbox.ProxyOptions{})
		if err != nil {
			t.Fatal(err)
		}
		defer stop()
		var out bytes.Buffer
		cmd := sandbox.Cmd{Path: "curl", Args: []string{"-sS", "--noproxy", "", "-m", "60", "-w", " %{http_code}", "-x", "http://" + addr, "http://localhost:" + port}, Stdout: &out, NestedUserNS: true}
		pr, err := env.Start(t.Context(), cmd)
		if err != nil {
			t.Fatal(err)
		}
		if _ = pr.Wait(); !strings.HasSuffix(out.String(), want) { // what it printed tells
			t.Errorf("in %s's own jail: %q, want %q", worker, out.String(), want)
		}
	}
}
