package workfs_test

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/agentflow-go/sandbox/internal/workfs"
)

// worker is the user that the trees of these tests belong to, when the tests
// run as root.
const worker = 1_999_999_001

// fixture is a tree with a secret beside it.
type fixture struct {
	*workfs.Tree
	t      *testing.T
	dir    string // the tree on disk
	secret string // a file outside that only the program may read
	root   bool
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	base := t.TempDir()
	f := &fixture{t: t, dir: filepath.Join(base, "tree"), secret: filepath.Join(base, "secret"), root: os.Geteuid() == 0}
	must(t, os.Mkdir(f.dir, 0o700))
	must(t, os.WriteFile(f.secret, []byte("secret"), 0o600))
	o := workfs.Options{UID: -1, GID: -1, Inside: []string{"/workspace"}}
	if f.root {
		o.UID, o.GID = worker, worker
		must(t, os.Chown(f.dir, worker, worker))
	}
	tree, err := workfs.Open(f.dir, o)
	must(t, err)
	t.Cleanup(func() { must(t, tree.Close()) })
	f.Tree = tree
	return f
}

// on returns a path of the disk.
func (f *fixture) on(path string) string { return filepath.Join(f.dir, filepath.FromSlash(path)) }

// put makes a file of the worker's, with the directories above it.
func (f *fixture) put(path, content string) {
	f.t.Helper()
	_, err := f.WriteFile(path, strings.NewReader(content), workfs.CreateOptions{Parents: true})
	must(f.t, err)
}

func (f *fixture) get(path string) string {
	f.t.Helper()
	b, err := f.ReadFile(path, 1<<20)
	must(f.t, err)
	return string(b)
}

// give makes what the test made on disk the worker's.
func (f *fixture) give(path string) {
	f.t.Helper()
	if f.root {
		must(f.t, os.Lchown(f.on(path), worker, worker))
	}
}

func (f *fixture) link(target, path string) {
	f.t.Helper()
	must(f.t, os.Symlink(target, f.on(path)))
	f.give(path)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestFilesBelongToTheWorker(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	if !f.root {
		t.Skip("needs root: without it everything belongs to the program's user")
	}
	f.put("a/b/c.txt", "hello")
	for _, path := range []string{"a", "a/b", "a/b/c.txt"} {
		info, err := os.Lstat(f.on(path))
		must(t, err)
		if got := owner(info); got != worker {
			t.Errorf("%s belongs to uid %d, want %d", path, got, worker)
		}
	}
	if got := f.get("/workspace/a/b/c.txt"); got != "hello" {
		t.Errorf("content %q, want hello", got)
	}
}

// The first thread must never act as the worker: its uids are what a search for
// left-over processes sees.
func TestTheFirstThreadKeepsItsUser(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for range 200 {
		f.put("x", "y")
		runtime.Gosched()
	}
	status, err := os.ReadFile("/proc/self/status")
	must(t, err)
	if strings.Contains(string(status), "1999999001") {
		t.Errorf("the program's first thread acts as the worker:\n%s", status)
	}
}
