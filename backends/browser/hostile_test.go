package browser_test

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/agentflow-go/sandbox"
	"github.com/agentflow-go/sandbox/backends/browser"
)

func init() {
	handlers = append(handlers, func(m *http.ServeMux) {
		m.HandleFunc("/to", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", r.FormValue("url"))
			w.WriteHeader(http.StatusFound)
		})
		m.HandleFunc("/circle", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, fmt.Sprint("/circle?", time.Now().UnixNano()), http.StatusFound)
		})
		m.HandleFunc("/hang", func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
		m.HandleFunc("/slow-image", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			fmt.Fprint(w, "<title>Slow</title><p>here already</p><img src=/hang>")
		})
		m.HandleFunc("/auth", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
			w.WriteHeader(http.StatusUnauthorized)
			fmt.Fprint(w, "<title>Sign in</title>")
		})
		m.HandleFunc("/nothing", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusNoContent) })
		m.HandleFunc("/frame", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			fmt.Fprintf(w, "<title>Framing</title><iframe src=%q></iframe><a id=go href=%[1]q>go</a>", r.FormValue("url"))
		})
		m.HandleFunc("/huge", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			fmt.Fprint(w, "<title>Huge</title><h1>Huge</h1>")
			row := "<div><a href=/x>link</a> <b>" + strings.Repeat("word ", 200) + "</b></div>\n"
			for n := 0; n < 5<<20; n += len(row) {
				fmt.Fprint(w, row)
			}
			fmt.Fprint(w, "<button id=last>Last</button>")
		})
		m.HandleFunc("/deep", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			fmt.Fprint(w, "<title>Deep</title><script>let e = document.documentElement.appendChild(document.createElement('body')); for (let i = 0; i < 900; i++) e = e.appendChild(document.createElement('div')); e.textContent = 'bottom';</script>")
		})
	})
}

func TestAddressesThatAreRefused(t *testing.T) {
	t.Parallel()
	u := newUser(t, "")
	u.open("/form.html")
	for _, address := range []string{
		"file:///etc/passwd", "FILE:///etc/passwd", " file:/etc/passwd", "chrome://version", "chrome://crash", "view-source:http://127.0.0.1/",
		"devtools://devtools/bundled/inspector.html", "javascript:alert(1)", "ftp://127.0.0.1/", "about:version", "filesystem:http://127.0.0.1/x", "blob:http://127.0.0.1/x",
		"chrome-extension://x/y", "chrome-error://chromewebdata/",
	} {
		refused(u, u.bt.Goto, browser.GotoInput{URL: address}, sandbox.ErrDenied, "rule: URL scheme")
		refused(u, u.bt.Tabs, browser.TabsInput{Action: "new", URL: address}, sandbox.ErrDenied, "rule: URL scheme")
	}
	refused(u, u.bt.Goto, browser.GotoInput{URL: "http://"}, sandbox.ErrInvalidURL, "no host")
	refused(u, u.bt.Goto, browser.GotoInput{URL: ""}, sandbox.ErrInvalidURL, "")
	if got := len(do(u, u.bt.Tabs, browser.TabsInput{}).Tabs); got != 1 {
		t.Errorf("%d tabs are open, want 1", got)
	}
	for _, address := range []string{"file:///etc/passwd", "chrome://version", "view-source:" + u.b.site.url + "/form.html", "devtools://devtools/x", "javascript:document.write(1)"} {
		// By redirect.
		if _, err := u.bt.Goto.Call(t.Context(), u.w, browser.GotoInput{URL: u.b.site.url + "/to?url=" + address}); err == nil {
			t.Errorf("a redirect to %s is followed", address)
		}
		// By a frame, a link, a script and a window.
		u.open("/frame?url=" + address)
		if !strings.HasPrefix(address, "javascript:") {
			u.bt.Click.Call(t.Context(), u.w, browser.ClickInput{Element: el("#go")})
			u.eval("try { location = '" + address + "' } catch (e) {} 1")
			u.eval("try { window.open('" + address + "') } catch (e) {} 1")
			u.eval("try { fetch('" + address + "').catch(() => 0) } catch (e) {} 1")
		}
		u.snapshot()
		list := do(u, u.bt.Tabs, browser.TabsInput{})
		for i := len(list.Tabs) - 1; i > 0; i-- {
			do(u, u.bt.Tabs, browser.TabsInput{Action: "close", Index: ptr(i)})
		}
		for _, tab := range list.Tabs {
			if !strings.HasPrefix(tab.URL, "http://127.0.0.1:") && tab.URL != "about:blank" && tab.URL != "" && !strings.HasPrefix(tab.URL, "about:blank#blocked") {
				t.Errorf("%s led to %q", address, tab.URL)
			}
		}
		if got := do(u, u.bt.Extract, browser.ExtractInput{Format: "text"}).Text; strings.Contains(got, "root:") {
			t.Errorf("%s shows %q", address, got)
		}
	}
}

func TestDeniedHosts(t *testing.T) {
	t.Parallel()
	u := newUser(t, "")
	refused(u, u.bt.Goto, browser.GotoInput{URL: "http://10.0.0.3:8081/"}, sandbox.ErrDenied, "rule: allow list")
	refused(u, u.bt.Goto, browser.GotoInput{URL: "https://example.com/"}, sandbox.ErrDenied, "rule: allow list")
	refused(u, u.bt.Goto, browser.GotoInput{URL: u.b.site.url + "/to?url=http://example.org/"}, sandbox.ErrDenied, "example.org")
	refused(u, u.bt.Goto, browser.GotoInput{URL: "http://169.254.169.254/latest/meta-data"}, sandbox.ErrDenied, "rule:")
	// The loopback that the browser itself is on is nobody's.
	refused(u, u.bt.Goto, browser.GotoInput{URL: "http://localhost:3128/"}, sandbox.ErrCrawling, "nothing listens there on the worker's own loopback")
	// What a page asks for and is denied is told with the call.
	u.open("/form.html")
	u.eval("fetch('http://10.0.0.1/').catch(() => 0)")
	out := do(u, u.bt.Click, browser.ClickInput{Element: el("h1")})
	_ = out
	var meta sandbox.Meta
	resp := u.w.Execute(t.Context(), "browser:evaluate", map[string]any{"expression": "fetch('http://10.0.0.2/').then((r) => r.status, (e) => String(e))"})
	if resp.Err != nil {
		t.Fatal(resp.Err)
	}
	if meta = resp.Meta; len(meta.Denied) == 0 || meta.Denied[len(meta.Denied)-1].Host != "10.0.0.2" {
		t.Errorf("denied = %+v, want 10.0.0.2 among it", meta.Denied)
	}
}

func TestPagesThatDoNotLoad(t *testing.T) {
	t.Parallel()
	u := newUser(t, "")
	refused(u, u.bt.Goto, browser.GotoInput{URL: u.b.site.url + "/circle"}, sandbox.ErrCrawling, "redirects without end")
	refused(u, u.bt.Goto, browser.GotoInput{URL: u.b.site.url + "/hang", Timeout: .5}, sandbox.ErrTimeout, "did not answer within 500ms")
	refused(u, u.bt.Goto, browser.GotoInput{URL: u.b.site.url + "/nothing"}, sandbox.ErrCrawling, "nothing to show")
	if out := do(u, u.bt.Goto, browser.GotoInput{URL: u.b.site.url + "/slow-image", Timeout: 5}); !out.TimedOut || out.Title != "Slow" || out.Status != 200 {
		t.Errorf("goto = %+v, want it there but not finished", out)
	}
	if out := do(u, u.bt.Goto, browser.GotoInput{URL: u.b.site.url + "/slow-image", WaitUntil: "domcontentloaded"}); out.TimedOut {
		t.Errorf("goto = %+v", out)
	}
	if out := u.open("/auth"); out.Status != 401 {
		t.Errorf("goto = %+v, want status 401", out)
	}
	if out := u.open("/missing"); out.Status != 404 {
		t.Errorf("goto = %+v, want status 404", out)
	}
	tls := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "<title>Secret</title>") }))
	tls.Config.ErrorLog = log.New(io.Discard, "", 0) // of handshakes that the browser gives up
	tls.StartTLS()
	t.Cleanup(tls.Close)
	refused(u, u.bt.Goto, browser.GotoInput{URL: tls.URL}, sandbox.ErrCrawling, "certificate is not trusted")
	trusting := newUserAs(t, "trusting", `{"ignore_https_errors": true}`)
	if out := do(trusting, u.bt.Goto, browser.GotoInput{URL: tls.URL}); out.Title != "Secret" {
		t.Errorf("goto = %+v", out)
	}
	if out := u.open("/form.html"); out.Title != "Order" {
		t.Errorf("goto after all that = %+v", out)
	}
}

func TestPagesThatAreStuck(t *testing.T) {
	t.Parallel()
	u := newUser(t, "")
	u.open("/dialogs.html")
	refused(u, u.bt.Evaluate, browser.EvaluateInput{Expression: "for (;;);", Timeout: .5}, sandbox.ErrTimeout, "did not answer within 500ms")
	if got := u.eval("1 + 1"); got != 2. {
		t.Errorf("after an endless script 1 + 1 = %v", got)
	}
	refused(u, u.bt.Click, browser.ClickInput{Element: browser.Element{Text: "Loop"}, Timeout: 5}, sandbox.ErrTimeout, "did not answer")
	refused(u, u.bt.Snapshot, browser.SnapshotInput{Timeout: .5}, sandbox.ErrTimeout, "did not answer")
	if out := u.open("/form.html"); out.Title != "Order" { // the same site, and so the same process
		t.Errorf("goto = %+v", out)
	}
	for _, tt := range []struct{ expression, want string }{
		{"x.y", "ReferenceError: x is not defined"},
		{"throw 'a'", "Uncaught"},
		{"syntax error", "SyntaxError"},
		{"window.times = (window.times ?? 0) + 1; JSON.parse('{')", "SyntaxError"},
		{"return 5", "without return"},
		{"Promise.reject(new Error('no'))", "Error: no"},
	} {
		refused(u, u.bt.Evaluate, browser.EvaluateInput{Expression: tt.expression}, sandbox.ErrBusinessFailure, tt.want)
	}
	if got := u.eval("times"); got != 1. {
		t.Errorf("a script that failed ran %v times", got)
	}
	refused(u, u.bt.Evaluate, browser.EvaluateInput{Expression: "new Promise(() => 0)", Timeout: .3}, sandbox.ErrTimeout, "")
	refused(u, u.bt.Evaluate, browser.EvaluateInput{Expression: "location.reload(); new Promise(() => 0)"}, sandbox.ErrBusinessFailure, "changed to another document")
	if out := do(u, u.bt.Evaluate, browser.EvaluateInput{Expression: "'x'.repeat(3e6)"}); !out.Truncated || len(out.Result.(string)) > 1<<20 {
		t.Errorf("a large result is not cut: %d bytes, %v", len(out.Result.(string)), out.Truncated)
	}
	for _, tt := range []struct {
		expression string
		want       any
	}{{"undefined", nil}, {"await Promise.resolve(7)", 7}, {"await (await fetch('/spa.html')).status", 200}, {"() => 5", 5}, {"NaN", "NaN"}, {"10n", "10n"}, {"({a: [1, null]})", map[string]any{"a": []any{1., nil}}}, {"document.body", map[string]any{}}} {
		out := do(u, u.bt.Evaluate, browser.EvaluateInput{Expression: tt.expression})
		if fmt.Sprint(out.Result) != fmt.Sprint(tt.want) {
			t.Errorf("%s = %v, want %v", tt.expression, out.Result, tt.want)
		}
	}
	// What nothing interrupts costs the tab, also a goto that has little time.
	const stuck = "{ const x = new XMLHttpRequest(); x.open('GET', '/hang', false); x.send() }"
	refused(u, u.bt.Evaluate, browser.EvaluateInput{Expression: stuck, Timeout: .5}, sandbox.ErrTimeout, "did not answer")
	for deadline := time.Now().Add(time.Minute); ; { // it may be too little on a busy machine
		_, err := u.bt.Goto.Call(t.Context(), u.w, browser.GotoInput{URL: u.b.site.url + "/form.html", Timeout: 5})
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("goto from a page that is stuck: %v", err)
		}
	}
}

func TestCrashedTab(t *testing.T) {
	t.Parallel()
	u := newUser(t, "")
	u.open("/form.html")
	do(u, u.bt.Tabs, browser.TabsInput{Action: "new", URL: u.b.site.other + "/form.html"})
	do(u, u.b.faults.Crash, struct{}{})
	refused(u, u.bt.Snapshot, browser.SnapshotInput{}, sandbox.ErrDependency, "the tab has crashed")
	refused(u, u.bt.Click, browser.ClickInput{Element: el("h1")}, sandbox.ErrDependency, "the tab has crashed")
	if got := do(u, u.bt.Tabs, browser.TabsInput{}).Tabs; !got[1].Crashed || got[0].Crashed {
		t.Errorf("tabs = %+v", got)
	}
	if out := do(u, u.bt.Reload, browser.TimeoutInput{}); out.Title != "Order" {
		t.Errorf("reload = %+v", out)
	}
	u.snapshot()
}

func TestHugePages(t *testing.T) {
	t.Parallel()
	u := newUser(t, "")
	u.open("/huge")
	begin := time.Now()
	for _, in := range []browser.SnapshotInput{{}, {Mode: "full"}, {MaxChars: 100000}} {
		out := do(u, u.bt.Snapshot, in)
		most := in.MaxChars
		if most == 0 {
			most = 20000
		}
		if !out.Truncated || len(out.Snapshot) > most+200 {
			t.Errorf("snapshot %+v has %d bytes, truncated %v", in, len(out.Snapshot), out.Truncated)
		}
	}
	for _, in := range []browser.ExtractInput{{}, {Format: "text"}, {Format: "html"}, {Readable: true}} {
		if out := do(u, u.bt.Extract, in); !out.Truncated || len(out.Text)+len(out.HTML) > 60100 {
			t.Errorf("extract %+v has %d bytes, truncated %v", in, len(out.Text)+len(out.HTML), out.Truncated)
		}
	}
	do(u, u.bt.Click, browser.ClickInput{Element: browser.Element{Text: "Last"}})
	t.Logf("reading a page of 5 MB seven times and clicking took %v", time.Since(begin))
	u.open("/deep")
	u.snapshot()
	do(u, u.bt.Extract, browser.ExtractInput{})
	do(u, u.bt.WaitFor, browser.WaitInput{Text: "bottom"})
}

func TestNoisyPage(t *testing.T) {
	t.Parallel()
	noisy, other := newUserAs(t, "noisy", ""), newUserAs(t, "other", "")
	noisy.open("/dialogs.html")
	noisy.eval(`setInterval(() => { for (let i = 0; i < 4000; i++) console.log('noise '.repeat(100), i); }, 1000), 1`)
	for range 5 {
		other.open("/form.html")
		do(other, other.bt.Fill, browser.FillInput{Named: browser.Named{Label: "Name"}, Text: "quiet"})
	}
	muted := func() bool {
		for _, m := range do(noisy, noisy.bt.Console, browser.LogInput{Filter: "warning"}).Messages {
			if strings.Contains(m.Text, "no longer recorded") {
				return true
			}
		}
		return false
	}
	for deadline := time.Now().Add(time.Minute); !muted(); {
		if time.Now().After(deadline) {
			t.Fatal("the page is still listened to")
		}
		noisy.eval("new Promise((done) => setTimeout(done, 100))")
	}
	if got := noisy.eval("document.title"); got != "Dialogs" {
		t.Errorf("the noisy page says %v", got)
	}
	noisy.snapshot()
	noisy.open("/net.html")
	do(noisy, noisy.bt.WaitFor, browser.WaitInput{Text: "socket ping"})
	noisy.eval("console.log('heard again'), 1")
	for deadline := time.Now().Add(time.Minute); ; {
		if len(do(noisy, noisy.bt.Console, browser.LogInput{Filter: "heard again"}).Messages) > 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("the next page is not listened to")
		}
	}
}
