package sandbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/agentflow-go/sandbox/internal/expand"
	"github.com/agentflow-go/sandbox/internal/jail"
	"github.com/agentflow-go/sandbox/internal/nearest"
	"github.com/agentflow-go/sandbox/internal/wire"
)

// Options returns the options that the configuration stands for, with a
// Registry that holds the components it names; known are those it may name.
// The caller adds a Logger and whatever else is not in a file, and gives it to
// [New]. Each call makes a new Registry.
//
// The error is a [*ConfigError].
func (c *Config) Options(known ...Component) (Options, error) {
	o, _, problems := c.build(known)
	if problems = errorsOf(problems); len(problems) > 0 {
		return Options{}, &ConfigError{Problems: problems}
	}
	return o, nil
}

// Warmup returns the names of the resources to warm up before the server
// starts, out of those that known has.
func (c *Config) Warmup(known ...Component) []string {
	used, _ := c.match(known)
	return slices.DeleteFunc(slices.Clone(c.warm), func(name string) bool {
		return !slices.ContainsFunc(used, func(u configUse) bool {
			return u.entry.kind == KindResource && u.entry.section.Name == name
		})
	})
}

// Components returns the names of the resources and API keys that the
// configuration switches on, out of those that known has.
func (c *Config) Components(known ...Component) []string {
	var names []string
	used, _ := c.match(known)
	for _, u := range used {
		names = append(names, u.entry.section.Name)
	}
	return names
}

// Skipped returns a warning for each entry that known has no component for
// though the wire protocol's first implementation knows it. The server runs
// without.
func (c *Config) Skipped(known ...Component) []Problem {
	_, problems := c.match(known)
	return slices.DeleteFunc(problems, func(p Problem) bool { return !p.Warning })
}

// Validate looks for everything that would keep a server with this
// configuration from working: it registers the components, asks each to check
// its settings, and tries out the data directory and the confinement on this
// host. Nothing it starts stays. Warnings come with the errors, those of
// reading the file included.
func (c *Config) Validate(ctx context.Context, known ...Component) []Problem {
	problems := slices.Clone(c.warnings)
	o, used, found := c.build(known)
	problems = append(problems, found...)
	for _, u := range used {
		if u.component.Check == nil {
			continue
		}
		for _, p := range u.component.Check(ctx, u.entry.section) {
			if p.Key == "" {
				p.Key = expand.Key(u.entry.path...)
			}
			problems = append(problems, p)
		}
	}
	if len(errorsOf(found)) > 0 {
		return problems // there is no sandbox to try
	}
	return append(problems, probe(ctx, o)...)
}

// probe tries the host out for the options.
func probe(ctx context.Context, o Options) []Problem {
	if o.DataDir != "" {
		if _, err := os.Stat(o.DataDir); errors.Is(err, fs.ErrNotExist) {
			if p := checkParent(o.DataDir); p != nil {
				return []Problem{*p}
			}
			o.DataDir, o.KeepWorkspaces = "", false // leave it to the server to make it
		}
	}
	sb, err := New(o)
	if err != nil {
		return []Problem{{Text: err.Error()}}
	}
	var problems []Problem
	if o.DataDir != "" {
		if _, err := sb.host.workspaces(sb); err != nil {
			problems = append(problems, Problem{Key: "server.data_dir", Text: err.Error()})
		}
	}
	if len(problems) == 0 {
		problems = probeConfinement(ctx, sb)
	}
	// The caller's end must not keep the clearing up from being done.
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	if err := sb.Shutdown(end); err != nil {
		problems = append(problems, Problem{Text: "the trial could not be cleared up: " + err.Error(), Warning: true})
	}
	return problems
}

func probeConfinement(ctx context.Context, sb *Sandbox) []Problem {
	if err := sb.Probe(ctx); err != nil {
		if pe, ok := errors.AsType[*jail.PolicyError](err); ok {
			return []Problem{limitProblem(pe)}
		}
		if re, ok := errors.AsType[*jail.ReadOnlyError](err); ok {
			return []Problem{{Key: "confinement.read_only", Text: re.Error(), Remedy: "name a directory that holds programs or data for everybody to read"}}
		}
		return []Problem{{Key: "confinement", Text: err.Error()}}
	}
	st, err := sb.Status(ctx)
	if err != nil {
		return []Problem{{Key: "confinement", Text: err.Error()}}
	}
	if st.Level == "none" { // which says all there is to say of limits, too
		return []Problem{{Key: "confinement.level", Warning: true,
			Text: "nothing is confined: what workers run can do all that this program can", Remedy: "use auto"}}
	}
	return unenforcedProblems(st.Unenforced, sb.opts.Confine.Limits)
}

// unenforcedProblems are the warnings of what a host does not enforce.
func unenforcedProblems(unenforced []string, l Limits) []Problem {
	var problems []Problem
	for _, u := range unenforced {
		limit, why, _ := strings.Cut(u, ": ")
		set := slices.ContainsFunc(l.list(), func(n namedLimit) bool { return n.name == limit && n.value > 0 })
		p := Problem{Key: "confinement.limits." + limit, Warning: true, Text: "its default is not enforced on this host: " + why}
		switch {
		case degradation(limit) != "":
			p.Key, p.Text = "confinement", u
		case set:
			p.Text = "is not enforced on this host: " + why
		}
		problems = append(problems, p)
	}
	return problems
}

// limitProblem puts what the host cannot enforce into the words of the file.
func limitProblem(e *jail.PolicyError) Problem {
	p := Problem{Key: "confinement." + e.Limit, Text: "cannot be enforced on this host: " + e.Reason, Remedy: e.Remedy}
	if slices.Contains(strings.Split(limitNames, ", "), e.Limit) {
		p.Key = "confinement.limits." + e.Limit
		p.Remedy = fmt.Sprintf("leave it out for best effort, or name %q in confinement.allow_degraded to run without it", e.Limit)
	}
	return p
}

// checkParent looks at where a directory that does not exist would be made.
func checkParent(dir string) *Problem {
	at, err := filepath.Abs(dir)
	for err == nil {
		at = filepath.Dir(at)
		var fi os.FileInfo
		fi, err = os.Stat(at)
		if err == nil && !fi.IsDir() {
			err = fmt.Errorf("%s is not a directory", at)
		}
		if !errors.Is(err, fs.ErrNotExist) {
			break
		}
		err = nil
	}
	if err != nil {
		return &Problem{Key: "server.data_dir", Text: "cannot be made: " + err.Error(), Remedy: "name another directory"}
	}
	return nil
}

// configUse is an entry with the component that it means.
type configUse struct {
	entry     configEntry
	component Component
}

// build registers what the configuration names and returns what could be.
func (c *Config) build(known []Component) (Options, []configUse, []Problem) {
	o := c.options
	o.Registry = new(Registry)
	used, problems := c.match(known)
	problems = append(problems, c.buildDrivers(&o, known)...)
	var registered []configUse
	for _, u := range used {
		key := expand.Key(u.entry.path...)
		before := o.Registry.toolCount()
		if err := u.component.Register(o.Registry, u.entry.section); err != nil {
			problems = append(problems, u.entry.refused(err))
			continue
		}
		registered = append(registered, u)
		if u.entry.section.Pool > 0 && !o.Registry.pools(u.entry.section.Name) {
			problems = append(problems, Problem{Key: expand.Key(child(u.entry.path, "pool")...), Warning: true,
				Text: "has no effect: this resource keeps no sessions ahead of demand", Remedy: "leave it out"})
		}
		if o.Registry.toolCount() == before {
			problems = append(problems, Problem{Key: key, Text: "has no tools", Warning: u.entry.kind == KindResource,
				Remedy: "its component must register at least one"})
		}
	}
	if err := o.Registry.Err(); err != nil {
		problems = append(problems, Problem{Text: err.Error()})
	}
	return o, registered, problems
}

// refused is the problem of a component that does not take its settings, at the
// setting if the component says which.
func (e configEntry) refused(err error) Problem {
	p := Problem{Key: expand.Key(e.path...), Text: err.Error()}
	fe, ok := errors.AsType[*wire.FieldError](err)
	if !ok || e.kind != KindResource || !strings.HasPrefix(fe.Pointer, "/") {
		return p
	}
	if text, ok := strings.CutPrefix(p.Text, "config: "+fe.Pointer); ok {
		p.Key = expand.Key(append(child(e.path, "config"), strings.Split(fe.Pointer[1:], "/")...)...)
		p.Text = strings.TrimLeft(text, ": ")
	}
	return p
}

// buildDrivers makes the drivers that known has.
func (c *Config) buildDrivers(o *Options, known []Component) (problems []Problem) {
	var names []string
	for _, comp := range known {
		if comp.Kind != KindDriver {
			continue
		}
		names = append(names, comp.Key)
		settings := c.drivers[comp.Key]
		if settings == nil {
			settings = json.RawMessage("{}")
		}
		d, err := comp.Driver(Section{Name: comp.Key, Raw: settings})
		if err != nil {
			problems = append(problems, Problem{Key: expand.Key("confinement", "drivers", comp.Key), Text: err.Error()})
			continue
		}
		if o.Drivers == nil {
			o.Drivers = map[string]Driver{}
		}
		o.Drivers[comp.Key] = d
	}
	for _, name := range slices.Sorted(maps.Keys(c.drivers)) {
		if !slices.Contains(names, name) {
			problems = append(problems, Problem{Key: expand.Key("confinement", "drivers", name),
				Text: "this program has no such driver", Remedy: "it has: " + strings.Join(names, ", ")})
		}
	}
	return problems
}

func (r *Registry) toolCount() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.tools)
}

// pools tells whether the backend of that name keeps sessions ahead of demand.
func (r *Registry) pools(name string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.ContainsFunc(r.backends, func(b *backendEntry) bool { return b.spec.Name == name && b.spec.Pool > 0 })
}

// match finds the component of each entry.
func (c *Config) match(known []Component) ([]configUse, []Problem) {
	var used []configUse
	var problems []Problem
	for _, e := range c.entries {
		if comp, ok := e.find(known); ok {
			used = append(used, configUse{e, comp})
		} else {
			problems = append(problems, e.missing(known))
		}
	}
	return used, problems
}

// find returns the component that the entry's class, or else its name, means.
func (e configEntry) find(known []Component) (Component, bool) {
	for _, comp := range known {
		if comp.Kind != e.kind {
			continue
		}
		if e.class == "" && comp.Key == e.section.Name ||
			e.class != "" && (comp.Key == e.class || slices.Contains(comp.Classes, e.class)) {
			return comp, true
		}
	}
	return Component{}, false
}

// missing says that no component fits. What the wire protocol's first
// implementation has, or its documents name, is no reason to refuse a file.
func (e configEntry) missing(known []Component) Problem {
	var names []string
	for _, comp := range known {
		if comp.Kind == e.kind {
			names = append(names, comp.Key)
		}
	}
	p := Problem{Key: expand.Key(e.path...), Remedy: "known are " + strings.Join(names, ", ")}
	if len(names) == 0 {
		p.Remedy = "this program has none"
	}
	foreign, name := []string{"vm", "bash", "browser", "code", "rag", "mcp"}, e.section.Name
	if e.kind == KindAPI {
		foreign = []string{"websearch", "doc", "ds", "text2sql"}
	}
	if e.class != "" {
		p.Key, name = expand.Key(child(e.path, "backend_class")...), e.class
		p.Warning = strings.HasPrefix(e.class, "sandbox.server.") || slices.Contains(foreign, e.class)
	} else {
		p.Warning = slices.Contains(foreign, name)
	}
	if p.Warning {
		p.Text = fmt.Sprintf("%q is not in this program: the server runs without it", name)
		return p
	}
	p.Text = fmt.Sprintf("%q is nothing that this program knows", name)
	if close := nearest.Names(name, names, 1); len(close) > 0 {
		p.Remedy = fmt.Sprintf("did you mean %s? %s", close[0], p.Remedy)
	}
	return p
}

func errorsOf(problems []Problem) []Problem {
	return slices.DeleteFunc(slices.Clone(problems), func(p Problem) bool { return p.Warning })
}
