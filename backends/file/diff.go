package file

import (
	"strings"

	"github.com/rogpeppe/go-internal/diff"
)

const maxDiff = 16 << 10 // bytes of a diff in a result

// unified returns a unified diff, cut at a line if it is too long.
func unified(path, before, after string) (string, bool) {
	text := string(diff.Diff("a/"+path, []byte(before), "b/"+path, []byte(after)))
	// The first line is that of a command.
	_, text, _ = strings.Cut(text, "\n")
	cut := len(text) > maxDiff
	if cut {
		text = text[:maxDiff]
		text = text[:strings.LastIndexByte(text, '\n')+1]
	}
	return strings.ToValidUTF8(text, "\uFFFD"), cut
}
