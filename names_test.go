package sandbox_test

import (
	"context"
	"strings"
	"testing"

	"github.com/agentflow-go/sandbox"
	"github.com/google/go-cmp/cmp"
)

// namesRegistry has the tools that the protocol's examples of names speak of.
func namesRegistry() *sandbox.Registry {
	var reg sandbox.Registry
	fn := sandbox.Plain(func(context.Context, empty) (empty, error) { return empty{}, nil })
	for _, name := range []string{"echo", "util:echo", "web:search", "doc:search", "mcp:server.tool", "my_api:ping"} {
		sandbox.AddTool(&reg, sandbox.ToolSpec{Name: name}, fn)
	}
	sandbox.AddTool(&reg, sandbox.ToolSpec{Name: "ds_read_csv", Aliases: []string{"ds:read_csv"}, Label: "ds"}, fn)
	sandbox.AddTool(&reg, sandbox.ToolSpec{Name: "web:visit", Aliases: []string{"visit_page"}, Label: "websearch", Hidden: true}, fn)
	for _, backend := range []string{"vm", "text2sql"} {
		b := sandbox.AddBackend(&reg, sandbox.BackendSpec{Name: backend}, sandbox.BackendFuncs[empty]{})
		for _, name := range []string{"double_click", "click", "get_schema", "status"} {
			if (backend == "text2sql") == (name == "get_schema" || name == "status") || name == "status" {
				sandbox.AddSessionTool(b, sandbox.ToolSpec{Name: name}, sandbox.Method(func(empty, context.Context, empty) (empty, error) { return empty{}, nil }))
			}
		}
	}
	return &reg
}

func TestNamesResolve(t *testing.T) {
	t.Parallel()
	sb := newSandbox(t, namesRegistry(), sandbox.Options{})
	tests := []struct {
		name string
		want string // full name, or the error's message
		code sandbox.Code
	}{
		{"vm:click", "vm:click", 0},
		{"vm-click", "vm:click", 0},
		{"vm_click", "vm:click", 0},
		{"vm.click", "vm:click", 0},
		{"vm-double_click", "vm:double_click", 0},
		{"text2sql-get_schema", "text2sql:get_schema", 0},
		{"click", "vm:click", 0},
		{"echo", "echo", 0}, // an exact full name wins over the simple name
		{"util:echo", "util:echo", 0},
		{"util.echo", "util:echo", 0},
		{"mcp-server.tool", "mcp:server.tool", 0},
		{"mcp.server.tool", "mcp:server.tool", 0},
		{"ds_read_csv", "ds_read_csv", 0},
		{"ds:read_csv", "ds_read_csv", 0},
		{"ds-read_csv", "ds_read_csv", 0},
		{"visit", "web:visit", 0},
		{"visit_page", "web:visit", 0},
		{"my_api:ping", "my_api:ping", 0},
		{"search", "Ambiguous tool name 'search'. Multiple matches: ['web:search', 'doc:search']. Please use full name with prefix.", 4002},
		{"status", "Ambiguous tool name 'status'. Multiple matches: ['vm:status', 'text2sql:status']. Please use full name with prefix.", 4002},
		{"my_api_ping", "Tool not found: my_api_ping", 4002}, // the first separator decides
		{"VM:click", "Tool not found: VM:click", 4002},
		{"vm:", "Tool not found: vm:", 4002},
		{"", "Tool not found: ", 4002},
		{"vm:clck", "Tool not found: vm:clck", 4002},
	}
	for _, tt := range tests {
		resp := sb.Worker("w").Execute(t.Context(), tt.name, nil)
		if tt.code == 0 {
			if resp.Err != nil || resp.Meta.Tool != tt.want {
				t.Errorf("Execute(%q) ran %q, %v, want %q", tt.name, resp.Meta.Tool, resp.Err, tt.want)
			}
			continue
		}
		if e := wantCode(t, resp.Err, tt.code); e.Message != tt.want {
			t.Errorf("Execute(%q): %q, want %q", tt.name, e.Message, tt.want)
		}
	}
}

func TestNameErrorsCarryData(t *testing.T) {
	t.Parallel()
	sb := newSandbox(t, namesRegistry(), sandbox.Options{})
	resp := sb.Worker("w").Execute(t.Context(), "search", nil)
	if got := string(resp.Data); got != `{"candidates":["web:search","doc:search"]}` {
		t.Errorf("data of an ambiguity = %s", got)
	}
	resp = sb.Worker("w").Execute(t.Context(), "vm:clck", nil)
	if got := string(resp.Data); got != `{"action":"vm:clck"}` {
		t.Errorf("data of an unknown tool = %s", got)
	}
	if len(resp.Meta.DidYouMean) == 0 || resp.Meta.DidYouMean[0] != "vm:click" {
		t.Errorf("DidYouMean = %q, want vm:click first", resp.Meta.DidYouMean)
	}
	if got, want := resp.ForModel(), `"did_you_mean":["vm:click"`; !strings.Contains(got, want) {
		t.Errorf("ForModel = %s, want %s in it", got, want)
	}
	if resp.Meta.SessionID != "" {
		t.Error("an unknown tool made a session")
	}
}

func TestToolsAreListedAndFiltered(t *testing.T) {
	t.Parallel()
	sb := newSandbox(t, namesRegistry(), sandbox.Options{})
	tests := []struct {
		allowed []string
		hidden  bool
		want    string
	}{
		{nil, false, "echo util:echo web:search doc:search mcp:server.tool my_api:ping ds_read_csv vm:double_click vm:click vm:status text2sql:get_schema text2sql:status"},
		{[]string{}, false, ""},
		{[]string{"vm-*"}, false, "vm:double_click vm:click vm:status"},
		{[]string{"vm_*", "echo"}, false, "echo vm:double_click vm:click vm:status"},
		{[]string{"vm:click", "text2sql-get_schema"}, false, "vm:click text2sql:get_schema"},
		{[]string{"mcp:server.*"}, false, "mcp:server.tool"},
		{[]string{"web:*"}, true, "web:search web:visit"},
		{[]string{"ds-read_csv"}, false, "ds_read_csv"},
		{[]string{"ds:read_csv"}, false, "ds_read_csv"}, // by its alias
		{[]string{"v*"}, false, ""},                     // a star needs a separator before it
	}
	for _, tt := range tests {
		infos, err := sb.Tools(t.Context(), sandbox.ToolFilter{Allowed: tt.allowed, Hidden: tt.hidden})
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, info := range infos {
			names = append(names, info.FullName)
		}
		if got := strings.Join(names, " "); got != tt.want {
			t.Errorf("Tools(%q, hidden %v) = %s, want %s", tt.allowed, tt.hidden, got, tt.want)
		}
	}
}

func TestToolInfo(t *testing.T) {
	t.Parallel()
	f := newFake(sandbox.BackendSpec{}, sandbox.BackendFuncs[*counter]{})
	sb := newSandbox(t, f.reg, sandbox.Options{})
	infos, err := sb.Worker("w").Tools(t.Context(), sandbox.ToolFilter{Allowed: []string{"fake:incr"}})
	if err != nil {
		t.Fatal(err)
	}
	want := []sandbox.ToolInfo{{
		Name: "incr", FullName: "fake:incr", Backend: "fake", Label: "fake", Session: true, Description: "Counts.",
		InputSchema:  raw(`{"type":"object","properties":{"by":{"type":"integer","description":"how much to add; 1 if absent"}},"additionalProperties":false}`),
		OutputSchema: raw(`{"type":"object","properties":{"n":{"type":"integer"}},"required":["n"],"additionalProperties":false}`),
	}}
	if diff := cmp.Diff(want, infos); diff != "" {
		t.Errorf("Tools mismatch (-want +got):\n%s", diff)
	}
}

func FuzzNames(f *testing.F) {
	sb := newSandbox(f, namesRegistry(), sandbox.Options{})
	for _, s := range []string{"vm-click", "search", "a:b:c", "-", "_._-", "vm_double_click", "\x00", "ds:read_csv"} {
		f.Add(s)
	}
	known := map[string]bool{}
	infos, _ := sb.Tools(context.Background(), sandbox.ToolFilter{Hidden: true})
	for _, info := range infos {
		known[info.FullName] = true
	}
	f.Fuzz(func(t *testing.T, name string) {
		resp := sb.Worker("w").Execute(t.Context(), name, nil)
		if resp.Err == nil && !known[resp.Meta.Tool] {
			t.Errorf("%q ran %q, which is not registered", name, resp.Meta.Tool)
		}
		if resp.Err != nil && sandbox.CodeOf(resp.Err) != sandbox.ErrInvalidRequest {
			t.Errorf("%q: %v", name, resp.Err)
		}
		if known[name] && resp.Meta.Tool != name {
			t.Errorf("the full name %q ran %q", name, resp.Meta.Tool)
		}
	})
}
