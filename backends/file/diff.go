package file

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/rogpeppe/go-internal/diff"
)

const (
	maxDiff     = 16 << 10 // bytes of a diff in a result
	maxCompared = 1 << 20  // bytes of each text that are compared
	diffContext = 3        // lines around a change
)

var hunkHead = regexp.MustCompile(`(?m)^@@ -(\d+),(\d+) \+(\d+),(\d+) @@$`)

// unified returns a unified diff, cut at a line if it is too long. Only what lies
// between the first and the last change is compared, which for a whole file of
// many lines would take much memory and time.
func unified(path, before, after string) (string, bool) {
	before, after, skipped := changed(before, after)
	cut := len(before) > maxCompared || len(after) > maxCompared
	if cut {
		before, after = wholeLines(before), wholeLines(after)
	}
	text := string(diff.Diff("a/"+path, []byte(before), "b/"+path, []byte(after)))
	// The first line is that of a command.
	_, text, _ = strings.Cut(text, "\n")
	if heads := hunkHead.FindAllStringIndex(text, -1); cut && len(heads) > 1 {
		text = text[:heads[len(heads)-1][0]] // of the last hunk a part may be missing
	}
	if len(text) > maxDiff {
		cut = true
		text = text[:maxDiff]
		text = text[:strings.LastIndexByte(text, '\n')+1]
	}
	text = hunkHead.ReplaceAllStringFunc(text, func(head string) string {
		n := hunkHead.FindStringSubmatch(head)
		from, _ := strconv.Atoi(n[1])
		to, _ := strconv.Atoi(n[3])
		return fmt.Sprintf("@@ -%d,%s +%d,%s @@", from+skipped, n[2], to+skipped, n[4])
	})
	return strings.ToValidUTF8(text, "\uFFFD"), cut
}

// changed leaves out the lines at the beginning and the end that two texts have
// in common, but for those to be shown, and tells how many at the beginning.
func changed(before, after string) (b, a string, skipped int) {
	n, least := 0, min(len(before), len(after))
	for n < least && before[n] == after[n] {
		n++
	}
	n = strings.LastIndexByte(before[:n], '\n') + 1
	for range diffContext {
		n = strings.LastIndexByte(before[:max(n-1, 0)], '\n') + 1
	}
	skipped = strings.Count(before[:n], "\n")
	before, after = before[n:], after[n:]
	n, least = 0, least-n
	for n < least && before[len(before)-1-n] == after[len(after)-1-n] {
		n++
	}
	for range diffContext + 1 { // and what is left of the line that is cut
		i := strings.IndexByte(before[len(before)-n:], '\n')
		if i < 0 {
			n = 0
			break
		}
		n -= i + 1
	}
	return before[:len(before)-n], after[:len(after)-n], skipped
}

// wholeLines cuts a text after as many lines as are compared.
func wholeLines(text string) string {
	text = text[:min(len(text), maxCompared)]
	return text[:strings.LastIndexByte(text, '\n')+1]
}
