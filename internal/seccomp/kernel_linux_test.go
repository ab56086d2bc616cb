package seccomp

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// childVar, in the environment, turns the test binary into a process that tries
// system calls: its profile as JSON, or "none".
const childVar = "SECCOMP_TEST_PROFILE"

func TestMain(m *testing.M) {
	if v := os.Getenv(childVar); v != "" {
		child(v)
		return
	}
	os.Exit(m.Run())
}

// attempt is one call that a child makes, harmless also where it is not denied:
// it names no process, file or memory that exists, or changes nothing.
type attempt struct {
	name string
	nr   uintptr
	args [6]uint64
	want unix.Errno // with the filter; 0: it must succeed
	// unfiltered tells that the kernel itself answers otherwise, at least to
	// root, which proves that it is the filter that answers.
	unfiltered bool
}

const bad = math.MaxUint64 // an address or descriptor that cannot be

// attempts lists what is tried under a profile. keep holds the memory that the
// arguments point to.
func attempts(p Profile) (list []attempt, keep [][]byte) {
	path := func(s string) uint64 {
		b := append([]byte(s), 0)
		keep = append(keep, b)
		return uint64(uintptr(unsafe.Pointer(&b[0])))
	}
	dir := path(os.Getenv("SECCOMP_TEST_DIR"))
	file, other := path(os.Getenv("SECCOMP_TEST_DIR")+"/file"), path(os.Getenv("SECCOMP_TEST_DIR")+"/other")
	cwd := ^uint64(99) // AT_FDCWD
	high := uint64(1) << 63
	list = []attempt{
		{"clone3", unix.SYS_CLONE3, [6]uint64{0, 0}, unix.ENOSYS, true},
		{"openat2", unix.SYS_OPENAT2, [6]uint64{cwd, dir, 0, 0}, unix.ENOSYS, true},
		{"io_uring_setup", unix.SYS_IO_URING_SETUP, [6]uint64{0, 0}, unix.ENOSYS, false},
		{"io_uring_enter", unix.SYS_IO_URING_ENTER, [6]uint64{bad}, unix.ENOSYS, false},
		{"io_uring_register", unix.SYS_IO_URING_REGISTER, [6]uint64{bad}, unix.ENOSYS, false},
		{"userfaultfd", unix.SYS_USERFAULTFD, [6]uint64{bad}, unix.ENOSYS, false},
		{"io_setup", unix.SYS_IO_SETUP, [6]uint64{1, bad}, unix.ENOSYS, true},
		{"mmap of huge pages", unix.SYS_MMAP, [6]uint64{0, 0, 0, unix.MAP_PRIVATE | unix.MAP_ANONYMOUS | unix.MAP_HUGETLB, bad, 0}, unix.ENOMEM, true},
		{"mmap", unix.SYS_MMAP, [6]uint64{0, 0, 0, unix.MAP_PRIVATE | unix.MAP_ANONYMOUS, bad, 0}, unix.EINVAL, false},
		{"memfd_create of huge pages", unix.SYS_MEMFD_CREATE, [6]uint64{bad, unix.MFD_HUGETLB}, unix.EINVAL, true},
		{"shmget of huge pages", unix.SYS_SHMGET, [6]uint64{0, 0, 0o4600}, unix.ENOMEM, true},
		{"an unknown number", 500, [6]uint64{}, unix.ENOSYS, false},
		{"a number that is negative", math.MaxUint, [6]uint64{}, unix.ENOSYS, false},

		{"mount", unix.SYS_MOUNT, [6]uint64{0, bad, 0, 0, 0}, unix.EPERM, true},
		{"umount2", unix.SYS_UMOUNT2, [6]uint64{bad}, unix.EPERM, true},
		{"pivot_root", unix.SYS_PIVOT_ROOT, [6]uint64{bad, bad}, unix.EPERM, true},
		{"open_tree", unix.SYS_OPEN_TREE, [6]uint64{cwd, dir, math.MaxUint32}, unix.EPERM, true},
		{"move_mount", unix.SYS_MOVE_MOUNT, [6]uint64{bad, bad, bad, bad, 0}, unix.EPERM, true},
		{"fsopen", unix.SYS_FSOPEN, [6]uint64{bad, bad}, unix.EPERM, true},
		{"fsconfig", unix.SYS_FSCONFIG, [6]uint64{bad, 99}, unix.EPERM, true},
		{"fsmount", unix.SYS_FSMOUNT, [6]uint64{bad, bad}, unix.EPERM, true},
		{"fspick", unix.SYS_FSPICK, [6]uint64{bad, bad, bad}, unix.EPERM, true},
		{"mount_setattr", unix.SYS_MOUNT_SETATTR, [6]uint64{bad, dir, bad}, unix.EPERM, true},
		{"open_tree_attr", unix.SYS_OPEN_TREE_ATTR, [6]uint64{cwd, dir, math.MaxUint32, 0, 0}, unix.EPERM, true},
		{"setns", unix.SYS_SETNS, [6]uint64{bad, 0}, unix.EPERM, true},
		{"clone of a mount namespace", unix.SYS_CLONE, [6]uint64{unix.CLONE_NEWNS | unix.CLONE_FS}, unix.EPERM, true}, // contradictory
		{"clone of one, a high bit set", unix.SYS_CLONE, [6]uint64{high | unix.CLONE_NEWNS | unix.CLONE_FS}, unix.EPERM, true},

		{"process_vm_readv", unix.SYS_PROCESS_VM_READV, [6]uint64{bad, 0, 0, 0, 0, 1}, unix.EPERM, true},
		{"process_vm_writev", unix.SYS_PROCESS_VM_WRITEV, [6]uint64{bad, 0, 0, 0, 0, 1}, unix.EPERM, true},
		{"process_madvise", unix.SYS_PROCESS_MADVISE, [6]uint64{bad}, unix.EPERM, true},
		{"kcmp", unix.SYS_KCMP, [6]uint64{0, 0, 99}, unix.EPERM, false},
		{"pidfd_getfd", unix.SYS_PIDFD_GETFD, [6]uint64{bad, 0, 0}, unix.EPERM, true},
		{"bpf", unix.SYS_BPF, [6]uint64{99}, unix.EPERM, false},
		{"perf_event_open", unix.SYS_PERF_EVENT_OPEN, [6]uint64{bad, 0, 0, bad, bad}, unix.EPERM, false},
		{"syslog", unix.SYS_SYSLOG, [6]uint64{99}, unix.EPERM, false},
		{"keyctl", unix.SYS_KEYCTL, [6]uint64{9999}, unix.EPERM, false},
		{"add_key", unix.SYS_ADD_KEY, [6]uint64{bad, bad, 0, 1 << 30}, unix.EPERM, false},
		{"request_key", unix.SYS_REQUEST_KEY, [6]uint64{bad, bad}, unix.EPERM, false},
		{"kexec_load", unix.SYS_KEXEC_LOAD, [6]uint64{0, 99, bad, bad}, unix.EPERM, false},
		{"reboot", unix.SYS_REBOOT, [6]uint64{0, 0, 0}, unix.EPERM, true}, // without the magic numbers
		{"init_module", unix.SYS_INIT_MODULE, [6]uint64{bad, 0, bad}, unix.EPERM, false},
		{"finit_module", unix.SYS_FINIT_MODULE, [6]uint64{bad}, unix.EPERM, false},
		{"delete_module", unix.SYS_DELETE_MODULE, [6]uint64{bad}, unix.EPERM, false},
		{"swapon", unix.SYS_SWAPON, [6]uint64{bad}, unix.EPERM, false},
		{"swapoff", unix.SYS_SWAPOFF, [6]uint64{bad}, unix.EPERM, false},
		{"acct", unix.SYS_ACCT, [6]uint64{bad}, unix.EPERM, false},
		{"quotactl", unix.SYS_QUOTACTL, [6]uint64{bad, bad}, unix.EPERM, false},
		{"quotactl_fd", unix.SYS_QUOTACTL_FD, [6]uint64{bad, bad}, unix.EPERM, false},
		{"settimeofday", unix.SYS_SETTIMEOFDAY, [6]uint64{bad}, unix.EPERM, true},
		{"clock_settime", unix.SYS_CLOCK_SETTIME, [6]uint64{0, bad}, unix.EPERM, true},
		{"adjtimex", unix.SYS_ADJTIMEX, [6]uint64{bad}, unix.EPERM, true},
		{"clock_adjtime", unix.SYS_CLOCK_ADJTIME, [6]uint64{0, bad}, unix.EPERM, true},
		{"sethostname", unix.SYS_SETHOSTNAME, [6]uint64{bad, 1 << 20}, unix.EPERM, true},
		{"setdomainname", unix.SYS_SETDOMAINNAME, [6]uint64{bad, 1 << 20}, unix.EPERM, true},
		{"open_by_handle_at", unix.SYS_OPEN_BY_HANDLE_AT, [6]uint64{bad, bad}, unix.EPERM, false},
		{"fanotify_init", unix.SYS_FANOTIFY_INIT, [6]uint64{bad, bad}, unix.EPERM, false},
		{"mbind", unix.SYS_MBIND, [6]uint64{1, 1, bad}, unix.EPERM, false},
		{"set_mempolicy", unix.SYS_SET_MEMPOLICY, [6]uint64{bad}, unix.EPERM, false},
		{"move_pages", unix.SYS_MOVE_PAGES, [6]uint64{0, 1, 0, 0, 0, bad}, unix.EPERM, false},
		{"migrate_pages", unix.SYS_MIGRATE_PAGES, [6]uint64{bad, bad}, unix.EPERM, false},
		{"memfd_secret", unix.SYS_MEMFD_SECRET, [6]uint64{bad}, unix.EPERM, false},

		{"personality without address randomization", unix.SYS_PERSONALITY, [6]uint64{0x0040000}, unix.EPERM, true},
		{"personality that asks", unix.SYS_PERSONALITY, [6]uint64{math.MaxUint32}, 0, false},
		{"prlimit64 of process 1", unix.SYS_PRLIMIT64, [6]uint64{1, unix.RLIMIT_CORE, bad}, unix.EPERM, true},
		{"prlimit64 that asks", unix.SYS_PRLIMIT64, [6]uint64{0, unix.RLIMIT_CORE, 0, 0}, 0, false},
		{"prlimit64 of core dumps", unix.SYS_PRLIMIT64, [6]uint64{0, unix.RLIMIT_CORE, bad, 0}, 0, true},
		{"prlimit64 of core dumps that asks as well", unix.SYS_PRLIMIT64, [6]uint64{0, unix.RLIMIT_CORE, bad, bad}, unix.EPERM, true},
		{"prlimit64 of another resource", unix.SYS_PRLIMIT64, [6]uint64{0, unix.RLIMIT_CPU, bad, 0}, unix.EFAULT, false},
		{"setrlimit of core dumps", unix.SYS_SETRLIMIT, [6]uint64{unix.RLIMIT_CORE, bad}, 0, true},
		{"prctl(PR_SET_MM)", unix.SYS_PRCTL, [6]uint64{unix.PR_SET_MM, bad}, unix.EPERM, false},
		{"prctl(PR_SET_MM), a high bit set", unix.SYS_PRCTL, [6]uint64{high | unix.PR_SET_MM, bad}, unix.EPERM, false},
		{"prctl(PR_GET_DUMPABLE)", unix.SYS_PRCTL, [6]uint64{unix.PR_GET_DUMPABLE}, 0, false},

		{"fchmod 1755", unix.SYS_FCHMODAT, [6]uint64{cwd, file, 0o1755}, 0, false},
		{"fchmodat 4755", unix.SYS_FCHMODAT, [6]uint64{cwd, file, 0o4755}, unix.EPERM, true},
		{"fchmodat 2755, a high bit set", unix.SYS_FCHMODAT, [6]uint64{cwd, file, high | 0o2755}, unix.EPERM, true},
		{"fchmodat2 4755", unix.SYS_FCHMODAT2, [6]uint64{cwd, file, 0o4755, 0}, unix.EPERM, true},
		{"fchmod 4755", unix.SYS_FCHMOD, [6]uint64{bad, 0o4755}, unix.EPERM, true},
		{"openat that creates 4755", unix.SYS_OPENAT, [6]uint64{cwd, other, unix.O_CREAT | unix.O_WRONLY, 0o4755}, unix.EPERM, true},
		{"openat of an unnamed 4755", unix.SYS_OPENAT, [6]uint64{cwd, dir, unix.O_TMPFILE | unix.O_WRONLY, 0o4755}, unix.EPERM, true},
		{"openat with garbage for a mode", unix.SYS_OPENAT, [6]uint64{cwd, file, unix.O_RDONLY, math.MaxUint64}, 0, false},
		{"mknodat 104755", unix.SYS_MKNODAT, [6]uint64{cwd, file, unix.S_IFREG | 0o4755}, unix.EPERM, true},

		{"ioctl TIOCSTI", unix.SYS_IOCTL, [6]uint64{bad, unix.TIOCSTI}, unix.EPERM, true},
		{"ioctl TIOCSTI, a high bit set", unix.SYS_IOCTL, [6]uint64{bad, 1<<32 | unix.TIOCSTI}, unix.EPERM, true},
		{"ioctl TIOCLINUX", unix.SYS_IOCTL, [6]uint64{bad, unix.TIOCLINUX}, unix.EPERM, true},
		{"ioctl TIOCSETD", unix.SYS_IOCTL, [6]uint64{bad, unix.TIOCSETD}, unix.EPERM, true},
		{"ioctl TIOCCONS", unix.SYS_IOCTL, [6]uint64{bad, unix.TIOCCONS}, unix.EPERM, true},
		{"another ioctl", unix.SYS_IOCTL, [6]uint64{bad, unix.TIOCGWINSZ}, unix.EBADF, false},

		{"socket AF_UNIX", unix.SYS_SOCKET, [6]uint64{unix.AF_UNIX, unix.SOCK_STREAM}, 0, false},
		{"socket AF_INET", unix.SYS_SOCKET, [6]uint64{unix.AF_INET, unix.SOCK_STREAM}, 0, false},
		{"socket AF_NETLINK ROUTE", unix.SYS_SOCKET, [6]uint64{unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_ROUTE}, 0, false},
		{"socket AF_NETLINK GENERIC", unix.SYS_SOCKET, [6]uint64{unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_GENERIC}, unix.EPROTONOSUPPORT, true},
		{"socket AF_NETLINK, a high bit set", unix.SYS_SOCKET, [6]uint64{high | unix.AF_NETLINK, unix.SOCK_RAW, high | unix.NETLINK_GENERIC}, unix.EPROTONOSUPPORT, true},
		{"socket AF_VSOCK", unix.SYS_SOCKET, [6]uint64{unix.AF_VSOCK, unix.SOCK_STREAM}, unix.EAFNOSUPPORT, false},
		{"socket AF_VSOCK, a high bit set", unix.SYS_SOCKET, [6]uint64{high | unix.AF_VSOCK, unix.SOCK_STREAM}, unix.EAFNOSUPPORT, false},
		{"socket AF_PACKET", unix.SYS_SOCKET, [6]uint64{unix.AF_PACKET, unix.SOCK_RAW}, unix.EAFNOSUPPORT, false},
		{"socketpair AF_UNIX", unix.SYS_SOCKETPAIR, [6]uint64{unix.AF_UNIX, unix.SOCK_STREAM, 0, bad}, unix.EFAULT, false},
		{"socketpair AF_TIPC", unix.SYS_SOCKETPAIR, [6]uint64{30, unix.SOCK_STREAM, 0, bad}, unix.EAFNOSUPPORT, false},
	}
	if p.NestedUserNS {
		list = append(list,
			attempt{"chroot", unix.SYS_CHROOT, [6]uint64{bad}, unix.EFAULT, false},
			attempt{"unshare of a mount namespace", unix.SYS_UNSHARE, [6]uint64{unix.CLONE_NEWNS | 0x80000000}, unix.EPERM, true},
			attempt{"unshare, high bits set", unix.SYS_UNSHARE, [6]uint64{high | unix.CLONE_NEWNET}, unix.EPERM, true},
			attempt{"unshare of nothing", unix.SYS_UNSHARE, [6]uint64{0}, 0, false},
			// Contradictory, so that the kernel's refusal shows that it was asked.
			attempt{"clone of a user namespace", unix.SYS_CLONE, [6]uint64{unix.CLONE_NEWUSER | unix.CLONE_FS}, unix.EINVAL, false},
		)
	} else {
		list = append(list,
			attempt{"chroot", unix.SYS_CHROOT, [6]uint64{bad}, unix.EPERM, true},
			attempt{"unshare of nothing", unix.SYS_UNSHARE, [6]uint64{0}, unix.EPERM, true},
			attempt{"unshare of a user namespace", unix.SYS_UNSHARE, [6]uint64{unix.CLONE_NEWUSER}, unix.EPERM, true}, // this process has threads
			attempt{"clone of a user namespace", unix.SYS_CLONE, [6]uint64{unix.CLONE_NEWUSER | unix.CLONE_FS}, unix.EPERM, true},
		)
	}
	if p.Ptrace {
		list = append(list, attempt{"ptrace", unix.SYS_PTRACE, [6]uint64{unix.PTRACE_PEEKDATA, math.MaxInt32}, unix.ESRCH, false})
	} else {
		list = append(list, attempt{"ptrace", unix.SYS_PTRACE, [6]uint64{unix.PTRACE_PEEKDATA, math.MaxInt32}, unix.EPERM, true})
	}
	if runtime.GOARCH == "amd64" {
		// Numbers that other architectures lack, so that this file builds there.
		list = append(list,
			attempt{"x32 getpid", 0x40000000 | 39, [6]uint64{}, unix.ENOSYS, false},
			attempt{"x32 mount", 0x40000000 | 165, [6]uint64{}, unix.ENOSYS, false},
			attempt{"chmod 4755", 90, [6]uint64{file, 0o4755}, unix.EPERM, true},
			attempt{"creat 4755", 85, [6]uint64{other, 0o4755}, unix.EPERM, true},
			attempt{"open that creates 4755", 2, [6]uint64{other, unix.O_CREAT | unix.O_WRONLY, 0o4755}, unix.EPERM, true},
			attempt{"mknod 104755", 133, [6]uint64{file, unix.S_IFREG | 0o4755}, unix.EPERM, true},
			attempt{"iopl", 172, [6]uint64{99}, unix.EPERM, false},
			attempt{"ioperm", 173, [6]uint64{bad, bad, 1}, unix.EPERM, false},
			attempt{"modify_ldt", 154, [6]uint64{99}, unix.EPERM, false},
			attempt{"kexec_file_load", 320, [6]uint64{bad, bad, 0, 0, bad}, unix.EPERM, false},
			attempt{"ustat", 136, [6]uint64{bad, bad}, unix.EPERM, false},
			attempt{"sysfs", 139, [6]uint64{99}, unix.EPERM, false},
			attempt{"lookup_dcookie", 212, [6]uint64{}, unix.EPERM, false},
		)
	}
	return list, keep
}

// child makes all attempts, on a thread that was there before the filter, and
// writes an errno a line.
func child(profile string) {
	var p Profile
	var started, filtered, done sync.WaitGroup
	started.Add(1)
	filtered.Add(1)
	done.Add(1)
	go func() {
		defer done.Done()
		runtime.LockOSThread()
		started.Done()
		filtered.Wait()
		switch os.Getenv("SECCOMP_TEST_DO") {
		case "arch":
			otherArchitecture()
			return
		case "bench":
			measure()
			return
		}
		list, keep := attempts(p)
		defer runtime.KeepAlive(keep)
		for _, a := range list {
			_, _, errno := syscall.RawSyscall6(a.nr, uintptr(a.args[0]), uintptr(a.args[1]), uintptr(a.args[2]),
				uintptr(a.args[3]), uintptr(a.args[4]), uintptr(a.args[5]))
			fmt.Println(int(errno))
		}
	}()
	started.Wait()
	if profile != "none" {
		err := json.Unmarshal([]byte(profile), &p)
		if err == nil {
			err = unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
		}
		if err == nil {
			err = Install(p)
		}
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
	}
	filtered.Done()
	done.Wait()
}

func runChild(t testing.TB, env ...string) ([]byte, error) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), exe)
	cmd.Env = append(os.Environ(), env...)
	return cmd.CombinedOutput()
}

func TestTheKernelDoesAsTold(t *testing.T) {
	t.Parallel()
	if _, err := Program(Profile{}); err != nil {
		t.Skip(err)
	}
	for _, p := range []Profile{{}, {NestedUserNS: true}, {Ptrace: true}} {
		for _, filtered := range []bool{true, false} {
			if !filtered && p != (Profile{}) {
				continue
			}
			t.Run(fmt.Sprintf("%+v, filtered %v", p, filtered), func(t *testing.T) {
				t.Parallel()
				profile := "none"
				if filtered {
					b, err := json.Marshal(p)
					if err != nil {
						t.Fatal(err)
					}
					profile = string(b)
				}
				dir := t.TempDir()
				if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
					t.Fatal(err)
				}
				out, err := runChild(t, childVar+"="+profile, "SECCOMP_TEST_DIR="+dir)
				if err != nil {
					t.Fatalf("child: %v\n%s", err, out)
				}
				lines := bufio.NewScanner(bytes.NewReader(out))
				list, _ := attempts(p)
				for _, a := range list {
					if !lines.Scan() {
						t.Fatalf("no answer for %s", a.name)
					}
					var n int
					if _, err := fmt.Sscan(lines.Text(), &n); err != nil {
						t.Fatalf("%s: %q", a.name, lines.Text())
					}
					got := unix.Errno(n)
					if filtered && got != a.want {
						t.Errorf("%s = %v, want %v", a.name, got, a.want)
					}
					// Without root, and in a container with a filter of its own,
					// others than this filter may answer the same.
					if !filtered && a.unfiltered && os.Getuid() == 0 && got == a.want {
						t.Errorf("%s without the filter = %v, so that the test proves nothing", a.name, got)
					}
				}
			})
		}
	}
}

// otherArchitecture makes the call getpid of i386 by its own instruction.
func otherArchitecture() {
	code := []byte{
		0xb8, 20, 0, 0, 0, // mov $20, %eax
		0xcd, 0x80, // int $0x80
		0xc3, // ret
	}
	page, err := unix.Mmap(-1, 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err == nil {
		copy(page, code)
		err = unix.Mprotect(page, unix.PROT_READ|unix.PROT_EXEC)
	}
	if err != nil {
		fmt.Println(err)
		return
	}
	entry := &page[0]
	value := &entry // a function of Go is a pointer to its code's address
	(*(*func())(unsafe.Pointer(&value)))()
	fmt.Println("survived")
}

func TestAnotherArchitectureKills(t *testing.T) {
	t.Parallel()
	if runtime.GOARCH != "amd64" {
		t.Skip("the instruction is amd64's")
	}
	if out, err := runChild(t, childVar+"=none", "SECCOMP_TEST_DO=arch"); err != nil || strings.TrimSpace(string(out)) != "survived" {
		t.Skipf("this kernel has no calls of i386: %v %s", err, out)
	}
	out, err := runChild(t, childVar+"={}", "SECCOMP_TEST_DO=arch")
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGSYS {
		t.Errorf("int 0x80 under the filter: %v, %s, want SIGSYS", err, out)
	}
}
