package workfs_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/agentflow-go/sandbox/internal/workfs"
)

func benchTree(b *testing.B) (*workfs.Tree, string) {
	b.Helper()
	dir := filepath.Join(b.TempDir(), "tree")
	if err := os.Mkdir(dir, 0o700); err != nil {
		b.Fatal(err)
	}
	o := workfs.Options{UID: -1, GID: -1, Inside: []string{"/workspace"}}
	if os.Geteuid() == 0 {
		o.UID, o.GID = 1_999_999_001, 1_999_999_001
		if err := os.Chown(dir, o.UID, o.GID); err != nil {
			b.Fatal(err)
		}
	}
	tree, err := workfs.Open(dir, o)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { tree.Close() })
	return tree, dir
}

// BenchmarkReadSmall compares reading a file of 1 KB with os.ReadFile.
func BenchmarkReadSmall(b *testing.B) {
	tree, dir := benchTree(b)
	if _, err := tree.WriteFile("a/b/c.txt", strings.NewReader(strings.Repeat("x", 1024)), workfs.CreateOptions{Parents: true}); err != nil {
		b.Fatal(err)
	}
	b.Run("os", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := os.ReadFile(filepath.Join(dir, "a/b/c.txt")); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("workfs", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := tree.ReadFile("a/b/c.txt", 1<<20); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("stat", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := tree.Stat("a/b/c.txt"); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkWriteSmall compares replacing a file of 1 KB with writing beside and
// renaming.
func BenchmarkWriteSmall(b *testing.B) {
	tree, dir := benchTree(b)
	text := strings.Repeat("x", 1024)
	b.Run("os", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := os.WriteFile(filepath.Join(dir, "tmp"), []byte(text), 0o644); err != nil {
				b.Fatal(err)
			}
			if err := os.Rename(filepath.Join(dir, "tmp"), filepath.Join(dir, "c.txt")); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("workfs", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := tree.WriteFile("d.txt", strings.NewReader(text), workfs.CreateOptions{}); err != nil {
				b.Fatal(err)
			}
		}
	})
}
