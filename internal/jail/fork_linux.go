package jail

import (
	"fmt"
	"os"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// stage is the step of a start that failed.
type stage int64

const (
	stageNone stage = iota
	stageFork
	stageFiles
	stageTTY
	stageDir
	stageLimits
	stageExec
	stageLookup
	stageJoin
)

// rlimit is one resource limit of a program, soft and hard alike.
type rlimit struct {
	resource int
	value    uint64
}

// forker starts programs the way the first process needs it. The standard
// library cannot set resource limits between fork and exec, and setting them on
// the first process itself would let a fork bomb kill it: the Go runtime ends
// the program when it cannot have another thread.
//
// The child is a copy (no shared memory, unlike the standard library's), in
// which only system calls are made; it tells through one shared page at which
// step it failed. The parent's thread sleeps until the exec. Not for concurrent
// use.
type forker struct {
	shared *[2]int64   // stage, errno
	work   chan func() // to the thread that forks; nil: any thread does
}

// newForker makes a forker. prepare, unless nil, is done once on the thread that
// forks from then on, and what it does to the thread programs inherit.
func newForker(prepare func() error) (*forker, error) {
	page, err := unix.Mmap(-1, 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_ANONYMOUS)
	if err != nil {
		return nil, fmt.Errorf("map shared page: %w", err)
	}
	f := &forker{shared: (*[2]int64)(unsafe.Pointer(&page[0]))}
	if prepare == nil {
		return f, nil
	}
	f.work = make(chan func())
	prepared := make(chan error)
	go func() { // ends with this process, as the forker does
		runtime.LockOSThread()
		prepared <- prepare()
		for do := range f.work {
			do()
		}
	}()
	return f, <-prepared
}

// spawn says what the child does before it becomes the program.
type spawn struct {
	path  string
	args  []string // with the program's name
	env   []string
	dir   string // "": stays
	fds   []int  // descriptor i of the program is fds[i]; -1: none
	tty   bool   // descriptor 0 becomes the controlling terminal
	lims  []rlimit
	flags uintptr // further clone flags
	// deathSignal, unless 0, is sent to the program when its parent thread ends.
	deathSignal syscall.Signal
}

// childSpec is spawn in the shape the child needs: no allocation, no string.
type childSpec struct {
	path, dir   *byte
	argv, env   **byte
	fds         [maxFDs + 3]int
	tmp         [maxFDs + 3]int
	nfds        int
	tty         bool
	lims        [8]unix.Rlimit
	res         [8]int
	nlims       int
	flags       uintptr
	deathSignal uintptr
	parent      uintptr // its death before deathSignal is set ends the child
	shared      *[2]int64
}

// start runs s and returns its pid once the program itself is running. After an
// error there is no child.
func (f *forker) start(s *spawn) (pid int, at stage, err error) {
	if len(s.fds) > len(childSpec{}.fds) || len(s.lims) > len(childSpec{}.lims) {
		return 0, stageFiles, unix.E2BIG
	}
	spec := &childSpec{
		nfds: len(s.fds), tty: s.tty, nlims: len(s.lims), flags: s.flags,
		deathSignal: uintptr(s.deathSignal), parent: uintptr(os.Getpid()), shared: f.shared,
	}
	copy(spec.fds[:], s.fds)
	for i, l := range s.lims {
		spec.res[i], spec.lims[i] = l.resource, unix.Rlimit{Cur: l.value, Max: l.value}
	}
	if spec.path, err = syscall.BytePtrFromString(s.path); err != nil {
		return 0, stageExec, err
	}
	if s.dir != "" {
		if spec.dir, err = syscall.BytePtrFromString(s.dir); err != nil {
			return 0, stageDir, err
		}
	}
	argv, err := syscall.SlicePtrFromStrings(s.args)
	if err != nil {
		return 0, stageExec, err
	}
	env, err := syscall.SlicePtrFromStrings(s.env)
	if err != nil {
		return 0, stageExec, err
	}
	spec.argv, spec.env = &argv[0], &env[0]

	*f.shared = [2]int64{}
	child, errno := f.fork(spec)
	runtime.KeepAlive(argv)
	runtime.KeepAlive(env)
	if errno != 0 {
		return 0, stageFork, errno
	}
	if at := stage(f.shared[0]); at != stageNone {
		for {
			if _, err := unix.Wait4(int(child), nil, 0, nil); err != unix.EINTR {
				break
			}
		}
		return 0, at, syscall.Errno(f.shared[1])
	}
	return int(child), stageNone, nil
}

// fork runs forkExec on the thread that it is for.
func (f *forker) fork(spec *childSpec) (pid uintptr, errno syscall.Errno) {
	if f.work == nil {
		runtime.LockOSThread() // the signal mask is the thread's
		defer runtime.UnlockOSThread()
		return forkExec(spec)
	}
	done := make(chan struct{})
	f.work <- func() {
		defer close(done)
		pid, errno = forkExec(spec)
	}
	<-done
	return pid, errno
}

// sigaction is the kernel's, with room for every architecture's.
type sigaction struct{ _ [4]uintptr }

// forkExec forks and, in the child, does as spec says. In the child nothing but
// raw system calls may happen: no allocation, no growing stack, no scheduler, no
// race detector.
//
//go:noinline
//go:norace
//go:nocheckptr
func forkExec(s *childSpec) (pid uintptr, errno syscall.Errno) {
	var (
		all  = ^uint64(0)
		old  uint64
		none uint64
		dfl  sigaction // all zero: SIG_DFL, no flags
		i    int
		r    uintptr
		at   stage
	)
	// A signal handler of the Go runtime must not run in the child.
	syscall.RawSyscall6(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK,
		uintptr(unsafe.Pointer(&all)), uintptr(unsafe.Pointer(&old)), 8, 0, 0)
	pid, _, errno = syscall.RawSyscall6(unix.SYS_CLONE, uintptr(unix.SIGCHLD)|unix.CLONE_VFORK|s.flags, 0, 0, 0, 0, 0)
	if errno != 0 || pid != 0 {
		syscall.RawSyscall6(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, uintptr(unsafe.Pointer(&old)), 0, 8, 0, 0)
		return pid, errno
	}

	// The child. A session of its own, as nothing of the jail's may be its
	// controlling terminal by accident.
	syscall.RawSyscall6(unix.SYS_SETSID, 0, 0, 0, 0, 0, 0)
	at = stageJoin
	if s.deathSignal != 0 { // after joining, which may forget it
		syscall.RawSyscall6(unix.SYS_PRCTL, unix.PR_SET_PDEATHSIG, s.deathSignal, 0, 0, 0, 0)
		if r, _, errno = syscall.RawSyscall6(unix.SYS_GETPPID, 0, 0, 0, 0, 0, 0); r != s.parent {
			goto fail
		}
	}

	// Descriptors: first out of the way of their numbers, then to their places.
	at = stageFiles
	for i = 0; i < s.nfds; i++ {
		if s.fds[i] < 0 {
			continue
		}
		r, _, errno = syscall.RawSyscall6(unix.SYS_FCNTL, uintptr(s.fds[i]), unix.F_DUPFD_CLOEXEC, uintptr(s.nfds), 0, 0, 0)
		if errno != 0 {
			goto fail
		}
		s.tmp[i] = int(r)
	}
	for i = 0; i < s.nfds; i++ {
		if s.fds[i] < 0 {
			syscall.RawSyscall6(unix.SYS_CLOSE, uintptr(i), 0, 0, 0, 0, 0)
			continue
		}
		_, _, errno = syscall.RawSyscall6(unix.SYS_DUP3, uintptr(s.tmp[i]), uintptr(i), 0, 0, 0, 0)
		if errno != 0 {
			goto fail
		}
	}
	// All others close at exec as they are; this is the second lock, which old
	// kernels lack.
	syscall.RawSyscall6(unix.SYS_CLOSE_RANGE, uintptr(s.nfds), uintptr(^uint32(0)), unix.CLOSE_RANGE_CLOEXEC, 0, 0, 0)

	if s.tty {
		at = stageTTY
		_, _, errno = syscall.RawSyscall6(unix.SYS_IOCTL, 0, unix.TIOCSCTTY, 0, 0, 0, 0)
		if errno != 0 {
			goto fail
		}
	}
	if s.dir != nil {
		at = stageDir
		_, _, errno = syscall.RawSyscall6(unix.SYS_CHDIR, uintptr(unsafe.Pointer(s.dir)), 0, 0, 0, 0, 0)
		if errno != 0 {
			goto fail
		}
	}
	for i = 1; i <= 64; i++ { // fails for SIGKILL and SIGSTOP, as it must
		syscall.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(i), uintptr(unsafe.Pointer(&dfl)), 0, 8, 0, 0)
	}
	at = stageLimits
	for i = 0; i < s.nlims; i++ {
		_, _, errno = syscall.RawSyscall6(unix.SYS_PRLIMIT64, 0, uintptr(s.res[i]), uintptr(unsafe.Pointer(&s.lims[i])), 0, 0, 0)
		if errno != 0 {
			goto fail
		}
	}
	syscall.RawSyscall6(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, uintptr(unsafe.Pointer(&none)), 0, 8, 0, 0)
	at = stageExec
	_, _, errno = syscall.RawSyscall6(unix.SYS_EXECVE, uintptr(unsafe.Pointer(s.path)),
		uintptr(unsafe.Pointer(s.argv)), uintptr(unsafe.Pointer(s.env)), 0, 0, 0)

fail:
	s.shared[0], s.shared[1] = int64(at), int64(errno)
	for {
		syscall.RawSyscall6(unix.SYS_EXIT_GROUP, 127, 0, 0, 0, 0, 0)
	}
}
