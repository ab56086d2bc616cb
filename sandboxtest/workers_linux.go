package sandboxtest

import (
	"fmt"
	"path/filepath"
	"strings"
)

// workerEscapes are worker ids that would lead elsewhere as parts of a path. An
// agent does not choose its id, but whoever does may pass on what a user typed.
func workerEscapes() []Escape {
	var es []Escape
	for _, id := range []struct{ name, id string }{
		{"dot-dot", "/../../../escaped"}, {"absolute", "/tmp/escaped"}, {"nul", "\x00escaped"}, {"newline", "\nescaped"},
		{"not-text", "\xff\xfe"}, {"long", strings.Repeat("x", 150)}, {"terminal", "\x1b]52;c;eA==\x07"},
	} {
		es = append(es, Escape{Name: "workers/" + id.name, Tries: fmt.Sprintf("have a directory elsewhere by the worker id %.20q", id.id),
			Seen: "its workspace is not beside the other workers'", worker: id.id,
			code: `open('here', 'w').close(); stopped('it has a directory like the others')`,
			after: func(w *world, tried *attempt) string {
				// slots/<n>/workspace, as the other worker's
				beside := filepath.Dir(filepath.Dir(w.facts.Other))
				if at, err := filepath.Rel(beside, tried.workspace); err != nil || !filepath.IsLocal(at) || strings.Count(at, "/") != strings.Count(w.facts.Other[len(beside):], "/")-1 {
					return tried.workspace
				}
				return ""
			}})
	}
	return es
}
