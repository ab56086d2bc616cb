package file_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/agentflow-go/sandbox/backends/file"
)

// BenchmarkGrep searches 10,000 files of 4 KB, some 40 MB, for a word that is in
// a hundred of them, beside grep -r on the same files.
func BenchmarkGrep(b *testing.B) {
	h := open(b)
	h.run(`python3 - <<'END'
import os
for d in range(100):
    os.makedirs(f"src/pkg{d:02}")
    for n in range(100):
        with open(f"src/pkg{d:02}/file{n:02}.go", "w") as f:
            for l in range(100):
                f.write(f"\tvalue{l} := compute({d}, {n}) // line {l}\n")
            if n == 50: f.write("\tneedleInHay()\n")
END`)
	for _, pattern := range []string{"needleInHay", `needle\w+\(`, `\bneedle[A-Z]\w+\b`, `[a-z]+InHay`} {
		b.Run("grep -r/"+pattern, func(b *testing.B) {
			for b.Loop() {
				out, err := exec.Command("grep", "-rnP", pattern, filepath.Join(h.dir, "src")).Output()
				if n := strings.Count(string(out), "\n"); err != nil || n != 100 {
					b.Fatal(n, err)
				}
			}
		})
		b.Run("file:grep/"+pattern, func(b *testing.B) {
			for b.Loop() {
				out, err := h.f.Grep.Call(b.Context(), h.w, file.GrepInput{Pattern: pattern, Path: "src"})
				if err != nil || len(out.Matches) != 100 || out.Files != 10_000 {
					b.Fatal(len(out.Matches), out.Files, err)
				}
			}
		})
	}
	b.Run("file:glob", func(b *testing.B) {
		for b.Loop() {
			out, err := h.f.Glob.Call(b.Context(), h.w, file.GlobInput{Pattern: "**/file5?.go"})
			if err != nil || len(out.Paths) != 1000 {
				b.Fatal(len(out.Paths), err)
			}
		}
	})
}

// BenchmarkSmallFile measures the tools on a file of 4 KB, beside os.ReadFile.
func BenchmarkSmallFile(b *testing.B) {
	h := open(b)
	h.write("f.txt", strings.Repeat("a line of some length\n", 190)+"state: a\n")
	b.Run("os.ReadFile", func(b *testing.B) {
		for b.Loop() {
			if _, err := os.ReadFile(filepath.Join(h.dir, "f.txt")); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("file:read", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := h.f.Read.Call(b.Context(), h.w, file.ReadInput{Path: "f.txt"}); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("file:write", func(b *testing.B) {
		b.ReportAllocs()
		content := strings.Repeat("x", 4096)
		for b.Loop() {
			if _, err := h.f.Write.Call(b.Context(), h.w, file.WriteInput{Path: "w.txt", Content: content}); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("file:edit", func(b *testing.B) {
		b.ReportAllocs()
		n := 0
		for b.Loop() {
			e := file.Edit{Old: fmt.Sprintf("state: %c", 'a'+n%2), New: fmt.Sprintf("state: %c", 'a'+(n+1)%2)}
			if _, err := h.f.Edit.Call(b.Context(), h.w, file.EditInput{Path: "f.txt", Edits: []file.Edit{e}}); err != nil {
				b.Fatal(err)
			}
			n++
		}
	})
}
