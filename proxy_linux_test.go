package sandbox_test

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"strings"
	"testing"

	"github.com/agentflow-go/sandbox"
)

// shared registers a backend whose warmup keeps its Env, and whose sessions are
// theirs.
func shared(reg *sandbox.Registry, warm *sandbox.Env) *sandbox.Tool[shIn, shOut] {
	b := sandbox.AddBackend(reg, sandbox.BackendSpec{Name: "shared"}, sandbox.BackendFuncs[sandbox.Env]{
		WarmupFunc: func(_ context.Context, env sandbox.Env) error { *warm = env; return nil },
		OpenFunc:   func(_ context.Context, env sandbox.Env) (sandbox.Env, error) { return env, nil },
	})
	return sandbox.AddSessionTool(b, sandbox.ToolSpec{Name: "sh"}, sandbox.Method(runSh))
}

// envOf opens a session with a list of its own, nil for the sandbox's, and
// returns its Env.
func envOf(t *testing.T, sb *sandbox.Sandbox, worker string, envs map[string]sandbox.Env, allow []string) sandbox.Env {
	t.Helper()
	var o sandbox.SessionOptions
	if allow != nil {
		o.Confinement = &sandbox.Confinement{Egress: sandbox.Egress{Allow: allow}}
	}
	if _, err := sb.Worker(worker).CreateSession(t.Context(), "keep", o); err != nil {
		t.Fatal(err)
	}
	return envs[worker]
}

// ask makes a program of env's ask for addr through the proxy.
func ask(t *testing.T, env sandbox.Env, proxy, addr string, nested bool) string {
	t.Helper()
	var out bytes.Buffer
	p, err := env.Start(t.Context(), sandbox.Cmd{
		Path: "curl", Args: []string{"-sS", "-L", "--noproxy", "", "-m", "60", "-w", " %{http_code}", "-x", "http://" + proxy, "http://" + addr},
		Stdout: &out, Stderr: &out, NestedUserNS: nested,
	})
	if err != nil {
		t.Fatal(err)
	}
	_ = p.Wait() // what it printed tells
	return out.String()
}

func TestEachWorkersPolicyInASharedProcess(t *testing.T) {
	t.Parallel()
	one, two := site(t, "one"), site(t, "two")
	loopback := func(addr string) string { // a rule for all ports of it
		host, _, _ := net.SplitHostPort(addr)
		return host
	}
	var reg sandbox.Registry
	var warm sandbox.Env
	shared(&reg, &warm)
	envs := map[string]sandbox.Env{}
	sandbox.AddBackend(&reg, sandbox.BackendSpec{Name: "keep"}, sandbox.BackendFuncs[sandbox.Env]{
		OpenFunc: func(_ context.Context, env sandbox.Env) (sandbox.Env, error) { envs[env.Worker] = env; return env, nil },
	})
	var log safeBuffer
	sb := newSandbox(t, &reg, sandbox.Options{Confine: confined(one, two, loopback(one)), Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if _, err := sb.Warmup(t.Context(), "shared"); err != nil {
		t.Fatal(err)
	}
	a, b := envOf(t, sb, "a", envs, []string{one}), envOf(t, sb, "b", envs, []string{two})
	none, all := envOf(t, sb, "none", envs, []string{}), envOf(t, sb, "all", envs, []string{loopback(one)})
	at := map[string]string{}
	for name, env := range map[string]sandbox.Env{"a": a, "b": b, "none": none, "all": all} {
		addr, stop, err := warm.Proxy(t.Context(), env, sandbox.ProxyOptions{})
		if err != nil {
			t.Fatal(err)
		}
		defer stop()
		at[name] = addr
	}
	const notOwn = "; the worker's own servers are out of reach of a session that narrows the network policy: create it without egress in its confinement"
	denied := func(addr string) string {
		return "network denied: " + addr + " is not in the allow list" + notOwn + "\nrule: allow list\n 403"
	}
	deniedAll := func(addr string) string {
		return "network denied: " + addr + " is not in the allow list, which is empty" + notOwn + "\nrule: allow list\n 403"
	}
	for _, tt := range []struct{ name, proxy, addr, want string }{
		{"a, its own", at["a"], one, "this is one 200"},
		{"a, of b", at["a"], two, denied(two)},
		{"b, its own", at["b"], two, "this is two 200"},
		{"b, of a", at["b"], one, denied(one)},
		{"the worker without network", at["none"], one, deniedAll(one)},
		// Another worker's proxy is on a loopback that no proxy leads to.
		{"a, the proxy of b", at["a"], at["b"], denied(at["b"])},
	} {
		for _, nested := range []bool{false, true} {
			if got := ask(t, warm, tt.proxy, tt.addr, nested); got != tt.want {
				t.Errorf("%s (nested %v): %q, want %q", tt.name, nested, got, tt.want)
			}
		}
	}
	// Outside, somebody else may have the port; only a proxy tells rules.
	if got := ask(t, warm, at["all"], at["b"], false); strings.HasSuffix(got, " 000") || strings.Contains(got, "\nrule: ") {
		t.Errorf("a list with all of loopback leads to another's proxy: %q", got)
	}
	for _, want := range []string{"worker=a", "worker=b", "worker=none"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("no denial of %s in the log:\n%s", want, &log)
		}
	}

	// It ends with its session, and with stop.
	if err := sb.Worker("a").Close(t.Context()); err != nil {
		t.Error(err)
	}
	if got := ask(t, warm, at["a"], one, false); !strings.HasSuffix(got, " 000") {
		t.Errorf("after the worker's end its proxy says %q", got)
	}
	addr, stop, err := warm.Proxy(t.Context(), b, sandbox.ProxyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	stop()
	stop()
	if got := ask(t, warm, addr, two, false); !strings.HasSuffix(got, " 000") {
		t.Errorf("after stop the proxy says %q", got)
	}
	for name, try := range map[string]func() (string, func(), error){
		"for a closed session":  func() (string, func(), error) { return warm.Proxy(t.Context(), a, sandbox.ProxyOptions{}) },
		"on another's session":  func() (string, func(), error) { return none.Proxy(t.Context(), b, sandbox.ProxyOptions{}) },
		"on a session, for all": func() (string, func(), error) { return none.Proxy(t.Context(), warm, sandbox.ProxyOptions{}) },
		"on no Env":             func() (string, func(), error) { return sandbox.Env{}.Proxy(t.Context(), b, sandbox.ProxyOptions{}) },
		"for no Env":            func() (string, func(), error) { return warm.Proxy(t.Context(), sandbox.Env{}, sandbox.ProxyOptions{}) },
	} {
		if addr, stop, err := try(); err == nil {
			stop()
			t.Errorf("Proxy %s = %s, want an error", name, addr)
		}
	}
	// A session may serve its own.
	addr, stop, err = none.Proxy(t.Context(), none, sandbox.ProxyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	if got := ask(t, none, addr, one, false); got != deniedAll(one) {
		t.Errorf("its own proxy says %q", got)
	}
}

func TestNoProxyUnderLevelNone(t *testing.T) {
	t.Parallel()
	var reg sandbox.Registry
	var warm sandbox.Env
	shared(&reg, &warm)
	sb := newSandbox(t, &reg, sandbox.Options{Confine: sandbox.Confinement{Level: "none"}})
	if _, err := sb.Warmup(t.Context()); err != nil {
		t.Fatal(err)
	}
	addr, stop, err := warm.Proxy(t.Context(), warm, sandbox.ProxyOptions{})
	if err != nil || addr != "" {
		t.Fatalf("Proxy() = %q, %v, want no address", addr, err)
	}
	stop()
}

func TestSessionsOfAWorkerShareItsLoopback(t *testing.T) {
	t.Parallel()
	addr := site(t, "out")
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	var reg sandbox.Registry
	tools := map[string]*sandbox.Tool[shIn, shOut]{}
	for _, name := range []string{"one", "two", "narrow", "equal"} {
		tools[name] = addShell(&reg, name)
	}
	sb := newSandbox(t, &reg, sandbox.Options{Confine: confined(addr, "example.com")})
	w, other := sb.Worker("w"), sb.Worker("other")
	for name, allow := range map[string][]string{"one": nil, "two": nil, "narrow": {"example.com"}, "equal": {"example.com", addr}} {
		o := sandbox.SessionOptions{}
		if allow != nil {
			o.Confinement = &sandbox.Confinement{Egress: sandbox.Egress{Allow: allow}}
		}
		if _, err := w.CreateSession(t.Context(), name, o); err != nil {
			t.Fatal(err)
		}
	}
	// The port is one that a server of the host has: each loopback is another.
	sh(t, tools["one"], w, `cd /tmp && mkdir www && echo inside > www/index.html && (setsid python3 -m http.server -b 127.0.0.1 -d www `+port+` >/dev/null 2>&1 &)
		until curl -s --noproxy '*' http://127.0.0.1:`+port+`; do sleep 0.1; done`)
	get := `curl -sS --noproxy '*' -m 60 http://127.0.0.1:` + port + ` || echo "exit $?"`
	for name, want := range map[string]string{"two": "inside", "equal": "inside", "narrow": "exit 7"} {
		if got := sh(t, tools[name], w, get); !strings.HasSuffix(got, want) {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if got := sh(t, tools["two"], other, get); !strings.HasSuffix(got, "exit 7") {
		t.Errorf("another worker: %q, want no connection", got)
	}
	// The narrowed session has its own proxy at the same place.
	if got := sh(t, tools["narrow"], w, fetch(addr)); !strings.Contains(got, "not in the allow list") {
		t.Errorf("the narrowed session reaches %q", got)
	}
	if got := sh(t, tools["two"], w, fetch(addr)); got != "this is out 200" {
		t.Errorf("the other session: %q", got)
	}
	// A session that ends takes nothing from the others.
	if got := sh(t, tools["equal"], w, fetch(addr)); got != "this is out 200" {
		t.Errorf("the equal session: %q", got)
	}
}

func TestSameEgress(t *testing.T) {
	t.Parallel()
	var reg sandbox.Registry
	envs := map[string]sandbox.Env{}
	sandbox.AddBackend(&reg, sandbox.BackendSpec{Name: "keep"}, sandbox.BackendFuncs[sandbox.Env]{
		OpenFunc: func(_ context.Context, env sandbox.Env) (sandbox.Env, error) { envs[env.Worker] = env; return env, nil },
	})
	sb := newSandbox(t, &reg, sandbox.Options{Confine: confined("a.example", "b.example")})
	for name, allow := range map[string][]string{
		"all": nil, "all, listed": {"b.example", "a.example"}, "a": {"a.example"}, "a again": {"a.example", "a.example"}, "b": {"b.example"}, "none": {},
	} {
		envOf(t, sb, name, envs, allow)
	}
	for _, worker := range []string{"checked", "checked too"} {
		c := sandbox.Confinement{Egress: sandbox.Egress{Check: func(context.Context, sandbox.Dial) error { return nil }}}
		if _, err := sb.Worker(worker).CreateSession(t.Context(), "keep", sandbox.SessionOptions{Confinement: &c}); err != nil {
			t.Fatal(err)
		}
	}
	same := [][]string{{"all", "all, listed"}, {"a", "a again"}, {"b"}, {"none"}, {"checked"}, {"checked too"}}
	for i, as := range same {
		for j, bs := range same {
			for _, a := range as {
				for _, b := range bs {
					if got, want := envs[a].SameEgress(envs[b]), i == j; got != want {
						t.Errorf("%s and %s are the same: %v, want %v", a, b, got, want)
					}
				}
			}
		}
	}
	if (sandbox.Env{}).SameEgress(envs["all"]) || envs["all"].SameEgress(sandbox.Env{}) {
		t.Error("an Env of no sandbox has the policy of one")
	}
}
