package jail

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestNobodyChangesASealedFile(t *testing.T) {
	t.Parallel()
	f, err := sealed("test", strings.NewReader("content"), 0o666)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	again, err := os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", f.Fd()), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	for name, file := range map[string]*os.File{"the same descriptor": f, "another": again} {
		for how, try := range map[string]func() error{
			"write":    func() error { _, err := file.WriteAt([]byte("x"), 0); return err },
			"append":   func() error { _, err := file.WriteAt([]byte("x"), 7); return err },
			"truncate": func() error { return file.Truncate(0) },
			"punch": func() error {
				return unix.Fallocate(int(file.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 0, 4096)
			},
			"map": func() error {
				_, err := unix.Mmap(int(file.Fd()), 0, 7, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
				return err
			},
			"make a read-only map writable": func() error {
				m, err := unix.Mmap(int(file.Fd()), 0, 7, unix.PROT_READ, unix.MAP_SHARED)
				if err != nil {
					return fmt.Errorf("mapping it to read: %v", err)
				}
				defer unix.Munmap(m)
				return unix.Mprotect(m, unix.PROT_READ|unix.PROT_WRITE)
			},
			"seal": func() error {
				_, err := unix.FcntlInt(file.Fd(), unix.F_ADD_SEALS, unix.F_SEAL_WRITE)
				return err
			},
		} {
			if err := try(); !errors.Is(err, unix.EPERM) && !errors.Is(err, unix.EACCES) {
				t.Errorf("%s by %s: %v, want it refused", how, name, err)
			}
		}
	}
	if got, err := os.ReadFile(fmt.Sprintf("/proc/self/fd/%d", f.Fd())); string(got) != "content" || err != nil {
		t.Errorf("it has %q, %v", got, err)
	}
}

// TestSealWithPagesInUse has the kernel hold a page, as it does for a moment when
// memory is short.
func TestSealWithPagesInUse(t *testing.T) {
	t.Parallel()
	f, err := memfd("test", unix.MFD_ALLOW_SEALING)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	if _, err := f.WriteString("content"); err != nil {
		t.Fatal(err)
	}
	var at int64
	if n, err := unix.Splice(int(f.Fd()), &at, int(w.Fd()), nil, 7, 0); n != 7 || err != nil {
		t.Fatalf("Splice = %d, %v", n, err)
	}
	if _, err := unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, unix.F_SEAL_WRITE); !errors.Is(err, unix.EBUSY) {
		t.Logf("F_SEAL_WRITE = %v: this kernel does not mind, so that this shows nothing", err)
	}
	if err := seal(f); err != nil {
		t.Errorf("seal = %v", err)
	}
}
