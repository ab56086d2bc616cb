package browser_test

import (
	"context"
	"embed"
	"encoding/json"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/agentflow-go/sandbox"
	"github.com/agentflow-go/sandbox/backends/browser"
)

//go:embed testdata
var testdata embed.FS

// site is what pages under test are served from: the same at two addresses, which
// are two sites for the browser.
type site struct {
	url   string // http://127.0.0.1:port
	other string // http://127.0.0.2:port
	mux   *http.ServeMux

	running atomic.Pointer[chan struct{}] // told of each request of /running
}

// shared is what the tests of this package share: one sandbox with one browser, and
// one web server.
type shared struct {
	sb     *sandbox.Sandbox
	tools  browser.Tools
	faults browser.Faults
	site   *site
}

var (
	sharedOnce sync.Once
	sharedBox  *shared
)

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		child()
		return
	}
	code := m.Run()
	if sharedBox != nil {
		if err := sharedBox.sb.Shutdown(context.Background()); err != nil {
			fmt.Fprintln(os.Stderr, "shut the shared sandbox down:", err)
			code = 1
		}
	}
	os.Exit(code)
}

// handlers are added to by the files of the tests.
var handlers []func(*http.ServeMux)

// policy lets pages reach the tests' servers.
var policy = sandbox.Confinement{Level: "bwrap", Egress: sandbox.Egress{Allow: []string{"127.0.0.1", "127.0.0.2"}}}

func box(t testing.TB) *shared {
	t.Helper()
	sharedOnce.Do(func() {
		s := &shared{site: newSite()}
		s.sb, s.tools, s.faults = newSandbox(t, browser.Config{}, policy)
		sharedBox = s
	})
	if sharedBox == nil {
		t.Fatal("the shared browser did not start")
	}
	return sharedBox
}

// A loaded machine holds pages and browsers up.
const (
	patience   = 30 // seconds, with elements
	closeGrace = time.Minute
)

func newSandbox(t testing.TB, cfg browser.Config, confine sandbox.Confinement) (*sandbox.Sandbox, browser.Tools, browser.Faults) {
	t.Helper()
	var reg sandbox.Registry
	cfg.Defaults.Timeout = patience
	tools, faults := browser.RegisterWithFaults(&reg, cfg)
	var log *slog.Logger
	if os.Getenv("BROWSER_TEST_LOG") != "" {
		log = slog.New(slog.NewTextHandler(os.Stderr, nil))
	}
	sb, err := sandbox.New(sandbox.Options{Registry: &reg, ValidateTyped: true, Confine: confine, Logger: log, CloseGrace: closeGrace})
	if err != nil {
		t.Fatal(err)
	}
	return sb, tools, faults
}

func newSite() *site {
	s := &site{mux: http.NewServeMux()}
	pages, err := fs.Sub(testdata, "testdata")
	if err != nil {
		panic(err)
	}
	s.mux.Handle("/", http.FileServerFS(pages))
	for _, add := range handlers {
		add(s.mux)
	}
	for _, host := range []string{"127.0.0.1", "127.0.0.2"} {
		ln, err := net.Listen("tcp", host+":0")
		if err != nil {
			panic(err)
		}
		srv := httptest.NewUnstartedServer(s.mux)
		srv.Listener.Close()
		srv.Listener = ln
		srv.Start()
		if host == "127.0.0.1" {
			s.url = srv.URL
		} else {
			s.other = srv.URL
		}
	}
	s.mux.HandleFunc("/running", func(http.ResponseWriter, *http.Request) { *s.running.Load() <- struct{}{} })
	s.mux.HandleFunc("/other", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, s.other) })
	return s
}

// user is a worker with a session, whose calls fail the test if they fail.
type user struct {
	t  testing.TB
	b  *shared
	w  *sandbox.Worker
	bt browser.Tools
}

func newUser(t testing.TB, config string) *user { t.Helper(); return newUserAs(t, "user", config) }

func newUserAs(t testing.TB, name, config string) *user {
	t.Helper()
	b := box(t)
	u := &user{t, b, b.sb.Worker(t.Name() + " " + name), b.tools}
	if _, err := u.w.CreateSession(t.Context(), "browser", sandbox.SessionOptions{Config: json.RawMessage(config)}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := u.w.Close(context.Background()); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return u
}

// do calls a tool that must succeed.
func do[In, Out any](u *user, tool *sandbox.Tool[In, Out], in In) Out {
	u.t.Helper()
	ctx, cancel := context.WithTimeout(u.t.Context(), 60*time.Second)
	defer cancel()
	out, err := tool.Call(ctx, u.w, in)
	if err != nil {
		u.t.Fatalf("%s %s: %v", tool.Name(), short(in), err)
	}
	return out
}

// refused calls a tool that must fail with the code, and text in its error.
func refused[In, Out any](u *user, tool *sandbox.Tool[In, Out], in In, code sandbox.Code, text string) {
	u.t.Helper()
	ctx, cancel := context.WithTimeout(u.t.Context(), 60*time.Second)
	defer cancel()
	_, err := tool.Call(ctx, u.w, in)
	if err == nil || sandbox.CodeOf(err) != code || !strings.Contains(err.Error(), text) {
		u.t.Errorf("%s %s: error %v (code %d), want code %d and %q in it", tool.Name(), short(in), err, sandbox.CodeOf(err), code, text)
	}
}

func short(v any) string {
	raw, _ := json.Marshal(v)
	if len(raw) > 300 {
		raw = raw[:300]
	}
	return string(raw)
}

func (u *user) open(path string) browser.GotoOutput {
	u.t.Helper()
	return do(u, u.bt.Goto, browser.GotoInput{URL: u.b.site.url + path})
}

func (u *user) snapshot() string {
	u.t.Helper()
	return do(u, u.bt.Snapshot, browser.SnapshotInput{}).Snapshot
}

func (u *user) eval(expression string) any {
	u.t.Helper()
	return do(u, u.bt.Evaluate, browser.EvaluateInput{Expression: expression}).Result
}

// ref finds the reference of the first line of a snapshot that contains text.
func ref(t testing.TB, snapshot, text string) string {
	t.Helper()
	for line := range strings.Lines(snapshot) {
		if !strings.Contains(line, text) {
			continue
		}
		if _, rest, ok := strings.Cut(line, "[ref="); ok {
			r, _, _ := strings.Cut(rest, "]")
			return r
		}
	}
	t.Fatalf("no line with %q and a ref in\n%s", text, snapshot)
	return ""
}
