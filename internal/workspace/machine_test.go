package workspace

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

func TestADataDirectoryIsOneMachines(t *testing.T) {
	t.Parallel()
	here := machine{id: "m1", boot: "b1"}
	tests := []struct {
		name   string
		before string // the file; "": none
		shared bool
		ok     bool
	}{
		{"new", "", false, true},
		{"new, shared", "", true, true},
		{"the same", here.text(), true, true},
		{"before the last boot", machine{"m1", "b0"}.text(), true, true},
		{"a container on the same kernel", machine{"other", "b1"}.text(), true, true},
		{"a disk that was moved", machine{"m2", "b2"}.text(), false, true},
		{"another machine, shared", machine{"m2", "b2"}.text(), true, false},
		{"another without id, shared", machine{"", "b2"}.text(), true, false},
		{"garbage", "x", false, true},
		{"garbage, shared", "x", true, false},
		{"empty, shared", "\n", true, false},
		{"large, shared", strings.Repeat("x", 5000), true, false},
	}
	for _, tt := range tests {
		dir := t.TempDir()
		path := filepath.Join(dir, machineFile)
		if tt.before != "" {
			if err := os.WriteFile(path, []byte(tt.before), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		err := here.mark(dir, tt.shared)
		if (err == nil) != tt.ok {
			t.Errorf("%s: %v, want ok %v", tt.name, err, tt.ok)
		}
		want := here.text()
		if !tt.ok {
			want = tt.before // not ours to touch
		}
		if b, _ := os.ReadFile(path); string(b) != want {
			t.Errorf("%s: the file is %q, want %q", tt.name, b, want)
		}
		if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
			t.Errorf("%s: left %v, %v", tt.name, left, err)
		}
	}
	nobody := machine{boot: "b1"}
	if nobody.same(machine{boot: "b0"}) {
		t.Error("two machines without id are the same")
	}
}

func TestMachinesRaceForADirectory(t *testing.T) {
	t.Parallel()
	for range 20 {
		dir := t.TempDir()
		errs := make(chan error, 8)
		for i := range cap(errs) {
			go func() {
				id := string(rune('a' + i))
				errs <- machine{id, id}.mark(dir, true)
			}()
		}
		won := 0
		for range cap(errs) {
			if <-errs == nil {
				won++
			}
		}
		if won != 1 {
			t.Fatalf("%d of %d machines have the directory, want 1", won, cap(errs))
		}
	}
}

func TestAHostileMark(t *testing.T) {
	t.Parallel()
	here := machine{"m", "b"}
	for name, make := range map[string]func(path string) error{
		"a link":      func(path string) error { return os.Symlink("/etc/passwd", path) },
		"a directory": func(path string) error { return os.Mkdir(path, 0o700) },
	} {
		dir := t.TempDir()
		if err := make(filepath.Join(dir, machineFile)); err != nil {
			t.Fatal(err)
		}
		if err := here.mark(dir, true); err == nil {
			t.Errorf("%s passes for a mark", name)
		}
	}
}

func TestOpenMarksItsDirectory(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("only Linux tells machines apart here")
	}
	dir := filepath.Join(t.TempDir(), "data")
	for range 2 {
		s, err := Open(dir, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	if m, err := readMachine(filepath.Join(dir, machineFile)); err != nil || m.boot == "" {
		t.Errorf("mark: %+v, %v", m, err)
	}
	// A file of ours in a temporary directory of another machine's keeps it.
	parent := t.TempDir()
	tmp, lease, err := makeTemporary(parent)
	if err != nil {
		t.Fatal(err)
	}
	if err := unlock(lease); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(tmp, machineFile), []byte(machine{"other", "other"}.text()), 0o600); err != nil {
		t.Fatal(err)
	}
	removeDeadTemporaries(t.Context(), parent, nil)
	if _, err := os.Stat(tmp); err != nil {
		t.Errorf("another machine's temporary directory: %v", err)
	}
	if err := os.WriteFile(filepath.Join(tmp, machineFile), []byte(thisMachine().text()), 0o600); err != nil {
		t.Fatal(err)
	}
	removeDeadTemporaries(t.Context(), parent, nil)
	if _, err := os.Stat(tmp); err == nil {
		t.Error("a dead program's temporary directory is still there")
	}
}
