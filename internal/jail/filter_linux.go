package jail

import (
	"errors"
	"fmt"
	"math"
	"os"
	"strings"

	"github.com/agentflow-go/sandbox/internal/seccomp"
	"golang.org/x/sys/unix"
)

// lockDown puts the filter of system calls on this process, and so on every
// program that it will start.
//
// It is put here once, and not on each program between fork and exec, because
// then no way to a program leads around it, because it costs a start nothing, and
// because the process that reads what the host sends has less to be attacked
// with. The first process itself needs nothing that is denied. It is not put
// here by bwrap either: before it is there, the probe shows that the jail holds
// without it (see server.probe), which a filter from the start would hide.
func (s *server) lockDown() error {
	if err := seccomp.Install(s.profile); err != nil {
		return err
	}
	if err := verifyFiltered(); err != nil {
		return err
	}
	s.filtered = true
	return nil
}

// verifyFiltered checks that every thread of this process has a filter, and that
// it is ours: that a call which the kernel would find senseless is forbidden.
func verifyFiltered() error {
	const dir = "/proc/self/task"
	threads, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("seccomp: list own threads: %w", err)
	}
	seen := 0
	for _, th := range threads {
		b, err := os.ReadFile(dir + "/" + th.Name() + "/status")
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ESRCH) {
			continue // it has ended
		}
		if err != nil {
			return fmt.Errorf("seccomp: thread %s: %w", th.Name(), err)
		}
		mode := ""
		for line := range strings.Lines(string(b)) {
			if v, ok := strings.CutPrefix(line, "Seccomp:"); ok {
				mode = strings.TrimSpace(v)
			}
		}
		if mode != "2" {
			return fmt.Errorf("seccomp: mode of thread %s is %q, want 2", th.Name(), mode)
		}
		seen++
	}
	if seen == 0 {
		return fmt.Errorf("seccomp: %s shows no thread", dir)
	}
	if err := unix.Unshare(1 << 31); err != unix.EPERM { // no such flag: EINVAL
		return fmt.Errorf("seccomp: a forbidden call returned %v, want %v", err, unix.EPERM)
	}
	return nil
}

// probeFilter tries calls that the filter must forbid, harmless ones where it
// does not, and returns those that were not answered as they must be.
func probeFilter() (found []string) {
	for _, c := range []struct {
		name string
		nr   uintptr
		args [3]uint64
		want unix.Errno
	}{
		{"unshare", unix.SYS_UNSHARE, [3]uint64{}, unix.EPERM},
		{"keyctl", unix.SYS_KEYCTL, [3]uint64{math.MaxInt32}, unix.EPERM},
		{"ptrace", unix.SYS_PTRACE, [3]uint64{unix.PTRACE_PEEKDATA, math.MaxInt32}, unix.EPERM},
		{"mount", unix.SYS_MOUNT, [3]uint64{0, math.MaxUint64}, unix.EPERM},
		{"bpf", unix.SYS_BPF, [3]uint64{math.MaxInt32}, unix.EPERM},
		{"a socket of AF_VSOCK", unix.SYS_SOCKET, [3]uint64{unix.AF_VSOCK, unix.SOCK_STREAM}, unix.EAFNOSUPPORT},
		{"a socket of AF_VSOCK with a high bit", unix.SYS_SOCKET, [3]uint64{1<<32 | unix.AF_VSOCK, unix.SOCK_STREAM}, unix.EAFNOSUPPORT},
		{"TIOCSTI", unix.SYS_IOCTL, [3]uint64{math.MaxUint64, unix.TIOCSTI}, unix.EPERM},
		{"TIOCSTI with a high bit", unix.SYS_IOCTL, [3]uint64{math.MaxUint64, 1<<32 | unix.TIOCSTI}, unix.EPERM},
		{"clone3", unix.SYS_CLONE3, [3]uint64{}, unix.ENOSYS},
		{"io_uring_setup", unix.SYS_IO_URING_SETUP, [3]uint64{}, unix.ENOSYS},
		{"userfaultfd", unix.SYS_USERFAULTFD, [3]uint64{math.MaxUint64}, unix.ENOSYS},
	} {
		r, _, errno := unix.RawSyscall(c.nr, uintptr(c.args[0]), uintptr(c.args[1]), uintptr(c.args[2]))
		if errno == 0 && c.nr == unix.SYS_SOCKET {
			unix.Close(int(r))
		}
		if errno != c.want {
			found = append(found, fmt.Sprintf("the system call filter answered %s with %q, want %q", c.name, errno, c.want))
		}
	}
	return found
}
