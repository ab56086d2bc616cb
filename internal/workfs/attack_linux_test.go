package workfs_test

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/agentflow-go/sandbox/internal/workfs"
	"github.com/google/go-cmp/cmp"
)

const canary = "canary: nobody may read or change this"

// outside makes a directory beside the tree that everybody may read and write,
// so that nothing but the tree's own care keeps its canary safe, and returns a
// function that checks it.
func (f *fixture) outside() (dir string, check func(t *testing.T, what string)) {
	f.t.Helper()
	dir = filepath.Join(filepath.Dir(f.dir), "outside")
	must(f.t, os.Mkdir(dir, 0o777))
	must(f.t, os.Chmod(dir, 0o777))
	must(f.t, os.WriteFile(filepath.Join(dir, "canary"), []byte(canary), 0o666))
	must(f.t, os.Chmod(filepath.Join(dir, "canary"), 0o666))
	look := func(t *testing.T) string {
		var all []string
		err := filepath.WalkDir(filepath.Dir(f.dir), func(path string, d fs.DirEntry, err error) error {
			if path == f.dir {
				return fs.SkipDir
			}
			if err != nil {
				return err
			}
			info, err := d.Info()
			if err != nil {
				return err
			}
			content := ""
			if d.Type().IsRegular() {
				b, err := os.ReadFile(path)
				if err != nil {
					return err
				}
				content = string(b)
			}
			all = append(all, fmt.Sprintln(path, info.Mode(), content))
			return nil
		})
		must(t, err)
		return strings.Join(all, "")
	}
	before := look(f.t)
	return dir, func(t *testing.T, what string) {
		t.Helper()
		if diff := cmp.Diff(before, look(t)); diff != "" {
			t.Fatalf("%s changed what is outside (-before +after):\n%s", what, diff)
		}
	}
}

// attacks are paths that lead out of the tree, or to what is no regular file.
// %O stands for a directory outside.
var attacks = []string{
	"", ".", "..", "../outside/canary", "a/../../outside/canary", "a/..", "./..", "..//outside", ".../../outside/canary",
	"/", "//", "/etc/passwd", "//etc/passwd", "/workspace/../etc/passwd", "/workspacefoo", "/WORKSPACE/a", "%O/canary", "/workspace%O/canary",
	"/proc/self/root%O/canary", "/proc/self/environ", "/dev/null", "/workspace//../x",
	"out-file", "out-dir/canary", "out-dir/new", "out-relative/canary", "out-chain", "out-through-workspace/canary", "dir/out-up/outside/canary",
	"/workspace/out-file", "/workspace/out-dir/canary", "link-to-root/etc/passwd", "link-to-proc/root%O/canary", "link-to-fd/0",
	"link-to-workspace-up", "loop", "loop-a", "loop-dir/x", "link-to-parent/outside/canary", "dangling-out", "link-to-nothing/x",
	"fifo", "fifo/x", "link-to-fifo", "socket", "file/x", "file/../../outside/canary", "closed", "closed-dir/x",
	"a\x00b", "file\x00/../../outside/canary", strings.Repeat("x", 256), strings.Repeat("x/", 3000), strings.Repeat("../", 50) + "etc/passwd",
	"．．/outside/canary", "․․/outside/canary", "%2e%2e/outside/canary", "..\\outside\\canary", "..\u200b/outside/canary", "\u202e/../x", "link-empty-name/ /..",
	"hard", "link-long", "many-links", "dir/deep-up/outside/canary",
}

// hostile fills the tree with what a hostile process could make.
func (f *fixture) hostile(outside string) {
	f.t.Helper()
	f.put("a/b/file", "inside")
	f.put("file", "inside")
	f.put("dir/sub/file", "inside")
	for path, target := range map[string]string{
		"out-file": outside + "/canary", "out-dir": outside, "out-relative": "../outside", "out-chain": "out-chain-2", "out-chain-2": "a/b/out-chain-3",
		"a/b/out-chain-3": "../../../outside/canary", "out-through-workspace": "/workspace/../outside", "dir/out-up": "../..", "link-to-root": "/",
		"link-to-proc": "/proc/self", "link-to-fd": "/proc/self/fd", "link-to-workspace-up": "/workspace/..", "loop": "loop", "loop-a": "loop-b", "loop-b": "loop-a",
		"loop-dir": "loop-dir/loop-dir", "link-to-parent": "..", "dangling-out": outside + "/new", "link-to-nothing": "nothing", "link-to-fifo": "fifo",
		"link-long": strings.Repeat("./", 1900) + "../outside/canary", "dir/deep-up": "sub/../../../", "many-links": "chain-0",
	} {
		f.link(target, path)
	}
	for i := range 60 {
		f.link(fmt.Sprintf("chain-%d", i+1), fmt.Sprintf("chain-%d", i))
	}
	f.link("file", "chain-60")
	must(f.t, syscall.Mkfifo(f.on("fifo"), 0o666))
	must(f.t, os.Chmod(f.on("fifo"), 0o666))
	l, err := net.Listen("unix", f.on("socket"))
	must(f.t, err)
	f.t.Cleanup(func() { l.Close() })
	f.put("closed", "inside")
	must(f.t, os.Chmod(f.on("closed"), 0))
	must(f.t, os.Mkdir(f.on("closed-dir"), 0))
	f.give("closed-dir")
	if f.root {
		// A link to a file that only the program may read.
		must(f.t, os.Link(f.secret, f.on("hard")))
	}
}

func TestAttacksByPath(t *testing.T) {
	t.Parallel()
	if len(attacks) < 40 {
		t.Fatalf("only %d attacks", len(attacks))
	}
	f := newFixture(t)
	outside, check := f.outside()
	f.hostile(outside)
	writable := map[string]bool{} // plain new names, however odd, may be made
	for _, p := range []string{"%2e%2e/outside/canary", "．．/outside/canary", "․․/outside/canary", "..\\outside\\canary", "..\u200b/outside/canary", "link-empty-name/ /..", "closed", "link-to-nothing/x", "/workspace%O/canary", ".../../outside/canary", "hard"} {
		writable[p] = true
	}
	for _, p := range attacks {
		path := strings.ReplaceAll(p, "%O", outside)
		wantErr := func(op string, err error) {
			t.Helper()
			if err == nil {
				t.Errorf("%s %.80q succeeds", op, path)
				return
			}
			if e, ok := errors.AsType[*workfs.Error](err); !ok || len(e.Error()) > 9000 {
				t.Errorf("%s %.80q = %v (%T), want a *workfs.Error", op, path, err, err)
			}
		}
		b, err := f.ReadFile(path, 1<<20)
		if string(b) == canary || string(b) == "secret" {
			t.Errorf("ReadFile(%.80q) returns what is outside", path)
		}
		wantErr("read", err)
		_, err = f.Append(path, strings.NewReader("x"), workfs.CreateOptions{})
		if !writable[p] {
			wantErr("append to", err)
		}
		_, err = f.WriteFile(path, strings.NewReader("x"), workfs.CreateOptions{Parents: true})
		if !writable[p] {
			wantErr("write", err)
		}
		check(t, fmt.Sprintf("writing %.80q", path))
		_, _ = f.Mkdir(path, workfs.MkdirOptions{Parents: true})
		_, _ = f.Stat(path)
		if info, err := f.Lstat(path); err == nil && (strings.HasPrefix(info.Path, "/") || strings.Contains(info.Path, "..")) && !strings.Contains(p, "..") {
			t.Errorf("Lstat(%.80q) tells the path %q", path, info.Path)
		}
		list, _, _ := f.ReadDir(t.Context(), path, 100)
		for _, i := range list {
			if strings.Contains(i.Path, "canary") || strings.Contains(i.Path, "passwd") {
				t.Errorf("ReadDir(%.80q) lists what is outside", path)
			}
		}
		_, _ = f.Copy(t.Context(), path, "copied", workfs.MoveOptions{MaxBytes: 1 << 20})
		if b, err := os.ReadFile(f.on("copied")); err == nil && (string(b) == canary || string(b) == "secret") {
			if fi, _ := os.Lstat(f.on("copied")); fi.Mode().IsRegular() {
				t.Errorf("Copy(%.80q) copies what is outside", path)
			}
		}
		_ = f.RemoveAll(t.Context(), "copied")
		_, _ = f.Copy(t.Context(), "file", path, workfs.MoveOptions{Overwrite: true, Parents: true})
		check(t, fmt.Sprintf("copying %.80q", path))
	}
	// What moves and removes comes last: it takes the attacks away.
	for _, p := range attacks {
		path := strings.ReplaceAll(p, "%O", outside)
		f.put("plain", "x")
		_, _ = f.Rename("plain", path, workfs.MoveOptions{Overwrite: true, Parents: true})
		_ = f.Remove(path)
		_ = f.RemoveAll(t.Context(), path)
		check(t, fmt.Sprintf("moving and deleting %.80q", path))
	}
	if _, err := f.Stat("."); err != nil {
		t.Errorf("the tree itself is gone: %v", err)
	}
}

func TestLinksInside(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.put("dir/file", "inside")
	for path, target := range map[string]string{
		"relative": "dir/file", "absolute": "/workspace/dir/file", "to-dir": "/workspace/dir", "up-and-down": "dir/../dir/./file",
		"dir/up": "../dir/file", "twice": "relative", "to-top": "/workspace", "//odd": "//workspace//dir//file", "dir/new": "../made",
	} {
		f.link(target, path)
	}
	for _, path := range []string{
		"relative", "absolute", "to-dir/file", "up-and-down", "dir/up", "twice", "to-top/dir/file", "odd", "to-top/to-top/to-dir/up", "/workspace/absolute", "./dir//file",
	} {
		if got := f.get(path); got != "inside" {
			t.Errorf("%s has %q", path, got)
		}
		info, err := f.Stat(path)
		if err != nil || info.Path != "dir/file" {
			t.Errorf("Stat(%s) = %+v, %v, want path dir/file", path, info, err)
		}
	}
	info, err := f.WriteFile("dir/new", strings.NewReader("x"), workfs.CreateOptions{})
	if err != nil || info.Path != "made" || f.get("made") != "x" {
		t.Errorf("writing through a link = %+v, %v", info, err)
	}
	if info, err := f.Lstat("relative"); err != nil || info.Target != "dir/file" || workfs.Kind(info.Mode) != "symlink" {
		t.Errorf("Lstat of a link = %+v, %v", info, err)
	}
	must(t, f.Remove("to-dir"))
	if got := f.get("dir/file"); got != "inside" {
		t.Errorf("removing a link to a directory leaves %q in it", got)
	}
}

func TestReadsHaveABound(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.put("ten", "0123456789")
	f.put("huge", "")
	must(t, os.Truncate(f.on("huge"), 8<<40))
	if b, err := f.ReadFile("ten", 10); err != nil || len(b) != 10 {
		t.Errorf("ReadFile of exactly the limit = %d bytes, %v", len(b), err)
	}
	for path, limit := range map[string]int64{"ten": 9, "huge": 1 << 20} {
		if _, err := f.ReadFile(path, limit); !errors.Is(err, workfs.ErrTooLarge) {
			t.Errorf("ReadFile(%s, %d) = %v, want ErrTooLarge", path, limit, err)
		}
	}
	if _, err := f.Copy(t.Context(), "huge", "copy", workfs.MoveOptions{MaxBytes: 1 << 20}); !errors.Is(err, workfs.ErrTooLarge) {
		t.Errorf("Copy = %v, want ErrTooLarge", err)
	}
	src := io.LimitReader(zeros{}, 1<<30)
	if _, err := f.WriteFile("ten", src, workfs.CreateOptions{MaxBytes: 1 << 20}); !errors.Is(err, workfs.ErrTooLarge) {
		t.Errorf("WriteFile = %v, want ErrTooLarge", err)
	}
	if got := f.get("ten"); got != "0123456789" {
		t.Errorf("a failed write leaves %q", got)
	}
	list, _, err := f.ReadDir(t.Context(), ".", 100)
	if err != nil || len(list) != 2 {
		t.Errorf("after failures there are %v, %v", list, err)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }
