package file_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/agentflow-go/sandbox"
	"github.com/agentflow-go/sandbox/backends/file"
	"github.com/google/go-cmp/cmp"
)

func TestGlobPatterns(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		pattern   string
		yes, no   []string
		dots, any bool
	}{
		{"*.go", []string{"a.go", ".go"}, []string{"a/b.go", "a.gox", "xgo"}, false, false},
		{"**/*.go", []string{"a.go", "a/b.go", "a/b/c.go"}, []string{"a.py", "a.go/x"}, false, true},
		{"src/**", []string{"src/a", "src/a/b"}, []string{"src", "srcs/a", "x/src/a"}, false, true},
		{"src/**/test_?.py", []string{"src/test_a.py", "src/x/y/test_b.py"}, []string{"src/test_ab.py", "test_a.py"}, false, true},
		{"a**b", []string{"ab", "axxb"}, []string{"a/b"}, false, true},
		{"{a,b*}/[0-9].{txt,md}", []string{"a/1.txt", "bxx/2.md"}, []string{"c/1.txt", "a/x.md", "a/1.go"}, false, false},
		{"[!a]*", []string{"b", "bc"}, []string{"a", "ab"}, false, false},
		{"[]x]", []string{"]", "x"}, []string{"y"}, false, false},
		{"[a-]", []string{"a", "-"}, []string{"b"}, false, false},
		{".git*", []string{".gitignore"}, []string{"git"}, true, false},
		{"**/.env", []string{".env", "a/.env"}, []string{"env"}, true, true},
		{`\*.txt`, []string{"*.txt"}, []string{"a.txt"}, false, false},
		{"a+b(c)|d$.^", []string{"a+b(c)|d$.^"}, []string{"aab"}, false, false},
		{"ü?.txt", []string{"üé.txt"}, []string{"üéé.txt"}, false, false},
		{"./x/*", []string{"x/y"}, []string{"./x/y"}, false, false},
		{"{{a,b},c}", []string{"a", "b", "c"}, []string{"{a", ""}, false, false},
	} {
		m, err := file.ParseGlob(c.pattern)
		if err != nil {
			t.Errorf("%q: %v", c.pattern, err)
			continue
		}
		for _, p := range c.yes {
			if !m.Match(p) {
				t.Errorf("%q does not match %q", c.pattern, p)
			}
		}
		for _, p := range c.no {
			if m.Match(p) {
				t.Errorf("%q matches %q", c.pattern, p)
			}
		}
		if m.Dots() != c.dots || (m.Depth() == 0) != c.any {
			t.Errorf("%q: dots %v, depth %d", c.pattern, m.Dots(), m.Depth())
		}
	}
	for _, bad := range []string{"", "/etc/*", "../*", "a/../b", "[a", "{a", strings.Repeat("x", 1001), "[z-a]", "[]", "{,"} {
		if _, err := file.ParseGlob(bad); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}

func FuzzGlob(f *testing.F) {
	f.Add("**/{a,[!b]}*.go", "a/b.go")
	f.Add(strings.Repeat("{a,", 100)+strings.Repeat("}", 100), "aaaa")
	f.Add("[[:alpha:]]", "x")
	f.Fuzz(func(t *testing.T, pattern, path string) {
		m, err := file.ParseGlob(pattern)
		if err != nil {
			return
		}
		_ = m.Match(path)
		if !strings.ContainsAny(pattern, `*?[{}\`) && pattern == path && !strings.HasPrefix(path, "./") && !m.Match(path) {
			t.Errorf("%q does not match itself", pattern)
		}
	})
}

// reference is what grep ought to find first: line by line.
func reference(pattern string, text []byte, most int) []string {
	re := regexp.MustCompile(pattern)
	var found []string
	n := 0
	for line := range bytes.Lines(text) {
		n++
		line = bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r"))
		if len(found) == most {
			break
		}
		if re.Match(line) {
			found = append(found, fmt.Sprintf("%d:%s", n, line))
		}
	}
	return found
}

// However it looks for candidates, grep finds the lines that match.
func TestGrepFindsEveryLine(t *testing.T) {
	t.Parallel()
	h := open(t)
	var b strings.Builder
	for i := range 6000 { // more than one block
		fmt.Fprintf(&b, "line %d of %s\tend", i, strings.Repeat("ab", i%37))
		if i%5 == 0 {
			b.WriteString("\r")
		}
		b.WriteString("\n")
		if i%700 == 0 {
			b.WriteString("\nfoo(bar)\n  needle here and needle there\n")
		}
	}
	text := b.String() + "last line without end: needle"
	h.write("f.txt", text)
	h.write("unix.txt", strings.ReplaceAll(text, "\r", ""))
	for _, pattern := range []string{
		"needle", `needle$`, `^$`, `^`, `$`, `\Aline 1`, `end\z`, `^last`, `(?m)^foo`, `(?i)NEEDLE THERE`, `foo\(bar\)`, `[^a-z]needle`, `\s+needle`,
		`line\s\d+7 of`, `(?s)here.and`, `x*`, `needle|foo`, `(ab){30,}`, `\bof\b`, `[[:digit:]]{4} of`, `[\nn]d\z`, `(end\n)?line`, `e(n)d$`, `(?:nee)+dle`, `a{0}needle`, `(?-m)^foo`,
	} {
		for _, path := range []string{"f.txt", "unix.txt"} {
			content, err := os.ReadFile(filepath.Join(h.dir, path))
			must(t, err)
			want := reference(pattern, content, 300)
			for _, around := range map[string][]int{"f.txt": {0}, "unix.txt": {0, 1}}[path] {
				out, err := h.f.Grep.Call(t.Context(), h.w, file.GrepInput{Pattern: pattern, Path: path, Max: 300, Context: around})
				if err != nil {
					t.Errorf("%q in %s: %v", pattern, path, err)
					continue
				}
				var got []string
				for _, m := range out.Matches {
					got = append(got, fmt.Sprintf("%d:%s", m.Line, m.Text))
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("%q in %s, context %d (-want +got):\n%.2000s", pattern, path, around, diff)
				}
			}
		}
	}
}

func TestGrepContext(t *testing.T) {
	t.Parallel()
	h := open(t)
	h.write("f.txt", "1\n2\nx3\nx4\n5\n6\n7\nx8")
	out, err := h.f.Grep.Call(t.Context(), h.w, file.GrepInput{Pattern: "x", Context: 2})
	must(t, err)
	want := []file.Match{
		{Path: "f.txt", Line: 3, Text: "x3", Before: []string{"1", "2"}, After: []string{"x4", "5"}},
		{Path: "f.txt", Line: 4, Text: "x4", Before: []string{"2", "x3"}, After: []string{"5", "6"}},
		{Path: "f.txt", Line: 8, Text: "x8", Before: []string{"6", "7"}},
	}
	if diff := cmp.Diff(want, out.Matches); diff != "" || out.Truncated {
		t.Errorf("matches (-want +got):\n%s", diff)
	}
	out, err = h.f.Grep.Call(t.Context(), h.w, file.GrepInput{Pattern: "x", Context: 2, Max: 1})
	must(t, err)
	if diff := cmp.Diff(want[:1], out.Matches); diff != "" || !out.Truncated {
		t.Errorf("the first match, truncated %v (-want +got):\n%s", out.Truncated, diff)
	}
}

func TestSearchesAreBounded(t *testing.T) {
	t.Parallel()
	h := open(t)
	h.run(`mkdir -p many .git sub && cd many && python3 - <<'END'
import os
for i in range(3000):
    with open(f"f{i:04}", "w") as f: f.write(f"match {i}\n")
with open("../long", "w") as f: f.write("a" * 3000000 + "match" + "b" * 3000000 + "\nmatch\n")
with open("../binary", "wb") as f: f.write(b"match\0match\n")
with open("../.git/config", "w") as f: f.write("match\n")
with open("../wide", "w") as f:
    for i in range(3000): f.write("match " + "x" * 5000 + "\n")
d = ".."
for i in range(600):
    d += "/d"
    if len(d) < 1000: os.mkdir(d)
END`)
	ctx := t.Context()
	out, err := h.f.Grep.Call(ctx, h.w, file.GrepInput{Pattern: "match", Path: "many"})
	must(t, err)
	for i, m := range out.Matches {
		if want := fmt.Sprintf("many/f%04d", i); m.Path != want || m.Line != 1 {
			t.Fatalf("match %d is %+v, want %s: matches come in the order of paths", i, m, want)
		}
	}
	if len(out.Matches) != 200 || !out.Truncated {
		t.Errorf("%d matches, truncated %v; want 200, true", len(out.Matches), out.Truncated)
	}
	out, err = h.f.Grep.Call(ctx, h.w, file.GrepInput{Pattern: "match", Path: "long"})
	must(t, err)
	if len(out.Matches) != 2 || out.Matches[0].Line != 1 || len(out.Matches[0].Text) > 600 || !strings.Contains(out.Matches[0].Text, "match") || out.Matches[1].Line != 2 {
		t.Errorf("of a long line %.2000v", out.Matches)
	}
	out, err = h.f.Grep.Call(ctx, h.w, file.GrepInput{Pattern: "match", Glob: "{binary,config}"})
	must(t, err)
	if len(out.Matches) != 0 || out.Skipped != 1 {
		t.Errorf("binary files and .git: %+v", out)
	}
	out, err = h.f.Grep.Call(ctx, h.w, file.GrepInput{Pattern: "match", Path: "wide", Max: 5000})
	must(t, err)
	size := 0
	for _, m := range out.Matches {
		size += len(m.Text)
	}
	if size > 1<<20 || !out.Truncated {
		t.Errorf("a search returns %d bytes, truncated %v", size, out.Truncated)
	}
	for _, in := range []file.GrepInput{{Pattern: "x", Context: 21}, {Pattern: "x", Context: -1}, {Pattern: "x", Max: -1}, {Pattern: ""}, {Pattern: "(a{1000}){1000}"}, {Pattern: "x", Glob: "[a"}} {
		if _, err := h.f.Grep.Call(ctx, h.w, in); err == nil {
			t.Errorf("%+v is accepted", in)
		} else {
			wantError(t, err, sandbox.ErrInvalidInput)
		}
	}
	list, err := h.f.Tree.Call(ctx, h.w, file.ListInput{Depth: 1000, Max: 10_000})
	if err != nil || list.Truncated || len(list.Entries) < 3000 {
		t.Errorf("Tree = %d entries, truncated %v, %v", len(list.Entries), list.Truncated, err)
	}
}

// Under level none the host directory is the home, and links to it are inside.
func TestLevelNone(t *testing.T) {
	t.Parallel()
	w, tools, sh, dir := newFixture(t, sandbox.Options{Confine: sandbox.Confinement{Level: "none"}})
	h := &hands{t, w, tools, sh, dir}
	h.run(`mkdir d && echo inside >d/f && ln -s "$PWD/d/f" absolute && ln -s /workspace/d/f workspace && ln -s /etc/passwd out`)
	for _, path := range []string{"absolute", "workspace", dir + "/d/f", "/workspace/d/f"} {
		if got := h.read(path); got != "inside\n" {
			t.Errorf("%s has %q", path, got)
		}
	}
	_, err := h.f.Read.Call(t.Context(), h.w, file.ReadInput{Path: "out"})
	wantError(t, err, sandbox.ErrDenied, "workspace")
}
