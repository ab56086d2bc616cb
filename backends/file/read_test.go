package file_test

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"github.com/agentflow-go/sandbox"
	"github.com/agentflow-go/sandbox/backends/file"
	"github.com/google/go-cmp/cmp"
)

func TestRead(t *testing.T) {
	t.Parallel()
	h := open(t)
	long := strings.Repeat("x", 100) + "\n"
	for name, content := range map[string]string{
		"three.txt":   "one\ntwo\nthree\n",
		"noend.txt":   "one\ntwo",
		"empty.txt":   "",
		"windows.txt": "\uFEFFone\r\ntwo\r\n",
		"wide.txt":    "äöü€\n",
		"long.txt":    "a\n" + long + "b\n",
	} {
		h.write(name, content)
	}
	h.run(`printf 'a\377b\n' >latin.txt; printf 'a\0b' >binary`)
	for _, c := range []struct {
		name string
		in   file.ReadInput
		want file.ReadOutput
	}{
		{"whole", file.ReadInput{Path: "three.txt"}, file.ReadOutput{Content: "one\ntwo\nthree\n", Size: 14, Lines: 3}},
		{"below /workspace/", file.ReadInput{Path: "/workspace/three.txt"}, file.ReadOutput{Content: "one\ntwo\nthree\n", Size: 14, Lines: 3}},
		{"some lines", file.ReadInput{Path: "three.txt", StartLine: 2, EndLine: 2}, file.ReadOutput{Content: "two\n", Size: 14, Lines: 3}},
		{"to the end", file.ReadInput{Path: "three.txt", StartLine: 3}, file.ReadOutput{Content: "three\n", Size: 14, Lines: 3}},
		{"past the end", file.ReadInput{Path: "three.txt", StartLine: 2, EndLine: 99}, file.ReadOutput{Content: "two\nthree\n", Size: 14, Lines: 3}},
		{"without line end", file.ReadInput{Path: "noend.txt", StartLine: 2}, file.ReadOutput{Content: "two", Size: 7, Lines: 2}},
		{"empty", file.ReadInput{Path: "empty.txt"}, file.ReadOutput{}},
		{"BOM and CRLF stay", file.ReadInput{Path: "windows.txt"}, file.ReadOutput{Content: "\uFEFFone\r\ntwo\r\n", Size: 13, Lines: 2}},
		{"cut at a line", file.ReadInput{Path: "three.txt", MaxBytes: 9}, file.ReadOutput{Content: "one\ntwo\n", Size: 14, Lines: 3, Truncated: true, NextLine: 3}},
		{"cut at exactly the end", file.ReadInput{Path: "three.txt", MaxBytes: 14}, file.ReadOutput{Content: "one\ntwo\nthree\n", Size: 14, Lines: 3}},
		{"cut in a line", file.ReadInput{Path: "long.txt", StartLine: 2, MaxBytes: 10}, file.ReadOutput{Content: "xxxxxxxxxx", Size: 105, Lines: 3, Truncated: true, NextOffset: 12, Note: "a line is longer than max_bytes; go on in it with offset"}},
		{"go on by bytes", file.ReadInput{Path: "long.txt", Offset: 101, MaxBytes: 3}, file.ReadOutput{Content: "x\nb", Size: 105, Lines: -1, Truncated: true, NextOffset: 104}},
		{"never half a rune", file.ReadInput{Path: "wide.txt", MaxBytes: 8}, file.ReadOutput{Content: "äöü", Size: 10, Lines: 1, Truncated: true, NextOffset: 6, Note: "a line is longer than max_bytes; go on in it with offset"}},
		{"not UTF-8", file.ReadInput{Path: "latin.txt"}, file.ReadOutput{Content: "a\uFFFDb\n", Size: 4, Lines: 1, Note: "bytes that are not UTF-8 are shown as U+FFFD; for the exact ones read with encoding base64"}},
		{"base64", file.ReadInput{Path: "binary", Encoding: "base64"}, file.ReadOutput{Content: "YQBi", Encoding: "base64", Size: 3, Lines: -1}},
		{"a part in base64", file.ReadInput{Path: "binary", Encoding: "base64", Offset: 1, MaxBytes: 1}, file.ReadOutput{Content: "AA==", Encoding: "base64", Size: 3, Lines: -1, Truncated: true, NextOffset: 2}},
		{"bytes past the end", file.ReadInput{Path: "binary", Encoding: "base64", Offset: 99}, file.ReadOutput{Encoding: "base64", Size: 3, Lines: -1}},
	} {
		got, err := h.f.Read.Call(t.Context(), h.w, c.in)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		c.want.Path = strings.TrimPrefix(c.in.Path, "/workspace/")
		if c.want.Encoding == "" {
			c.want.Encoding = "utf-8"
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

// What a cut read says is enough to get all of a file.
func TestReadInPieces(t *testing.T) {
	t.Parallel()
	h := open(t)
	var text strings.Builder
	for i := range 500 {
		fmt.Fprintf(&text, "line %d %s\n", i, strings.Repeat("é", i%90))
	}
	h.write("big.txt", text.String())
	var got strings.Builder
	in := file.ReadInput{Path: "big.txt", MaxBytes: 64}
	for range 2000 {
		out, err := h.f.Read.Call(t.Context(), h.w, in)
		if err != nil {
			t.Fatal(err)
		}
		got.WriteString(out.Content)
		if !out.Truncated {
			break
		}
		in.StartLine, in.Offset = out.NextLine, out.NextOffset
		if in.StartLine > 0 {
			in.Offset = 0
		}
	}
	if diff := cmp.Diff(text.String(), got.String()); diff != "" {
		t.Errorf("pieces (-want +got):\n%s", diff)
	}
}

func TestReadRefuses(t *testing.T) {
	t.Parallel()
	h := open(t)
	h.write("src/main.go", "package main\n")
	h.run(`printf 'a\0b' >binary; truncate -s 8T huge; mkfifo pipe; ln -s nowhere lost`)
	for _, c := range []struct {
		in    file.ReadInput
		code  sandbox.Code
		words []string
	}{
		{file.ReadInput{Path: "src/mian.go"}, sandbox.ErrNoResults, []string{`"src/mian.go"`, "no such file", `but it has "main.go"`}},
		{file.ReadInput{Path: "scr/main.go"}, sandbox.ErrNoResults, []string{`but it has "src"`}},
		{file.ReadInput{Path: "lost"}, sandbox.ErrNoResults, []string{`; "lost" is a symbolic link to "nowhere", which leads nowhere`}},
		{file.ReadInput{Path: "lost/x"}, sandbox.ErrNoResults, []string{`; "lost" is a symbolic link to "nowhere", which leads nowhere`}},
		{file.ReadInput{Path: "src"}, sandbox.ErrInvalidInput, []string{"directory", "file:list"}},
		{file.ReadInput{Path: "binary"}, sandbox.ErrInvalidInput, []string{"not text", "base64", "3 bytes"}},
		{file.ReadInput{Path: "huge"}, sandbox.ErrInvalidInput, []string{"not text"}},
		{file.ReadInput{Path: "huge", StartLine: 5}, sandbox.ErrTooLarge, []string{"offset"}},
		{file.ReadInput{Path: "pipe"}, sandbox.ErrInvalidInput, []string{"fifo", "only regular files"}},
		{file.ReadInput{Path: "/etc/passwd"}, sandbox.ErrInvalidInput, []string{"absolute", "/workspace"}},
		{file.ReadInput{Path: "../x"}, sandbox.ErrInvalidInput, []string{".."}},
		{file.ReadInput{Path: ""}, sandbox.ErrInvalidInput, []string{"empty"}},
		{file.ReadInput{Path: "src/main.go", StartLine: 3}, sandbox.ErrInvalidInput, []string{"1 lines"}},
		{file.ReadInput{Path: "src/main.go", StartLine: 3, EndLine: 2}, sandbox.ErrInvalidInput, []string{"before"}},
		{file.ReadInput{Path: "src/main.go", StartLine: -1}, sandbox.ErrInvalidInput, []string{"negative"}},
		{file.ReadInput{Path: "src/main.go", Encoding: "latin1"}, sandbox.ErrInvalidInput, []string{"utf-8 or base64"}},
		{file.ReadInput{Path: "src/main.go", MaxBytes: 1 << 40}, sandbox.ErrInvalidInput, []string{"max_bytes"}},
		{file.ReadInput{Path: "src/main.go", Offset: 1, StartLine: 1}, sandbox.ErrInvalidInput, []string{"combined"}},
		{file.ReadInput{Path: "src/main.go/x"}, sandbox.ErrInvalidInput, []string{"not a directory"}},
	} {
		out, err := h.f.Read.Call(t.Context(), h.w, c.in)
		if err == nil {
			t.Errorf("Read(%+v) = %+v, want an error", c.in, out)
			continue
		}
		wantError(t, err, c.code, c.words...)
	}
}

func TestSparseFilesCostLittle(t *testing.T) {
	t.Parallel()
	h := open(t)
	h.run(`truncate -s 8T huge`)
	out, err := h.f.Read.Call(t.Context(), h.w, file.ReadInput{Path: "huge", Encoding: "base64", Offset: 1 << 42, MaxBytes: 9})
	if err != nil || out.Size != 8<<40 || out.Content != base64.StdEncoding.EncodeToString(make([]byte, 9)) || out.NextOffset != 1<<42+9 {
		t.Errorf("Read = %+v, %v", out, err)
	}
	_, err = h.f.Edit.Call(t.Context(), h.w, file.EditInput{Path: "huge", Edits: []file.Edit{{Old: "a", New: "b"}}})
	wantError(t, err, sandbox.ErrTooLarge, "sed")
	_, err = h.f.Copy.Call(t.Context(), h.w, file.MoveInput{From: "huge", To: "huge2"})
	wantError(t, err, sandbox.ErrTooLarge)
	g, err := h.f.Grep.Call(t.Context(), h.w, file.GrepInput{Pattern: "x"})
	if err != nil || g.Skipped != 1 {
		t.Errorf("Grep = %+v, %v; want one skipped file", g, err)
	}
}
