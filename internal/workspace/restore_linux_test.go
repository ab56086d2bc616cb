package workspace

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// twoStates makes two snapshots, "a" and "b", of workspaces that have nothing
// in common but names, and returns what each has at its top.
func twoStates(t *testing.T, d *Dir) map[string][]string {
	t.Helper()
	states := map[string][]string{}
	for _, name := range []string{"a", "b"} {
		for i := range 40 {
			at := filepath.Join(d.Path(), fmt.Sprint(name, i))
			if i%2 == 0 {
				at = filepath.Join(d.Path(), fmt.Sprint("both", i))
			}
			put(t, filepath.Join(at, name), name, 0o600)
		}
		entries, err := os.ReadDir(d.Path())
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			states[name] = append(states[name], e.Name())
		}
		snapshot(t, d, name)
		for _, e := range entries {
			if err := os.RemoveAll(filepath.Join(d.Path(), e.Name())); err != nil {
				t.Fatal(err)
			}
		}
	}
	return states
}

// whichState says which of two states a workspace is in as a whole.
func whichState(t *testing.T, ws string, states map[string][]string) string {
	t.Helper()
	entries, err := os.ReadDir(ws)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	for state, want := range states {
		if !slices.Equal(names, want) {
			continue
		}
		for _, name := range names {
			if data, err := os.ReadFile(filepath.Join(ws, name, state)); err != nil || string(data) != state {
				t.Errorf("%s/%s holds %q, %v", name, state, data, err)
			}
		}
		return state
	}
	t.Errorf("the workspace is in neither state: %q", names)
	return ""
}

func TestAProgramIsKilledWhileItRestores(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, dir, Options{Keep: true})
	d := newDir(t, s, worker("w"))
	states := twoStates(t, d)
	if _, err := d.Restore(t.Context(), "a", wholeDiff); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	found := map[string]int{}
	for i := range 9 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "WORKSPACE_TEST_PART=restore", "WORKSPACE_TEST_DIR="+dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewReader(out)
		line, err := lines.ReadString('\n')
		for range i % 3 {
			line, err = lines.ReadString('\n')
		}
		if err != nil || strings.HasPrefix(line, "error:") {
			t.Errorf("the other program: %q, %v", line, err)
		}
		for begin := time.Now(); time.Since(begin) < time.Duration(i)*time.Millisecond/2; { // each time at another place
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // killed
		s, err := Open(dir, Options{Keep: true})
		if err != nil {
			t.Fatal(err)
		}
		d := newDir(t, s, worker("w"))
		found[whichState(t, d.Path(), states)]++
		if exists(filepath.Join(d.base, restoreDir)) {
			t.Error("the interrupted restore was not cleared away")
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("states found: %v", found)
}

// TestInterruptedRestoresAreCompleted stops a restore after each of its steps.
func TestInterruptedRestoresAreCompleted(t *testing.T) {
	t.Parallel()
	stop := errors.New("stop")
	steps := []struct {
		name string
		run  func(t *testing.T, r *restore) error
		want string
	}{
		{"before the copy", func(*testing.T, *restore) error { return stop }, "a"},
		{"before emptying", func(t *testing.T, r *restore) error { return stop }, "a"},
		{"while emptying", func(t *testing.T, r *restore) error {
			return errors.Join(r.mark(outMark), r.away("both0"), r.away("a1"), stop)
		}, "b"},
		{"when empty", func(t *testing.T, r *restore) error { return errors.Join(r.mark(outMark), r.empty(), stop) }, "b"},
		{"while filling", func(t *testing.T, r *restore) error {
			return errors.Join(r.mark(outMark), r.empty(), r.mark(inMark), move(r.new, "both2", r.ws, "both2"), stop)
		}, "b"},
		{"when full", func(t *testing.T, r *restore) error { return errors.Join(r.swap(nil), stop) }, "b"},
	}
	for _, staged := range []bool{false, true} {
		for i, tt := range steps {
			t.Run(fmt.Sprintf("%s, staged %v", tt.name, staged), func(t *testing.T) {
				t.Parallel()
				s := open(t, t.TempDir(), Options{})
				d := newDir(t, s, worker("w"))
				states := twoStates(t, d)
				if _, err := d.Restore(t.Context(), "a", wholeDiff); err != nil {
					t.Fatal(err)
				}
				b, err := d.find("b")
				if err != nil {
					t.Fatal(err)
				}
				from, err := openTop(d.shotPath(b.id, shotTree))
				if err != nil {
					t.Fatal(err)
				}
				defer from.Close()
				ws, err := openTop(d.Path())
				if err != nil {
					t.Fatal(err)
				}
				defer ws.Close()
				same := func(a, b *os.File) (bool, error) { return !staged, nil }
				r, err := d.prepare(ws, same)
				if err != nil {
					t.Fatal(err)
				}
				if i > 0 {
					if err := r.copy(t.Context(), from, b); err != nil {
						t.Fatal(err)
					}
				}
				if err := tt.run(t, r); !errors.Is(err, stop) || len(strings.Split(err.Error(), "\n")) > 1 {
					t.Fatal(err)
				}
				r.close()
				release(t, d, true)
				d = newDir(t, s, worker("w"))
				if got := whichState(t, d.Path(), states); got != tt.want {
					t.Errorf("state %q, want %q", got, tt.want)
				}
				if changes, err := d.Diff(t.Context(), tt.want, wholeDiff); err != nil || !cmp.Equal(changes, Changes{}) {
					t.Errorf("Diff = %+v, %v", changes, err)
				}
				if _, err := d.Restore(t.Context(), "a", wholeDiff); err != nil {
					t.Error(err)
				}
				trashIsEmpty(t, s)
			})
		}
	}
}

func TestAFailedSwapIsUndone(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir(), Options{})
	d := newDir(t, s, own)
	states := twoStates(t, d)
	if _, err := d.Restore(t.Context(), "a", wholeDiff); err != nil {
		t.Fatal(err)
	}
	ws, err := openTop(d.Path())
	if err != nil {
		t.Fatal(err)
	}
	defer ws.Close()
	r, err := d.prepare(ws, sameMount)
	if err != nil {
		t.Fatal(err)
	}
	defer r.close()
	// The mark cannot be made, half-way.
	mkdir(t, filepath.Join(r.dir, inMark), 0o700)
	write(t, filepath.Join(r.dir, inMark, "x"))
	if err := r.swap(nil); err == nil || r.stuck {
		t.Errorf("swap = %v, stuck %v", err, r.stuck)
	}
	if got := whichState(t, d.Path(), states); got != "a" {
		t.Errorf("state %q, want a", got)
	}
	if err := d.clear(r); err != nil {
		t.Error(err)
	}
	if changes, err := d.Restore(t.Context(), "b", wholeDiff); err != nil || len(changes.Added) == 0 {
		t.Errorf("Restore = %+v, %v", changes, err)
	}
}

// TestARacingWriterGetsNothingFromOutside has goroutines in place of a hostile
// process: they swap directories for links to outside, and write, as fast as
// they can.
func TestARacingWriterGetsNothingFromOutside(t *testing.T) {
	t.Parallel()
	outside := t.TempDir()
	for i := range 20 {
		put(t, filepath.Join(outside, fmt.Sprint("f", i)), "canary", 0o644)
	}
	s := open(t, t.TempDir(), Options{})
	d := newDir(t, s, own)
	ws := d.Path()
	for i := range 200 {
		put(t, filepath.Join(ws, fmt.Sprint("d", i%10), fmt.Sprint("f", i%20)), "mine", 0o644)
	}
	if err := os.Symlink(outside, filepath.Join(ws, "trap")); err != nil {
		t.Fatal(err)
	}
	nest(t, ws, 100)
	in, err := os.OpenRoot(ws) // the attackers themselves must not get outside
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	stop := make(chan struct{})
	var wg sync.WaitGroup
	attack := func(f func(i int)) {
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
					f(i)
				}
			}
		})
	}
	// In each the errors are those of the other attackers' doing.
	attack(func(i int) { // a directory and a link change places
		_ = unix.Renameat2(unix.AT_FDCWD, filepath.Join(ws, fmt.Sprint("d", i%10)), unix.AT_FDCWD, filepath.Join(ws, "trap"), unix.RENAME_EXCHANGE)
	})
	attack(func(i int) { // a file and a link
		at := filepath.Join(fmt.Sprint("d", i%10), fmt.Sprint("f", i%20))
		_ = in.Remove(at)
		_ = in.Symlink(filepath.Join(outside, fmt.Sprint("f", i%20)), at)
		_ = in.Remove(at)
		_ = in.WriteFile(at, []byte("mine"), 0o644)
	})
	attack(func(i int) { // deep directories move up and down
		_ = os.Rename(filepath.Join(ws, strings.Repeat("d/", 50)), filepath.Join(ws, fmt.Sprint("moved", i%3)))
		_ = os.Rename(filepath.Join(ws, fmt.Sprint("moved", i%3)), filepath.Join(ws, strings.Repeat("d/", 50)))
	})
	for i := range 10 {
		name := fmt.Sprint(i)
		shot, err := d.Snapshot(t.Context(), name, ShelfLimits{100, manyCopies.CopyLimits})
		if err != nil {
			t.Errorf("Snapshot: %v", err)
			break
		}
		if _, err := d.Diff(t.Context(), name, wholeDiff); err != nil {
			t.Errorf("Diff: %v", err)
		}
		if i%5 == 4 {
			if _, err := d.Restore(t.Context(), name, wholeDiff); err != nil {
				t.Errorf("Restore: %v", err)
			}
		}
		if shot.Bytes%4 != 0 { // every file is "mine"
			t.Errorf("%d bytes", shot.Bytes)
		}
	}
	close(stop)
	wg.Wait()
	shots, err := d.Snapshots(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, shot := range shots {
		for at, text := range tree(t, d.shotPath(shot.id, shotTree)) {
			if strings.Contains(text, "canary") {
				t.Fatalf("snapshot %s: %s is %s", shot.Name, at, text)
			}
		}
	}
	left := slices.Sorted(maps.Keys(tree(t, outside)))
	if len(left) != 20 {
		t.Errorf("outside holds %q", left)
	}
}

func TestFilesOfOthersWithFurtherNamesAreLeftOut(t *testing.T) {
	t.Parallel()
	if !privileged {
		t.Skip("needs root: only it could read such a file")
	}
	dir := t.TempDir()
	s := open(t, dir, Options{})
	d := newDir(t, s, DirOptions{UID: 70_100, GID: 70_100})
	put(t, filepath.Join(dir, "secret"), "secret", 0o600)
	put(t, filepath.Join(d.Path(), "made by the host"), "x", 0o600)
	if err := os.Link(filepath.Join(dir, "secret"), filepath.Join(d.Path(), "link")); err != nil {
		t.Fatal(err)
	}
	if shot := snapshot(t, d, "x"); shot.Files != 1 || shot.Skipped != 1 {
		t.Errorf("%+v, want one file and one skipped", shot.CopyStats)
	}
	f, _, err := s.Fork(t.Context(), d, "", DirOptions{UID: 70_101, GID: 70_102, Worker: "f"}, manyCopies.CopyLimits)
	if err != nil {
		t.Fatal(err)
	}
	fi, err := os.Lstat(filepath.Join(f.Path(), "made by the host"))
	if err != nil {
		t.Fatal(err)
	}
	if st := fi.Sys().(*syscall.Stat_t); st.Uid != 70_101 || st.Gid != 70_102 {
		t.Errorf("the fork's file belongs to %d:%d", st.Uid, st.Gid)
	}
	if exists(filepath.Join(f.Path(), "link")) {
		t.Error("the fork has somebody else's file")
	}
}

func TestReleaseEndsWhatIsBeingCopied(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir(), Options{})
	d := newDir(t, s, own)
	project(t, d.Path(), 3000)
	results := make(chan error, 3)
	go func() {
		_, err := d.Snapshot(context.Background(), "x", manyCopies)
		results <- err
	}()
	for i := range 2 {
		go func() {
			f, _, err := s.Fork(context.Background(), d, "", worker(fmt.Sprint("fork", i)), manyCopies.CopyLimits)
			if err == nil && len(tree(t, f.Path())) < 3000 {
				err = errors.New("a part was forked")
			}
			results <- err
		}()
	}
	release(t, d, false)
	for range 3 {
		if err := <-results; err != nil && !errors.Is(err, ErrReleased) {
			t.Error(err)
		}
	}
}
