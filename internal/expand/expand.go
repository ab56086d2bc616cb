// Package expand replaces ${VAR} and ${VAR:-default} in the strings of a
// configuration.
//
// A variable that is set gives its value, even an empty one; one that is not
// gives the default, which may be empty too. Without default the placeholder
// stays, and the caller is told: what that means is not this package's to say.
// A name is anything without } and :, a default anything without }, so
// ${A:b} is no placeholder. Values are not expanded again.
package expand

import (
	"regexp"
	"strconv"
	"strings"
)

var placeholder = regexp.MustCompile(`\$\{([^}:]+)(:-[^}]*)?\}`)

// Lookup returns a variable's value and whether it is set; os.LookupEnv is
// one.
type Lookup func(name string) (string, bool)

// String expands s. It returns the names of the variables that are not set
// and have no default, in order, each once.
func String(s string, lookup Lookup) (string, []string) {
	if !strings.Contains(s, "${") {
		return s, nil
	}
	var out strings.Builder
	var unset []string
	seen := map[string]bool{}
	at := 0
	for _, m := range placeholder.FindAllStringSubmatchIndex(s, -1) {
		name := s[m[2]:m[3]]
		value, set := lookup(name)
		switch {
		case set:
		case m[4] >= 0:
			value = s[m[4]+len(":-") : m[5]]
		default:
			value = s[m[0]:m[1]]
			if !seen[name] {
				seen[name] = true
				unset = append(unset, name)
			}
		}
		out.WriteString(s[at:m[0]])
		out.WriteString(value)
		at = m[1]
	}
	out.WriteString(s[at:])
	return out.String(), unset
}

// Unset is a variable without value or default.
type Unset struct {
	Path []string // keys and array indexes that lead to the string
	Name string
}

// Key returns the path as a configuration's reader writes it.
func (u Unset) Key() string { return Key(u.Path...) }

// Key joins keys and array indexes: resources.bash.config.args.0. A key with
// anything but letters, digits, _ and - is quoted.
func Key(path ...string) string {
	parts := make([]string, len(path))
	for i, p := range path {
		parts[i] = p
		if p == "" || strings.ContainsFunc(p, func(r rune) bool {
			return r != '_' && r != '-' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
		}) {
			parts[i] = strconv.Quote(p)
		}
	}
	return strings.Join(parts, ".")
}

// Value expands every string in a decoded JSON value, below any depth of
// map[string]any and []any, but no keys. It changes maps and slices in place
// and returns the value, for it may be a string itself. The unset variables
// come in no particular order.
func Value(v any, lookup Lookup, path ...string) (any, []Unset) {
	switch v := v.(type) {
	case string:
		s, names := String(v, lookup)
		var unset []Unset
		for _, name := range names {
			unset = append(unset, Unset{Path: append([]string(nil), path...), Name: name})
		}
		return s, unset
	case map[string]any:
		var unset []Unset
		for k, item := range v {
			var u []Unset
			v[k], u = Value(item, lookup, append(path[:len(path):len(path)], k)...)
			unset = append(unset, u...)
		}
		return v, unset
	case []any:
		var unset []Unset
		for i, item := range v {
			var u []Unset
			v[i], u = Value(item, lookup, append(path[:len(path):len(path)], strconv.Itoa(i))...)
			unset = append(unset, u...)
		}
		return v, unset
	}
	return v, nil
}
