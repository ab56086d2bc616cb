package sandbox

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/agentflow-go/sandbox/internal/expand"
	"github.com/agentflow-go/sandbox/internal/nearest"
	"github.com/agentflow-go/sandbox/internal/wire"
)

// configReader turns a file's tree into a Config and collects all that is
// wrong with it.
type configReader struct {
	env    func(string) (string, bool)
	order  map[string][]string
	config *Config
	errs   []Problem
}

func (r *configReader) fail(path []string, text, remedy string) {
	r.errs = append(r.errs, Problem{Key: expand.Key(path...), Text: text, Remedy: remedy})
}

func (r *configReader) warn(path []string, text, remedy string) {
	r.config.warnings = append(r.config.warnings, Problem{Key: expand.Key(path...), Text: text, Remedy: remedy, Warning: true})
}

// child returns the path of a key below path.
func child(path []string, key string) []string { return append(path[:len(path):len(path)], key) }

// root reads the file.
func (r *configReader) root(tree map[string]any) {
	sections := map[string]func(path []string, m map[string]any){
		"server": r.server, "confinement": r.confinement, "resources": nil, "backends": nil, "apis": nil,
		"warmup": r.warmup, "security": r.security, "tools": nil,
	}
	removeComments(tree)
	for _, key := range slices.Sorted(maps.Keys(tree)) {
		read, known := sections[key]
		path := []string{key}
		if !known {
			r.unknown(path, slices.Collect(maps.Keys(sections)))
			continue
		}
		m := r.objectAt(path, tree[key])
		if m == nil {
			delete(tree, key) // null, or refused
			continue
		}
		removeComments(m)
		if read != nil {
			removeInnerComments(m)
			if key == "security" {
				r.dropUnusedKey(m)
			}
			r.expandAll(path, m)
			read(path, m)
		}
	}
	r.resources(tree)
	r.apis(tree)
	if tools, ok := tree["tools"].(map[string]any); ok && len(tools) > 0 {
		r.warn([]string{"tools"}, "is ignored", "tools come with the resources and apis that the file names")
	}
	r.checkWarmup()
	r.checkTokens()
}

// objectAt returns the object at path, nil if there is none to read.
func (r *configReader) objectAt(path []string, v any) map[string]any {
	m, ok := v.(map[string]any)
	if !ok && v != nil {
		r.fail(path, "expected an object, got "+jsonKind(v), "")
	}
	return m
}

func jsonKind(v any) string {
	switch v.(type) {
	case string:
		return "a string"
	case bool:
		return "a boolean"
	case []any:
		return "an array"
	case nil:
		return "null"
	}
	return "a number"
}

func removeComments(m map[string]any) {
	maps.DeleteFunc(m, func(key string, _ any) bool { return isComment(key) })
}

// removeInnerComments removes the comments of the objects in m; settings of
// components keep theirs, which may be anything.
func removeInnerComments(m map[string]any) {
	for _, v := range m {
		if inner, ok := v.(map[string]any); ok {
			removeComments(inner)
			removeInnerComments(inner)
		}
	}
}

// expandAll expands the variables below path; one that is not set is an error.
func (r *configReader) expandAll(path []string, m map[string]any) {
	_, unset := expand.Value(m, r.env, path...)
	r.failUnset(unset)
}

func (r *configReader) failUnset(unset []expand.Unset) {
	slices.SortFunc(unset, func(a, b expand.Unset) int { return strings.Compare(a.Key()+a.Name, b.Key()+b.Name) })
	for _, u := range unset {
		r.fail(u.Path, fmt.Sprintf("the variable %s is not set", u.Name), fmt.Sprintf("set it, or write ${%s:-default}", u.Name))
	}
}

// unknown refuses the key at path.
func (r *configReader) unknown(path []string, known []string) {
	slices.Sort(known)
	remedy := "known are " + strings.Join(known, ", ")
	if close := nearest.Names(path[len(path)-1], known, 1); len(close) > 0 {
		remedy = fmt.Sprintf("did you mean %s? %s", close[0], remedy)
	}
	r.fail(path, "unknown key", remedy)
}

// fields reads the keys of an object; others than those given are refused.
func (r *configReader) fields(path []string, m map[string]any, set map[string]setter) {
	for _, key := range slices.Sorted(maps.Keys(m)) {
		at := child(path, key)
		f, known := set[key]
		if !known {
			r.unknown(at, slices.Collect(maps.Keys(set)))
			continue
		}
		if wrong := f(m[key]); wrong != "" {
			r.fail(at, wrong, "")
		}
	}
}

// part reads an object inside an object, with the same rules.
func (r *configReader) part(path []string, set map[string]setter) setter {
	return func(v any) string {
		if m := r.objectAt(path, v); m != nil {
			r.fields(path, m, set)
		}
		return ""
	}
}

// ignored accepts a key of the wire protocol's first implementation that has
// no effect here.
func (r *configReader) ignored(path []string, why string) setter {
	return func(any) string {
		r.warn(path, "has no effect", why)
		return ""
	}
}

func (r *configReader) server(path []string, m map[string]any) {
	s, o := &r.config.server, &r.config.options
	var address, host string
	var port int
	r.fields(path, m, map[string]setter{
		"url": setText(&address), "host": setText(&host), "port": setInt(&port, 1, 65535),
		"title": setText(&s.Title), "description": setText(&s.Description),
		"session_ttl": setDuration(&o.SessionTTL, true), "worker_ttl": setDuration(&o.WorkerTTL, true),
		"call_timeout": setDuration(&o.CallTimeout, false), "close_grace": setDuration(&o.CloseGrace, false),
		"cleanup_interval": r.ignored(child(path, "cleanup_interval"), "a session ends when its time is over, not at the next round"),
		"log_level":        setLogLevel(&s.LogLevel),
		"tokens_file":      setText(&s.TokensFile), "data_dir": setText(&o.DataDir),
		"keep_workspaces": setFlag(&o.KeepWorkspaces), "strict_sessions": setFlag(&o.StrictSessions), "move_cgroup": setFlag(&o.MoveCgroup),
		"max_calls": setInt(&o.MaxCalls, 0, math.MaxInt), "max_sessions": setInt(&o.MaxSessions, 0, math.MaxInt),
		"max_body": setSize(&s.MaxBody, false), "max_file": setSize(&s.MaxFile, false), "max_batch": setInt(&s.MaxBatch, 1, math.MaxInt),
		"heartbeat_refreshes": setFlag(&s.HeartbeatRefreshes),
		"allowed_hosts":       setTexts(&s.AllowedHosts), "config_dirs": setTexts(&s.ConfigDirs),
	})
	s.Addr = r.address(child(path, "url"), address, host, port)
	if o.KeepWorkspaces && o.DataDir == "" {
		r.fail(child(path, "keep_workspaces"), "there is nowhere to keep them", "name a server.data_dir")
	}
}

// address puts together where to listen: host and port, else those of the url,
// else the defaults.
func (r *configReader) address(path []string, address, host string, port int) string {
	if address != "" {
		u, err := url.Parse(address)
		if err != nil || u.Hostname() == "" || u.Scheme != "http" && u.Scheme != "https" {
			r.fail(path, fmt.Sprintf("%q is no address", address), "write it as http://127.0.0.1:18890")
			return ""
		}
		if u.Scheme == "https" {
			r.warn(path, "the server speaks http only", "put a proxy with a certificate in front of it")
		}
		if host == "" {
			host = u.Hostname()
		}
		if text := u.Port(); text != "" && port == 0 {
			n, err := strconv.Atoi(text)
			if err != nil || n < 1 || n > 65535 {
				r.fail(path, "expected a port from 1 to 65535", "")
			}
			port = n
		}
	}
	if host == "" {
		host = defaultHost
	}
	if port == 0 {
		port = defaultPort
	}
	return joinAddr(host, port)
}

func (r *configReader) confinement(path []string, m map[string]any) {
	c := &r.config.options.Confine
	egress, limits := child(path, "egress"), child(path, "limits")
	r.fields(path, m, map[string]setter{
		"level": setText(&c.Level), "allow_degraded": setTexts(&c.AllowDegraded), "read_only": setTexts(&c.ReadOnly), "drivers": r.drivers(child(path, "drivers")),
		"egress": r.part(egress, map[string]setter{"allow": setTexts(&c.Egress.Allow)}),
		"limits": r.part(limits, map[string]setter{
			"memory": setSize(&c.Limits.Memory, true), "workspace": setSize(&c.Limits.Workspace, true),
			"output": setSize(&c.Limits.Output, true), "cpu": setCPU(&c.Limits.CPU),
			"processes": setCount(&c.Limits.Processes), "files": setCount(&c.Limits.Files),
		}),
	})
	if err := checkConfinement(*c, slices.Collect(maps.Keys(r.config.drivers))...); err != nil {
		key, text, _ := strings.Cut(err.Error(), ": ") // it names the field first
		r.errs = append(r.errs, Problem{Key: key, Text: text})
	}
}

// drivers keeps the settings of confinement drivers for their components.
func (r *configReader) drivers(path []string) setter {
	return func(v any) string {
		all := r.objectAt(path, v)
		for _, name := range slices.Sorted(maps.Keys(all)) {
			if m := r.entryAt(child(path, name), all); m != nil {
				if r.config.drivers == nil {
					r.config.drivers = map[string]json.RawMessage{}
				}
				r.config.drivers[name] = raw(m)
			}
		}
		return ""
	}
}

func (r *configReader) warmup(path []string, m map[string]any) {
	var enabled bool
	var names []string
	r.fields(path, m, map[string]setter{"enabled": setFlag(&enabled), "resources": setTexts(&names)})
	if enabled {
		r.config.warm = names
	}
}

// checkWarmup drops what is not enabled, as the protocol has it, but says so.
func (r *configReader) checkWarmup() {
	enabled := []string{}
	for _, e := range r.config.entries {
		if e.kind == KindResource {
			enabled = append(enabled, e.section.Name)
		}
	}
	var warm []string
	for _, name := range r.config.warm {
		if slices.Contains(enabled, name) {
			if !slices.Contains(warm, name) {
				warm = append(warm, name)
			}
			continue
		}
		remedy := ""
		if close := nearest.Names(name, enabled, 1); len(close) > 0 {
			remedy = "did you mean " + close[0] + "?"
		}
		r.warn([]string{"warmup", "resources"}, fmt.Sprintf("%q is not an enabled resource and is not warmed up", name), remedy)
	}
	r.config.warm = warm
}

func (r *configReader) security(path []string, m map[string]any) {
	s := &r.config.server
	auth, rate := child(path, "auth"), child(path, "rate_limit")
	var enabled, limited bool
	kind, key := "api_key", ""
	perMinute := 0
	r.fields(path, m, map[string]setter{
		"allowed_origins": setTexts(&s.AllowedOrigins),
		"auth":            r.part(auth, map[string]setter{"enabled": setFlag(&enabled), "type": setText(&kind), "api_key": setText(&key)}),
		"rate_limit":      r.part(rate, map[string]setter{"enabled": setFlag(&limited), "requests_per_minute": setInt(&perMinute, 1, math.MaxInt)}),
	})
	switch {
	case enabled && kind != "api_key" && kind != "":
		r.fail(child(auth, "type"), fmt.Sprintf("%q is not supported", kind), `use "api_key"`)
	case enabled && key == "":
		r.fail(child(auth, "api_key"), "is empty although auth is enabled", "give a secret, or server.tokens_file instead of auth")
	case enabled && strings.ContainsFunc(key, func(c rune) bool { return c <= ' ' || c > '~' }):
		r.fail(child(auth, "api_key"), "holds white space or other characters that no HTTP header carries",
			"use letters and digits, such as from: openssl rand -hex 32")
	case enabled:
		s.APIKey = key
	case key != "":
		r.warn(child(auth, "api_key"), "is not asked for, because auth.enabled is not true", "")
	}
	if limited {
		r.fail(child(rate, "enabled"), "there is no rate limit here", "set it to false and limit in a proxy in front, or with server.max_calls")
	}
}

// dropUnusedKey takes security.auth.api_key out where nobody asks for it: its
// variable then need not be set.
func (r *configReader) dropUnusedKey(m map[string]any) {
	auth, _ := m["auth"].(map[string]any)
	key, _ := auth["api_key"].(string)
	v, _ := expand.Value(auth["enabled"], r.env)
	enabled := false
	if _, unset := expand.String(key, r.env); setFlag(&enabled)(v) == "" && !enabled && len(unset) > 0 {
		delete(auth, "api_key")
	}
}

// checkTokens warns of what needs tokens when there are none in the file.
func (r *configReader) checkTokens() {
	s := r.config.server
	if slices.Contains(s.AllowedOrigins, "*") && s.TokensFile == "" && s.APIKey == "" {
		r.warn([]string{"security", "allowed_origins"}, `"*" counts only where tokens are asked for: without, web pages may not call`,
			"name the origins, or a server.tokens_file")
	}
}

// raw encodes a component's settings.
func raw(m map[string]any) []byte {
	if m == nil {
		return []byte("{}")
	}
	b, err := wire.Marshal(m)
	if err != nil { // it came out of JSON
		panic("sandbox: configuration cannot be encoded: " + err.Error())
	}
	return b
}
