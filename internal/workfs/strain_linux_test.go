package workfs_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/agentflow-go/sandbox/internal/workfs"
	"golang.org/x/sys/unix"
)

func TestCopyIntoItselfThroughALink(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.put("dir/file", "x")
	f.link("dir", "link")
	_, err := f.Copy(t.Context(), "dir", "link/copy", workfs.MoveOptions{Parents: true})
	if !errors.Is(err, workfs.ErrPath) {
		t.Errorf("Copy of a directory into itself = %v, want ErrPath", err)
	}
	if _, err := os.Lstat(f.on("dir/copy")); err == nil {
		t.Error("a refused copy leaves a directory")
	}
}

// Links that go up and down make a way of any length. There are fewer than may be
// followed: what refuses them is the bound on steps.
func TestLinksThatGoUpAndDown(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	dir := strings.Repeat("d/", 1900) + "e"
	_, err := f.Mkdir(dir, workfs.MkdirOptions{Parents: true})
	must(t, err)
	for i := range 39 {
		f.link(strings.Repeat("../e/", 800)+fmt.Sprint("link", i+1), fmt.Sprintf("%s/link%d", dir, i))
	}
	_, err = f.Stat(dir + "/link0")
	if !errors.Is(err, workfs.ErrLinks) {
		t.Errorf("Stat = %v, want ErrLinks", errors.Unwrap(err))
	}
}

func TestLeasedFiles(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.put("leased", "x")
	file, err := os.OpenFile(f.on("leased"), os.O_RDWR, 0)
	must(t, err)
	defer file.Close()
	if _, err := unix.FcntlInt(file.Fd(), unix.F_SETLEASE, unix.F_WRLCK); err != nil {
		t.Skip("no leases here:", err)
	}
	start := time.Now()
	_, err = f.Open("leased")
	_, werr := f.Append("leased", strings.NewReader("x"), workfs.CreateOptions{})
	if !errors.Is(err, workfs.ErrBusy) || !errors.Is(werr, workfs.ErrBusy) || time.Since(start) > 10*time.Second {
		t.Errorf("open %v, append %v after %v; want ErrBusy at once", err, werr, time.Since(start))
	}
}

// A walk keeps a directory in mind, but not as much as its links say.
func TestManyLongLinks(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	must(t, os.Mkdir(f.on("links"), 0o700))
	f.give("links")
	target := strings.Repeat("t", 4000)
	must(t, os.Symlink(target, f.on("links/0")))
	f.put("other", "x")
	const n = 12_000
	for i := range n - 1 {
		must(t, os.Symlink(target, f.on(fmt.Sprint("links/", i+1))))
	}
	visited, skipped := 0, 0
	o := workfs.WalkOptions{Skipped: func(path string, err error) {
		if path != "links" || !errors.Is(err, workfs.ErrTooLarge) {
			t.Errorf("skipped %q: %v", path, err)
		}
		skipped++
	}}
	must(t, f.Walk(t.Context(), ".", o, func(i workfs.Info) error {
		if visited++; i.Target != "" && i.Target != target || !strings.HasPrefix(i.Path, "links") && i.Path != "other" {
			t.Errorf("visited %+v", i)
		}
		return nil
	}))
	if want := 32<<20/4000 + 2; visited > want || visited < want-100 || skipped != 1 {
		t.Errorf("visited %d, skipped %d times; want nearly %d, and once", visited, skipped, want)
	}
	o.TypesOnly = true
	visited = 0
	must(t, f.Walk(t.Context(), ".", o, func(workfs.Info) error { visited++; return nil }))
	if visited != n+2 {
		t.Errorf("without targets visited %d, want %d", visited, n+2)
	}
}

// Who removes what is being written is named, not the file that is to be made.
func TestWhatIsWrittenIsRemoved(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.put("dir/file", "old")
	for _, gone := range []string{"dir/.~*", "dir"} {
		w, err := f.Create("dir/file", workfs.CreateOptions{})
		must(t, err)
		paths, err := filepath.Glob(f.on(gone))
		must(t, err)
		must(t, os.RemoveAll(paths[0]))
		if _, err := w.Commit(); !errors.Is(err, workfs.ErrBusy) || errors.Is(err, os.ErrNotExist) {
			t.Errorf("Commit without %s = %v, want ErrBusy", gone, err)
		}
		must(t, w.Close())
	}
}

// What a copy of a tree had made when it failed is gone again, also what its own
// modes close and where the caller's time is over.
func TestCopiesThatFailLeaveNothing(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.put("src/a/small", "x")
	f.put("src/b/large", strings.Repeat("x", 100))
	must(t, os.Chmod(f.on("src/a"), 0o500))
	_, err := f.Copy(t.Context(), "src", "new/copy", workfs.MoveOptions{Parents: true, MaxBytes: 50})
	if !errors.Is(err, workfs.ErrTooLarge) {
		t.Errorf("Copy = %v, want ErrTooLarge", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := f.Copy(ctx, "src", "new/copy", workfs.MoveOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("Copy = %v, want that it was cancelled", err)
	}
	if list, err := os.ReadDir(f.on("new")); err != nil || len(list) != 0 {
		t.Errorf("the copies left %v, %v", list, err)
	}
	if _, err := f.Copy(t.Context(), "src/b", "new", workfs.MoveOptions{}); !errors.Is(err, fs.ErrExist) {
		t.Errorf("Copy = %v, want ErrExist", err)
	}
	if _, err := os.Stat(f.on("new")); err != nil {
		t.Errorf("a copy onto a directory takes it away: %v", err)
	}
}
