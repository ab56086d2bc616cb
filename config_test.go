package sandbox_test

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/agentflow-go/sandbox"
	"github.com/google/go-cmp/cmp"
)

// component returns a component that records the sections it is given.
func component(kind sandbox.ComponentKind, key string, got *[]sandbox.Section, classes ...string) sandbox.Component {
	return sandbox.Component{
		Kind: kind, Key: key, Classes: classes,
		Register: func(r *sandbox.Registry, s sandbox.Section) error {
			if got != nil {
				*got = append(*got, s)
			}
			fn := sandbox.Plain(func(context.Context, struct{}) (struct{}, error) { return struct{}{}, nil })
			if kind == sandbox.KindAPI {
				sandbox.AddTool(r, sandbox.ToolSpec{Name: s.Name + ":run", Description: "runs"}, fn)
				return nil
			}
			b := sandbox.AddShared(r, sandbox.BackendSpec{Name: s.Name}, nil)
			sandbox.AddSharedTool(b, sandbox.ToolSpec{Name: "run", Description: "runs"}, fn)
			return nil
		},
	}
}

func ours(got *[]sandbox.Section) []sandbox.Component {
	return []sandbox.Component{
		component(sandbox.KindResource, "bash", got, "sandbox.server.backends.resources.bash.BashBackend"),
		component(sandbox.KindResource, "mcp", got, "sandbox.server.backends.resources.mcp.toolathlon_gym.ToolathlonGymBackend"),
		component(sandbox.KindAPI, "websearch", got),
		component(sandbox.KindAPI, "text2sql", got),
	}
}

func env(vars ...string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		i := slices.Index(vars, name)
		if i < 0 {
			return "", false
		}
		return vars[i+1], true
	}
}

func parse(t *testing.T, text string, vars ...string) *sandbox.Config {
	t.Helper()
	c, err := sandbox.ParseConfig([]byte(text), env(vars...))
	if err != nil {
		t.Fatalf("ParseConfig: %v", err)
	}
	return c
}

func lines(problems []sandbox.Problem) []string {
	var out []string
	for _, p := range problems {
		out = append(out, p.String())
	}
	return out
}

// expectLines wants one line for each of want, in order, that contains it.
func expectLines(t *testing.T, what string, got, want []string) {
	t.Helper()
	ok := len(got) == len(want)
	for i := 0; ok && i < len(got); i++ {
		ok = strings.Contains(got[i], want[i])
	}
	if !ok {
		t.Errorf("%s (-want +got, each wanted as a part):\n%s", what, cmp.Diff(want, got))
	}
}

func TestAgentFlowFilesLoad(t *testing.T) {
	t.Parallel()
	tests := []struct {
		file     string
		addr     string
		warm     []string
		sections []sandbox.Section
		warnings []string
		skipped  []string
	}{
		{
			file: "agentflow-all.json",
			addr: "127.0.0.1:18890",
			warm: []string{"bash"},
			sections: []sandbox.Section{
				{Name: "bash", Raw: json.RawMessage(`{"cwd":"/tmp"}`)},
				{Name: "mcp", Raw: json.RawMessage(`{"enabled_mcp_servers":["filesystem"],"env_overrides":{"_JAVA_OPTIONS":"-Xmx1g"},"workspace_root":"/tmp/agentflow_mcp"}`)},
				{Name: "websearch", Raw: json.RawMessage(`{"content_limit":50000,"enable_llm_summary":false,"jina_api_key":"","max_workers":5,"retry_times":5,"visit_method":"jina"}`)},
				{Name: "text2sql", Raw: json.RawMessage(`{"databases":{"other":"/data/other.db"}}`)},
			},
			warnings: []string{
				"server.cleanup_interval: has no effect",
				"apis.websearch.serper_api_key: the variable SERPER_API_KEY is not set",
				"apis.text2sql.databases.main: the variable TEXT2SQL_DB is not set",
				`warmup.resources: "rag" is not an enabled resource`,
				`security.allowed_origins: "*" counts only where tokens are asked for`,
			},
			skipped: []string{`resources.vm.backend_class: "sandbox.server.backends.resources.vm.VMBackend" is not in this program`},
		},
		{
			file: "agentflow-facade.json",
			addr: "127.0.0.1:18890",
			sections: []sandbox.Section{
				{Name: "bash", Raw: json.RawMessage(`{}`)},
				{Name: "websearch", Raw: json.RawMessage(`{}`)},
			},
			skipped: []string{"VMBackend", "BrowserBackend", "CodeExecutorBackend", "RAGBackend"},
		},
		{
			file:     "agentflow-backends.json",
			addr:     "0.0.0.0:18891",
			sections: []sandbox.Section{{Name: "bash", Raw: json.RawMessage(`{}`)}},
			warnings: []string{"backends.bash.stateless: has no effect"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.file, func(t *testing.T) {
			t.Parallel()
			data, err := os.ReadFile(filepath.Join("testdata", "config", tt.file))
			if err != nil {
				t.Fatal(err)
			}
			c := parse(t, string(data))
			var sections []sandbox.Section
			known := ours(&sections)
			if _, err := c.Options(known...); err != nil {
				t.Fatal(err)
			}
			for i := range sections {
				sections[i].Description = ""
			}
			if diff := cmp.Diff(tt.sections, sections); diff != "" {
				t.Errorf("sections (-want +got):\n%s", diff)
			}
			if got := c.Server().Addr; got != tt.addr {
				t.Errorf("Addr = %s, want %s", got, tt.addr)
			}
			if diff := cmp.Diff(tt.warm, c.Warmup(known...)); len(tt.warm)+len(c.Warmup(known...)) > 0 && diff != "" {
				t.Errorf("warmup (-want +got):\n%s", diff)
			}
			expectLines(t, "warnings", lines(c.Warnings()), tt.warnings)
			expectLines(t, "skipped", lines(c.Skipped(known...)), tt.skipped)
		})
	}
}

func TestConfigFillsOptions(t *testing.T) {
	t.Parallel()
	c := parse(t, `{
		"server": {"session_ttl": "${TTL}", "worker_ttl": -1, "call_timeout": "90s", "close_grace": 2.5,
			"data_dir": "/data", "keep_workspaces": true, "strict_sessions": "true", "move_cgroup": true, "max_calls": 8, "max_sessions": 9,
			"tokens_file": "t", "max_body": "1.5 MiB", "max_file": "2GiB", "max_batch": 7, "heartbeat_refreshes": true,
			"allowed_hosts": ["box"], "config_dirs": ["conf"], "log_level": "debug", "title": "T", "description": "D"},
		"confinement": {"level": "none", "allow_degraded": ["cpu"], "egress": {"allow": ["pypi.org", "*.example.com:443"]},
			"limits": {"_c": "${NOT_SET}", "memory": "1GiB", "cpu": 0.5, "processes": 64, "workspace": -1, "output": 1024, "files": "32"}},
		"security": {"allowed_origins": ["http://a"], "auth": {"enabled": true, "api_key": "s3cret"}}
	}`, "TTL", "600")
	o, err := c.Options()
	if err != nil {
		t.Fatal(err)
	}
	if o.Registry == nil {
		t.Error("Registry is nil")
	}
	o.Registry = nil
	want := sandbox.Options{
		SessionTTL: 10 * time.Minute, WorkerTTL: -time.Second, CallTimeout: 90 * time.Second, CloseGrace: 2500 * time.Millisecond,
		DataDir: "/data", KeepWorkspaces: true, StrictSessions: true, MoveCgroup: true, MaxCalls: 8, MaxSessions: 9,
		Confine: sandbox.Confinement{
			Level: "none", AllowDegraded: []string{"cpu"},
			Egress: sandbox.Egress{Allow: []string{"pypi.org", "*.example.com:443"}},
			Limits: sandbox.Limits{Memory: 1 << 30, CPU: 0.5, Processes: 64, Workspace: -1, Output: 1024, Files: 32},
		},
	}
	if diff := cmp.Diff(want, o); diff != "" {
		t.Errorf("options (-want +got):\n%s", diff)
	}
	wantServer := sandbox.ServerConfig{
		Addr: "127.0.0.1:18890", Title: "T", Description: "D", TokensFile: "t", APIKey: "s3cret",
		AllowedOrigins: []string{"http://a"}, AllowedHosts: []string{"box"}, ConfigDirs: []string{"conf"},
		MaxBody: 3 << 19, MaxFile: 2 << 30, MaxBatch: 7, HeartbeatRefreshes: true, LogLevel: slog.LevelDebug,
	}
	if diff := cmp.Diff(wantServer, c.Server()); diff != "" {
		t.Errorf("server (-want +got):\n%s", diff)
	}
}

func TestConfigAddress(t *testing.T) {
	t.Parallel()
	for server, want := range map[string]string{
		`{}`:                             "127.0.0.1:18890",
		`{"url": "http://0.0.0.0:9000"}`: "0.0.0.0:9000",
		`{"url": "http://box/"}`:         "box:18890",
		`{"url": "http://[::1]:9000", "port": 9001}`:                   "[::1]:9001",
		`{"url": "http://box:9000", "host": "::"}`:                     "[::]:9000",
		`{"url": "http://box:9000", "host": "h", "port": "${PORT}"}`:   "h:7",
		`{"url": "${URL:-http://localhost:5}", "_host": "not a host"}`: "localhost:5",
	} {
		if got := parse(t, `{"server": `+server+`}`, "PORT", "7").Server().Addr; got != want {
			t.Errorf("address of %s = %s, want %s", server, got, want)
		}
	}
}

func TestConfigIsRefused(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, in, want string }{
		{"not JSON", "{\n  \"server\": {,}\n}", "line 2, column 14: not valid JSON"},
		{"cut short", "{\n  \"server\": {", "line 2, column 14: not valid JSON: unexpected end"},
		{"wide characters count once", `{"tïtle": x}`, "line 1, column 11"},
		{"empty", "", "line 1, column 1: not valid JSON"},
		{"no object", "[]", "no JSON object"},
		{"trailing text", "{}\n{}", "line 2, column 1"},
		{"the same key twice", "{\"server\": {},\n \"server\": {}}", "server: line 2, column 10: the key is there twice"},
		{"the same inner key twice", `{"resources": {"bash": {"config": {"a": 1, "a": 2}}}}`, "resources.bash.config.a: line 1"},
		{"unknown section", `{"ressources": {}}`, "ressources: unknown key (did you mean resources?"},
		{"unknown server key", `{"server": {"prot": 1}}`, "server.prot: unknown key (did you mean port?"},
		{"keys are case-sensitive", `{"server": {"Port": 1}}`, "server.Port: unknown key (did you mean port?"},
		{"unknown limit", `{"confinement": {"limits": {"ram": 1}}}`, "confinement.limits.ram: unknown key (known are cpu, files"},
		{"unknown resource key", `{"resources": {"bash": {"conf": {}}}}`, "resources.bash.conf: unknown key (did you mean config?"},
		{"section of another type", `{"server": []}`, "server: expected an object, got an array"},
		{"resource of another type", `{"resources": {"bash": true}}`, "resources.bash: expected an object, got a boolean"},
		{"config of another type", `{"resources": {"bash": {"config": "x"}}}`, "resources.bash.config: expected an object"},
		{"api of another type", `{"apis": {"websearch": 1}}`, "apis.websearch: expected an object, got a number"},
		{"port out of range", `{"server": {"port": 65536}}`, "server.port: expected a whole number from 1 to 65535"},
		{"port no number", `{"server": {"port": "x"}}`, "server.port: expected a whole number"},
		{"url", `{"server": {"url": "localhost:80"}}`, "server.url: \"localhost:80\" is no address (write it as"},
		{"url's port", `{"server": {"url": "http://h:99999"}}`, "server.url: expected a port"},
		{"url's port beyond any number", `{"server": {"url": "http://h:99999999999999999999"}}`, "server.url: expected a port"},
		{"number beyond any", "{\n \"server\": {\"session_ttl\": 1e999}}", "number 1e999 is out of range"},
		{"auth with a key that cannot be sent", `{"security": {"auth": {"enabled": true, "api_key": "k\nz"}}}`, "security.auth.api_key: holds white space"},
		{"session_ttl 0", `{"server": {"session_ttl": 0}}`, "server.session_ttl: expected more than 0 seconds, or -1"},
		{"session_ttl huge", `{"server": {"session_ttl": 1e300}}`, "server.session_ttl: expected seconds"},
		{"log_level", `{"server": {"log_level": "loud"}}`, "server.log_level: expected DEBUG, INFO"},
		{"max_body", `{"server": {"max_body": "1GB"}}`, `server.max_body: expected bytes, or a text such as "64KiB"`},
		{"keep without data_dir", `{"server": {"keep_workspaces": true}}`, "server.keep_workspaces: there is nowhere to keep them"},
		{"level", `{"confinement": {"level": "strict"}}`, `confinement.level: "strict" is no level (known are auto`},
		{"limit 0", `{"confinement": {"limits": {"memory": 0}}}`, "confinement.limits.memory: 0 bytes leave no room"},
		{"workspace too small", `{"confinement": {"limits": {"workspace": 1024}}}`, "confinement.limits.workspace: 1 KiB is too little for a file system; want at least 1 MiB"},
		{"memory too small", `{"confinement": {"limits": {"memory": "1MiB"}}}`, "confinement.limits.memory: 1 MiB is too little to start anything; want at least 16 MiB"},
		{"limit -2", `{"confinement": {"limits": {"processes": -2}}}`, "confinement.limits.processes: expected a whole number"},
		{"cpu", `{"confinement": {"limits": {"cpu": 0}}}`, "confinement.limits.cpu: expected a number of processors"},
		{"allow_degraded", `{"confinement": {"allow_degraded": ["net"]}}`, `confinement.allow_degraded: "net" is no limit`},
		{"egress", `{"confinement": {"egress": {"allow": "pypi.org"}}}`, "confinement.egress.allow: expected an array of strings"},
		{"egress pattern", `{"confinement": {"egress": {"allow": ["pypi.org", "https://a.example"]}}}`, `confinement.egress.allow: egress pattern "https://a.example": a URL`},
		{"auth without key", `{"security": {"auth": {"enabled": true}}}`, "security.auth.api_key: is empty although auth is enabled"},
		{"auth of another type", `{"security": {"auth": {"enabled": true, "type": "oauth", "api_key": "x"}}}`, `security.auth.type: "oauth" is not supported`},
		{"auth with an unset key", `{"security": {"auth": {"enabled": true, "api_key": "${NO}"}}}`, "security.auth.api_key: the variable NO is not set"},
		{"rate limit", `{"security": {"rate_limit": {"enabled": true}}}`, "security.rate_limit.enabled: there is no rate limit here"},
		{"unset variable", `{"server": {"title": "${NO}"}}`, "server.title: the variable NO is not set (set it, or write ${NO:-default}"},
		{"unset variable of a resource", `{"resources": {"bash": {"config": {"a": ["${NO}"]}}}}`, "resources.bash.config.a.0: the variable NO is not set"},
		{"unset enabled", `{"resources": {"bash": {"enabled": "${NO}"}}}`, "resources.bash.enabled: the variable NO is not set"},
		{"enabled of another type", `{"resources": {"bash": {"enabled": 1}}}`, "resources.bash.enabled: expected true or false"},
		{"resource name", `{"resources": {"a:b": {}}}`, `resources."a:b": a resource's name must be`},
		{"pool", `{"resources": {"bash": {"pool": -1}}}`, "resources.bash.pool: expected a whole number"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c, err := sandbox.ParseConfig([]byte(tt.in), env())
			ce, ok := errors.AsType[*sandbox.ConfigError](err)
			if !ok || c != nil {
				t.Fatalf("ParseConfig(%s) = %v, %v; want a ConfigError", tt.in, c, err)
			}
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("ParseConfig(%s) = %q, want %q in it", tt.in, err, tt.want)
			}
			for _, p := range ce.Problems {
				if p.Warning {
					t.Errorf("a warning is among the errors: %v", p)
				}
			}
		})
	}
}

func TestEveryFaultIsReportedAtOnce(t *testing.T) {
	t.Parallel()
	_, err := sandbox.ParseConfig([]byte(`{"server": {"port": 0, "prot": 1}, "sever": {}, "confinement": {"level": "x"}}`), env())
	ce, _ := errors.AsType[*sandbox.ConfigError](err)
	if ce == nil || len(ce.Problems) != 4 {
		t.Fatalf("ParseConfig = %v, want four problems", err)
	}
}

func TestWhatIsSwitchedOffIsNotLookedAt(t *testing.T) {
	t.Parallel()
	c := parse(t, `{
		"resources": {"_x": 1, "bash": {"enabled": false, "config": {"a": "${NO}"}, "unknown": 1}, "nonsense": {"enabled": "${OFF}"}},
		"security": {"auth": {"enabled": false, "api_key": "${NO}"}},
		"tools": {"search": {"key": "${NO}"}}
	}`, "OFF", "false")
	o, err := c.Options(ours(nil)...)
	if err != nil {
		t.Fatal(err)
	}
	if names := c.Components(ours(nil)...); len(names) > 0 {
		t.Errorf("components %v, want none", names)
	}
	if o.Registry.Err() != nil {
		t.Error(o.Registry.Err())
	}
	expectLines(t, "warnings", lines(c.Warnings()), []string{"tools: is ignored"})
}

func TestOptionsRefusesUnknownComponents(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		`{"resources": {"bsh": {}}}`:                            `resources.bsh: "bsh" is nothing that this program knows (did you mean bash?`,
		`{"resources": {"x": {"backend_class": "my.Backend"}}}`: `resources.x.backend_class: "my.Backend" is nothing`,
		`{"apis": {"webserch": {}}}`:                            `apis.webserch: "webserch" is nothing that this program knows (did you mean websearch?`,
		`{"apis": {"bash": {}}}`:                                `apis.bash: "bash" is nothing`,
		`{"backends": {"x": {}}, "resources": {"bash": {}}}`:    `backends.x: "x" is nothing`,
	} {
		if _, err := parse(t, in).Options(ours(nil)...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Options of %s = %v, want %q", in, err, want)
		}
	}
}

func TestSynonymsAndNames(t *testing.T) {
	t.Parallel()
	c := parse(t, `{
		"backends": {"bash": {"config": {"from": "backends"}}, "shell": {"backend_class": "bash", "pool": 2, "description": "d"}},
		"resources": {"bash": {"config": {"from": "resources"}}}
	}`)
	var got []sandbox.Section
	if _, err := c.Options(ours(&got)...); err != nil {
		t.Fatal(err)
	}
	want := []sandbox.Section{
		{Name: "bash", Raw: json.RawMessage(`{"from":"resources"}`)},
		{Name: "shell", Pool: 2, Description: "d", Raw: json.RawMessage(`{}`)},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("sections (-want +got):\n%s", diff)
	}
	expectLines(t, "warnings", lines(c.Warnings()), []string{"backends.bash: is in resources too and is ignored here"})
}

func TestComponentsMayRefuse(t *testing.T) {
	t.Parallel()
	bad := sandbox.Component{Kind: sandbox.KindResource, Key: "bash", Register: func(*sandbox.Registry, sandbox.Section) error {
		return errors.New("config.cwd: expected a string")
	}}
	empty := sandbox.Component{Kind: sandbox.KindAPI, Key: "websearch", Register: func(*sandbox.Registry, sandbox.Section) error { return nil }}
	_, err := parse(t, `{"resources": {"bash": {}}, "apis": {"websearch": {}}}`).Options(bad, empty)
	ce, _ := errors.AsType[*sandbox.ConfigError](err)
	if ce == nil {
		t.Fatalf("Options = %v, want a ConfigError", err)
	}
	expectLines(t, "problems", lines(ce.Problems), []string{"resources.bash: config.cwd: expected a string", "apis.websearch: has no tools"})
}

func TestDefaultConfig(t *testing.T) {
	t.Parallel()
	var got []sandbox.Section
	known := ours(&got)
	known[0].Default, known[2].Default = true, true
	c := sandbox.DefaultConfig(known...)
	if _, err := c.Options(known...); err != nil {
		t.Fatal(err)
	}
	want := []sandbox.Section{{Name: "bash", Raw: json.RawMessage(`{}`)}, {Name: "websearch", Raw: json.RawMessage(`{}`)}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("sections (-want +got):\n%s", diff)
	}
	if c.Server().Addr != "127.0.0.1:18890" {
		t.Errorf("Addr = %s", c.Server().Addr)
	}
}

func TestLoadConfigNamesTheFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "c.json")
	if _, err := sandbox.LoadConfig(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("LoadConfig of no file = %v, want fs.ErrNotExist", err)
	}
	if err := os.WriteFile(path, []byte("\ufeff{\"sever\": {}}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := sandbox.LoadConfig(path); err == nil || !strings.HasPrefix(err.Error(), path+": sever: unknown key") {
		t.Errorf("LoadConfig = %v, want the file's name and the key", err)
	}
}

func TestValidate(t *testing.T) {
	t.Parallel()
	bash := component(sandbox.KindResource, "bash", nil)
	bash.Check = func(_ context.Context, s sandbox.Section) []sandbox.Problem {
		return []sandbox.Problem{
			{Text: "no bash on this host", Remedy: "install it"},
			{Key: "resources.bash.config.cwd", Text: "strange", Warning: true},
		}
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	none := `"confinement": {"level": "none"}`
	off := "confinement.level: nothing is confined"
	tests := []struct {
		name, in string
		want     []string
	}{
		{"fine", `{` + none + `}`, []string{off}},
		{"a component's findings", `{"resources": {"bash": {}}, ` + none + `}`,
			[]string{"resources.bash: no bash on this host (install it)", "resources.bash.config.cwd: strange", off}},
		{"a pool that nothing fills", `{"resources": {"bash": {"pool": 2}}, ` + none + `}`,
			[]string{"resources.bash.pool: has no effect", "resources.bash: no bash on this host", "resources.bash.config.cwd: strange", off}},
		{"unknown component", `{"resources": {"nope": {}, "vm": {}}, ` + none + `}`,
			[]string{"resources.nope: \"nope\" is nothing", "resources.vm: \"vm\" is not in this program"}},
		{"data_dir is a file", `{"server": {"data_dir": "` + file + `"}, ` + none + `}`, []string{"server.data_dir: workspace: DataDir"}},
		{"data_dir below a file", `{"server": {"data_dir": "` + file + `/x/y"}, ` + none + `}`, []string{"server.data_dir: "}},
		{"data_dir to be made", `{"server": {"data_dir": "` + filepath.Dir(file) + `/new/dir"}, ` + none + `}`, []string{off}},
		{"a path that no jail may see", `{"confinement": {"read_only": ["/run"]}}`, []string{`confinement.read_only: "/run": is, holds or lies below /run, which jails must not see (`}},
		{"warnings of the file", `{"server": {"cleanup_interval": 1}, ` + none + `}`, []string{"server.cleanup_interval", off}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			expectLines(t, "Validate", lines(parse(t, tt.in).Validate(t.Context(), bash)), tt.want)
		})
	}
	if _, err := os.Stat(filepath.Join(filepath.Dir(file), "new")); !errors.Is(err, fs.ErrNotExist) {
		t.Error("validating made the data directory")
	}
}

func FuzzParseConfig(f *testing.F) {
	files, err := filepath.Glob("testdata/config/*.json")
	if err != nil || len(files) == 0 {
		f.Fatal(files, err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte(`{"confinement": {"limits": {"memory": "1GiB", "cpu": "0.5"}}, "backends": {"a": null}, "apis": {"b": {"c": ["${X}"]}}}`))
	f.Add([]byte(`{"server": {"url": "http://[::1]:1", "session_ttl": 1e9}, "security": {"auth": {"enabled": "TRUE", "api_key": "k"}}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := sandbox.ParseConfig(data, env("X", "x", "SERPER_API_KEY", ""))
		if (c == nil) == (err == nil) {
			t.Fatalf("ParseConfig = %v, %v", c, err)
		}
		if err != nil {
			if err.Error() == "" {
				t.Error("an error without text")
			}
			return
		}
		if _, _, err := net.SplitHostPort(c.Server().Addr); err != nil {
			t.Errorf("the address of an accepted configuration: %v", err)
		}
		var got []sandbox.Section
		if _, err := c.Options(ours(&got)...); err != nil && err.Error() == "" {
			t.Error("an error without text")
		}
		for _, section := range got {
			if section.Name == "" || len(section.Raw) == 0 || section.Raw[0] != '{' || !json.Valid(section.Raw) {
				t.Errorf("section %q with settings %q, want an object", section.Name, section.Raw)
			}
		}
	})
}

func TestConfigFileWithoutEnd(t *testing.T) {
	t.Parallel()
	if _, err := sandbox.LoadConfig("/dev/zero"); err == nil || !strings.Contains(err.Error(), "is longer than") {
		t.Errorf("LoadConfig(/dev/zero) = %v, want a refusal of its length", err)
	}
}
