package api

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/agentflow-go/sandbox"
)

func TestSchemaNamesAreDistinctAndFindTheirTool(t *testing.T) {
	t.Parallel()
	long := "mcp:server." + strings.Repeat("x", 60)
	var tools []sandbox.ToolInfo
	for _, full := range []string{
		"vm:double_click", "ds_read_csv", "mcp:srv.tool", "mcp:srv-tool", "mcp:srv_tool", "a:b", "a-b", "a_b:c", "a:b-c", long + "1", long + "2", "web:search.v2", "search-v2",
	} {
		tools = append(tools, sandbox.ToolInfo{FullName: full, Name: full[strings.LastIndexByte(full, ':')+1:]})
	}
	names := newSchemaNames(tools)
	exact := map[string]string{}
	for _, tool := range tools {
		exact[tool.FullName] = tool.FullName
	}
	accepted := regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)
	seen := map[string]string{}
	for _, tool := range tools {
		name := names.of[tool.FullName]
		if !accepted.MatchString(name) {
			t.Errorf("%s: name %q", tool.FullName, name)
		}
		if other, taken := seen[name]; taken {
			t.Errorf("%s and %s share %q", other, tool.FullName, name)
		}
		seen[name] = tool.FullName
		found := names.full[name]
		if found == "" {
			found = resolveVariant(exact, name)
		}
		if found != tool.FullName {
			t.Errorf("%s: %q finds %q", tool.FullName, name, found)
		}
	}
	for full, want := range map[string]string{"vm:double_click": "vm-double_click", "ds_read_csv": "ds_read_csv", "mcp:srv-tool": "mcp-srv-tool"} {
		if names.of[full] != want {
			t.Errorf("%s: %q, want %q", full, names.of[full], want)
		}
	}
}

func TestTimesInIsoformat(t *testing.T) {
	t.Parallel()
	zone := time.FixedZone("", 3600)
	for want, in := range map[string]time.Time{
		"2026-01-31T08:05:00.123456": time.Date(2026, 1, 31, 9, 5, 0, 123456789, zone),
		"2026-01-31T08:05:00":        time.Date(2026, 1, 31, 8, 5, 0, 999, time.UTC),
		"2026-01-31T08:05:00.100000": time.Date(2026, 1, 31, 8, 5, 0, 100_000_000, time.UTC),
	} {
		if got := isoTime(in); got != want {
			t.Errorf("isoTime(%v) = %q, want %q", in, got, want)
		}
	}
}

func TestConfinementOfASession(t *testing.T) {
	t.Parallel()
	policy := `{"level":"bwrap","egress":{"allow":["pypi.org"]},"limits":{"memory":"512MiB","workspace":1024,"cpu":0.5,"files":-1},"allow_degraded":["cpu"]}`
	want := &sandbox.Confinement{
		Level: "bwrap", AllowDegraded: []string{"cpu"}, Egress: sandbox.Egress{Allow: []string{"pypi.org"}},
		Limits: sandbox.Limits{CPU: 0.5, Memory: 512 << 20, Workspace: 1024, Files: -1},
	}
	cases := []struct {
		name, body string
		config     string // "": nil
		want       *sandbox.Confinement
		fault      bool
	}{
		{"none", `{"session_config":{"a":1}}`, `{"a":1}`, nil, false},
		{"default session", `{"session_config":{ }}`, "", nil, false},
		{"beside the configuration", `{"session_config":{"a":1},"confinement":` + policy + `}`, `{"a":1}`, want, false},
		{"inside the configuration", `{"session_config":{"a":1,"confinement":` + policy + `}}`, `{"a":1}`, want, false},
		{"alone inside", `{"session_config":{"confinement":` + policy + `}}`, "", want, false},
		{"no network", `{"confinement":{"egress":{"allow":[]}}}`, "", &sandbox.Confinement{Egress: sandbox.Egress{Allow: []string{}}}, false},
		{"unknown limit", `{"confinement":{"limits":{"ram":1}}}`, "", nil, true},
		{"size that overflows", `{"confinement":{"limits":{"memory":"9999999999999GiB"}}}`, "", nil, true},
		{"no object", `{"confinement":[]}`, "", nil, true},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			f, refused := parseBody([]byte(tc.body))
			if refused != nil {
				t.Fatal(refused.message)
			}
			config, got := f.confinement(f.object("session_config", true))
			if string(config) != tc.config || (f.refused() != nil) != tc.fault {
				t.Errorf("config %q, want %q; faults %v", config, tc.config, f.faults)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestConversionsOfPydantic(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]time.Duration{
		`null`: 0, `0`: 0, `5`: 5 * time.Second, `1.5`: time.Second, `0.2`: time.Second, `"7"`: 7 * time.Second, `1e400`: -1, `-1`: -1, `"1.5"`: -1, `true`: -1, `[]`: -1,
		`1e30`: 100 * 365 * 24 * time.Hour,
	} {
		f, _ := parseBody([]byte(`{"timeout":` + in + `}`))
		got := f.seconds("timeout")
		if f.refused() != nil {
			got = -1
		}
		if got != want {
			t.Errorf("timeout %s: %v, want %v", in, got, want)
		}
	}
	for in, want := range map[string]time.Duration{`-1`: -1, `"-1"`: -1, `0`: 0, `7`: 7 * time.Second, `-7`: -2, `-0.5`: -2, `true`: -2} {
		f, _ := parseBody([]byte(`{"ttl":` + in + `}`))
		got := f.ttl()
		if f.refused() != nil {
			got = -2
		}
		if got != want {
			t.Errorf("ttl %s: %d, want %d (-2: refused)", in, got, want)
		}
	}
	for in, want := range map[string]time.Duration{
		`1`: time.Millisecond, `0.5`: time.Millisecond, `8640000000`: 100 * 24 * time.Hour, `1e30`: 100 * 365 * 24 * time.Hour,
	} {
		f, _ := parseBody([]byte(`{"ttl_ms":` + in + `}`))
		if got := f.ttl(); got != want || f.refused() != nil {
			t.Errorf("ttl_ms %s: %v, want %v", in, got, want)
		}
	}
	for in, want := range map[string]string{`true`: "true", `1`: "true", `"Yes"`: "true", `0`: "false", `"off"`: "false", `2`: "fault", `null`: "fault", `"maybe"`: "fault"} {
		f, _ := parseBody([]byte(`{"parallel":` + in + `}`))
		got := map[bool]string{true: "true", false: "false"}[f.flag("parallel", false)]
		if f.refused() != nil {
			got = "fault"
		}
		if got != want {
			t.Errorf("parallel %s: %s, want %s", in, got, want)
		}
	}
}

func FuzzAppendString(f *testing.F) {
	for _, seed := range []string{"", "a\"b\\c", "\x00\x1f\x7f", "é\u2028\xff\xfe", "\n\r\t"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var got string
		if err := json.Unmarshal(appendString(nil, s), &got); err != nil {
			t.Fatalf("appendString(%q): %v", s, err)
		}
		if want := strings.ToValidUTF8(s, "\ufffd"); len(got) < len(want) || strings.ToValidUTF8(s, "") == s && got != s {
			t.Fatalf("appendString(%q) says %q", s, got)
		}
	})
}
