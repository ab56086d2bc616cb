package workspace

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

var (
	manyCopies = ShelfLimits{Count: 16, CopyLimits: CopyLimits{Bytes: 1 << 30, Files: 1 << 20}}
	wholeDiff  = DiffLimits{Paths: 1 << 20, Files: 1 << 21}
)

// tree describes everything below a directory that a copy keeps.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	got := map[string]string{}
	inodes := map[uint64]string{}
	var walk func(path string)
	walk = func(path string) {
		entries, err := os.ReadDir(filepath.Join(dir, path))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			at := filepath.Join(path, e.Name())
			fi, err := e.Info()
			if err != nil {
				t.Fatal(err)
			}
			st := fi.Sys().(*syscall.Stat_t)
			text := fmt.Sprintf("%v %d %s", fi.Mode(), fi.Size(), fi.ModTime().UTC().Format("15:04:05.000000000"))
			switch {
			case fi.Mode()&fs.ModeSymlink != 0:
				target, err := os.Readlink(filepath.Join(dir, at))
				if err != nil {
					t.Fatal(err)
				}
				text += " -> " + target
			case fi.Mode().IsRegular() && fi.Size() < 1<<20:
				data, err := os.ReadFile(filepath.Join(dir, at))
				if err != nil {
					t.Fatal(err)
				}
				text += fmt.Sprintf(" %q", data)
			case fi.IsDir():
				text = fmt.Sprintf("%v %s", fi.Mode(), fi.ModTime().UTC().Format("15:04:05.000000000"))
				walk(at)
			}
			if st.Nlink > 1 && fi.Mode().IsRegular() {
				if first := inodes[st.Ino]; first != "" {
					text = "the same as " + first
				} else {
					inodes[st.Ino] = at
				}
			}
			got[at] = text
		}
	}
	walk("")
	return got
}

func snapshot(t *testing.T, d *Dir, name string) Snapshot {
	t.Helper()
	s, err := d.Snapshot(t.Context(), name, manyCopies)
	if err != nil {
		t.Fatalf("Snapshot(%q): %v", name, err)
	}
	return s
}

func put(t *testing.T, path, data string, mode os.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(data), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

// ordinary fills a workspace with one of each that a copy keeps.
func ordinary(t *testing.T, ws string) {
	t.Helper()
	put(t, filepath.Join(ws, "file"), "data", 0o640)
	put(t, filepath.Join(ws, "a/b/program"), strings.Repeat("x", 200_000), 0o755)
	put(t, filepath.Join(ws, "a/empty"), "", 0o600)
	put(t, filepath.Join(ws, "a\nb \xff\xfe"), "strange", 0o644)
	put(t, filepath.Join(ws, "-rf"), "strange too", 0o666)
	mkdir(t, filepath.Join(ws, "a/sticky"), 0o755)
	if err := errors.Join(
		os.Chmod(filepath.Join(ws, "a/sticky"), 0o777|os.ModeSticky),
		os.Symlink("/etc/passwd", filepath.Join(ws, "link")),
		os.Symlink("a", filepath.Join(ws, "to a directory")),
		os.Symlink(strings.Repeat("x", 4000), filepath.Join(ws, "a/long link")),
		os.Link(filepath.Join(ws, "file"), filepath.Join(ws, "a/b/second name")),
		os.Link(filepath.Join(ws, "file"), filepath.Join(ws, "a/third name")),
	); err != nil {
		t.Fatal(err)
	}
	old := []unix.Timespec{{Sec: 1_000_000_000, Nsec: 123_456_789}, {Sec: 1_100_000_000, Nsec: 987_654_321}}
	for _, name := range []string{"file", "link", "a", "a/b"} {
		if err := unix.UtimesNanoAt(unix.AT_FDCWD, filepath.Join(ws, name), old, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			t.Fatal(err)
		}
	}
}

func TestSnapshotKeepsAndRestoresWhatThereIs(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir(), Options{})
	d := newDir(t, s, own)
	ordinary(t, d.Path())
	want := tree(t, d.Path())
	shot := snapshot(t, d, "../first")
	if shot.Files != len(want) || shot.Bytes < 200_000 || shot.Skipped != 0 {
		t.Errorf("snapshot = %+v, want %d files", shot, len(want))
	}
	if changes, err := d.Diff(t.Context(), "../first", wholeDiff); err != nil || !cmp.Equal(changes, Changes{}) {
		t.Errorf("Diff right after the snapshot = %+v, %v", changes, err)
	}
	before, err := os.Stat(d.Path())
	if err != nil {
		t.Fatal(err)
	}

	put(t, filepath.Join(d.Path(), "a/new"), "n", 0o600)
	put(t, filepath.Join(d.Path(), "more/below"), "n", 0o600)
	put(t, filepath.Join(d.Path(), "file"), "atad", 0o640)
	if err := unix.UtimesNanoAt(unix.AT_FDCWD, filepath.Join(d.Path(), "file"), []unix.Timespec{{}, {Sec: 1_100_000_000, Nsec: 987_654_321}}, 0); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.RemoveAll(filepath.Join(d.Path(), "a/b")), os.Remove(filepath.Join(d.Path(), "link")),
		os.Mkdir(filepath.Join(d.Path(), "link"), 0o700), os.Chmod(filepath.Join(d.Path(), "-rf"), 0o600)); err != nil {
		t.Fatal(err)
	}
	changed := []string{"-rf", "a/third name", "file", "link/"}
	changes, err := d.Diff(t.Context(), "../first", wholeDiff)
	if diff := cmp.Diff(Changes{Added: []string{"a/new", "more/"}, Changed: changed, Removed: []string{"a/b/"}}, changes); diff != "" || err != nil {
		t.Errorf("Diff (-want +got): %v\n%s", err, diff)
	}
	changes, err = d.Restore(t.Context(), "../first", wholeDiff)
	if diff := cmp.Diff(Changes{Removed: []string{"a/new", "more/"}, Changed: changed, Added: []string{"a/b/"}}, changes); diff != "" || err != nil {
		t.Errorf("Restore (-want +got): %v\n%s", err, diff)
	}
	if diff := cmp.Diff(want, tree(t, d.Path())); diff != "" {
		t.Errorf("restored workspace (-want +got):\n%s", diff)
	}
	if after, err := os.Stat(d.Path()); err != nil || !os.SameFile(before, after) || !after.ModTime().Equal(before.ModTime()) {
		t.Errorf("the workspace is %v, want the same directory as before, %v", after, before)
	}
	if changes, err := d.Diff(t.Context(), "../first", wholeDiff); err != nil || !cmp.Equal(changes, Changes{}) {
		t.Errorf("Diff after the restore = %+v, %v", changes, err)
	}
	trashIsEmpty(t, s)
	if entries, err := os.ReadDir(d.base); err != nil || len(entries) != 2 {
		t.Errorf("slot holds %v, %v; want workspace and snapshots", entries, err)
	}
	if err := d.DeleteSnapshot(t.Context(), "../first"); err != nil {
		t.Error(err)
	}
	if _, err := d.Restore(t.Context(), "../first", wholeDiff); !errors.Is(err, ErrNoSnapshot) || !strings.Contains(err.Error(), `"../first" (there is none)`) {
		t.Errorf("Restore of a deleted snapshot = %v", err)
	}
	if diff := cmp.Diff(want, tree(t, d.Path())); diff != "" {
		t.Errorf("after a restore that failed (-want +got):\n%s", diff)
	}
}

func TestHostileTreesAreCopied(t *testing.T) {
	t.Parallel()
	outside := t.TempDir()
	put(t, filepath.Join(outside, "canary"), "canary", 0o644)
	tests := []struct {
		name  string
		make  func(t *testing.T, ws string)
		check func(t *testing.T, s Snapshot, ws string) // after the restore
	}{
		{"5,000 nested directories", func(t *testing.T, ws string) { nest(t, ws, 5000) }, func(t *testing.T, s Snapshot, ws string) {
			if s.Files != 5001 {
				t.Errorf("%d files, want 5001", s.Files)
			}
		}},
		{"modes of 000", func(t *testing.T, ws string) {
			nest(t, ws, 40)
			put(t, filepath.Join(ws, "closed"), "secret", 0)
			for at := strings.Repeat("/d", 40); at != ""; at = strings.TrimSuffix(at, "/d") {
				if err := os.Chmod(ws+at, 0); err != nil {
					t.Fatal(err)
				}
			}
		}, func(t *testing.T, s Snapshot, ws string) {
			for at := "/d"; len(at) <= 80; at += "/d" {
				fi, err := os.Lstat(ws + at)
				if err != nil {
					t.Fatal(err)
				}
				if fi.Mode().Perm() != 0 {
					t.Fatalf("%s has mode %v, want 000", at, fi.Mode())
				}
				if err := os.Chmod(ws+at, 0o700); err != nil {
					t.Fatal(err)
				}
			}
			if !exists(ws + strings.Repeat("/d", 40) + "/file") {
				t.Error("the file in the last directory is gone")
			}
			if fi, err := os.Lstat(filepath.Join(ws, "closed")); err != nil || fi.Mode().Perm() != 0 || fi.Size() != 6 {
				t.Errorf("closed file: %v, %v", fi, err)
			}
		}},
		{"special files", func(t *testing.T, ws string) {
			put(t, filepath.Join(ws, "set-id"), "x", 0o755|os.ModeSetuid|os.ModeSetgid)
			if err := unix.Mkfifo(filepath.Join(ws, "fifo"), 0o600); err != nil {
				t.Fatal(err)
			}
			at, err := os.Open(ws)
			if err != nil {
				t.Fatal(err)
			}
			defer at.Close()
			fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer unix.Close(fd)
			if err := unix.Bind(fd, &unix.SockaddrUnix{Name: procPath(int(at.Fd())) + "/s"}); err != nil {
				t.Fatal(err)
			}
			if privileged {
				if err := unix.Mknod(filepath.Join(ws, "null"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))); err != nil {
					t.Fatal(err)
				}
			}
		}, func(t *testing.T, s Snapshot, ws string) {
			if want := 2 + map[bool]int{true: 1}[privileged]; s.Skipped != want || s.Files != 1 {
				t.Errorf("%+v, want %d skipped and 1 file", s.CopyStats, want)
			}
			if fi, err := os.Lstat(filepath.Join(ws, "set-id")); err != nil || fi.Mode() != 0o755 {
				t.Errorf("set-id file became %v, %v", fi, err)
			}
		}},
		{"links to outside", func(t *testing.T, ws string) {
			for i, target := range []string{outside, filepath.Join(outside, "canary"), "..", "/", "loop4"} {
				if err := os.Symlink(target, filepath.Join(ws, fmt.Sprint("loop", i))); err != nil {
					t.Fatal(err)
				}
			}
		}, func(t *testing.T, s Snapshot, ws string) {
			if s.Files != 5 || s.Bytes != 0 {
				t.Errorf("%+v, want 5 links and no data", s.CopyStats)
			}
		}},
		{"a sparse file of 8 TiB", func(t *testing.T, ws string) {
			f, err := os.Create(filepath.Join(ws, "huge"))
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			_, err = f.WriteAt([]byte("end"), 8<<40-8192)
			if err := errors.Join(err, f.Truncate(8<<40)); err != nil {
				t.Fatal(err)
			}
		}, func(t *testing.T, s Snapshot, ws string) {
			f, err := os.Open(filepath.Join(ws, "huge"))
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			fi, err := f.Stat()
			if err != nil {
				t.Fatal(err)
			}
			end := make([]byte, 3)
			if _, err := f.ReadAt(end, 8<<40-8192); err != nil || string(end) != "end" || fi.Size() != 8<<40 {
				t.Errorf("%d bytes, ending in %q: %v", fi.Size(), end, err)
			}
			if used := fi.Sys().(*syscall.Stat_t).Blocks * 512; used > 1<<20 || s.Bytes > 1<<20 {
				t.Errorf("the copies take %d and %d bytes", used, s.Bytes)
			}
		}},
		{"a workspace of mode 000", func(t *testing.T, ws string) {
			write(t, filepath.Join(ws, "file"))
			if err := os.Chmod(ws, 0); err != nil {
				t.Fatal(err)
			}
		}, func(t *testing.T, s Snapshot, ws string) {
			if !exists(filepath.Join(ws, "file")) || s.Files != 1 {
				t.Errorf("%+v, want the file", s.CopyStats)
			}
		}},
		{"directories that cannot be written at the top", func(t *testing.T, ws string) {
			write(t, filepath.Join(ws, "file"))
			put(t, filepath.Join(ws, "d", "file"), "x", 0o400)
			if err := os.Chmod(filepath.Join(ws, "d"), 0o555); err != nil {
				t.Fatal(err)
			}
		}, func(t *testing.T, s Snapshot, ws string) {
			if fi, err := os.Lstat(filepath.Join(ws, "d")); err != nil || fi.Mode().Perm() != 0o555 {
				t.Errorf("%v, %v", fi, err)
			}
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := open(t, t.TempDir(), Options{})
			d := newDir(t, s, own)
			tt.make(t, d.Path())
			shot := snapshot(t, d, "x")
			if changes, err := d.Diff(t.Context(), "x", wholeDiff); err != nil || len(changes.Changed) > map[bool]int{true: 1}[tt.name == "special files"] || changes.Removed != nil {
				t.Errorf("Diff = %+v, %v", changes, err)
			}
			if _, err := d.Restore(t.Context(), "x", wholeDiff); err != nil {
				t.Fatal(err)
			}
			if changes, err := d.Diff(t.Context(), "x", wholeDiff); err != nil || !cmp.Equal(changes, Changes{}) {
				t.Errorf("Diff after the restore = %+v, %v", changes, err)
			}
			tt.check(t, shot, d.Path())
			f, _, err := s.Fork(t.Context(), d, "", worker("fork"), manyCopies.CopyLimits)
			if err != nil {
				t.Fatal(err)
			}
			release(t, f, false)
			release(t, d, false)
			trashIsEmpty(t, s)
			if data, err := os.ReadFile(filepath.Join(outside, "canary")); err != nil || string(data) != "canary" {
				t.Fatalf("canary: %q, %v", data, err)
			}
		})
	}
}

func TestSnapshotsAreBounded(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir(), Options{})
	d := newDir(t, s, own)
	put(t, filepath.Join(d.Path(), "a"), strings.Repeat("x", 100_000), 0o600)
	put(t, filepath.Join(d.Path(), "b"), "b", 0o600)
	tests := []struct {
		name   string
		limits ShelfLimits
	}{
		{"size", ShelfLimits{4, CopyLimits{50_000, 10}}},
		{"files", ShelfLimits{4, CopyLimits{1 << 20, 1}}},
		{"number", ShelfLimits{0, CopyLimits{1 << 20, 10}}},
	}
	for _, tt := range tests {
		if _, err := d.Snapshot(t.Context(), tt.name, tt.limits); !errors.Is(err, ErrLimit) {
			t.Errorf("%s: Snapshot = %v, want %v", tt.name, err, ErrLimit)
		}
	}
	if _, err := d.Snapshot(t.Context(), "one", ShelfLimits{4, CopyLimits{150_000, 10}}); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Snapshot(t.Context(), "two", ShelfLimits{4, CopyLimits{150_000, 10}}); !errors.Is(err, ErrLimit) {
		t.Errorf("a second snapshot: %v, want it over the total", err)
	}
	if _, err := d.Snapshot(t.Context(), "one", manyCopies); !errors.Is(err, ErrSnapshotExists) {
		t.Errorf("the same name again: %v", err)
	}
	for _, name := range []string{"", strings.Repeat("x", 257)} {
		if _, err := d.Snapshot(t.Context(), name, manyCopies); err == nil {
			t.Errorf("a name of %d bytes was accepted", len(name))
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := d.Snapshot(ctx, "late", manyCopies); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled snapshot: %v", err)
	}
	shots, err := d.Snapshots(t.Context())
	if err != nil || len(shots) != 1 || shots[0].Name != "one" {
		t.Errorf("Snapshots = %+v, %v", shots, err)
	}
	trashIsEmpty(t, s)
	if entries, err := os.ReadDir(d.shotPath()); err != nil || len(entries) != 1 {
		t.Errorf("on disk: %v, %v; want one snapshot", entries, err)
	}
	changes, err := d.Diff(t.Context(), "one", DiffLimits{Paths: 1, Files: 100})
	if err != nil || changes.Truncated {
		t.Errorf("Diff = %+v, %v", changes, err)
	}
	put(t, filepath.Join(d.Path(), "c"), "c", 0o600)
	put(t, filepath.Join(d.Path(), "e"), "e", 0o600)
	changes, err = d.Diff(t.Context(), "one", DiffLimits{Paths: 1, Files: 100})
	if err != nil || !changes.Truncated || len(changes.Added) != 1 {
		t.Errorf("Diff = %+v, %v, want one of two and truncated", changes, err)
	}
	release(t, d, false)
	if _, err := d.Snapshot(t.Context(), "late", manyCopies); !errors.Is(err, ErrReleased) {
		t.Errorf("Snapshot of a released workspace = %v", err)
	}
	if exists(d.base) {
		t.Error("the snapshots outlived their worker")
	}
}

func TestSnapshotsOfKeptWorkspaces(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	uid := os.Geteuid()
	for i := range 3 { // each time found by a new program
		s, err := Open(dir, Options{Keep: true})
		if err != nil {
			t.Fatal(err)
		}
		if privileged {
			uid = 70_000 + i
		}
		d := newDir(t, s, DirOptions{UID: uid, GID: uid, Worker: "w"})
		put(t, filepath.Join(d.Path(), "file"), fmt.Sprint(i), 0o600)
		if i > 0 {
			shots, err := d.Snapshots(t.Context())
			names := []string{}
			for _, s := range shots {
				names = append(names, s.Name)
			}
			if want := []string{"0\xff", "1\xff"}[:i]; err != nil || !slices.Equal(names, want) {
				t.Errorf("Snapshots = %q, %v; want %q", names, err, want)
			}
			if _, err := d.Restore(t.Context(), "0\xff", wholeDiff); err != nil {
				t.Error(err)
			}
			fi, err := os.Stat(filepath.Join(d.Path(), "file"))
			if data, rerr := os.ReadFile(filepath.Join(d.Path(), "file")); errors.Join(err, rerr) != nil || string(data) != "0" || int(fi.Sys().(*syscall.Stat_t).Uid) != uid {
				t.Errorf("restored %q, %v, of %v", data, errors.Join(err, rerr), fi)
			}
		}
		snapshot(t, d, fmt.Sprintf("%d\xff", i))
		// What a program left that died in the middle of a snapshot.
		mkdir(t, d.shotPath(trashName()), 0o700)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestSnapshotOfManyEntries has as many names of a file as a file can have, and
// more links than are read of a directory in one go.
func TestSnapshotOfManyEntries(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir(), Options{})
	d := newDir(t, s, own)
	const entries = 100_000
	for i := range 1000 {
		if err := os.Symlink("first", filepath.Join(d.Path(), fmt.Sprint("link", i))); err != nil {
			t.Fatal(err)
		}
	}
	file, files := "", 0
	for i := 1000; i < entries; i++ {
		at := filepath.Join(d.Path(), fmt.Sprint("name", i))
		if file != "" {
			err := os.Link(file, at)
			if err == nil {
				continue
			}
			if !errors.Is(err, unix.EMLINK) {
				t.Fatal(err)
			}
		}
		write(t, at)
		file, files = at, files+1
	}
	shot := snapshot(t, d, "x")
	// The copy needs a further name of each while it is made, and so perhaps a
	// further file.
	if shot.Files != entries || shot.Skipped != 0 || shot.Bytes > int64(2*files) {
		t.Errorf("%+v, want %d entries of %d files", shot, entries, files)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	c, err := d.Diff(t.Context(), "x", wholeDiff)
	if diff := cmp.Diff(Changes{Removed: []string{filepath.Base(file)}}, c); diff != "" || err != nil {
		t.Errorf("Diff (-want +got): %v\n%s", err, diff)
	}
}
