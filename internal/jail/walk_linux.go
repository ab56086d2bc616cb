package jail

import (
	"fmt"
	"runtime"
	"syscall"
	"unsafe"

	"github.com/agentflow-go/sandbox/internal/cgroup"
	"golang.org/x/sys/unix"
)

// walker has a script where it is to be walked along: all of it is in the shared
// memory, and none of it on Go's heap.
type walker struct {
	said  *report
	steps []step
	slots []uintptr
	data  unsafe.Pointer
}

// load makes a script that is laid out in arena ready to be walked along in this
// process, where fds are its descriptors.
func load(arena []byte, fds []int) (*walker, error) {
	if len(arena) < int(unsafe.Sizeof(header{})) {
		return nil, errMessage
	}
	base := unsafe.Pointer(&arena[0])
	h := (*header)(base)
	at := unsafe.Add(base, unsafe.Sizeof(*h))
	w := &walker{said: &h.said, steps: unsafe.Slice((*step)(at), h.steps), data: unsafe.Add(base, h.data)}
	w.slots = unsafe.Slice((*uintptr)(unsafe.Add(at, uintptr(h.steps)*unsafe.Sizeof(step{}))), h.slots)
	for i := range w.steps {
		st := &w.steps[i]
		for j, means := range st.means {
			switch means {
			case asAddress:
				st.args[j] += uintptr(w.data)
			case asFile:
				if st.args[j] >= uintptr(len(fds)) {
					return nil, errMessage
				}
				st.args[j] = uintptr(fds[st.args[j]])
			}
		}
	}
	return w, nil
}

// here walks along the steps on a thread of this program's, which ends then with
// all that they did to it. Unlike a child it needs no broker, but it can neither
// enter namespaces of users nor become another program: only calls and doTell are
// for it. It returns the descriptors that were told, which are the caller's.
func (s *script) here() (told []int, err error) {
	f, err := s.lay()
	if err != nil {
		return nil, err
	}
	defer f.Close()
	w, err := load(s.arena, s.fds)
	if err != nil {
		return nil, err
	}
	cgroup.OffLeader(func() {
		// Never unlocked: the thread ends with its goroutine.
		runtime.LockOSThread()
		for i := range w.steps {
			st := &w.steps[i]
			a := st.args
			for j, means := range st.means {
				if means == asResult {
					a[j] = w.slots[a[j]]
				}
			}
			switch st.action {
			case doTell:
				told = append(told, int(a[0]))
				continue
			case doCall:
			default:
				panic(fmt.Sprintf("jail: action %d is for a child", st.action))
			}
			r, _, errno := syscall.Syscall6(st.nr, a[0], a[1], a[2], a[3], a[4], a[5])
			if errno != 0 {
				w.said.failed, w.said.errno = int64(i+1), int64(errno)
				err = s.failure()
				closeAll(told)
				told = nil
				return
			}
			if st.to != 0 {
				w.slots[st.to-1] = r
			}
		}
	})
	runtime.KeepAlive(s)
	return told, err
}

// cloneArgs is the kernel's struct clone_args.
type cloneArgs struct {
	flags, pidfd, childTID, parentTID, exitSignal, stack, stackSize, tls, setTID, setTIDSize, cgroup uint64
}

// start makes the child, with further clone flags and, unless -1, in the control
// group of version 2 that dir is. It returns before the child has done anything.
func (w *walker) start(flags uintptr, dir int) (pid int, errno syscall.Errno) {
	args := cloneArgs{flags: uint64(flags), exitSignal: uint64(unix.SIGCHLD)}
	if dir >= 0 {
		args.flags, args.cgroup = args.flags|unix.CLONE_INTO_CGROUP, uint64(dir)
		if flags&unix.CLONE_PARENT != 0 {
			args.exitSignal = 0 // it is this process's own
		}
		w.said.into = 1
	}
	runtime.LockOSThread() // the signal mask is the thread's
	defer runtime.UnlockOSThread()
	child, errno := w.fork(&args, dir >= 0)
	if errno != 0 {
		w.said.into = 0
	}
	return int(child), errno
}

// fork forks, and in the child walks along the steps. As in forkExec, in the
// child nothing but raw system calls may happen: no allocation, no growing stack,
// no scheduler, no race detector.
//
//go:noinline
//go:norace
//go:nocheckptr
func (w *walker) fork(args *cloneArgs, clone3 bool) (pid uintptr, errno syscall.Errno) {
	var (
		all  = ^uint64(0)
		old  uint64
		none uint64
		dfl  sigaction // all zero: SIG_DFL, no flags
		i    int
		j    int
		st   *step
		a    [6]uintptr
		r    uintptr
		sa   *unix.Stat_t
		sb   *unix.Stat_t
	)
	// A signal handler of the Go runtime must not run in the child.
	syscall.RawSyscall6(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK,
		uintptr(unsafe.Pointer(&all)), uintptr(unsafe.Pointer(&old)), 8, 0, 0)
	if clone3 {
		pid, _, errno = syscall.RawSyscall6(unix.SYS_CLONE3, uintptr(unsafe.Pointer(args)), unsafe.Sizeof(*args), 0, 0, 0, 0)
	} else {
		pid, _, errno = syscall.RawSyscall6(unix.SYS_CLONE, uintptr(args.flags|args.exitSignal), 0, 0, 0, 0, 0)
	}
	if errno != 0 || pid != 0 {
		syscall.RawSyscall6(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, uintptr(unsafe.Pointer(&old)), 0, 8, 0, 0)
		return pid, errno
	}

	// The child.
	for i = 1; i <= 64; i++ { // fails for SIGKILL and SIGSTOP, as it must
		syscall.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(i), uintptr(unsafe.Pointer(&dfl)), 0, 8, 0, 0)
	}
	syscall.RawSyscall6(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, uintptr(unsafe.Pointer(&none)), 0, 8, 0, 0)
	for i = 0; i < len(w.steps); i++ {
		st = &w.steps[i]
		for j = 0; j < len(a); j++ {
			a[j] = st.args[j]
			if st.means[j] == asResult {
				a[j] = w.slots[a[j]]
			}
		}
		switch st.action {
		case doSame:
			sa, sb = (*unix.Stat_t)(unsafe.Add(w.data, a[0])), (*unix.Stat_t)(unsafe.Add(w.data, a[1]))
			if sa.Dev != sb.Dev || sa.Ino != sb.Ino || (sa.Mode^sb.Mode)&unix.S_IFMT != 0 {
				errno = unix.ESTALE
				goto fail
			}
			continue
		case doPoint:
			*(*uintptr)(unsafe.Add(w.data, a[0])) = a[1]
			continue
		case doTell:
			if w.said.tells < int64(len(w.said.told)) {
				w.said.told[w.said.tells] = int64(a[0]) + 1
			}
			w.said.tells++
			continue
		case doEnter:
			if w.said.into != 0 {
				continue
			}
		}
		r, _, errno = syscall.RawSyscall6(st.nr, a[0], a[1], a[2], a[3], a[4], a[5])
		switch st.action {
		case doAlive:
			if errno != 0 {
				continue
			}
			if r == 0 {
				errno = unix.EPIPE
			}
		case doFork:
			if errno == 0 && r != 0 {
				w.said.child = int64(r)
				for {
					syscall.RawSyscall6(unix.SYS_EXIT_GROUP, 0, 0, 0, 0, 0, 0)
				}
			}
		}
		if errno != 0 {
			goto fail
		}
		if st.to != 0 {
			w.slots[st.to-1] = r
		}
	}
	errno = unix.ENOEXEC // the last step ends this program

fail:
	w.said.failed, w.said.errno = int64(i+1), int64(errno)
	for {
		syscall.RawSyscall6(unix.SYS_EXIT_GROUP, 127, 0, 0, 0, 0, 0)
	}
}
