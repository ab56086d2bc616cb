package api_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/agentflow-go/sandbox/httpserver/api"
)

// TestAttacksFromWebPages is what a page in the user's browser may try against
// a server on the user's machine.
func TestAttacksFromWebPages(t *testing.T) {
	t.Parallel()
	const run = `{"worker_id":"w","action":"echo"}`
	cases := []struct {
		name, method, path, body string
		header                   []string
		status                   int
	}{
		{"curl and other programs", "POST", "/execute", run, nil, 200},
		{"typed in by the user", "GET", "/tools", "", []string{"Sec-Fetch-Site: none"}, 200},
		{"a page of the server's own", "POST", "/execute", run, []string{"Sec-Fetch-Site: same-origin", "Origin: http://localhost:18890"}, 200},

		{"fetch without CORS", "POST", "/execute", run, []string{"Content-Type: text/plain", "Origin: https://evil.com", "Sec-Fetch-Site: cross-site"}, 403},
		{"fetch as JSON", "POST", "/execute", run, []string{"Origin: https://evil.com", "Sec-Fetch-Site: cross-site"}, 403},
		{"page on another port of this machine", "POST", "/execute", run, []string{"Origin: http://localhost:3000", "Sec-Fetch-Site: same-site"}, 403},
		{"old browser", "POST", "/execute", run, []string{"Origin: https://evil.com"}, 403},
		{"sandboxed frame", "POST", "/execute", run, []string{"Origin: null"}, 403},
		{"beacon without body", "POST", "/shutdown", "", []string{"Origin: https://evil.com", "Sec-Fetch-Site: cross-site"}, 403},
		{"shutdown from an image's page", "POST", "/api/v1/server/shutdown", "", []string{"Origin: https://evil.com"}, 403},
		{"form post", "POST", "/execute", "worker_id=w&action=echo", []string{"Content-Type: application/x-www-form-urlencoded"}, 415},
		{"form with JSON inside", "POST", "/execute", run, []string{"Content-Type: text/plain"}, 415},
		{"multipart form", "POST", "/execute", run, []string{"Content-Type: multipart/form-data; boundary=x"}, 415},
		{"typeless blob", "POST", "/execute", run, []string{"Content-Type: "}, 415},
		{"JSON with a parameter", "POST", "/execute", run, []string{"Content-Type: application/json; charset=utf-8"}, 200},
		{"preflight", "OPTIONS", "/execute", "", []string{"Origin: https://evil.com", "Access-Control-Request-Method: POST", "Access-Control-Request-Headers: content-type"}, 405},

		{"DNS rebinding", "POST", "/execute", run, []string{"Host: evil.com:18890", "Sec-Fetch-Site: same-origin"}, 403},
		{"DNS rebinding, reading", "GET", "/api/v1/tools", "", []string{"Host: evil.com"}, 403},
		{"DNS rebinding, health", "GET", "/health", "", []string{"Host: evil.com"}, 403},
		{"name that ends like ours", "GET", "/tools", "", []string{"Host: localhost.evil.com"}, 403},
		{"name that begins like an address", "GET", "/tools", "", []string{"Host: 127.0.0.1.evil.com"}, 403},
		{"any address of the machine", "GET", "/tools", "", []string{"Host: 0.0.0.0:18890"}, 403},
		{"address of the network", "GET", "/tools", "", []string{"Host: 192.168.1.5:18890"}, 403},
		{"loopback address", "GET", "/tools", "", []string{"Host: 127.0.0.1:18890"}, 200},
		{"another loopback address", "GET", "/tools", "", []string{"Host: 127.9.9.9"}, 200},
		{"loopback in IPv6", "GET", "/tools", "", []string{"Host: [::1]:18890"}, 200},
		{"loopback name with a dot", "GET", "/tools", "", []string{"Host: LOCALHOST.:18890"}, 200},
	}
	h := newHandler(t, newSandbox(t, nil), api.Options{})
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			a := send(t, h, tc.method, tc.path, tc.body, tc.header...)
			if a.status != tc.status {
				t.Errorf("status %d, want %d: %s", a.status, tc.status, a.raw)
			}
			if got := a.header.Get("Access-Control-Allow-Origin"); got != "" {
				t.Errorf("Access-Control-Allow-Origin %q", got)
			}
		})
	}
}

func TestAllowedOriginsMayCall(t *testing.T) {
	t.Parallel()
	const page = "Origin: https://app.example"
	h := newHandler(t, newSandbox(t, nil), api.Options{AllowedOrigins: []string{"https://app.example"}})

	a := send(t, h, "OPTIONS", "/execute", "", page, "Access-Control-Request-Method: POST", "Access-Control-Request-Headers: content-type")
	if a.status != 200 || a.header.Get("Access-Control-Allow-Origin") != "https://app.example" || a.header.Get("Access-Control-Max-Age") != "600" {
		t.Errorf("preflight: %d %v", a.status, a.header)
	}
	a = send(t, h, "POST", "/execute", `{"worker_id":"w","action":"echo"}`, page, "Sec-Fetch-Site: cross-site")
	if a.status != 200 || a.header.Get("Access-Control-Allow-Origin") != "https://app.example" || a.header.Get("Vary") != "Origin" {
		t.Errorf("call: %d %v", a.status, a.header)
	}
	a = send(t, h, "POST", "/execute", `{"worker_id":"w","action":"echo"}`, "Origin: https://evil.com", "Sec-Fetch-Site: cross-site")
	if a.status != 403 || a.header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("call of another: %d %v", a.status, a.header)
	}

	h = newHandler(t, newSandbox(t, nil), api.Options{AllowedOrigins: []string{"*"}, Tokens: []api.Token{{Secret: "s"}}})
	a = send(t, h, "POST", "/execute", `{"worker_id":"w","action":"echo"}`, page, "Sec-Fetch-Site: cross-site", "Authorization: Bearer s")
	if a.status != 200 || a.header.Get("Access-Control-Allow-Origin") != "*" || a.header.Get("Access-Control-Allow-Credentials") != "" {
		t.Errorf("any origin: %d %v", a.status, a.header)
	}
}

func TestAllowedHosts(t *testing.T) {
	t.Parallel()
	h := newHandler(t, newSandbox(t, nil), api.Options{AllowedHosts: []string{"box.local"}})
	for host, want := range map[string]int{"box.local:1": 200, "Box.Local": 200, "localhost": 200, "evil.com": 403} {
		if a := send(t, h, "GET", "/tools", "", "Host: "+host); a.status != want {
			t.Errorf("%s: %d, want %d", host, a.status, want)
		}
	}
	h = newHandler(t, newSandbox(t, nil), api.Options{Tokens: []api.Token{{Secret: "s"}}})
	if a := send(t, h, "GET", "/tools", "", "Host: sandbox.example", "X-API-Key: s"); a.status != 200 {
		t.Errorf("with tokens any name: %d", a.status)
	}
}

func TestTokens(t *testing.T) {
	t.Parallel()
	stopped := 0
	h := newHandler(t, newSandbox(t, nil), api.Options{
		Tokens:   []api.Token{{Secret: "root"}, {Secret: "team", WorkerPrefix: "team-"}},
		Shutdown: shutdownFunc(&stopped),
	})
	const (
		root   = "Authorization: Bearer root"
		team   = "X-API-Key: team"
		own    = `{"worker_id":"team-1","action":"echo","resource_type":"fake","config_path":"x"}`
		other  = `{"worker_id":"boss","action":"echo","resource_type":"fake","config_path":"x"}`
		nobody = "X-Nothing: 1"
	)
	cases := []struct {
		name, method, path, body, auth string
		status                         int
		code                           any
	}{
		{"no token", "POST", "/execute", own, nobody, 401, 4010.0},
		{"wrong token", "POST", "/execute", own, "Authorization: Bearer roo", 401, 4010.0},
		{"another scheme", "POST", "/execute", own, "Authorization: Basic root", 401, 4010.0},
		{"empty token", "POST", "/execute", own, "Authorization: Bearer ", 401, 4010.0},
		{"listing without token", "GET", "/tools", "", nobody, 401, 4010.0},
		{"health without token", "GET", "/health", "", nobody, 200, nil},
		{"unbound", "POST", "/execute", other, root, 200, 0.0},
		{"scheme in lower case", "POST", "/execute", other, "Authorization: bearer root", 200, 0.0},
		{"bound, own worker", "POST", "/execute", own, team, 200, 0.0},
		{"bound, other worker", "POST", "/execute", other, team, 403, 4011.0},
		{"bound, other worker in a batch", "POST", "/execute/batch", `{"worker_id":"team-1","actions":[{"action":"echo","worker_id":"boss"}]}`, team, 403, 4011.0},
		{"bound, batch", "POST", "/execute/batch", `{"worker_id":"boss","actions":[]}`, team, 403, 4011.0},
		{"bound, create", "POST", "/session/create", other, team, 403, 4011.0},
		{"bound, destroy", "POST", "/session/destroy", other, team, 403, 4011.0},
		{"bound, list", "POST", "/session/list", other, team, 403, 4011.0},
		{"bound, refresh", "POST", "/session/refresh", other, team, 403, 4011.0},
		{"bound, heartbeat", "POST", "/heartbeat", other, team, 403, 4011.0},
		{"bound, status", "POST", "/status", other, team, 403, 4011.0},
		{"bound, disconnect", "POST", "/worker/disconnect", other, team, 403, 4011.0},
		{"bound, init", "POST", "/init/resource", other, team, 403, 4011.0},
		{"bound, init batch", "POST", "/init/batch", other, team, 403, 4011.0},
		{"bound, from-config", "POST", "/init/from-config", other, team, 403, 4011.0},
		{"bound, fork of its own", "POST", "/workspace/fork", `{"worker_id":"team-1","to":"team-2"}`, team, 403, 4011.0},
		{"unbound, fork", "POST", "/workspace/fork", `{"worker_id":"team-1","to":"team-2"}`, root, 404, 4007.0},
		{"bound, shutdown", "POST", "/shutdown", "", team, 403, 4011.0},
		{"bound, warm-up", "POST", "/warmup", "", team, 403, 4011.0},
		{"bound, totals", "GET", "/ready", "", team, 403, 4011.0},
		{"bound, server status", "GET", "/api/v1/status", "", team, 403, 4011.0},
		{"bound, tools", "GET", "/tools", "", team, 200, nil},
		{"unbound, totals", "GET", "/ready", "", root, 200, nil},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			a := send(t, h, tc.method, tc.path, tc.body, tc.auth)
			if a.status != tc.status || tc.code != nil && a.body["code"] != tc.code {
				t.Errorf("%d %v, want %d %v", a.status, a.raw, tc.status, tc.code)
			}
			if challenge := a.header.Get("WWW-Authenticate"); (a.status == 401) != (challenge != "") {
				t.Errorf("WWW-Authenticate %q with %d", challenge, a.status)
			}
		})
	}
	if a := send(t, h, "GET", "/health", "", nobody); a.body["version"] != nil || a.body["title"] != nil {
		t.Errorf("health tells strangers: %s", a.raw)
	}
	if stopped != 0 {
		t.Error("somebody stopped the server")
	}
}

func TestLargeBodiesAreRefused(t *testing.T) {
	t.Parallel()
	h := newHandler(t, newSandbox(t, nil), api.Options{MaxBody: 100})
	body := `{"worker_id":"w","action":"echo","params":{"x":"` + strings.Repeat("a", 100) + `"}}`
	wantAnswer(t, send(t, h, "POST", "/api/v1/execute", body), http.StatusRequestEntityTooLarge, `{"code":4013}`)
	wantAnswer(t, send(t, h, "POST", "/api/v1/execute", body, "Content-Length: "), http.StatusRequestEntityTooLarge, `{"code":4013}`)
	exact := `{"worker_id":"w","action":"echo"}`
	exact += strings.Repeat(" ", 100-len(exact))
	wantAnswer(t, send(t, h, "POST", "/api/v1/execute", exact), 200, `{"code":0}`)
	wantAnswer(t, send(t, h, "POST", "/api/v1/execute", exact+" "), http.StatusRequestEntityTooLarge, `{"code":4013}`)
}

func TestOptionsThatAreRefused(t *testing.T) {
	t.Parallel()
	sb := newSandbox(t, nil)
	for name, o := range map[string]api.Options{
		"empty secret":       {Tokens: []api.Token{{}}},
		"a secret twice":     {Tokens: []api.Token{{Secret: "x"}, {Secret: "x", WorkerPrefix: "p"}}},
		"any origin, no key": {AllowedOrigins: []string{"*"}},
		"origin with a path": {AllowedOrigins: []string{"https://a.example/x"}},
		"negative body":      {MaxBody: -1},
	} {
		if _, err := api.New(sb, o); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if _, err := api.New(nil, api.Options{}); err == nil {
		t.Error("no executor: no error")
	}
}

// TestBodyOfManyValues: thirty million empty objects fit into a permitted body,
// and would take gigabytes.
func TestBodyOfManyValues(t *testing.T) {
	t.Parallel()
	h := newHandler(t, newSandbox(t, nil), api.Options{MaxBody: 1 << 20})
	body := func(items string) string {
		return `{"worker_id":"w","action":"echo","params":{"list":[` + items + `]}}`
	}
	for name, tc := range map[string]struct {
		items  string
		status int
	}{
		"as many as may be": {"1" + strings.Repeat(",1", 60_000), http.StatusOK},
		"too many":          {"1" + strings.Repeat(",1", 70_000), http.StatusRequestEntityTooLarge},
		"text is one value": {`"\"` + strings.Repeat(",", 100_000) + `"`, http.StatusOK},
	} {
		a := send(t, h, http.MethodPost, "/api/v1/execute", body(tc.items))
		if a.status != tc.status {
			t.Errorf("%s: %d %.200s, want %d", name, a.status, a.raw, tc.status)
		}
		if tc.status != http.StatusOK && (a.body["code"] != 4013.0 || !strings.Contains(a.raw, "more than 65536 values")) {
			t.Errorf("%s: %s, want 4013 that tells the limit", name, a.raw)
		}
	}
}
