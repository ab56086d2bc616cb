package workspace

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestMain lets the test binary play the part of another program.
func TestMain(m *testing.M) {
	switch os.Getenv("WORKSPACE_TEST_PART") {
	case "hold": // open a store, make a workspace and wait to be killed
		s, err := Open(os.Getenv("WORKSPACE_TEST_DIR"), Options{Keep: os.Getenv("WORKSPACE_TEST_KEEP") != ""})
		if err == nil {
			var d *Dir
			if d, err = s.New(DirOptions{UID: -1, GID: -1, Worker: "w"}); err == nil {
				err = os.WriteFile(filepath.Join(d.Path(), "file"), []byte("x"), 0o600)
				fmt.Println(d.Path())
			}
		}
		if err != nil {
			fmt.Println("error:", err)
			os.Exit(1)
		}
		select {}
	case "restore":
		fmt.Println("error:", restoreForEver())
		os.Exit(1)
	}
	os.Exit(run(m))
}

// testBinary is a copy of the test binary where every user can execute it; "" unless
// this is root, who alone runs tests again as somebody else.
var testBinary string

// run makes the copy before any test runs: a child of another test that is being
// started would have it open for writing, and then it cannot be executed.
func run(m *testing.M) int {
	if os.Geteuid() != 0 {
		return m.Run()
	}
	dir, err := os.MkdirTemp("", "workspace-test-")
	if err == nil {
		defer os.RemoveAll(dir)
		testBinary = filepath.Join(dir, "test")
		var b []byte
		if b, err = os.ReadFile("/proc/self/exe"); err == nil {
			err = errors.Join(os.Chmod(dir, 0o755), os.WriteFile(testBinary, b, 0o755))
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// restoreForEver is what the program does that is killed.
func restoreForEver() error {
	s, err := Open(os.Getenv("WORKSPACE_TEST_DIR"), Options{Keep: true})
	if err != nil {
		return err
	}
	d, err := s.New(DirOptions{UID: -1, GID: -1, Worker: "w"})
	if err != nil {
		return err
	}
	for i := 0; ; i++ {
		if _, err := d.Restore(context.Background(), []string{"a", "b"}[i%2], DiffLimits{1 << 20, 1 << 20}); err != nil {
			return err
		}
		fmt.Println(i)
	}
}

// killedProgram runs a program that holds a workspace with a file in dir, or
// in a temporary directory of its own, and kills it. It returns the workspace.
func killedProgram(t *testing.T, dir string, keep bool, env ...string) string {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "WORKSPACE_TEST_PART=hold", "WORKSPACE_TEST_DIR="+dir)
	if keep {
		cmd.Env = append(cmd.Env, "WORKSPACE_TEST_KEEP=1")
	}
	cmd.Env = append(cmd.Env, env...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || strings.HasPrefix(line, "error:") {
		t.Errorf("the other program: %q, %v", line, err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil {
		t.Error("the other program ended by itself")
	}
	return strings.TrimSpace(line)
}

// rerun runs a test again in a child process with the given attributes, and env
// added to the environment.
func rerun(t *testing.T, test string, attr *syscall.SysProcAttr, env ...string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "workspace-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(testBinary, "-test.run=^"+test+"$", "-test.v")
	cmd.Env = append(append(os.Environ(), "TMPDIR="+dir, "HOME="+dir), env...)
	cmd.Dir = dir
	cmd.SysProcAttr = attr
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s in the child: %v\n%s", test, err, out)
	}
	if strings.Contains(string(out), "no tests to run") {
		t.Fatalf("there is no %s to run", test)
	}
}
