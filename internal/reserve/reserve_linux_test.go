package reserve_test

import (
	"bufio"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"

	"github.com/agentflow-go/sandbox/internal/reserve"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// holder, in the environment, turns the test binary into a program that takes
// two numbers of that file, releases the second and waits to be killed.
const holder = "RESERVE_TEST_HOLD"

func TestMain(m *testing.M) {
	if path := os.Getenv(holder); path != "" {
		f, err := reserve.Open(path)
		if err != nil {
			panic(err)
		}
		for range 2 {
			if _, _, err := f.Take(); err != nil {
				panic(err)
			}
		}
		if err := f.Release(1); err != nil {
			panic(err)
		}
		os.Stdout.WriteString("held\n")
		io.Copy(io.Discard, os.Stdin) // until it is killed; a bare select would be a deadlock
	}
	os.Exit(m.Run())
}

func open(t *testing.T, path string) *reserve.File {
	t.Helper()
	f, err := reserve.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func take(t *testing.T, f *reserve.File, want int, wantDirty bool) {
	t.Helper()
	n, dirty, err := f.Take()
	if n != want || dirty != wantDirty || err != nil {
		t.Fatalf("Take() = %d, %v, %v, want %d, %v, nil", n, dirty, err, want, wantDirty)
	}
}

func TestSmallestFreeNumber(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "lock")
	a, b := open(t, path), open(t, path)
	take(t, a, 0, false)
	take(t, a, 1, false)
	take(t, b, 2, false)
	take(t, a, 3, false)
	if err := a.Release(1); err != nil {
		t.Fatal(err)
	}
	take(t, b, 1, false)
	take(t, b, 4, false)
	if _, err := a.TakeN(2); !errors.Is(err, reserve.ErrTaken) {
		t.Errorf("TakeN(2) of another's number = %v, want ErrTaken", err)
	}
	if _, err := a.TakeN(0); !errors.Is(err, reserve.ErrTaken) {
		t.Errorf("TakeN(0) of an own number = %v, want ErrTaken", err)
	}
	if dirty, err := a.TakeN(9); dirty || err != nil {
		t.Errorf("TakeN(9) = %v, %v, want false, nil", dirty, err)
	}
	if err := a.Release(2); err == nil {
		t.Error("Release(2) of another's number succeeded")
	}
	for _, n := range []int{-1, reserve.Max} {
		if _, err := a.TakeN(n); err == nil {
			t.Errorf("TakeN(%d) succeeded", n)
		}
	}
}

func TestCloseFreesAndLeavesDirty(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "lock")
	a, b := open(t, path), open(t, path)
	take(t, a, 0, false)
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	take(t, b, 0, true)
	if _, _, err := a.Take(); !errors.Is(err, reserve.ErrClosed) {
		t.Errorf("Take() after Close = %v, want ErrClosed", err)
	}
	if err := a.Release(0); !errors.Is(err, reserve.ErrClosed) {
		t.Errorf("Release(0) after Close = %v, want ErrClosed", err)
	}
}

func TestKilledHolderLeavesItsNumberDirty(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "lock")
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), exe)
	cmd.Env = append(os.Environ(), holder+"="+path)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	f := open(t, path)
	take(t, f, 1, false)
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	cmd.Wait() // it was killed: the error says nothing new
	take(t, f, 0, true)
}

func TestConcurrentTakersGetDifferentNumbers(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "lock")
	const files, each = 4, 50
	var (
		wg   sync.WaitGroup
		mu   sync.Mutex
		seen = map[int]int{}
	)
	for range files {
		f := open(t, path)
		for range 2 {
			wg.Go(func() {
				for range each {
					n, _, err := f.Take()
					if err != nil {
						t.Error(err)
						return
					}
					mu.Lock()
					seen[n]++
					mu.Unlock()
				}
			})
		}
	}
	wg.Wait()
	want := map[int]int{}
	for n := range files * 2 * each {
		want[n] = 1
	}
	if diff := cmp.Diff(want, seen); diff != "" {
		t.Errorf("numbers taken (-want +got):\n%s", diff)
	}
}

func TestAllTaken(t *testing.T) {
	t.Parallel()
	f := open(t, filepath.Join(t.TempDir(), "lock"))
	for range reserve.Max {
		if _, _, err := f.Take(); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := f.Take(); !errors.Is(err, reserve.ErrNone) {
		t.Errorf("Take() past the last = %v, want ErrNone", err)
	}
}

func TestOpenRefusesWhatOthersControl(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	open(t, filepath.Join(dir, "real"))
	if err := os.Symlink("real", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "wide"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(dir, "wide"), 0o666); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"link", "wide", ".", "no/such"} {
		if f, err := reserve.Open(filepath.Join(dir, name)); err == nil {
			f.Close()
			t.Errorf("Open(%q) succeeded", name)
		}
	}
}

func BenchmarkTakeRelease(b *testing.B) {
	f, err := reserve.Open(filepath.Join(b.TempDir(), "lock"))
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	b.ReportAllocs()
	for b.Loop() {
		n, _, err := f.Take()
		if err != nil {
			b.Fatal(err)
		}
		if err := f.Release(n); err != nil {
			b.Fatal(err)
		}
	}
}

// TestCloseFreesWhatALeakedDescriptorHolds is about children of this program
// between fork and exec, which have all its descriptors.
func TestCloseFreesWhatALeakedDescriptorHolds(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "numbers")
	f, err := reserve.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := f.Take(); err != nil {
		t.Fatal(err)
	}
	leaked := -1
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range fds {
		if to, _ := os.Readlink("/proc/self/fd/" + e.Name()); to == path {
			n, err := strconv.Atoi(e.Name())
			if err == nil {
				leaked, err = unix.Dup(n)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	if leaked < 0 {
		t.Fatalf("no descriptor of %s", path)
	}
	defer unix.Close(leaked)
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := reserve.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if dirty, err := again.TakeN(0); err != nil || !dirty {
		t.Errorf("TakeN(0) = %v, %v; want it free, and dirty", dirty, err)
	}
}
