package file

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
