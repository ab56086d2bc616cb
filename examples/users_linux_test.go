package examples_test

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// user is whom an example runs as.
type user struct {
	name string
	tmp  string // a directory of the user's own
	attr *syscall.SysProcAttr
}

// users returns who is running this test and, if that is root, somebody who is
// not: the examples must work for both.
func users(t *testing.T) []user {
	self := user{name: "the user of this test", tmp: t.TempDir()}
	if os.Getuid() != 0 {
		return []user{self}
	}
	const nobody = 65534
	tmp := t.TempDir()
	if err := os.Chown(tmp, nobody, nobody); err != nil {
		t.Fatal(err)
	}
	openWay(t, tmp)
	return []user{self, {
		name: "nobody", tmp: tmp,
		attr: &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}},
	}}
}

// openWay lets every user reach dir, which TempDir keeps private.
func openWay(t *testing.T, dir string) {
	t.Helper()
	for dir = filepath.Dir(dir); dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
}
