package jail

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"unsafe"

	"github.com/agentflow-go/sandbox/internal/cgroup"
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

// TestSealOfOldKernels has a filter answer like a kernel before Linux 5.1.
func TestSealOfOldKernels(t *testing.T) {
	t.Parallel()
	f, err := memfd("test", unix.MFD_ALLOW_SEALING)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	const args = 16 // where they begin
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.SYS_FCNTL, Jf: 5},
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: args + 8},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.F_ADD_SEALS, Jf: 3},
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: args + 16},
		{Code: unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K, K: unix.F_SEAL_FUTURE_WRITE, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(unix.EINVAL)},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	var filtered, old, sealed error
	cgroup.OffLeader(func() {
		runtime.LockOSThread() // never unlocked: the filter goes with the thread
		prog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
		filtered = unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
		if _, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, uintptr(unsafe.Pointer(&prog))); errno != 0 {
			filtered = errors.Join(filtered, errno)
		}
		_, old = unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, unix.F_SEAL_FUTURE_WRITE)
		sealed = seal(f)
	})
	if filtered != nil || !errors.Is(old, unix.EINVAL) {
		t.Fatalf("a filter: %v; the seal = %v, want EINVAL", filtered, old)
	}
	seals, err := unix.FcntlInt(f.Fd(), unix.F_GET_SEALS, 0)
	if want := unix.F_SEAL_SEAL | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE; sealed != nil || err != nil || seals != want {
		t.Errorf("seal = %v, the seals are %#x, %v, want %#x", sealed, seals, err, want)
	}
}
