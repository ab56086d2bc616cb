package sandbox

import (
	"context"
	"slices"
	"strings"
)

// Tools lists the registered tools; see [Executor].
func (sb *Sandbox) Tools(_ context.Context, f ToolFilter) ([]ToolInfo, error) {
	infos := []ToolInfo{}
	for _, e := range sb.opts.Registry.tools {
		if f.Match(e.info) {
			infos = append(infos, e.info)
		}
	}
	return infos, nil
}

// Match reports whether the filter selects the tool.
func (f ToolFilter) Match(t ToolInfo) bool {
	if t.Hidden && !f.Hidden {
		return false
	}
	if f.Allowed == nil {
		return true
	}
	names := append([]string{t.FullName, strings.Replace(t.FullName, ":", "-", 1)}, t.Aliases...)
	return slices.ContainsFunc(f.Allowed, func(entry string) bool {
		return slices.ContainsFunc(spellings(entry), func(want string) bool {
			prefix, pattern := strings.CutSuffix(want, "*")
			if pattern && (prefix == "" || strings.ContainsRune("_-:.", rune(prefix[len(prefix)-1]))) {
				return slices.ContainsFunc(names, func(n string) bool { return strings.HasPrefix(n, prefix) })
			}
			return slices.Contains(names, want)
		})
	})
}

// spellings returns the entry and what it becomes when its first separator is
// exchanged, by the protocol's rules (6.9).
func spellings(entry string) []string {
	i := strings.IndexAny(entry, ":_-")
	if i < 0 {
		return []string{entry}
	}
	with := func(sep string) string { return entry[:i] + sep + entry[i+1:] }
	if entry[i] == '-' {
		return []string{entry, with(":"), with("_")}
	}
	return []string{entry, with("-")}
}
