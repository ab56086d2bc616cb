package workspace

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// project makes a tree as an agent's project may be: files of a few KiB, 20 in
// each directory.
func project(t testing.TB, dir string, files int) {
	t.Helper()
	for i := range files {
		sub := filepath.Join(dir, fmt.Sprintf("d%d/e%d", i/200, i/20))
		if i%20 == 0 {
			if err := os.MkdirAll(sub, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		data := bytes.Repeat([]byte(fmt.Sprintf("line %d\n", i)), 1+i%1000)
		if err := os.WriteFile(filepath.Join(sub, fmt.Sprintf("f%d", i)), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// BenchmarkFork2000 forks a workspace of 2,000 files of 4 KiB on average,
// beside cp -a of the same. Nothing is removed meanwhile: ext4 searches long for
// a free inode next to thousands that were freed in the last seconds.
func BenchmarkFork2000(b *testing.B) {
	s, err := Open(b.TempDir(), Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	src, err := s.New(own)
	if err != nil {
		b.Fatal(err)
	}
	project(b, src.Path(), 2000)
	uid := -1
	if privileged {
		uid = 70_000
	}
	b.Run("fork", func(b *testing.B) {
		for b.Loop() {
			_, _, err := s.Fork(b.Context(), src, "", DirOptions{UID: uid, GID: uid, Worker: "fork"}, CopyLimits{1 << 40, 1 << 20})
			if err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("cp", func(b *testing.B) {
		for b.Loop() {
			d, err := s.New(own)
			if err != nil {
				b.Fatal(err)
			}
			if out, err := exec.Command("cp", "-a", src.Path()+"/.", d.Path()).CombinedOutput(); err != nil {
				b.Fatalf("%v: %s", err, out)
			}
		}
	})
}
