package dockerd

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/ory/dockertest/v3"
)

func TestADaemonLeavesNothing(t *testing.T) {
	t.Parallel()
	d, err := Start(t.Context())
	if errors.Is(err, ErrNoEngine) {
		t.Skipf("SKIPPED: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	pool, err := dockertest.NewPool(d.Host)
	if err != nil {
		t.Error(err)
	} else if err := pool.Client.Ping(); err != nil {
		t.Errorf("Ping() = %v", err)
	}
	if err := d.Close(); err != nil {
		t.Errorf("Close() = %v", err)
	}
	if _, err := os.Lstat(d.dir); !os.IsNotExist(err) {
		t.Errorf("%s is still there: %v", d.dir, err)
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil || bytes.Contains(mounts, []byte(d.dir)) {
		t.Errorf("mounts below %s are left (%v):\n%s", d.dir, err, mounts)
	}
	if groups, _ := filepath.Glob("/sys/fs/cgroup/*/" + d.groups); len(groups) > 0 {
		t.Errorf("control groups are left: %q", groups)
	}
	lines, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, path := range lines {
		if line, err := os.ReadFile(path); err == nil && bytes.Contains(line, []byte(d.dir)) {
			t.Errorf("%s still runs: %q", path, line)
		}
	}
}
