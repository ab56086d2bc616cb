package workspace

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func worker(id string) DirOptions { return DirOptions{UID: -1, GID: -1, Worker: id} }

func TestKeptWorkspaces(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, dir, Options{})
	ids := []string{"../x", "a/b", "\x00\xff", strings.Repeat("ü", 128)}
	paths := map[string]string{}
	for _, id := range ids {
		d := newDir(t, s, worker(id))
		write(t, filepath.Join(d.Path(), "file"))
		paths[id] = d.Path()
		release(t, d, true)
	}
	check := func(s *Store) {
		t.Helper()
		if d := newDir(t, s, worker("new")); d.adopted || exists(filepath.Join(d.Path(), "file")) {
			t.Error("a new worker got a kept workspace")
		} else {
			release(t, d, false)
		}
		for _, id := range ids {
			if !s.Kept(id) {
				t.Errorf("Kept(%q) = false", id)
			}
			d := newDir(t, s, worker(id))
			if !d.adopted || d.Path() != paths[id] || !exists(filepath.Join(d.Path(), "file")) {
				t.Errorf("worker %q got %s (adopted: %v), want %s with its file", id, d.Path(), d.adopted, paths[id])
			}
			if s.Kept(id) {
				t.Errorf("Kept(%q) = true while it is in use", id)
			}
			release(t, d, true)
		}
	}
	check(s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir, Options{})
	check(s)
	d := newDir(t, s, worker(ids[0]))
	release(t, d, false)
	if d := newDir(t, s, worker(ids[0])); d.adopted || d.n != 0 {
		t.Errorf("after its removal worker %q got slot %d (adopted: %v), want a new one in slot 0", ids[0], d.n, d.adopted)
	}
}

func TestWorkspacesOfAKilledProgram(t *testing.T) {
	t.Parallel()
	for _, keep := range []bool{false, true} {
		dir := t.TempDir()
		path := killedProgram(t, dir, keep)
		s := open(t, dir, Options{Keep: keep})
		trashIsEmpty(t, s)
		d := newDir(t, s, worker("w"))
		if d.Path() != path || d.adopted != keep || exists(filepath.Join(path, "file")) != keep {
			t.Errorf("keep %v: got %s (adopted: %v), want %s with the file only if kept", keep, d.Path(), d.adopted, path)
		}
	}
}

func TestALiveProgramsWorkspaceIsNotTakenUp(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	a := open(t, dir, Options{Keep: true})
	d := newDir(t, a, worker("w"))
	b := open(t, dir, Options{Keep: true})
	if e := newDir(t, b, worker("w")); e.adopted || e.Path() == d.Path() {
		t.Errorf("the other program got %s, which is in use", e.Path())
	}
}

func TestCloseKeepsWhatIsToBeKept(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, dir, Options{Keep: true})
	blank := newDir(t, s, own)
	late := newDir(t, s, own)
	if err := late.Assign("w"); err != nil {
		t.Fatal(err)
	}
	if err := late.Assign("other"); err == nil {
		t.Error("a workspace was assigned twice")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if exists(blank.Path()) {
		t.Error("a workspace of nobody was kept")
	}
	if s := open(t, dir, Options{}); !s.Kept("w") {
		t.Error("the workspace was not kept")
	}
}

func TestKeepingNeedsAWorker(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir(), Options{})
	d := newDir(t, s, own)
	if err := d.Release(true); err == nil {
		t.Error("a workspace of nobody was kept")
	}
	release(t, d, false)
	if _, err := s.New(worker(strings.Repeat("x", 257))); err == nil {
		t.Error("a worker id of 257 bytes was accepted")
	}
	st, err := s.State()
	if err != nil {
		t.Fatal(err)
	}
	if err := st.Assign("w"); err == nil {
		t.Error("a state directory was assigned to a worker")
	}
}

func TestAStrangeOwnerFileIsNotGuessedAt(t *testing.T) {
	t.Parallel()
	tests := map[string]func(path string) error{
		"too long":    func(p string) error { return os.WriteFile(p, make([]byte, 257), 0o600) },
		"a link":      func(p string) error { return os.Symlink("/etc/hostname", p) },
		"a directory": func(p string) error { return os.Mkdir(p, 0o700) },
	}
	for name, make := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			if err := open(t, dir, Options{}).Close(); err != nil {
				t.Fatal(err)
			}
			slot := filepath.Join(dir, slotsDir, "0")
			mkdir(t, slot, 0o700)
			if err := make(filepath.Join(slot, ownerFile)); err != nil {
				t.Fatal(err)
			}
			s, err := Open(dir, Options{})
			if err == nil {
				s.Close()
			}
			if err == nil || !strings.Contains(err.Error(), "slots/0/worker") {
				t.Errorf("Open = %v, want an error that names the file", err)
			}
			if !exists(slot) {
				t.Error("the slot was removed")
			}
		})
	}
	t.Run("empty", func(t *testing.T) { // its program died while writing it: nothing was in the workspace yet
		t.Parallel()
		dir := t.TempDir()
		if err := open(t, dir, Options{}).Close(); err != nil {
			t.Fatal(err)
		}
		mkdir(t, filepath.Join(dir, slotsDir, "0"), 0o700)
		if err := os.WriteFile(filepath.Join(dir, slotsDir, "0", ownerFile), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		s := open(t, dir, Options{})
		if d := newDir(t, s, own); d.n != 0 {
			t.Errorf("slot %d, want 0", d.n)
		}
	})
}

func TestOneWorkersWorkspacesOfTwoPrograms(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var want []string
	for range 2 {
		s := open(t, dir, Options{Keep: true})
		want = append(want, newDir(t, s, worker("w")).Path())
		t.Cleanup(func() { s.Close() })
		if len(want) == 1 {
			continue
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	// The first program still lives: only the second one's is there to take.
	s := open(t, dir, Options{Keep: true})
	d := newDir(t, s, worker("w"))
	if diff := cmp.Diff(want[1], d.Path()); diff != "" {
		t.Errorf("workspace (-want +got):\n%s", diff)
	}
}
