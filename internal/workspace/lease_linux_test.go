package workspace

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// lease takes a lease on a file, as a program in a workspace can, so that who
// opens it has to wait until it is given up.
func lease(t *testing.T, path string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	for deadline := time.Now().Add(20 * time.Second); ; <-time.After(time.Millisecond) {
		_, err := unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_WRLCK)
		if err == nil {
			return
		}
		// A child that another test is starting has open what was open then.
		if err != unix.EAGAIN {
			t.Skip("this file system has no leases:", err)
		}
		if time.Now().After(deadline) {
			t.Fatal("somebody has the file open:", err)
		}
	}
}

// Nobody waits for who holds a lease on a file.
func TestLeases(t *testing.T) {
	t.Parallel()
	d := newDir(t, open(t, t.TempDir(), Options{}), own)
	path := filepath.Join(d.Path(), "leased")
	put(t, path, "old", 0o600)
	snapshot(t, d, "free")
	put(t, path, "new", 0o600)
	lease(t, path)
	start := time.Now()
	shot, err := d.Snapshot(t.Context(), "leased", manyCopies)
	if err != nil || shot.Skipped != 1 || shot.Files != 0 {
		t.Errorf("Snapshot = %+v, %v, want one file skipped", shot, err)
	}
	c, err := d.Diff(t.Context(), "free", wholeDiff)
	if err != nil || len(c.Changed) != 1 {
		t.Errorf("Diff = %+v, %v, want one file changed", c, err)
	}
	if took := time.Since(start); took > 20*time.Second {
		t.Errorf("that took %v", took)
	}
}
