package file

import (
	"regexp"
	"strings"

	"github.com/agentflow-go/sandbox"
)

const maxPattern = 1000 // bytes

// globPattern is a file name pattern. It is matched as a regular expression,
// in time that is linear in the path: libraries backtrack, and a pattern may be
// meant to make them.
type globPattern struct {
	re    *regexp.Regexp
	dots  bool // it asks for names that begin with a dot
	depth int  // the most levels that it can match; 0: any
	base  bool // it has no slash
}

func parseGlob(field, pattern string) (globPattern, error) {
	refuse := func(text string) error {
		return sandbox.Errorf(sandbox.ErrInvalidInput, "/%s: %q: %s", field, pattern, text)
	}
	switch {
	case pattern == "" || len(pattern) > maxPattern:
		return globPattern{}, refuse("give 1 to 1000 bytes, such as **/*.py")
	case strings.HasPrefix(pattern, "/"):
		return globPattern{}, refuse("the pattern is relative to path; leave out the leading slash")
	}
	for elem := range strings.SplitSeq(pattern, "/") {
		if elem == ".." {
			return globPattern{}, refuse("a pattern may not contain ..; give the directory as path")
		}
	}
	pattern = strings.TrimPrefix(pattern, "./")
	text, err := translateGlob(pattern)
	if err != "" {
		return globPattern{}, refuse(err)
	}
	re, cerr := regexp.Compile(`\A(?s:` + text + `)\z`)
	if cerr != nil {
		return globPattern{}, refuse("not a pattern that can be used: " + cerr.Error())
	}
	g := globPattern{re: re, base: !strings.Contains(pattern, "/")}
	for _, mark := range []string{"/.", "{.", ",."} {
		g.dots = g.dots || strings.Contains("/"+pattern, mark)
	}
	if !strings.Contains(pattern, "**") {
		g.depth = strings.Count(pattern, "/") + 1
	}
	return g, nil
}

// translateGlob returns the regular expression of a pattern, or what is wrong.
func translateGlob(p string) (text, fault string) {
	var b strings.Builder
	open := 0
	for i := 0; i < len(p); {
		atStart := i == 0 || p[i-1] == '/'
		switch c := p[i]; {
		case strings.HasPrefix(p[i:], "**/") && atStart:
			b.WriteString(`(?:[^/]+/)*`)
			i += 3
		case p[i:] == "**" && atStart:
			b.WriteString(`.+`)
			i += 2
		case c == '*':
			for i < len(p) && p[i] == '*' {
				i++
			}
			b.WriteString(`[^/]*`)
		case c == '?':
			b.WriteString(`[^/]`)
			i++
		case c == '[':
			class, n := translateClass(p[i:])
			if n == 0 {
				return "", `a [ without ]; write \[ for the character itself`
			}
			b.WriteString(class)
			i += n
		case c == '{':
			open++
			b.WriteString(`(?:`)
			i++
		case c == '}' && open > 0:
			open--
			b.WriteString(`)`)
			i++
		case c == ',' && open > 0:
			b.WriteString(`|`)
			i++
		case c == '\\' && i+1 < len(p):
			b.WriteString(regexp.QuoteMeta(p[i+1 : i+2]))
			i += 2
		default:
			b.WriteString(regexp.QuoteMeta(p[i : i+1]))
			i++
		}
	}
	if open > 0 {
		return "", `a { without }; write \{ for the character itself`
	}
	return b.String(), ""
}

// translateClass translates what is in brackets at the beginning of p and
// returns its length; 0 if it does not end.
func translateClass(p string) (string, int) {
	var b strings.Builder
	b.WriteString("[")
	i := 1
	if i < len(p) && (p[i] == '!' || p[i] == '^') {
		b.WriteString("^/")
		i++
	}
	for first := i; i < len(p); i++ {
		switch c := p[i]; {
		case c == ']' && i > first:
			b.WriteString("]")
			return b.String(), i + 1
		case c == '\\' && i+1 < len(p):
			i++
			b.WriteString(`\` + p[i:i+1])
		case strings.IndexByte(`[]\^&~`, c) >= 0:
			b.WriteString(`\` + p[i:i+1])
		default:
			b.WriteByte(c)
		}
	}
	return "", 0
}
