package workfs_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/agentflow-go/sandbox/internal/workfs"
)

func TestFIFOsUseUpNoThreads(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	must(t, syscall.Mkfifo(f.on("fifo"), 0o666))
	f.give("fifo")
	const n = 10_000
	errs := make(chan error, n)
	for range n {
		go func() {
			_, err := f.Open("fifo")
			_, werr := f.Append("fifo", strings.NewReader("x"), workfs.CreateOptions{})
			if !errors.Is(err, workfs.ErrNotRegular) || !errors.Is(werr, workfs.ErrNotRegular) {
				errs <- fmt.Errorf("open %v, append %v; want ErrNotRegular", err, werr)
				return
			}
			errs <- nil
		}()
	}
	for range n {
		if err := <-errs; err != nil {
			t.Fatal(err)
		}
	}
	tasks, err := os.ReadDir("/proc/self/task")
	must(t, err)
	if len(tasks) > 500 {
		t.Errorf("there are %d threads", len(tasks))
	}
}

func TestTheWorkersOwnModesCount(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.put("dir/file", "x")
	must(t, os.Chmod(f.on("dir"), 0o555))
	for name, err := range map[string]error{
		"write":  second(f.WriteFile("dir/new", strings.NewReader(""), workfs.CreateOptions{})),
		"delete": f.Remove("dir/file"),
		"move":   second(f.Rename("dir/file", "file", workfs.MoveOptions{})),
		"mkdir":  second(f.Mkdir("dir/sub", workfs.MkdirOptions{})),
	} {
		if !errors.Is(err, fs.ErrPermission) {
			t.Errorf("%s in a directory that is read-only = %v, want fs.ErrPermission", name, err)
		}
	}
	must(t, os.Chmod(f.on("dir/file"), 0))
	if _, err := f.Open("dir/file"); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("Open of mode 000 = %v, want fs.ErrPermission", err)
	}
	if err := f.RemoveAll(t.Context(), "dir"); err != nil {
		t.Errorf("RemoveAll of a directory that is read-only = %v", err)
	}
}

func second[T any](_ T, err error) error { return err }

func TestModes(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.put("script", "one")
	must(t, os.Chmod(f.on("script"), 0o4755))
	f.put("script", "two")
	_, err := f.Copy(t.Context(), "script", "copy", workfs.MoveOptions{})
	must(t, err)
	for _, path := range []string{"script", "copy"} {
		info, err := os.Lstat(f.on(path))
		must(t, err)
		if got := info.Mode(); got != 0o755 {
			t.Errorf("%s has mode %v, want rwxr-xr-x", path, got)
		}
	}
}

func TestCopyOverWhatIsThere(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	must(t, syscall.Mkfifo(f.on("fifo"), 0o644))
	f.put("new", "new")
	f.put("dir/old", "old")
	f.link("dir/old", "link")
	if _, err := f.Copy(t.Context(), "fifo", "dir/old", workfs.MoveOptions{Overwrite: true}); !errors.Is(err, workfs.ErrNotRegular) {
		t.Errorf("Copy of a FIFO = %v, want ErrNotRegular", err)
	}
	info, err := f.Copy(t.Context(), "new", "link", workfs.MoveOptions{Overwrite: true})
	if err != nil || info.Path != "dir/old" || info.Size != 3 {
		t.Errorf("Copy over a link = %+v, %v, want what it leads to", info, err)
	}
	if got := f.get("dir/old"); got != "new" {
		t.Errorf("the file behind the link has %q", got)
	}
}

func TestRemoveAll(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for name, prepare := range map[string]func(){
		"a file":            func() { f.put("x", "") },
		"a link":            func() { f.put("keep/file", ""); f.link("keep", "x") },
		"a tree":            func() { f.put("x/a/b", ""); f.put("x/c", "") },
		"mode 000":          func() { f.put("x/a/b", ""); must(t, os.Chmod(f.on("x/a"), 0)); must(t, os.Chmod(f.on("x"), 0)) },
		"5,000 levels":      func() { f.deep("x", 5000) },
		"12,000 entries":    func() { f.many("x", 12_000) },
		"links to outside":  func() { f.put("x/a", ""); f.link(f.secret, "x/b"); f.link("..", "x/c"); f.link("/", "x/d") },
		"FIFOs and sockets": func() { f.put("x/a", ""); must(t, syscall.Mkfifo(f.on("x/fifo"), 0)) },
	} {
		prepare()
		if err := f.RemoveAll(t.Context(), "x"); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := os.Lstat(f.on("x")); !errors.Is(err, fs.ErrNotExist) {
			t.Fatalf("%s: it is still there: %v", name, err)
		}
	}
	if _, err := os.Lstat(f.secret); err != nil {
		t.Error(err)
	}
	if _, err := f.Stat("keep/file"); err != nil {
		t.Error(err)
	}
	f.many("x", 100)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := f.RemoveAll(ctx, "x"); !errors.Is(err, context.Canceled) {
		t.Errorf("RemoveAll when cancelled = %v", err)
	}
}

// deep makes directories in each other, more than a path can name.
func (f *fixture) deep(name string, levels int) {
	f.t.Helper()
	must(f.t, os.Mkdir(f.on(name), 0o755))
	f.give(name)
	root, err := os.OpenRoot(f.on(name))
	must(f.t, err)
	for range levels {
		must(f.t, root.Mkdir("d", 0o755))
		if f.root {
			must(f.t, root.Lchown("d", worker, worker))
		}
		next, err := root.OpenRoot("d")
		must(f.t, err)
		must(f.t, root.Close())
		root = next
	}
	must(f.t, root.Close())
}

func (f *fixture) many(name string, n int) {
	f.t.Helper()
	must(f.t, os.Mkdir(f.on(name), 0o755))
	f.give(name)
	for i := range n {
		must(f.t, os.Symlink("x", filepath.Join(f.on(name), fmt.Sprintf("%05d", i))))
	}
}

func TestWalk(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.put("b/x", "")
	f.put("b/y/z", "")
	f.put("a", "")
	f.put("c", "")
	f.link("b", "link")
	walk := func(path string, o workfs.WalkOptions, fn func(workfs.Info) error) string {
		var seen []string
		err := f.Walk(t.Context(), path, o, func(i workfs.Info) error {
			seen = append(seen, i.Path)
			return fn(i)
		})
		if err != nil {
			t.Errorf("Walk: %v", err)
		}
		return strings.Join(seen, " ")
	}
	all := func(workfs.Info) error { return nil }
	for _, c := range []struct{ name, got, want string }{
		{"all", walk(".", workfs.WalkOptions{}, all), "a b b/x b/y b/y/z c link"},
		{"types only", walk("/workspace", workfs.WalkOptions{TypesOnly: true}, all), "a b b/x b/y b/y/z c link"},
		{"depth", walk(".", workfs.WalkOptions{Depth: 2}, all), "a b b/x b/y c link"},
		{"below a link", walk("link", workfs.WalkOptions{}, all), "b/x b/y b/y/z"},
		{"skip a directory", walk(".", workfs.WalkOptions{}, func(i workfs.Info) error {
			if i.Mode.IsDir() {
				return fs.SkipDir
			}
			return nil
		}), "a b c link"},
		{"skip all", walk(".", workfs.WalkOptions{}, func(workfs.Info) error { return fs.SkipAll }), "a"},
	} {
		if c.got != c.want {
			t.Errorf("%s: %s, want %s", c.name, c.got, c.want)
		}
	}
	f.deep("deep", 3000)
	skipped := 0
	o := workfs.WalkOptions{TypesOnly: true, Skipped: func(string, error) { skipped++ }}
	if err := f.Walk(t.Context(), "deep", o, func(workfs.Info) error { return nil }); err != nil || skipped != 1 {
		t.Errorf("Walk of a deep tree = %v, with %d directories left out, want 1", err, skipped)
	}
	list, more, err := f.ReadDir(t.Context(), ".", 2)
	if err != nil || !more || len(list) != 2 || list[1].Path != "b" {
		t.Errorf("ReadDir = %v, %v, %v", list, more, err)
	}
}

func TestWriters(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.put("old", "old")
	w, err := f.Create("old", workfs.CreateOptions{})
	must(t, err)
	_, err = w.Write([]byte("new"))
	must(t, err)
	if got := f.get("old"); got != "old" {
		t.Errorf("before it is committed the file has %q", got)
	}
	must(t, w.Close())
	if _, err := w.Commit(); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("Commit after Close = %v", err)
	}
	if got := f.get("old"); got != "old" {
		t.Errorf("after Close the file has %q", got)
	}
	if _, err := f.Create("old", workfs.CreateOptions{Exclusive: true}); !errors.Is(err, fs.ErrExist) {
		t.Errorf("exclusive Create = %v, want fs.ErrExist", err)
	}
	w, err = f.Create("raced", workfs.CreateOptions{Exclusive: true})
	must(t, err)
	f.put("raced", "first")
	if _, err := w.Commit(); !errors.Is(err, fs.ErrExist) {
		t.Errorf("exclusive Commit after somebody else's file = %v, want fs.ErrExist", err)
	}
	if got := f.get("raced"); got != "first" {
		t.Errorf("somebody else's file has %q", got)
	}
	list, _, err := f.ReadDir(t.Context(), ".", 100)
	if err != nil || len(list) != 2 {
		t.Errorf("left are %v, %v; want two files", list, err)
	}
}

func TestClosedTrees(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.put("file", "x")
	tree, err := workfs.Open(f.dir, workfs.Options{UID: -1, GID: -1})
	must(t, err)
	file, err := f.Open("file")
	must(t, err)
	defer file.Close()
	must(t, tree.Close())
	if _, err := tree.Stat("."); !errors.Is(err, workfs.ErrClosed) {
		t.Errorf("Stat of a closed tree = %v, want ErrClosed", err)
	}
	if b := make([]byte, 1); second(file.Read(b)) != nil {
		t.Error("an open file does not outlive its tree")
	}
}

// A path gives an error, or leads to what is in the tree.
func FuzzPaths(f *testing.F) {
	for _, p := range attacks {
		f.Add(p)
	}
	f.Fuzz(func(t *testing.T, path string) {
		x := newFixture(t)
		outside, check := x.outside()
		x.put("dir/file", "inside")
		x.link(outside, "out")
		x.link("/workspace/dir", "in")
		x.link("..", "dir/up")
		if b, err := x.ReadFile(path, 100); err == nil && string(b) != "inside" {
			t.Errorf("ReadFile(%q) = %q", path, b)
		}
		info, err := x.WriteFile(path, strings.NewReader("x"), workfs.CreateOptions{Parents: true})
		if err == nil {
			if b, err := os.ReadFile(filepath.Join(x.dir, info.Path)); err != nil || string(b) != "x" {
				t.Errorf("WriteFile(%q) tells the path %q, which has %q, %v", path, info.Path, b, err)
			}
			if clean, err := x.Clean(info.Path); err != nil || clean != info.Path {
				t.Errorf("the path %q of %q is not clean: %q, %v", info.Path, path, clean, err)
			}
		}
		_ = x.RemoveAll(t.Context(), path)
		check(t, fmt.Sprintf("the path %q", path))
	})
}
