package browser_test

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/agentflow-go/sandbox"
	"github.com/agentflow-go/sandbox/backends/browser"
)

func init() {
	handlers = append(handlers, func(m *http.ServeMux) {
		m.HandleFunc("/cached", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Cache-Control", "max-age=3600")
			fmt.Fprint(w, r.Header.Get("X-Asker"))
		})
		m.HandleFunc("/headers", func(w http.ResponseWriter, r *http.Request) {
			json.NewEncoder(w).Encode(map[string]string{"agent": r.UserAgent(), "language": r.Header.Get("Accept-Language"), "extra": r.Header.Get("X-Extra"), "cookie": r.Header.Get("Cookie")})
		})
		m.HandleFunc("/echo", echo)
	})
}

func TestSessionsShareNothing(t *testing.T) {
	t.Parallel()
	a, b := newUserAs(t, "a", `{"headers": {"X-Asker": "a"}}`), newUserAs(t, "b", `{"headers": {"X-Asker": "b"}}`)
	const look = `(async () => ({
		cookie: document.cookie, local: {...localStorage}, session: {...sessionStorage},
		databases: (await indexedDB.databases()).length, caches: await caches.keys(),
		cached: await (await fetch('/cached')).text(), workers: (await navigator.serviceWorker.getRegistrations()).length,
		geo: (await navigator.permissions.query({name: 'geolocation'})).state, opener: String(window.opener), name: window.name,
	}))()`
	a.open("/net.html")
	do(a, a.bt.Emulate, browser.EmulateInput{Permissions: []string{"geolocation"}})
	a.eval(`(async () => {
		document.cookie = 'who=a; max-age=999'; localStorage.who = 'a'; sessionStorage.who = 'a'; window.name = 'a';
		await caches.open('a'); await navigator.serviceWorker.register('/sw.js');
		await new Promise((done) => { indexedDB.open('a').onsuccess = done; });
		new BroadcastChannel('c').postMessage('a');
	})()`)
	want := map[string]any{
		"cookie": "who=a", "local": map[string]any{"who": "a"}, "session": map[string]any{"who": "a"}, "databases": 1., "caches": []any{"a"},
		"cached": "a", "workers": 1., "geo": "granted", "opener": "null", "name": "a",
	}
	if diff := cmp.Diff(want, a.eval(look)); diff != "" {
		t.Errorf("what the first session has (-want +got):\n%s", diff)
	}
	b.open("/net.html")
	want = map[string]any{
		"cookie": "", "local": map[string]any{}, "session": map[string]any{}, "databases": 0., "caches": []any{},
		"cached": "b", "workers": 0., "geo": "prompt", "opener": "null", "name": "",
	}
	if diff := cmp.Diff(want, b.eval(look)); diff != "" {
		t.Errorf("what the second session has (-want +got):\n%s", diff)
	}
	a.open("/files.html")
	do(a, a.bt.Click, browser.ClickInput{Element: browser.Element{Text: "Small file"}})
	if got := do(a, a.bt.Downloads, browser.DownloadsInput{Wait: 50}).Downloads; len(got) != 1 || got[0].State != "done" {
		t.Errorf("downloads of the first session = %+v", got)
	}
	if got := do(b, b.bt.Downloads, browser.DownloadsInput{}).Downloads; len(got) != 0 {
		t.Errorf("downloads of the second session = %+v", got)
	}
	for _, entry := range do(b, b.bt.Network, browser.LogInput{}).Requests {
		if strings.Contains(entry.URL, "files.html") {
			t.Errorf("the second session sees requests of the first: %+v", entry)
		}
	}
	if got := len(do(b, b.bt.Tabs, browser.TabsInput{}).Tabs); got != 1 {
		t.Errorf("the second session sees %d tabs", got)
	}
}

func TestStorageState(t *testing.T) {
	t.Parallel()
	a := newUserAs(t, "a", "")
	a.open("/form.html")
	a.eval("document.cookie = 'id=1; max-age=999'; localStorage.one = 'x'; 1")
	do(a, a.bt.Goto, browser.GotoInput{URL: a.b.site.other + "/form.html"})
	a.eval("localStorage.two = 'y'; 1")
	do(a, a.bt.Cookies, browser.CookiesInput{Action: "set", Cookies: []browser.Cookie{{Name: "set", Value: "v", URL: a.b.site.url, HTTPOnly: true, SameSite: "Lax"}}})
	refused(a, a.bt.Cookies, browser.CookiesInput{Action: "set", Cookies: []browser.Cookie{{Name: "x", Value: "v"}}}, sandbox.ErrInvalidInput, "give domain, or url")
	state := do(a, a.bt.StorageState, browser.StorageStateInput{})
	if got := do(a, a.bt.Tabs, browser.TabsInput{}); len(got.Tabs) != 1 || got.Tabs[0].Title != "Order" {
		t.Errorf("after storage_state the tabs are %+v", got)
	}
	config, err := json.Marshal(map[string]any{"storage_state": state})
	if err != nil {
		t.Fatal(err)
	}
	b := newUserAs(t, "b", string(config))
	b.open("/form.html")
	if got := b.eval("document.cookie + ' ' + localStorage.one"); got != "id=1 x" {
		t.Errorf("the second session has %v", got)
	}
	do(b, b.bt.Goto, browser.GotoInput{URL: a.b.site.other + "/form.html"})
	if got := b.eval("localStorage.two"); got != "y" {
		t.Errorf("of the other site the second session has %v", got)
	}
	if got := do(b, b.bt.Cookies, browser.CookiesInput{Filter: "set"}).Cookies; len(got) != 1 || !got[0].HTTPOnly || got[0].Value != "v" {
		t.Errorf("cookies = %+v", got)
	}
	cleared := do(b, b.bt.StorageState, browser.StorageStateInput{Action: "clear"})
	if len(cleared.Cookies)+len(cleared.Origins) != 0 {
		t.Errorf("after clear = %+v", cleared)
	}
	refused(b, b.bt.StorageState, browser.StorageStateInput{Action: "set"}, sandbox.ErrMissingField, "/state")
	refused(b, b.bt.StorageState, browser.StorageStateInput{Action: "set", State: &browser.StorageState{Origins: []browser.OriginStorage{{Origin: "file:///"}}}}, sandbox.ErrInvalidInput, "give an origin")
}

func TestSocketsWorkersAndLogs(t *testing.T) {
	t.Parallel()
	u := newUser(t, "")
	u.open("/net.html")
	do(u, u.bt.WaitFor, browser.WaitInput{Text: "socket ping"})
	u.eval("install()")
	do(u, u.bt.WaitFor, browser.WaitInput{Text: "worker answered"})
	if out := do(u, u.bt.Reload, browser.TimeoutInput{}); out.Title != "Net" { // now through the worker
		t.Errorf("reload = %+v", out)
	}
	do(u, u.bt.WaitFor, browser.WaitInput{Text: "socket ping"}) // and so what comes before that
	console := do(u, u.bt.Console, browser.LogInput{})
	var got []string
	for _, m := range console.Messages {
		if m.Type == "log" || m.Type == "error" && m.Text == "bad" || m.Type == "exception" {
			text, _, _ := strings.Cut(m.Text, "\n")
			got = append(got, m.Type+" "+text)
		}
	}
	want := []string{"log from the page {a: 1} 42", "error bad", "exception Error: thrown"}
	if diff := cmp.Diff(append(want, want...), got); diff != "" {
		t.Errorf("console (-want +got):\n%s", diff)
	}
	if more := do(u, u.bt.Console, browser.LogInput{Since: console.Next}); len(more.Messages) != 0 {
		t.Errorf("console since %d = %+v", console.Next, more)
	}
	net := do(u, u.bt.Network, browser.LogInput{Filter: "WebSocket"})
	if len(net.Requests) == 0 || net.Requests[0].Status != 101 {
		t.Errorf("network = %+v, want a WebSocket", net)
	}
	net = do(u, u.bt.Network, browser.LogInput{Filter: "net.html", Max: 1})
	if len(net.Requests) != 1 || net.Requests[0].Status != 200 || net.Requests[0].Type != "Document" || net.Requests[0].Size == 0 {
		t.Errorf("network = %+v, want the page", net)
	}
}

func TestRoutes(t *testing.T) {
	t.Parallel()
	u := newUser(t, "")
	do(u, u.bt.Block, browser.BlockInput{Patterns: []string{"*/blocked*"}})
	out := do(u, u.bt.Route, browser.RouteInput{Patterns: []string{"*/api/*"}, Answer: &browser.Answer{Status: 201, ContentType: "application/json", Body: `{"from": "route"}`, Headers: map[string]string{"X-A": "b"}}})
	if diff := cmp.Diff(browser.RoutesOutput{Blocked: []string{"*/blocked*"}, Routed: []string{"*/api/*"}}, out); diff != "" {
		t.Errorf("route (-want +got):\n%s", diff)
	}
	u.open("/form.html")
	const get = "(p) => fetch(p).then(async (r) => r.status + ' ' + r.headers.get('X-A') + ' ' + (await r.text()).slice(0, 20), (e) => 'failed')"
	ask := func(path string) any { t.Helper(); return u.eval("(" + get + ")('" + path + "')") }
	if got := ask("/api/x?y"); got != `201 b {"from": "route"}` {
		t.Errorf("routed: %v", got)
	}
	if got := ask("/blocked/x"); got != "failed" {
		t.Errorf("blocked: %v", got)
	}
	// In a tab opened later, and in a frame of another site.
	do(u, u.bt.Tabs, browser.TabsInput{Action: "new", URL: u.b.site.url + "/frame?url=" + u.b.site.other + "/inner.html"})
	do(u, u.bt.WaitFor, browser.WaitInput{Text: "I am"})
	if got := do(u, u.bt.Evaluate, browser.EvaluateInput{Expression: "(" + get + ")('/api/1')", Element: browser.Element{Frame: "inner.html"}}).Result; got != `201 b {"from": "route"}` {
		t.Errorf("routed in a frame: %v", got)
	}
	do(u, u.bt.Route, browser.RouteInput{Patterns: []string{}})
	do(u, u.bt.Block, browser.BlockInput{Patterns: []string{}})
	if got := ask("/api/x"); got == `201 b {"from": "route"}` {
		t.Errorf("still routed: %v", got)
	}
	refused(u, u.bt.Route, browser.RouteInput{Patterns: []string{"x"}, Answer: &browser.Answer{Status: 99}}, sandbox.ErrInvalidInput, "/answer/status")
	refused(u, u.bt.Route, browser.RouteInput{Patterns: []string{"x"}, Answer: &browser.Answer{Headers: map[string]string{"a": "b\r\nc: d"}}}, sandbox.ErrInvalidInput, "/answer/headers")
	refused(u, u.bt.Block, browser.BlockInput{Patterns: []string{""}}, sandbox.ErrInvalidInput, "/patterns/0")
}

func TestRoutesThatAreRefusedChangeNothing(t *testing.T) {
	t.Parallel()
	u := newUser(t, "")
	patterns := make([]string, 200)
	for i := range patterns {
		patterns[i] = fmt.Sprintf("*/%03d", i)
	}
	do(u, u.bt.Route, browser.RouteInput{Patterns: patterns, Answer: &browser.Answer{}})
	refused(u, u.bt.Route, browser.RouteInput{Patterns: []string{"*/one-more"}, Answer: &browser.Answer{}}, sandbox.ErrInvalidInput, "more than 200")
	out := do(u, u.bt.Block, browser.BlockInput{Patterns: []string{"*.png"}})
	if diff := cmp.Diff(patterns, out.Routed); diff != "" {
		t.Errorf("routed (-want +got):\n%s", diff)
	}
}

func TestListsBeginAtAnEntry(t *testing.T) {
	t.Parallel()
	u := newUser(t, "")
	refused(u, u.bt.Console, browser.LogInput{Since: -1}, sandbox.ErrInvalidInput, "/since: -1; give 0 or more")
	refused(u, u.bt.Dialogs, browser.DialogsInput{Since: -1}, sandbox.ErrInvalidInput, "/since: -1; give 0 or more")
	refused(u, u.bt.Downloads, browser.DownloadsInput{Since: -1}, sandbox.ErrInvalidInput, "/since: -1; give 0 or more")
	if out := do(u, u.bt.Console, browser.LogInput{Since: math.MaxInt}); len(out.Messages) > 0 || out.Dropped != 0 {
		t.Errorf("console beyond the last message = %+v, want nothing, and nothing dropped", out)
	}
}

func TestEmulate(t *testing.T) {
	t.Parallel()
	u := newUser(t, `{"locale": "de-DE", "timezone": "Asia/Tokyo", "user_agent": "Test/1", "headers": {"X-Extra": "1"}, "viewport": {"width": 500, "height": 400}}`)
	u.open("/form.html")
	headers := func() map[string]any {
		t.Helper()
		return u.eval("fetch('/headers').then((r) => r.json())").(map[string]any)
	}
	if h := headers(); h["agent"] != "Test/1" || !strings.HasPrefix(h["language"].(string), "de-DE") || h["extra"] != "1" {
		t.Errorf("headers = %v", h)
	}
	const look = "[new Date(0).getHours(), (1.5).toLocaleString(), innerWidth, innerHeight, navigator.language, navigator.userAgent, matchMedia('(prefers-color-scheme: dark)').matches, matchMedia('print').matches, navigator.maxTouchPoints > 0]"
	if diff := cmp.Diff([]any{9., "1,5", 500., 400., "de-DE", "Test/1", false, false, false}, u.eval(look)); diff != "" {
		t.Errorf("the page believes (-want +got):\n%s", diff)
	}
	out := do(u, u.bt.Emulate, browser.EmulateInput{
		Device: ptr("iphone 8"), Media: ptr("print"), ColorScheme: ptr("dark"), Locale: ptr("en-GB"), Timezone: ptr("UTC"), UserAgent: ptr(""),
		Headers: map[string]string{"X-Extra": "2"}, Geolocation: &browser.Geolocation{Latitude: 52.5, Longitude: 13.4}, Permissions: []string{"geolocation"},
	})
	if out.Device != "iPhone 8" || out.Width != 375 {
		t.Errorf("emulate = %+v", out)
	}
	u.open("/form.html")
	got := u.eval(look).([]any)
	if got[0] != 0. || got[1] != "1.5" || got[4] != "en-GB" || !strings.Contains(got[5].(string), "iPhone") || got[6] != true || got[7] != true || got[8] != true {
		t.Errorf("the page believes %v", got)
	}
	if got := u.eval("new Promise((done) => navigator.geolocation.getCurrentPosition((p) => done(p.coords.latitude), (e) => done(e.message)))"); got != 52.5 {
		t.Errorf("the place is %v", got)
	}
	if h := headers(); h["extra"] != "2" {
		t.Errorf("headers = %v", h)
	}
	do(u, u.bt.Emulate, browser.EmulateInput{Offline: ptr(true), Device: ptr("")})
	if got := u.eval("fetch('/headers').then(() => 'online', () => 'offline')"); got != "offline" {
		t.Errorf("the page is %v", got)
	}
	do(u, u.bt.Emulate, browser.EmulateInput{Offline: ptr(false)})
	if got := u.eval("fetch('/headers').then(() => 'online', () => 'offline')"); got != "online" {
		t.Errorf("the page is %v", got)
	}
	refused(u, u.bt.Emulate, browser.EmulateInput{Device: ptr("toaster")}, sandbox.ErrInvalidInput, "known are")
	refused(u, u.bt.Emulate, browser.EmulateInput{Timezone: ptr("Mars/Olympus")}, sandbox.ErrInvalidInput, "")
	refused(u, u.bt.Emulate, browser.EmulateInput{Permissions: []string{"everything"}}, sandbox.ErrInvalidInput, "/permissions")
	refused(u, u.bt.Resize, browser.ResizeInput{Width: -1, Height: 5}, sandbox.ErrInvalidInput, "/width")
}

func TestSessionConfigurationIsChecked(t *testing.T) {
	t.Parallel()
	b := box(t)
	for _, config := range []string{
		`{"viewport": {"width": 0, "height": 1}}`, `{"locale": "x y"}`, `{"timezone": "../etc"}`, `{"headers": {"A\r\nB": "c"}}`, `{"dialogs": "maybe"}`,
		`{"timeout": -1}`, `{"storage_state": {"cookies": [{"name": "a", "value": "b"}], "origins": []}}`, `{"unknown": 1}`, `{"timezone": "Mars/Olympus"}`,
	} {
		_, err := b.sb.Worker(t.Name()).CreateSession(t.Context(), "browser", sandbox.SessionOptions{Config: json.RawMessage(config)})
		if sandbox.CodeOf(err) != sandbox.ErrInvalidInput && sandbox.CodeOf(err) != sandbox.ErrNotInitialized {
			t.Errorf("CreateSession with %s: error %v", config, err)
		}
	}
}
