package volume

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func needRoot(t testing.TB) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("only root may mount volumes")
	}
}

func newVolume(t testing.TB, size int64, o Options) (*Volume, string) {
	t.Helper()
	needRoot(t)
	image := filepath.Join(t.TempDir(), "image")
	if err := Create(t.Context(), image, size, o); err != nil {
		t.Fatal(err)
	}
	v, err := Open(image)
	if err != nil {
		t.Fatal(err)
	}
	return v, image
}

func TestAVolumeHoldsWhatFits(t *testing.T) {
	t.Parallel()
	v, image := newVolume(t, 8<<20, Options{UID: 1234, GID: 1234})
	defer func() {
		if err := v.Close(Discard); err != nil {
			t.Error(err)
		}
	}()
	st, err := os.Lstat(v.Path())
	if err != nil || st.Mode() != os.ModeDir|0o700 || st.Sys().(*syscall.Stat_t).Uid != 1234 {
		t.Fatalf("%s: %v, %v; want a directory of mode 0700 and uid 1234", v.Path(), st, err)
	}
	entries, err := os.ReadDir(v.Path())
	if err != nil || len(entries) != 0 {
		t.Fatalf("a new volume has %v, %v", entries, err)
	}
	// What was unlinked and is open still counts.
	f, err := os.Create(filepath.Join(v.Path(), "open"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := os.Remove(f.Name()); err != nil {
		t.Fatal(err)
	}
	total, err := f.Write(make([]byte, 9<<20))
	if !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("writing 9 MiB into 8 MiB: %v, want ENOSPC", err)
	}
	for i := 0; err == nil || total < 8<<20; i++ {
		if err = os.WriteFile(filepath.Join(v.Path(), fmt.Sprint(i)), make([]byte, 64<<10), 0o600); err != nil {
			break
		}
		total += 64 << 10
	}
	if !errors.Is(err, syscall.ENOSPC) || total > 8<<20 {
		t.Errorf("%d bytes fit into 8 MiB, %v", total, err)
	}
	if st, err := os.Stat(image); err != nil || st.Size() != 8<<20 {
		t.Errorf("image: %v, %v", st, err)
	}
}

func TestAVolumeBoundsFilesToo(t *testing.T) {
	t.Parallel()
	v, _ := newVolume(t, 1<<20, Options{UID: -1, GID: -1})
	defer v.Close(Discard)
	for i := range 5000 {
		err := os.WriteFile(filepath.Join(v.Path(), fmt.Sprint(i)), nil, 0o600)
		if errors.Is(err, syscall.ENOSPC) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Error("1 MiB holds 5,000 files")
}

func TestAVolumeComesBack(t *testing.T) {
	t.Parallel()
	for _, keep := range []bool{false, true} {
		v, image := newVolume(t, 16<<20, Options{UID: -1, GID: -1, Keep: keep})
		file := filepath.Join(v.Path(), "file")
		if err := os.WriteFile(file, []byte("mine"), 0o600); err != nil {
			t.Fatal(err)
		}
		m, err := v.Mount()
		if err != nil {
			t.Fatal(err)
		}
		same := fmt.Sprintf("/proc/self/fd/%d/%s/file", m.Fd(), Dir)
		if b, err := os.ReadFile(same); string(b) != "mine" || err != nil {
			t.Errorf("another mount has %q, %v", b, err)
		}
		if err := errors.Join(m.Close(), v.Close(Sync)); err != nil {
			t.Fatal(err)
		}
		again, err := Open(image)
		if err != nil {
			t.Fatal(err)
		}
		if b, err := os.ReadFile(filepath.Join(again.Path(), "file")); string(b) != "mine" || err != nil {
			t.Errorf("keep %v: it comes back with %q, %v", keep, b, err)
		}
		if err := again.Close(Discard); err != nil {
			t.Error(err)
		}
	}
}

func TestAVolumesPathMustNotBeResolved(t *testing.T) {
	t.Parallel()
	v, _ := newVolume(t, 1<<20, Options{UID: -1, GID: -1})
	defer v.Close(Discard)
	here, err := os.Stat(v.Path())
	if err != nil {
		t.Fatal(err)
	}
	// To a directory of the host, if there is one of that name.
	if got, err := filepath.EvalSymlinks(v.Path()); err == nil {
		if there, err := os.Stat(got); err == nil && os.SameFile(here, there) {
			t.Errorf("EvalSymlinks leads to %s: it may be resolved after all", got)
		}
	}
	root, err := os.OpenRoot(v.Path())
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	if err := root.WriteFile("a", []byte("b"), 0o600); err != nil {
		t.Error(err)
	}
}

func TestNothingIsLeftOfAVolume(t *testing.T) {
	t.Parallel()
	v, image := newVolume(t, 4<<20, Options{UID: -1, GID: -1})
	if mounts, err := os.ReadFile("/proc/self/mountinfo"); err != nil || strings.Contains(string(mounts), v.dev+" ") {
		t.Errorf("%s is mounted where the host sees it (%v)", v.dev, err)
	}
	backing := "/sys/block/" + filepath.Base(v.dev) + "/loop/backing_file"
	if b, err := os.ReadFile(backing); err != nil || strings.TrimSpace(string(b)) != image {
		t.Fatalf("%s = %q, %v", backing, b, err)
	}
	if err := v.Close(Discard); err != nil {
		t.Fatal(err)
	}
	// A child of another test's that has not executed its own program yet has the
	// mount too.
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(time.Minute); ; {
		if b, err := os.ReadFile(backing); err != nil || strings.TrimSpace(string(b)) != image {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("%s still has the image", v.dev)
		}
	}
}

func TestProbe(t *testing.T) {
	t.Parallel()
	needRoot(t)
	dir := t.TempDir()
	image := filepath.Join(dir, "image")
	if err := Probe(t.Context(), image, 1<<40); err != nil {
		t.Error(err)
	}
	if err := Probe(t.Context(), image, 1000); err == nil {
		t.Error("1,000 bytes pass")
	}
	if left, err := os.ReadDir(dir); len(left) != 0 || err != nil {
		t.Errorf("the probe leaves %v, %v", left, err)
	}
}

func TestOpenRefusesWhatIsNoImage(t *testing.T) {
	t.Parallel()
	needRoot(t)
	dir := t.TempDir()
	fifo, link, text := filepath.Join(dir, "fifo"), filepath.Join(dir, "link"), filepath.Join(dir, "text")
	if err := errors.Join(syscall.Mkfifo(fifo, 0o600), os.Symlink(text, link), os.WriteFile(text, make([]byte, 1<<20), 0o600)); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{fifo, link, text, dir, filepath.Join(dir, "none")} {
		if v, err := Open(path); err == nil {
			t.Errorf("%s is opened", path)
			v.Close(Discard)
		}
	}
}

func BenchmarkVolume(b *testing.B) {
	needRoot(b)
	dir := b.TempDir()
	for b.Loop() {
		image := filepath.Join(dir, "image")
		if err := Create(b.Context(), image, 1<<30, Options{UID: -1, GID: -1}); err != nil {
			b.Fatal(err)
		}
		v, err := Open(image)
		if err != nil {
			b.Fatal(err)
		}
		if err := errors.Join(v.Close(Discard), os.Remove(image)); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkMount(b *testing.B) {
	v, _ := newVolume(b, 1<<30, Options{UID: -1, GID: -1})
	defer v.Close(Discard)
	for b.Loop() {
		m, err := v.Mount()
		if err != nil {
			b.Fatal(err)
		}
		m.Close()
	}
}

func TestResize(t *testing.T) {
	t.Parallel()
	for _, keep := range []bool{false, true} {
		v, image := newVolume(t, 16<<20, Options{UID: -1, GID: -1, Keep: keep})
		open := func() {
			t.Helper()
			var err error
			if v, err = Open(image); err != nil {
				t.Fatal(err)
			}
		}
		write := func(name string, size int) error {
			return os.WriteFile(filepath.Join(v.Path(), name), make([]byte, size), 0o600)
		}
		if err := errors.Join(write("mine", 4<<20), v.Close(Sync), Resize(t.Context(), image, 64<<20)); err != nil {
			t.Fatal(err)
		}
		open()
		if err := errors.Join(write("large", 40<<20), v.Close(Sync)); err != nil {
			t.Fatal(err)
		}
		if err := Resize(t.Context(), image, 32<<20); err == nil {
			t.Error("44 MiB of files fit into 32 MiB")
		}
		open()
		if err := errors.Join(os.Remove(filepath.Join(v.Path(), "large")), v.Close(Sync), Resize(t.Context(), image, 16<<20)); err != nil {
			t.Fatal(err)
		}
		open()
		if st, err := os.Stat(filepath.Join(v.Path(), "mine")); err != nil || st.Size() != 4<<20 {
			t.Errorf("keep %v: what it held: %v, %v", keep, st, err)
		}
		if err := write("large", 16<<20); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("keep %v: 16 MiB more fit into 16 MiB: %v", keep, err)
		}
		if err := v.Close(Discard); err != nil {
			t.Error(err)
		}
	}
}

func TestAVolumeIsNeverMountedTwice(t *testing.T) {
	t.Parallel()
	v, image := newVolume(t, 4<<20, Options{UID: -1, GID: -1})
	m, err := v.Mount() // as a jail that has not ended has one
	if err != nil {
		t.Fatal(err)
	}
	if err := v.Close(Sync); err != nil {
		t.Fatal(err)
	}
	opened := make(chan error, 1)
	go func() {
		again, err := Open(image)
		if err == nil {
			err = again.Close(Discard)
		}
		opened <- err
	}()
	wait := time.NewTimer(50 * time.Millisecond)
	defer wait.Stop()
	select {
	case err := <-opened:
		t.Errorf("it was opened while in use, with %v", err)
	case <-wait.C:
		if err := m.Close(); err != nil {
			t.Fatal(err)
		}
		if err := <-opened; err != nil {
			t.Errorf("opening it after its last use: %v", err)
		}
	}
}
