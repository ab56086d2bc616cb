// Package nearest finds the known names that a misspelt one may have meant.
package nearest

import (
	"cmp"
	"slices"
	"strings"
)

// Names returns up to most of the known names that are close to name, the
// closest first and ties in the order of known. Names that differ in more than
// a third of the longer one's letters, case aside, are not close; a name that
// contains the other as a whole word is.
func Names(name string, known []string, most int) []string {
	type match struct {
		name string
		dist int
	}
	// Only so much of a name is compared: the cost is quadratic, and the name
	// comes from a caller.
	const longest = 128
	want := fold(name, longest)
	var found []match
	for _, k := range known {
		got := fold(k, longest)
		limit := max(len(want), len(got)) / 3
		d := distance(want, got)
		if d > limit && contains(got, want) {
			d = limit
		}
		if d <= limit {
			found = append(found, match{k, d})
		}
	}
	slices.SortStableFunc(found, func(a, b match) int { return cmp.Compare(a.dist, b.dist) })
	var names []string
	for _, m := range found[:min(most, len(found))] {
		names = append(names, m.name)
	}
	return names
}

func fold(s string, longest int) []rune {
	r := []rune(strings.ToLower(s))
	return r[:min(len(r), longest)]
}

// contains reports whether word is one of the parts of name between
// separators, or the other way round.
func contains(name, word []rune) bool {
	parts := func(r []rune) []string {
		return strings.FieldsFunc(string(r), func(c rune) bool { return strings.ContainsRune(":._- ", c) })
	}
	return slices.Contains(parts(name), string(word)) || slices.Contains(parts(word), string(name))
}

// distance is the number of letters to insert, delete, replace or swap with a
// neighbour to turn a into b (optimal string alignment).
func distance(a, b []rune) int {
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := range a {
		row[0] = i + 1
		for j := range b {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			row[j+1] = min(row[j]+1, last[j+1]+1, last[j]+cost)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
