package builtin_test

import (
	"context"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/agentflow-go/sandbox"
	"github.com/agentflow-go/sandbox/httpserver/builtin"
)

func TestDefaultsNeedNothing(t *testing.T) {
	t.Parallel()
	known := builtin.Components()
	o, err := sandbox.DefaultConfig(known...).Options(known...)
	if err != nil {
		t.Fatal(err)
	}
	sb, err := sandbox.New(o)
	if err != nil {
		t.Fatal(err)
	}
	defer sb.Shutdown(context.Background())
	tools, err := sb.Tools(t.Context(), sandbox.ToolFilter{})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(tools, func(i sandbox.ToolInfo) bool { return i.FullName == "bash:run" }) {
		t.Errorf("tools %v, want bash:run among them", tools)
	}
}

func TestKeysAndClassesAreUnique(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, c := range builtin.Components() {
		for _, name := range append([]string{c.Key}, c.Classes...) {
			name = string(c.Kind) + " " + name
			if seen[name] {
				t.Errorf("%s is there twice", name)
			}
			seen[name] = true
		}
		if c.Kind == sandbox.KindDriver && c.Driver != nil && c.Register == nil {
			continue
		}
		if c.Kind != sandbox.KindResource && c.Kind != sandbox.KindAPI || c.Register == nil {
			t.Errorf("component %+v is not complete", c)
		}
	}
}

func TestAgentFlowFilesLoad(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../../testdata/config/agentflow-*.json")
	if err != nil || len(files) < 3 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		c, err := sandbox.LoadConfig(file)
		if err != nil {
			t.Errorf("LoadConfig: %v", err)
			continue
		}
		if _, err := c.Options(builtin.Components()...); err != nil {
			t.Errorf("Options of %s: %v", file, err)
		}
	}
}

func FuzzComponentSettings(f *testing.F) {
	f.Add(`{"cwd": "/tmp", "env": {"A": "b"}, "timeout": 3.5, "max_output": 10, "max_sessions": 2, "separate_stderr": true}`)
	f.Add(`{"timeout": -1}`)
	f.Add(`null`)
	f.Fuzz(func(t *testing.T, raw string) {
		for _, c := range builtin.Components() {
			var r sandbox.Registry
			s := sandbox.Section{Name: c.Key, Raw: []byte(raw)}
			if c.Kind == sandbox.KindDriver {
				if d, err := c.Driver(s); err == nil && d == nil {
					t.Errorf("Driver of %s with %s makes none and says nothing", c.Key, raw)
				}
				continue
			}
			if err := c.Register(&r, s); err == nil && r.Err() != nil {
				t.Errorf("Register of %s with %s accepts what the registry refuses: %v", c.Key, raw, r.Err())
			}
		}
	})
}

func TestDriversComeWithTheFile(t *testing.T) {
	t.Parallel()
	known := builtin.Components()
	for name, tt := range map[string]struct{ confinement, want string }{
		"docker":            {`{"level": "docker"}`, ""},
		"gvisor":            {`{"level": "gvisor", "drivers": {"gvisor": {"platform": "ptrace"}}}`, ""},
		"settings unused":   {`{"drivers": {"docker": {"image": "debian:12"}}}`, ""},
		"unknown setting":   {`{"drivers": {"docker": {"imag": "x"}}}`, "confinement.drivers.docker"},
		"unknown driver":    {`{"drivers": {"podman": {}}}`, "confinement.drivers.podman: this program has no such driver"},
		"unknown level":     {`{"level": "podman"}`, "confinement.level"},
		"no object":         {`{"drivers": {"docker": "x"}}`, "confinement.drivers.docker: expected an object"},
		"its level as well": {`{"level": "podman", "drivers": {"podman": {}}}`, "this program has no such driver"},
	} {
		c, err := sandbox.ParseConfig([]byte(`{"confinement": `+tt.confinement+`}`), func(string) (string, bool) { return "", false })
		var o sandbox.Options
		if err == nil {
			o, err = c.Options(known...)
		}
		if tt.want == "" && (err != nil || o.Drivers["docker"] == nil || o.Drivers["gvisor"] == nil) {
			t.Errorf("%s: drivers %v, %v; want both", name, o.Drivers, err)
		}
		if tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
	}
}
