package browser_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"sync"
	"testing"

	"github.com/agentflow-go/sandbox"
	"github.com/agentflow-go/sandbox/backends/browser"
)

// program serves pages on its loopback, in IPv6 and IPv4, and sends who asks for
// /to/X to http://X/.
const program = `
import http.server, socket, sys
class Server(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        to = self.path.startswith("/to/")
        self.send_response(302 if to else 200)
        self.send_header("Content-Type", "text/html")
        if to: self.send_header("Location", "http://" + self.path[4:] + "/")
        self.end_headers()
        self.wfile.write(("<title>" + sys.argv[1] + "</title>").encode())
    def log_message(self, *a): pass
s = Server(("::", int(sys.argv[2])), Handler)
print("ready", flush=True)
s.serve_forever()`

// Ports of servers, by worker. Nothing else listens on a worker's loopback, and the
// kernel chooses higher ones.
const (
	port = "8001"
	away = "8002"
)

// startServer runs program in a session.
func startServer(t *testing.T, env sandbox.Env, title, port string) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	_, err = env.Start(t.Context(), sandbox.Cmd{Path: "python3", Args: []string{"-c", program, title, port}, Stdout: w})
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	var said string
	if _, err := fmt.Fscan(r, &said); err != nil {
		t.Fatalf("the server does not listen: %v", err)
	}
}

// localSandbox is a sandbox with a browser and with sessions whose Env is kept.
func localSandbox(t *testing.T, isolation browser.Isolation, confine sandbox.Confinement) (*sandbox.Sandbox, browser.Tools, func(worker string) sandbox.Env) {
	t.Helper()
	var reg sandbox.Registry
	tools := browser.Register(&reg, browser.Config{Isolation: isolation, Defaults: browser.SessionConfig{Timeout: patience}})
	var mu sync.Mutex
	envs := map[string]sandbox.Env{}
	sandbox.AddBackend(&reg, sandbox.BackendSpec{Name: "serve"}, sandbox.BackendFuncs[sandbox.Env]{
		OpenFunc: func(_ context.Context, env sandbox.Env) (sandbox.Env, error) {
			mu.Lock()
			defer mu.Unlock()
			envs[env.Worker] = env
			return env, nil
		},
	})
	confine.Level = policy.Level
	sb, err := sandbox.New(sandbox.Options{Registry: &reg, ValidateTyped: true, Confine: confine, CloseGrace: closeGrace})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := sb.Shutdown(context.Background()); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
	})
	return sb, tools, func(worker string) sandbox.Env {
		if _, err := sb.Worker(worker).CreateSession(t.Context(), "serve", sandbox.SessionOptions{}); err != nil {
			t.Fatal(err)
		}
		mu.Lock()
		defer mu.Unlock()
		return envs[worker]
	}
}

func TestAWorkersOwnServers(t *testing.T) {
	t.Parallel()
	hosts := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<title>Host</title>") }))
	t.Cleanup(hosts.Close)
	host := hosts.Listener.Addr().String()
	for _, isolation := range []browser.Isolation{browser.Shared, browser.PerWorker} {
		t.Run(string(isolation), func(t *testing.T) {
			t.Parallel()
			sb, tools, env := localSandbox(t, isolation, sandbox.Confinement{})
			a, b := &user{t: t, w: sb.Worker("a"), bt: tools}, &user{t: t, w: sb.Worker("b"), bt: tools}
			for _, u := range []*user{a, b} {
				if _, err := u.w.CreateSession(t.Context(), "browser", sandbox.SessionOptions{}); err != nil {
					t.Fatal(err)
				}
			}
			const why = "nothing listens there on the worker's own loopback; start the server first, in a session of the same worker; one that was just started may need a moment"
			refused(a, tools.Goto, browser.GotoInput{URL: "http://localhost:8000/"}, sandbox.ErrCrawling, why)
			startServer(t, env("a"), "Mine", port)
			startServer(t, env("b"), "Theirs", away)
			for _, name := range []string{"localhost", "127.0.0.1", "[::1]", "0.0.0.0", "app.localhost"} {
				if out := do(a, tools.Goto, browser.GotoInput{URL: "http://" + name + ":" + port + "/"}); out.Title != "Mine" || out.Status != 200 {
					t.Errorf("goto %s = %+v, want the worker's own page", name, out)
				}
				refused(b, tools.Goto, browser.GotoInput{URL: "http://" + name + ":" + port + "/"}, sandbox.ErrCrawling, why)
			}
			if out := do(a, tools.Goto, browser.GotoInput{URL: "localhost:" + port}); out.Title != "Mine" {
				t.Errorf("goto without a scheme = %+v, want the worker's own page", out)
			}
			if out := do(b, tools.Goto, browser.GotoInput{URL: "http://localhost:" + away + "/"}); out.Title != "Theirs" {
				t.Errorf("goto = %+v, want the other worker's own page", out)
			}
			refused(a, tools.Goto, browser.GotoInput{URL: "http://localhost:" + away + "/"}, sandbox.ErrCrawling, why)
			refused(a, tools.Goto, browser.GotoInput{URL: hosts.URL}, sandbox.ErrCrawling, why)
			refused(a, tools.Goto, browser.GotoInput{URL: "http://localhost:" + port + "/to/" + host}, sandbox.ErrCrawling, why)
			refused(a, tools.Goto, browser.GotoInput{URL: "http://localhost:" + port + "/to/10.0.0.1"}, sandbox.ErrDenied, "rule: allow list")
			// It is reached by a tunnel too, and speaks no TLS.
			refused(a, tools.Goto, browser.GotoInput{URL: "https://localhost:" + port + "/"}, sandbox.ErrCrawling, "does not speak TLS")
			refused(b, tools.Goto, browser.GotoInput{URL: "https://localhost:" + port + "/"}, sandbox.ErrCrawling, why)
			// No way of a page's leads to another's either.
			do(b, tools.Goto, browser.GotoInput{URL: "http://localhost:" + away + "/"})
			for _, try := range []string{
				"fetch('http://localhost:%s/', {mode: 'no-cors'}).then(() => 'answered', () => 'no')",
				"new Promise((done) => { const w = new WebSocket('ws://127.0.0.1:%s/'); w.onopen = () => done('open'); w.onerror = () => done('no'); })",
			} {
				do(b, tools.Evaluate, browser.EvaluateInput{Expression: fmt.Sprintf(try, port)})
			}
			for _, e := range do(b, tools.Network, browser.LogInput{Filter: ":" + port}).Requests {
				if e.Status != 0 && e.Status != 502 {
					t.Errorf("a page of another worker's gets %+v", e)
				}
			}
		})
	}
}

func TestANarrowedSessionHasNoServersOfItsWorkers(t *testing.T) {
	t.Parallel()
	for _, isolation := range []browser.Isolation{browser.Shared, browser.PerWorker} {
		t.Run(string(isolation), func(t *testing.T) {
			t.Parallel()
			sb, tools, env := localSandbox(t, isolation, sandbox.Confinement{Egress: sandbox.Egress{Allow: []string{"example.com", "example.org"}}})
			u := &user{t: t, w: sb.Worker("narrow"), bt: tools}
			less := sandbox.Confinement{Egress: sandbox.Egress{Allow: []string{"example.com"}}}
			if _, err := u.w.CreateSession(t.Context(), "browser", sandbox.SessionOptions{Confinement: &less}); err != nil {
				t.Fatal(err)
			}
			startServer(t, env("narrow"), "Mine", port)
			for _, scheme := range []string{"http", "https"} {
				refused(u, tools.Goto, browser.GotoInput{URL: scheme + "://localhost:" + port + "/"}, sandbox.ErrDenied, "create it without egress in its confinement")
			}
			refused(u, tools.Goto, browser.GotoInput{URL: "http://127.0.0.1:3128/"}, sandbox.ErrDenied, "create it without egress in its confinement")
		})
	}
}
