package workfs

import (
	"path"
	"strings"
)

const (
	maxPath = 4096 // bytes of a path
	maxName = 255  // bytes of one of its elements
)

// Clean returns the path relative to the tree that p, in whatever spelling,
// stands for; "." for the tree itself. It does not look at the disk.
func (t *Tree) Clean(p string) (string, error) {
	refuse := func(text string) (string, error) {
		shown := p
		if len(shown) > 100 {
			shown = shown[:100] + "…"
		}
		return "", &Error{Op: "use", Path: shown, Err: ErrPath, text: text}
	}
	switch {
	case p == "":
		return refuse("the path is empty; give one relative to the workspace, . for the workspace itself")
	case len(p) > maxPath:
		return refuse("the path has more than 4096 bytes")
	case strings.IndexByte(p, 0) >= 0:
		return refuse("the path contains a NUL byte")
	}
	rel := p
	if strings.HasPrefix(p, "/") {
		var ok bool
		if rel, ok = t.below(p); !ok {
			return refuse("an absolute path outside the workspace; give one relative to it, or below " + t.names())
		}
	}
	for elem := range strings.SplitSeq(rel, "/") {
		switch {
		case elem == "..":
			return refuse("a path may not contain ..; give one relative to the workspace")
		case len(elem) > maxName:
			return refuse("an element of the path has more than 255 bytes")
		}
	}
	return path.Clean(rel), nil
}

// below turns an absolute path into one relative to the tree, if it leads
// below one of the names that the tree has inside.
func (t *Tree) below(p string) (string, bool) {
	for strings.HasPrefix(p, "//") {
		p = p[1:]
	}
	for _, in := range t.inside {
		if rest, ok := strings.CutPrefix(p, in); ok && (rest == "" || rest[0] == '/') {
			return strings.TrimLeft(rest, "/"), true
		}
	}
	return "", false
}

func (t *Tree) names() string {
	if len(t.inside) == 0 {
		return "no directory"
	}
	return strings.Join(t.inside, " or ")
}
