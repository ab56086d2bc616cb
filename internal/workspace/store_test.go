package workspace

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var own = DirOptions{UID: -1, GID: -1}

func open(t *testing.T, dir string, o Options) *Store {
	t.Helper()
	s, err := Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return s
}

func newDir(t *testing.T, s *Store, o DirOptions) *Dir {
	t.Helper()
	d, err := s.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func release(t *testing.T, d *Dir, keep bool) {
	t.Helper()
	if err := d.Release(keep); err != nil {
		t.Fatalf("Release(%v): %v", keep, err)
	}
}

func write(t *testing.T, path string) {
	t.Helper()
	if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// sweep has the sweeper empty the trash, and waits until it has gone through it.
func sweep(t *testing.T, s *Store) {
	t.Helper()
	// The first is in its hands when there is room for the second, and done with
	// when there is room for the third.
	late := time.After(time.Minute)
	for range 3 {
		select {
		case <-late:
			t.Fatal("the sweeper does not come to its end")
		case s.wake <- struct{}{}:
		case <-s.swept:
			t.Fatal("the store has no sweeper any more")
		}
	}
}

func trashIsEmpty(t *testing.T, s *Store) {
	t.Helper()
	sweep(t, s)
	entries, err := os.ReadDir(s.path(trashDir))
	if err != nil || len(entries) > 0 {
		t.Errorf("trash: %v, %v; want it empty; the sweeper finds %v", entries, err, s.emptyTrash(t.Context()))
	}
}

func TestOpenMakesAPrivateDirectory(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "a", "b")
	s := open(t, dir, Options{})
	fi, err := os.Stat(s.Path())
	if err != nil {
		t.Fatal(err)
	}
	if fi.Mode().Perm() != 0o700 {
		t.Errorf("mode %04o, want 0700", fi.Mode().Perm())
	}
	d := newDir(t, s, own)
	for _, p := range []string{d.Path(), filepath.Dir(d.Path())} {
		if fi, err := os.Stat(p); err != nil || fi.Mode().Perm() != 0o700 {
			t.Errorf("%s: %v, %v; want mode 0700", p, fi, err)
		}
	}
}

func TestOpenRefusesDirectoriesThatAreNotOurs(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		make func(t *testing.T, dir string)
		want string
		root bool
	}{
		{"a file", func(t *testing.T, dir string) { write(t, dir) }, "must be a directory", false},
		{"group-writable", func(t *testing.T, dir string) { mkdir(t, dir, 0o770) }, "others can write", false},
		{"world-writable", func(t *testing.T, dir string) { mkdir(t, dir, 0o702) }, "others can write", false},
		{"in use for something else", func(t *testing.T, dir string) {
			mkdir(t, dir, 0o755)
			write(t, filepath.Join(dir, "index.html"))
		}, "holds other things", false},
		{"another user's", func(t *testing.T, dir string) {
			mkdir(t, dir, 0o700)
			chown(t, dir, 65534)
		}, "belongs to another user", true},
		{"another user's link", func(t *testing.T, dir string) {
			if err := os.Symlink(t.TempDir(), dir); err != nil {
				t.Fatal(err)
			}
			chown(t, dir, 65534)
		}, "symbolic link", true},
		{"a slots directory that is a link", func(t *testing.T, dir string) {
			mkdir(t, dir, 0o700)
			if err := os.Symlink(t.TempDir(), filepath.Join(dir, "slots")); err != nil {
				t.Fatal(err)
			}
		}, "not a directory", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if tt.root && os.Geteuid() != 0 {
				t.Skip("only root can give files away")
			}
			dir := filepath.Join(t.TempDir(), "data")
			tt.make(t, dir)
			s, err := Open(dir, Options{})
			if err == nil {
				s.Close()
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "DataDir") {
				t.Errorf("Open = %v, want an error about DataDir with %q", err, tt.want)
			}
		})
	}
}

func mkdir(t *testing.T, dir string, mode os.FileMode) {
	t.Helper()
	if err := errors.Join(os.Mkdir(dir, mode), os.Chmod(dir, mode)); err != nil {
		t.Fatal(err)
	}
}

func chown(t *testing.T, path string, uid int) {
	t.Helper()
	if err := os.Lchown(path, uid, uid); err != nil {
		t.Fatal(err)
	}
}

func TestOpenMakesAnEmptyDirectoryPrivate(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	open(t, dir, Options{})
	if fi, err := os.Stat(dir); err != nil || fi.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v; want mode 0700", fi, err)
	}
}

func TestTemporaryDirectoryGoesWithClose(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	s, err := Open("", Options{})
	if err != nil {
		t.Fatal(err)
	}
	d := newDir(t, s, own)
	write(t, filepath.Join(d.Path(), "file"))
	if _, err := s.State(); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.Close(), s.Close()); err != nil {
		t.Fatal(err)
	}
	if exists(s.Path()) {
		t.Errorf("%s is still there", s.Path())
	}
	if _, err := s.New(own); !errors.Is(err, ErrClosed) {
		t.Errorf("New after Close = %v, want ErrClosed", err)
	}
	if _, err := s.State(); !errors.Is(err, ErrClosed) {
		t.Errorf("State after Close = %v, want ErrClosed", err)
	}
}

func TestTemporaryDirectoriesOfDeadProgramsAreRemoved(t *testing.T) {
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	dead := killedProgram(t, "", false)
	alive, lease, err := makeTemporary(tmp)
	if err != nil {
		t.Fatal(err)
	}
	defer lease.Close()
	made := filepath.Join(tmp, tempPrefix+"made") // no lease yet
	mkdir(t, made, 0o700)

	removeDeadTemporaries(t.Context(), tmp, slog.New(slog.DiscardHandler))

	if data := filepath.Join(dead, "..", "..", ".."); exists(data) {
		t.Errorf("the dead program's %s is still there", data)
	}
	for _, dir := range []string{alive, made} {
		if !exists(dir) {
			t.Errorf("%s is gone", dir)
		}
	}
}

func TestSlotsAreNumberedFromTheSmallestFree(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir(), Options{})
	a, b, c := newDir(t, s, own), newDir(t, s, own), newDir(t, s, own)
	if diff := cmp.Diff([]int{0, 1, 2}, []int{a.n, b.n, c.n}); diff != "" {
		t.Errorf("slots (-want +got):\n%s", diff)
	}
	release(t, b, false)
	release(t, b, false) // no effect
	if exists(b.Path()) {
		t.Error("a released workspace is still there")
	}
	if d := newDir(t, s, own); d.n != 1 {
		t.Errorf("slot %d, want 1", d.n)
	}
	st, err := s.State()
	if err != nil {
		t.Fatal(err)
	}
	if want := filepath.Join(s.Path(), "state", "0"); st.Path() != want {
		t.Errorf("State is at %s, want %s", st.Path(), want)
	}
	write(t, filepath.Join(st.Path(), "file"))
	release(t, st, false)
	if exists(st.Path()) {
		t.Error("a released state directory is still there")
	}
}

func TestStoresShareADirectory(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	stores := []*Store{open(t, dir, Options{}), open(t, dir, Options{})}
	var inUse sync.Map
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			for range 25 {
				d, err := stores[i%2].New(own)
				if err != nil {
					t.Errorf("New: %v", err)
					return
				}
				if _, taken := inUse.LoadOrStore(d.Path(), i); taken {
					t.Errorf("%s was given out twice", d.Path())
				}
				if err := os.WriteFile(filepath.Join(d.Path(), "file"), nil, 0o600); err != nil {
					t.Error(err)
				}
				inUse.Delete(d.Path())
				if err := d.Release(false); err != nil {
					t.Errorf("Release: %v", err)
				}
			}
		})
	}
	wg.Wait()
	entries, err := os.ReadDir(filepath.Join(dir, slotsDir))
	if err != nil || len(entries) > 0 {
		t.Errorf("slots: %v, %v; want none", entries, err)
	}
}

func TestAThousandWorkspacesAtOnce(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	before := descriptors(t)
	dirs := make([]*Dir, 1000)
	var wg sync.WaitGroup
	for i := range dirs {
		wg.Go(func() {
			var err error
			if dirs[i], err = s.New(DirOptions{UID: -1, GID: -1, Worker: fmt.Sprint(i)}); err != nil {
				t.Errorf("New: %v", err)
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		return
	}
	seen := map[int]bool{}
	for _, d := range dirs {
		seen[d.n] = true
	}
	if len(seen) != 1000 {
		t.Errorf("%d slots, want 1000", len(seen))
	}
	if got := descriptors(t); got > before+5 {
		t.Errorf("%d descriptors are open, %d were before: want no descriptor a workspace", got, before)
	}
	for _, d := range dirs {
		wg.Go(func() {
			if err := d.Release(false); err != nil {
				t.Errorf("Release: %v", err)
			}
		})
	}
	wg.Wait()
	trashIsEmpty(t, s)
}

func descriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if errors.Is(err, fs.ErrNotExist) {
		return 0
	}
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

func TestForeignFilesInTheDirectoryStay(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	open(t, dir, Options{}) // makes the layout
	var foreign []string
	for _, name := range []string{"tokens", "trash/mine", "slots/readme", "slots/007", "state/-1", "slots/99999999"} {
		path := filepath.Join(dir, name)
		write(t, path)
		foreign = append(foreign, path)
	}
	s := open(t, dir, Options{})
	if err := s.emptyTrash(context.Background()); err != nil {
		t.Fatal(err)
	}
	for _, path := range foreign {
		if !exists(path) {
			t.Errorf("%s was removed", path)
		}
	}
}

func TestNumbersFromLockFiles(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "locks")
	a, err := openLockFiles(path)
	if err != nil {
		t.Fatal(err)
	}
	b, err := openLockFiles(path)
	if err != nil {
		t.Fatal(err)
	}
	take := func(l *lockFiles, want int) {
		t.Helper()
		if n, err := l.take(); n != want || err != nil {
			t.Errorf("take = %d, %v; want %d", n, err, want)
		}
	}
	takeN := func(l *lockFiles, n int, want bool) {
		t.Helper()
		if ok, err := l.takeN(n); ok != want || err != nil {
			t.Errorf("takeN(%d) = %v, %v; want %v", n, ok, err, want)
		}
	}
	take(a, 0)
	take(b, 1)
	take(a, 2)
	takeN(a, 2, false)
	takeN(b, 2, false)
	takeN(b, 5, true)
	if err := a.release(0); err != nil {
		t.Error(err)
	}
	if err := a.release(0); err == nil {
		t.Error("a number was released twice")
	}
	take(a, 0)
	if err := b.close(); err != nil {
		t.Error(err)
	}
	take(a, 1)
	if err := a.close(); err != nil {
		t.Error(err)
	}
}

func TestATemporaryDirectoryIsAbsolute(t *testing.T) {
	t.Chdir(t.TempDir())
	t.Setenv("TMPDIR", ".")
	s, err := Open("", Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if !filepath.IsAbs(s.Path()) {
		t.Errorf("Path() = %q, want an absolute path", s.Path())
	}
}
