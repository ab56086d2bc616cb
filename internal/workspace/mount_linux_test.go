package workspace

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// elsewhere gives a workspace a file system of its own: as root one that only a
// descriptor holds, which its path leads through; else a directory of another one.
func elsewhere(t *testing.T, d *Dir) {
	t.Helper()
	if !privileged {
		dir, err := os.MkdirTemp("/dev/shm", "workspace-test-")
		if err != nil {
			t.Skipf("no second file system to test with: %v", err)
		}
		t.Cleanup(func() { os.RemoveAll(dir) })
		d.path = dir
		return
	}
	fs, err := unix.Fsopen("tmpfs", unix.FSOPEN_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fs)
	if err := unix.FsconfigCreate(fs); err != nil {
		t.Fatal(err)
	}
	mount, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(mount) })
	if err := unix.Mkdirat(mount, "workspace", 0o700); err != nil {
		t.Fatal(err)
	}
	d.path = procPath(mount) + "/workspace"
}

func TestSnapshotsOfAWorkspaceOnItsOwnFileSystem(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir(), Options{})
	d := newDir(t, s, own)
	elsewhere(t, d)
	ordinary(t, d.Path())
	want := tree(t, d.Path())
	snapshot(t, d, "x")
	put(t, filepath.Join(d.Path(), "more", "f"), "x", 0o600)
	nest(t, filepath.Join(d.Path(), "more"), 200)
	if err := os.RemoveAll(filepath.Join(d.Path(), "a")); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		changes, err := d.Restore(t.Context(), "x", wholeDiff)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, tree(t, d.Path())); diff != "" {
			t.Errorf("after %+v the workspace is (-want +got):\n%s", changes, diff)
		}
	}
	f, _, err := s.Fork(t.Context(), d, "", worker("f"), manyCopies.CopyLimits)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, tree(t, f.Path())); diff != "" {
		t.Errorf("fork (-want +got):\n%s", diff)
	}
}
