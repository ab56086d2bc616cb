package file

import "context"

// Apply lets a fuzz target make edits without files.
var Apply = apply

// Glob shows what a pattern has become.
type Glob struct{ globPattern }

// ParseGlob reads a pattern.
func ParseGlob(pattern string) (Glob, error) {
	g, err := parseGlob("pattern", pattern)
	return Glob{g}, err
}

func (g Glob) Match(path string) bool { return g.re.MatchString(path) }
func (g Glob) Dots() bool             { return g.dots }
func (g Glob) Depth() int             { return g.depth }

// Unified is what file:edit shows of a change.
func Unified(path, before, after string) (string, bool) { return unified(path, before, after) }

// Find returns where a pattern is first found in a line, -1 if it is not, or if the
// context has ended before.
func Find(ctx context.Context, pattern, line string) (int, error) {
	m, err := newMatcher(pattern, false)
	if err != nil {
		return 0, err
	}
	return m.find(ctx, []byte(line)), nil
}
