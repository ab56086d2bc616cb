package jail

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// What a script told is lost with it when it fails, in the broker as in this
// program.
func TestFailedScriptsLeaveNoDescriptors(t *testing.T) {
	t.Parallel()
	s := newStarter()
	defer s.close()
	// A file of its own, so that other tests' descriptors are no matter.
	f, err := os.CreateTemp(t.TempDir(), "told")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	build := func(fails bool) *script {
		sc := newScript()
		sc.tell(sc.get("open", unix.SYS_OPENAT, unix.AT_FDCWD, path(f.Name()), unix.O_RDONLY|unix.O_CLOEXEC, 0))
		if fails {
			sc.call("close", unix.SYS_CLOSE, int(^uint32(0)>>1))
		}
		return sc
	}
	count := func(pid int) (n int) {
		dir := fmt.Sprintf("/proc/%d/fd", pid)
		all, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range all {
			if to, err := os.Readlink(dir + "/" + e.Name()); err == nil && to == f.Name() {
				n++
			}
		}
		return n
	}
	runs := map[string]func(*script) ([]int, error){
		"here":  func(sc *script) ([]int, error) { defer sc.close(); return sc.here() },
		"child": func(sc *script) ([]int, error) { sc.end(); return s.child(sc, 0) },
	}
	for name, run := range runs {
		told, err := run(build(false))
		if err != nil || len(told) != 1 {
			t.Fatalf("%s: %v, %v, want one descriptor", name, told, err)
		}
		if n := count(os.Getpid()); n != 2 {
			t.Errorf("%s: this program has %d descriptors of the file, want 2", name, n)
		}
		closeAll(told)
		told, err = run(build(true))
		if failed, ok := errors.AsType[*scriptError](err); !ok || failed.what != "close" || failed.errno != unix.EBADF || told != nil {
			t.Errorf("%s: %v, %v, want the step that fails", name, told, err)
		}
		if n := count(os.Getpid()); n != 1 {
			t.Errorf("%s: afterwards this program has %d descriptors of the file, want 1", name, n)
		}
	}
	// The broker closes its own after it has answered.
	patience, tick := time.After(10*time.Second), time.NewTicker(5*time.Millisecond)
	defer tick.Stop()
	for n := count(s.broker.p.Pid); n != 0; n = count(s.broker.p.Pid) {
		select {
		case <-patience:
			t.Fatalf("the broker has %d descriptors of the file, want 0", n)
		case <-tick.C:
		}
	}
}

func TestScriptsHaveABoundedNumberOfDescriptors(t *testing.T) {
	t.Parallel()
	s := newStarter()
	defer s.close()
	sc := newScript()
	for range maxFDs {
		sc.call("look at", unix.SYS_FCNTL, os.Stdin, unix.F_GETFD)
	}
	sc.end()
	if _, err := s.child(sc, 0); err == nil || !strings.Contains(err.Error(), "bind fewer paths") {
		t.Errorf("child() = %v, want an error that says what to do", err)
	}
}
