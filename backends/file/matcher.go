package file

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"regexp"
	"regexp/syntax"
	"slices"

	"github.com/agentflow-go/sandbox"
)

const (
	// maxSize is how large an expression may be once its repetitions are written
	// out. A match takes time in proportion to that and to the text.
	maxSize = 20_000
	// maxSteps bounds that product for one search, which cannot be stopped.
	maxSteps = 50_000_000
)

// matcher finds the lines that match a regular expression.
type matcher struct {
	line  *regexp.Regexp // against one line
	piece int            // bytes of a line that are searched at once
	// literal is a text that every match contains; nil: none is known.
	literal []byte
	// block finds matches among many lines at once; nil: it could miss some.
	block *regexp.Regexp
}

func newMatcher(pattern string, ignoreCase bool) (*matcher, error) {
	if pattern == "" || len(pattern) > maxPattern {
		return nil, sandbox.Errorf(sandbox.ErrInvalidInput, "/pattern: %d bytes; give 1 to %d", len(pattern), maxPattern)
	}
	flags := ""
	if ignoreCase {
		flags = "(?i)"
	}
	tree, err := syntax.Parse(flags+pattern, syntax.Perl)
	var size int
	if err == nil {
		if size = sizeOf(tree); size > maxSize {
			return nil, sandbox.Errorf(sandbox.ErrInvalidInput, "/pattern: with its repetitions written out it is too large; use smaller numbers in {}, or * and +")
		}
	}
	line, cerr := regexp.Compile(flags + pattern)
	if err = cmp.Or(err, cerr); err != nil {
		text := err.Error()
		if e, ok := errors.AsType[*syntax.Error](err); ok {
			text = e.Code.String() + " `" + e.Expr + "`"
		}
		return nil, sandbox.Errorf(sandbox.ErrInvalidInput, `/pattern: not a regular expression in RE2 syntax: %s; escape what is meant as it is, such as \( or \{, and use neither look-around nor back-references`, text)
	}
	if needsBreak(tree) {
		return nil, sandbox.Errorf(sandbox.ErrInvalidInput, "/pattern: it asks for a line break, but lines are searched one by one; give what is in one line, and context to see those around it")
	}
	m := &matcher{line: line, piece: min(maxLine, maxSteps/max(size, 1))}
	// With lines for texts: what is anchored to the text is anchored to a block.
	if tree, err = syntax.Parse(flags+pattern, syntax.Perl&^syntax.OneLine); err != nil {
		return m, nil
	}
	if tree = tree.Simplify(); inLines(tree) {
		m.block, _ = regexp.Compile("(?m)" + flags + pattern)
	}
	m.literal = literal(tree)
	return m, nil
}

// needsBreak reports whether whatever matches has a line break in it.
func needsBreak(re *syntax.Regexp) bool {
	switch re.Op {
	case syntax.OpLiteral:
		return slices.Contains(re.Rune, '\n')
	case syntax.OpCharClass:
		return slices.Equal(re.Rune, []rune{'\n', '\n'})
	case syntax.OpCapture, syntax.OpPlus:
		return needsBreak(re.Sub[0])
	case syntax.OpRepeat:
		return re.Min > 0 && needsBreak(re.Sub[0])
	case syntax.OpConcat:
		return slices.ContainsFunc(re.Sub, needsBreak)
	case syntax.OpAlternate:
		return !slices.ContainsFunc(re.Sub, func(sub *syntax.Regexp) bool { return !needsBreak(sub) })
	}
	return false
}

// candidate returns the index of a byte in the next line of p that may match,
// -1 if there is none.
func (m *matcher) candidate(p []byte) int {
	if m.literal != nil {
		return bytes.Index(p, m.literal)
	}
	if at := m.block.FindIndex(p); at != nil {
		return at[0]
	}
	return -1
}

// skips reports whether candidate works for p.
func (m *matcher) skips(p []byte) bool {
	return m.literal != nil || m.block != nil && len(p) <= m.piece && bytes.IndexByte(p, '\r') < 0
}

// find returns the index of the first match in a line, -1 if there is none or
// the context has ended. A long line is searched in pieces that overlap, so that
// a match of up to half a piece is found.
func (m *matcher) find(ctx context.Context, p []byte) int {
	for from := 0; ; from += m.piece / 2 {
		to := min(from+m.piece, len(p))
		if at := m.line.FindIndex(p[from:to]); at != nil {
			return from + at[0]
		}
		if to == len(p) || ctx.Err() != nil {
			return -1
		}
	}
}

// sizeOf estimates how many instructions an expression is compiled to.
func sizeOf(e *syntax.Regexp) int {
	size := 1 + len(e.Rune)
	for _, sub := range e.Sub {
		size += sizeOf(sub)
	}
	if e.Op == syntax.OpRepeat {
		size *= max(e.Min+1, e.Max)
	}
	return size
}

// inLines reports whether an expression matches the same lines when many are
// searched at once: it is not anchored to the text, and its matches end with a
// line (otherwise each could take a look at all that follows).
func inLines(e *syntax.Regexp) bool {
	switch e.Op {
	case syntax.OpBeginText, syntax.OpEndText, syntax.OpAnyChar:
		return false
	case syntax.OpLiteral:
		for _, r := range e.Rune {
			if r == '\n' {
				return false
			}
		}
	case syntax.OpCharClass:
		for i := 0; i+1 < len(e.Rune); i += 2 {
			if e.Rune[i] <= '\n' && '\n' <= e.Rune[i+1] {
				return false
			}
		}
	}
	for _, sub := range e.Sub {
		if !inLines(sub) {
			return false
		}
	}
	return true
}

// literal returns the longest text that every match of an expression contains,
// as far as that is plain to see.
func literal(e *syntax.Regexp) []byte {
	switch e.Op {
	case syntax.OpLiteral:
		if e.Flags&syntax.FoldCase == 0 {
			return []byte(string(e.Rune))
		}
	case syntax.OpCapture, syntax.OpPlus:
		return literal(e.Sub[0])
	case syntax.OpConcat:
		var best []byte
		for _, sub := range e.Sub {
			if l := literal(sub); len(l) > len(best) {
				best = l
			}
		}
		return best
	}
	return nil
}
