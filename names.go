package sandbox

import (
	"fmt"
	"strings"

	"github.com/agentflow-go/sandbox/internal/nearest"
)

// nameIndex resolves the names that callers use. It is immutable.
type nameIndex struct {
	exact  map[string]*toolEntry            // full names and aliases
	groups map[string]map[string]*toolEntry // the same, split at the colon
	simple map[string][]*toolEntry          // simple names, in order of registration
	all    []string                         // full names, for suggestions
}

func newNameIndex(tools []*toolEntry) *nameIndex {
	x := &nameIndex{
		exact:  map[string]*toolEntry{},
		groups: map[string]map[string]*toolEntry{},
		simple: map[string][]*toolEntry{},
	}
	for _, e := range tools {
		for _, name := range append([]string{e.info.FullName}, e.info.Aliases...) {
			x.exact[name] = e
			if group, rest, ok := strings.Cut(name, ":"); ok {
				if x.groups[group] == nil {
					x.groups[group] = map[string]*toolEntry{}
				}
				x.groups[group][rest] = e
			}
		}
		x.simple[e.info.Name] = append(x.simple[e.info.Name], e)
		x.all = append(x.all, e.info.FullName)
	}
	return x
}

// resolve finds the tool that name means, by the protocol's rules: a variant
// of a full name with another separator, then an exact name, then a simple
// name that only one tool has.
func (x *nameIndex) resolve(name string) (*toolEntry, error) {
	name, e := x.normalize(name)
	if e != nil {
		return e, nil
	}
	if e := x.exact[name]; e != nil {
		return e, nil
	}
	if !strings.Contains(name, ":") {
		switch found := x.simple[name]; len(found) {
		case 0:
		case 1:
			return found[0], nil
		default:
			return nil, ambiguous(name, found)
		}
	}
	return nil, &Error{
		Code:    ErrInvalidRequest,
		Message: "Tool not found: " + name,
		Data:    map[string]string{"action": name},
	}
}

// normalize undoes the exchange of the colon for another separator: each is
// tried at its first place. It returns the name to speak of, and the tool if
// that finds it.
func (x *nameIndex) normalize(name string) (string, *toolEntry) {
	if strings.Contains(name, ":") {
		return name, nil
	}
	for _, sep := range []string{".", "_", "-"} {
		if group, rest, ok := strings.Cut(name, sep); ok {
			if e := x.groups[group][rest]; e != nil {
				return group + ":" + rest, e
			}
		}
	}
	return name, nil
}

// ambiguous is the error for a simple name that several tools have. The
// protocol prints the candidates as Python prints a list of strings.
func ambiguous(name string, found []*toolEntry) error {
	candidates := make([]string, len(found))
	for i, e := range found {
		candidates[i] = e.info.FullName
	}
	return &Error{
		Code: ErrInvalidRequest,
		Message: fmt.Sprintf("Ambiguous tool name '%s'. Multiple matches: ['%s']. Please use full name with prefix.",
			name, strings.Join(candidates, "', '")),
		Data: map[string][]string{"candidates": candidates},
	}
}

// suggest returns the names nearest to one that resolve did not find.
func (x *nameIndex) suggest(name string) []string { return nearest.Names(name, x.all, 3) }
