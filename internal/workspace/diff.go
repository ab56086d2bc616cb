package workspace

// Changes are the differences between two trees: paths relative to their tops,
// sorted, that of a directory with a slash at its end. Of a directory that only
// one side has nothing below it is named.
type Changes struct {
	Added, Changed, Removed []string
	// Truncated says that there are more differences than are listed.
	Truncated bool
}

// reversed returns the changes the other way round.
func (c Changes) reversed() Changes {
	c.Added, c.Removed = c.Removed, c.Added
	return c
}

// DiffLimits bounds what a comparison lists and looks at.
type DiffLimits struct {
	Paths int // in each list
	Files int // entries that are looked at, on both sides together
}

// diffBytes bounds the length of all paths that are listed, together.
const diffBytes = 256 << 10
