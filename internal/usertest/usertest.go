//go:build unix

// Package usertest runs tests again as an ordinary user, for packages whose tests
// run as root.
package usertest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// nobody is the user.
const nobody = 65534

// Run runs the program of this test again as another user, with args and no
// more of its environment than it needs. It fails the test unless the program
// succeeds and passes the test called proof, which args that choose tests might
// miss; "" asks for none. A test that does not run as root is skipped.
func Run(t *testing.T, proof string, args ...string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("already unprivileged: the tests around this one are what it would run")
	}
	home := t.TempDir()
	if err := errors.Join(OpenWay(filepath.Dir(home)), os.Chmod(home, 0o700), os.Chown(home, nobody, nobody)); err != nil {
		t.Fatal(err)
	}
	args = append(args, fmt.Sprintf("-test.v=%v", proof != "" || testing.Verbose()))
	if end, ok := t.Deadline(); ok { // so that it tells where it hangs
		args = append(args, fmt.Sprintf("-test.timeout=%v", max(time.Until(end)-5*time.Second, time.Second)))
	}
	cmd := exec.CommandContext(t.Context(), Binary(t), args...)
	cmd.Dir = home
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "TMPDIR=" + home, "HOME=" + home}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	out, err := cmd.CombinedOutput()
	switch {
	case err != nil:
		t.Errorf("as uid %d: %v\n%s", nobody, err, out)
	case proof != "" && !strings.Contains(string(out), "--- PASS: "+proof+" "):
		t.Errorf("as uid %d %s did not pass:\n%s", nobody, proof, out)
	case testing.Verbose():
		t.Logf("as uid %d:\n%s", nobody, out)
	}
}

// Binary returns the path of the test's program where every user can execute it: a
// copy, if this is root.
//
// Another program makes the copy. Were it this one, the children that other tests
// start meanwhile would have it open for writing, and then it cannot be executed.
func Binary(t testing.TB) string {
	t.Helper()
	own, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() != 0 {
		return own
	}
	dir := t.TempDir()
	binary := filepath.Join(dir, filepath.Base(own))
	if out, err := exec.CommandContext(t.Context(), "cp", own, binary).CombinedOutput(); err != nil {
		t.Fatalf("copy the test: %v\n%s", err, out)
	}
	if err := errors.Join(OpenWay(dir), os.Chmod(binary, 0o755)); err != nil {
		t.Fatal(err)
	}
	return binary
}

// OpenWay lets every user enter dir, a directory of [testing.T.TempDir], which
// keeps it private.
func OpenWay(dir string) error {
	for ; dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			return err
		}
	}
	return nil
}
