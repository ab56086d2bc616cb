package file_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/agentflow-go/sandbox"
	"github.com/agentflow-go/sandbox/backends/file"
	"github.com/google/go-cmp/cmp"
)

func TestEdit(t *testing.T) {
	t.Parallel()
	h := open(t)
	for _, c := range []struct {
		name, before string
		edits        []file.Edit
		after        string
		n            int
	}{
		{"one", "a\nb\nc\n", []file.Edit{{Old: "b", New: "B"}}, "a\nB\nc\n", 1},
		{"in order", "a", []file.Edit{{Old: "a", New: "bb"}, {Old: "bb", New: "c"}}, "c", 2},
		{"all", "x x x", []file.Edit{{Old: "x", New: "xx", All: true}}, "xx xx xx", 3},
		{"delete", "keep drop keep2", []file.Edit{{Old: " drop"}}, "keep keep2", 1},
		{"several lines", "if a {\n\tb()\n}\n", []file.Edit{{Old: "{\n\tb()\n}", New: "{ b() }"}}, "if a { b() }\n", 1},
		{"CRLF stays", "\uFEFFa\r\nb\r\nc\r\n", []file.Edit{{Old: "a\nb\n", New: "a\nx\nb\n"}}, "\uFEFFa\r\nx\r\nb\r\nc\r\n", 1},
		{"exact CRLF", "a\r\nb", []file.Edit{{Old: "a\r\n", New: "a\n"}}, "a\nb", 1},
		{"overlapping counts once", "aaa", []file.Edit{{Old: "aa", New: "b", All: true}}, "ba", 1},
		{"dollar is no pattern", "cost $1", []file.Edit{{Old: "$1", New: "$2 \\n"}}, "cost $2 \\n", 1},
	} {
		h.write("f.txt", c.before)
		out, err := h.f.Edit.Call(t.Context(), h.w, file.EditInput{Path: "f.txt", Edits: c.edits})
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if got := h.onDisk("f.txt"); got != c.after || out.Replacements != c.n || out.Path != "f.txt" || out.Truncated {
			t.Errorf("%s: file %q, result %+v; want %q, %d replacements", c.name, got, out, c.after, c.n)
		}
	}
}

func TestEditShowsADiff(t *testing.T) {
	t.Parallel()
	h := open(t)
	h.write("src/f.txt", "one\ntwo\nthree\n")
	out, err := h.f.Edit.Call(t.Context(), h.w, file.EditInput{Path: "/workspace/src/f.txt", Edits: []file.Edit{{Old: "two", New: "2"}}})
	if err != nil {
		t.Fatal(err)
	}
	want := "--- a/src/f.txt\n+++ b/src/f.txt\n@@ -1,3 +1,3 @@\n one\n-two\n+2\n three\n"
	if diff := cmp.Diff(want, out.Diff); diff != "" {
		t.Errorf("diff (-want +got):\n%s", diff)
	}
	h.write("big.txt", strings.Repeat("line\n", 10_000))
	out, err = h.f.Edit.Call(t.Context(), h.w, file.EditInput{Path: "big.txt", Edits: []file.Edit{{Old: "line", New: "row", All: true}}})
	if err != nil || !out.Truncated || len(out.Diff) > 16<<10 || out.Replacements != 10_000 {
		t.Errorf("Edit = %d replacements, a diff of %d bytes, truncated %v, %v", out.Replacements, len(out.Diff), out.Truncated, err)
	}
}

func TestEditRefusesAndChangesNothing(t *testing.T) {
	t.Parallel()
	h := open(t)
	const text = "func main() {\n\tprintln(\"hello\")\n\treturn\n}\n\nfunc other() {\n\treturn\n}\n"
	for _, c := range []struct {
		name  string
		edits []file.Edit
		words []string
	}{
		{"ambiguous", []file.Edit{{Old: "return", New: "x"}}, []string{"/edits/0/old", "2 times", "lines 3, 7", "all"}},
		{"spaces differ", []file.Edit{{Old: "    println(\"hello\")", New: "x"}}, []string{"does not occur", "line 2", "spaces only", `\tprintln`}},
		{"near", []file.Edit{{Old: "func main() int {", New: "x"}}, []string{"line 1", `func main() {`}},
		{"nothing like it", []file.Edit{{Old: "zzz qqq", New: "x"}}, []string{"and no line has half of its words"}},
		{"the second does not fit", []file.Edit{{Old: "hello", New: "bye"}, {Old: "hello", New: "x"}}, []string{"/edits/1/old", "after the edits before it", "no edit was made"}},
		{"empty", []file.Edit{{Old: "", New: "x"}}, []string{"empty", "file:write"}},
		{"no change", []file.Edit{{Old: "main", New: "main"}}, []string{"same"}},
		{"none", nil, []string{"/edits"}},
		{"grows without end", []file.Edit{{Old: "\n", New: strings.Repeat("x", 4<<20), All: true}}, []string{"more than"}},
	} {
		h.write("f.go", text)
		_, err := h.f.Edit.Call(t.Context(), h.w, file.EditInput{Path: "f.go", Edits: c.edits})
		if err == nil {
			t.Errorf("%s: no error", c.name)
			continue
		}
		wantError(t, err, sandbox.ErrInvalidInput, c.words...)
		if got := h.onDisk("f.go"); got != text {
			t.Errorf("%s: the file was changed to %q", c.name, got)
		}
	}
	_, err := h.f.Edit.Call(t.Context(), h.w, file.EditInput{Path: "f.g", Edits: []file.Edit{{Old: "a", New: "b"}}})
	wantError(t, err, sandbox.ErrNoResults, `but it has "f.go"`)
}

// Edits of one session that run at once lose none of each other's work.
func TestEditsAtOnce(t *testing.T) {
	t.Parallel()
	h := open(t)
	const n = 20
	var text strings.Builder
	for i := range n {
		fmt.Fprintf(&text, "slot-%02d: free\n", i)
	}
	h.write("f.txt", text.String())
	errs := make(chan error)
	for i := range n {
		go func() {
			old := fmt.Sprintf("slot-%02d: free", i)
			_, err := h.f.Edit.Call(t.Context(), h.w, file.EditInput{Path: "f.txt", Edits: []file.Edit{{Old: old, New: fmt.Sprintf("slot-%02d: taken", i)}}})
			errs <- err
		}()
	}
	for range n {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if got := h.read("f.txt"); strings.Contains(got, "free") {
		t.Errorf("some edits are lost:\n%s", got)
	}
}

// What an edit does is what strings.Replace does, or nothing.
func FuzzApply(f *testing.F) {
	f.Add("a\r\nb\r\n", "a\nb", "c\n", false)
	f.Add("aaa", "aa", "", true)
	f.Add("", "x", "y", false)
	f.Add("x\xffy", "\xff", "\x00", false)
	f.Fuzz(func(t *testing.T, text, old, repl string, all bool) {
		got, n, err := file.Apply(t.Context(), "f", text, []file.Edit{{Old: old, New: repl, All: all}})
		count := strings.Count(text, old)
		switch {
		case err != nil:
			if old != "" && old != repl && (count == 1 || count > 1 && all) {
				t.Errorf("apply(%q, %q, %q) = %v, want success", text, old, repl, err)
			}
		case count > 0:
			if want := strings.ReplaceAll(text, old, repl); got != want || n != count || count > 1 && !all {
				t.Errorf("apply(%q, %q, %q, %v) = %q, %d, want %q, %d", text, old, repl, all, got, n, want, count)
			}
		case !strings.Contains(text, "\r\n"):
			t.Errorf("apply(%q, %q, %q) = %q without a match", text, old, repl, got)
		}
	})
}
