package sandbox

import (
	"fmt"
	"math"
	"slices"

	"github.com/agentflow-go/sandbox/internal/expand"
)

// resources reads the entries of "resources" and of its synonym "backends".
func (r *configReader) resources(tree map[string]any) {
	main, _ := tree["resources"].(map[string]any)
	synonym, _ := tree["backends"].(map[string]any)
	for _, key := range []string{"resources", "backends"} {
		group, _ := tree[key].(map[string]any)
		for _, name := range r.order[key] {
			if _, there := group[name]; !there { // a comment
				continue
			}
			path := []string{key, name}
			if _, twice := main[name]; twice && key == "backends" {
				r.warn(path, "is in resources too and is ignored here", "remove one of the two")
				delete(synonym, name)
				continue
			}
			if m := r.entryAt(path, group); m != nil {
				r.resource(path, name, m)
			}
		}
	}
}

// entryAt returns the entry at path, which is in group; null is as good as {}.
// It is nil if it is no object.
func (r *configReader) entryAt(path []string, group map[string]any) map[string]any {
	name := path[len(path)-1]
	if group[name] == nil {
		group[name] = map[string]any{}
	}
	return r.objectAt(path, group[name])
}

func (r *configReader) resource(path []string, name string, m map[string]any) {
	removeComments(m)
	if !namePattern.MatchString(name) {
		r.fail(path, "a resource's name must be "+nameRule, "")
		return
	}
	// Whether it is enabled comes first: variables of what is switched off
	// need not be set.
	enabled := true
	if v, ok := m["enabled"]; ok {
		v, unset := expand.Value(v, r.env, child(path, "enabled")...)
		r.failUnset(unset)
		if wrong := setFlag(&enabled)(v); wrong != "" && len(unset) == 0 {
			r.fail(child(path, "enabled"), wrong, "")
		}
		m["enabled"] = v
	}
	if !enabled {
		for key := range m {
			if key != "enabled" {
				delete(m, key)
			}
		}
		return
	}
	var config map[string]any
	if v, ok := m["config"].(map[string]any); ok {
		removeComments(v)
		config = v
	}
	r.expandAll(path, m)
	e := configEntry{kind: KindResource, path: path, section: Section{Name: name}}
	r.fields(path, m, map[string]setter{
		"enabled":       func(any) string { return "" }, // read above
		"backend_class": setText(&e.class), "description": setText(&e.section.Description),
		"pool": setInt(&e.section.Pool, 0, math.MaxInt32),
		"config": func(v any) string {
			r.objectAt(child(path, "config"), v)
			return ""
		},
		"stateless": r.ignored(child(path, "stateless"), "whether a tool has sessions is its own"),
	})
	e.section.Raw = raw(config)
	r.config.entries = append(r.config.entries, e)
}

// apis reads the settings of API tools. A variable that is not set leaves its
// key out: the tool that needs it says so when it is called.
func (r *configReader) apis(tree map[string]any) {
	group, _ := tree["apis"].(map[string]any)
	for _, name := range r.order["apis"] {
		if _, there := group[name]; !there { // a comment
			continue
		}
		path := []string{"apis", name}
		m := r.entryAt(path, group)
		if m == nil {
			continue
		}
		removeComments(m)
		_, unset := expand.Value(m, r.env, path...)
		slices.SortFunc(unset, func(a, b expand.Unset) int { return slices.Compare(append(a.Path, a.Name), append(b.Path, b.Name)) })
		for _, u := range unset {
			r.warn(u.Path, fmt.Sprintf("the variable %s is not set: the key is left out, and tools that need it fail", u.Name),
				fmt.Sprintf("set it, or write ${%s:-default}", u.Name))
			leaveOut(m, u.Path[len(path):])
		}
		r.config.entries = append(r.config.entries, configEntry{
			kind: KindAPI, path: path, section: Section{Name: name, Raw: raw(m)},
		})
	}
}

// leaveOut removes the innermost key on the path from its object.
func leaveOut(m map[string]any, path []string) {
	holder, key := m, path[0]
	var at any = m
	for _, step := range path {
		switch v := at.(type) {
		case map[string]any:
			holder, key = v, step
			at = v[step]
		case []any:
			var i int
			if _, err := fmt.Sscan(step, &i); err != nil || i >= len(v) {
				return
			}
			at = v[i]
		}
	}
	delete(holder, key)
}
