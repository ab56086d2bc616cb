package file_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/agentflow-go/sandbox"
	"github.com/agentflow-go/sandbox/backends/file"
)

// A match takes time in proportion to the size of its expression, which a few
// bytes can make large: it can be refused or stopped, however long the line is.
func TestGrepWithLargeExpressions(t *testing.T) {
	t.Parallel()
	h := open(t)
	_, err := h.f.Grep.Call(t.Context(), h.w, file.GrepInput{Pattern: strings.Repeat("(a?b?){999}", 20) + "[xz]"})
	wantError(t, err, sandbox.ErrInvalidInput, "too large", "repetitions")
	// Lines are searched in pieces, which is when a search can be stopped.
	h.write("line", strings.Repeat("-", 200_000)+"aax")
	const pattern = "b{998}|a{2}x$"
	out, err := h.f.Grep.Call(t.Context(), h.w, file.GrepInput{Pattern: pattern})
	if err != nil || len(out.Matches) != 1 || !strings.HasSuffix(out.Matches[0].Text, "aax") {
		t.Errorf("Grep in pieces = %.200v, %v, want the end of the line", out, err)
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	for _, tt := range []struct {
		ctx  context.Context
		want int
	}{{t.Context(), 200_000}, {over, -1}} {
		if at, err := file.Find(tt.ctx, pattern, h.onDisk("line")); at != tt.want || err != nil {
			t.Errorf("a match is found at %d, %v, want %d", at, err, tt.want)
		}
	}
}

// What is shown of a change makes the one text of the other, wherever it is.
func TestDiffsApply(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	for n := range 2000 {
		var lines []string
		for range r.IntN(40) {
			lines = append(lines, fmt.Sprint(r.IntN(6)))
		}
		before := strings.Join(lines, "\n")
		for range r.IntN(4) {
			i := r.IntN(len(lines) + 1)
			if r.IntN(2) == 0 || i == len(lines) {
				lines = append(lines[:i:i], append([]string{fmt.Sprint(r.IntN(9))}, lines[i:]...)...)
			} else {
				lines = append(lines[:i:i], lines[i+1:]...)
			}
		}
		after := strings.Join(lines, "\n")
		if r.IntN(2) == 0 {
			before, after = before+"\n", after+"\n"
		}
		text, cut := file.Unified("f", before, after)
		if got := patched(t, before, text); got != after || cut {
			t.Fatalf("%d: %q with\n%s\nis %q, want %q", n, before, text, got, after)
		}
	}
}

// patched applies a unified diff.
func patched(t *testing.T, before, text string) string {
	t.Helper()
	var have, made []string
	if before != "" {
		have = strings.SplitAfter(strings.TrimSuffix(before, "\n"), "\n")
		if strings.HasSuffix(before, "\n") {
			have[len(have)-1] += "\n"
		}
	}
	next, added := 0, false
	for line := range strings.Lines(text) {
		body := strings.TrimSuffix(line[1:], "\n")
		same := func(in string) bool { return strings.TrimSuffix(in, "\n") == body }
		switch {
		case strings.HasPrefix(line, "--- "), strings.HasPrefix(line, "+++ "):
		case line[0] == '@':
			var from, lines, to, more int
			if _, err := fmt.Sscanf(line, "@@ -%d,%d +%d,%d @@", &from, &lines, &to, &more); err != nil {
				t.Fatal(err)
			}
			if lines > 0 {
				from--
			}
			made = append(made, have[next:from]...)
			next = from
			if more > 0 {
				to--
			}
			if to != len(made) {
				t.Fatalf("the hunk %q is at line %d of what there is", line, len(made))
			}
		case line[0] == ' ', line[0] == '-':
			if next == len(have) || !same(have[next]) {
				t.Fatalf("line %d of %q is not %q", next, have, line)
			}
			if line[0] == ' ' {
				made = append(made, have[next])
			}
			next++
		case line[0] == '+':
			made = append(made, body+"\n")
		case line[0] == '\\': // no line end
			if added {
				made[len(made)-1] = strings.TrimSuffix(made[len(made)-1], "\n")
			}
		}
		added = line[0] == '+'
	}
	return strings.Join(append(made, have[next:]...), "")
}

// Of changes all over a large file those at its beginning are shown.
func TestDiffOfALargeFile(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	for n := range 100_000 {
		fmt.Fprintf(&b, "one\n%d\n\n\n\n\n\n\n", n)
	}
	before := b.String()
	text, cut := file.Unified("f", before, strings.ReplaceAll(before, "one", "seven"))
	if !cut || len(text) > 16<<10 || !strings.Contains(text, "@@ -1,4 +1,4 @@\n-one\n+seven\n 0\n \n \n@@ -6,7 +6,7 @@\n") || !strings.HasSuffix(text, "\n") {
		t.Errorf("diff of %d bytes, cut %v:\n%.200s", len(text), cut, text)
	}
	text, cut = file.Unified("f", before, strings.Replace(strings.Replace(before, "one", "seven", 1), "\n99999\n", "\nx\n", 1))
	if !cut || strings.Count(text, "@@ -") != 1 || !strings.Contains(text, "+seven\n") {
		t.Errorf("diff %q, cut %v, want the first hunk of two", text, cut)
	}
	text, cut = file.Unified("f", before+"end\n", before+"END\n")
	if want := "@@ -799998,4 +799998,4 @@\n \n \n \n-end\n+END\n"; cut || !strings.HasSuffix(text, want) {
		t.Errorf("diff %q, cut %v, want %q at its end", text, cut, want)
	}
}

// Lists are bounded in bytes too: paths can be long.
func TestListsOfLongPaths(t *testing.T) {
	t.Parallel()
	h := open(t)
	dir := strings.TrimSuffix(strings.Repeat(strings.Repeat("d", 250)+"/", 14), "/")
	for n := range 350 {
		h.write(fmt.Sprintf("%s/%d", dir, n), "")
	}
	list, err := h.f.List.Call(t.Context(), h.w, file.ListInput{Path: dir})
	if n := len(list.Entries); err != nil || n < 200 || n > 310 || !list.Truncated {
		t.Errorf("List = %d entries, truncated %v, %v", n, list.Truncated, err)
	}
	glob, err := h.f.Glob.Call(t.Context(), h.w, file.GlobInput{Path: dir, Pattern: "*"})
	if n := len(glob.Paths); err != nil || n < 200 || n > 310 || !glob.Truncated {
		t.Errorf("Glob = %d paths, truncated %v, %v", n, glob.Truncated, err)
	}
}
