package jail_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/agentflow-go/sandbox/internal/jail"
)

func TestReadOnlyTreesThatLeadElsewhereAreRefused(t *testing.T) {
	t.Parallel()
	base, err := os.MkdirTemp("/var", "sandbox jail ")
	if err != nil {
		t.Skipf("NOT TESTED: jails may not see /tmp, and no directory elsewhere can be made: %v", err)
	}
	t.Cleanup(func() { os.RemoveAll(base) })
	for _, dir := range []string{"fine", "fifo", "system", "system/pts"} {
		if err := os.Mkdir(filepath.Join(base, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(unix.Mkfifo(base+"/fifo/f", 0o666), os.Symlink(base+"/fine", base+"/link")); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		base + "/fifo":      "holds the FIFO",
		base + "/link":      "name \"" + base + "/fine\"",
		base + "/link/.":    "in its shortest form",
		jail.Workspace:      "", // unless it is there
		"/usr/share":        "which jails have",
		"/bin":              "which jails have",
		"/etc/hosts":        "which jails have",
		"/proc/self/root":   "which jails must not see",
		"/var/../var/cache": "in its shortest form",
	}
	// One of its own kind, since /proc mounted anywhere changes what may be mounted.
	if err := unix.Mount("devpts", base+"/system/pts", "devpts", 0, ""); err != nil {
		t.Logf("NOT TESTED: a tree in which a file system of the kernel's is mounted: %v", err)
	} else {
		t.Cleanup(func() { _ = unix.Unmount(base+"/system/pts", unix.MNT_DETACH) })
		want[base+"/system"] = "where devpts is mounted"
		want[base+"/system/pts"] = "where devpts is mounted"
	}
	for path, text := range want {
		h, err := jail.Open(t.Context(), jail.Options{Level: "native", ReadOnly: []string{path}})
		if err == nil {
			h.Close()
		}
		if _, ok := errors.AsType[*jail.ReadOnlyError](err); !ok || !strings.Contains(err.Error(), text) {
			t.Errorf("Open with ReadOnly %s = %v, want %q", path, err, text)
		}
	}
	for _, level := range confined {
		h := open(t, jail.Options{Level: level, ReadOnly: []string{base + "/fine"}})
		if got := sh(t, newJail(t, h), "ls -d /var/sandbox*/fine"); got != base+"/fine\n" {
			t.Errorf("%s: %q", level, got)
		}
	}
}
