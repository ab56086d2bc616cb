package jail

import (
	"fmt"
	"os"
	"runtime"
	"syscall"
	"unsafe"

	"github.com/agentflow-go/sandbox/internal/cgroup"
	"golang.org/x/sys/unix"
)

// script is a list of system calls for a child of this program to make, one after
// the other, before it becomes another program. It is how a process gets into
// namespaces that Go code, with its threads, cannot enter, and builds a view of
// its own there without a helper to execute first.
//
// The host's side writes the whole list; the child, a copy of this program with
// one thread, only walks along it. It runs no Go code, and what it knows of the
// host program is gone with the exec, or the exit, that ends the list.
//
// A script is used once, by one goroutine.
type script struct {
	steps []step
	slots []uintptr // results, by slot
	keep  []any     // what arguments point to
	said  *report
}

// report is what the child tells, in memory shared with it.
type report struct {
	failed int64 // the step that failed, counted from 1
	errno  int64
	child  int64    // the process that doFork made
	told   [8]int64 // results and 1, of doTell in its order; 0: not yet
	tells  int64
}

// action is what a step does beyond its system call.
type action uint8

const (
	doCall  action = iota
	doSome         // a result of 0 is an error: the other side is gone
	doAlive        // as doSome, but an error is none
	doSame         // no call: two files must be the same one
	doFork         // the child goes on, its parent reports its number and ends
	doTell         // no call: the result that is its first argument is told
)

type step struct {
	action action
	nr     uintptr
	args   [6]uintptr
	from   [6]slot // the arguments that are results
	to     slot
	a, b   *unix.Stat_t
	what   [2]string // for the error
}

// slot is where a result is kept: its index and 1. 0: nowhere.
type slot int

// newScript returns an empty one. The caller closes it.
func newScript() (*script, error) {
	page, err := unix.Mmap(-1, 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_ANONYMOUS)
	if err != nil {
		return nil, fmt.Errorf("map shared page: %w", err)
	}
	return &script{said: (*report)(unsafe.Pointer(&page[0])), keep: []any{page}, steps: make([]step, 0, 256)}, nil
}

func (s *script) close() { _ = unix.Munmap(s.keep[0].([]byte)) }

// path names what a step is about, for its error.
type path string

// add appends a call. An argument is a number, a slot, a string or what unsafe
// points to.
func (s *script) add(do action, what string, nr uintptr, args ...any) *step {
	st := step{action: do, nr: nr, what: [2]string{what}}
	for i, a := range args {
		switch a := a.(type) {
		case int:
			st.args[i] = uintptr(a)
		case uintptr:
			st.args[i] = a
		case slot:
			st.from[i] = a
		case path:
			st.what[1] = string(a)
			st.args[i] = s.bytes(string(a))
		case string:
			st.args[i] = s.bytes(a)
		case unsafe.Pointer:
			s.keep = append(s.keep, a)
			st.args[i] = uintptr(a)
		default:
			panic(fmt.Sprintf("jail: argument %T of a script", a))
		}
	}
	s.steps = append(s.steps, st)
	return &s.steps[len(s.steps)-1]
}

// bytes keeps a string with a NUL and returns its address. Nothing moves it: what
// keep holds is on the heap.
func (s *script) bytes(v string) uintptr {
	b := append([]byte(v), 0)
	s.keep = append(s.keep, b)
	return uintptr(unsafe.Pointer(&b[0]))
}

// call appends a call that must succeed.
func (s *script) call(what string, nr uintptr, args ...any) { s.add(doCall, what, nr, args...) }

// get appends a call whose result later ones use.
func (s *script) get(what string, nr uintptr, args ...any) slot {
	st := s.add(doCall, what, nr, args...)
	s.slots = append(s.slots, 0)
	st.to = slot(len(s.slots))
	return st.to
}

// same appends a check that descriptor number fd and that in got are one file.
func (s *script) same(what string, fd int, got slot) {
	a, b := new(unix.Stat_t), new(unix.Stat_t)
	s.call(what, unix.SYS_FSTAT, fd, unsafe.Pointer(a))
	s.call(what, unix.SYS_FSTAT, got, unsafe.Pointer(b))
	st := s.add(doSame, what, 0)
	st.a, st.b = a, b
}

// write appends the writing of a file that is there.
func (s *script) write(file, content string) {
	fd := s.get("open", unix.SYS_OPENAT, unix.AT_FDCWD, path(file), unix.O_WRONLY|unix.O_CLOEXEC)
	s.call("write "+file, unix.SYS_WRITE, fd, content, len(content))
	s.call("close", unix.SYS_CLOSE, fd)
}

// tell appends the telling of a result, as soon as it is there.
func (s *script) tell(got slot) { s.add(doTell, "", 0, got) }

// end appends the end of a child that becomes no other program.
func (s *script) end() { s.call("end", unix.SYS_EXIT_GROUP, 0) }

// failure is why the child did not come to its end, nil if it says nothing of
// that.
func (s *script) failure() *scriptError {
	if s.said.failed == 0 {
		return nil
	}
	st := &s.steps[s.said.failed-1]
	e := &scriptError{what: st.what[0], errno: syscall.Errno(s.said.errno)}
	if st.what[1] != "" {
		e.what += " " + st.what[1]
	}
	return e
}

type scriptError struct {
	what  string
	errno syscall.Errno
}

func (e *scriptError) Error() string { return e.what + ": " + e.errno.Error() }
func (e *scriptError) Unwrap() error { return e.errno }

// start makes the child, with further clone flags and, unless -1, in the control
// group of version 2 that dir is. It returns before the child has done anything.
func (s *script) start(flags uintptr, dir int) (pid int, errno syscall.Errno) {
	args := cloneArgs{flags: uint64(flags), exitSignal: uint64(unix.SIGCHLD)}
	if dir >= 0 {
		args.flags, args.cgroup = args.flags|unix.CLONE_INTO_CGROUP, uint64(dir)
	}
	runtime.LockOSThread() // the signal mask is the thread's
	defer runtime.UnlockOSThread()
	child, errno := s.fork(&args, dir >= 0)
	runtime.KeepAlive(s)
	return int(child), errno
}

// child makes a child that ends by itself, with further clone flags, and waits
// for that.
func (s *script) child(flags uintptr) error {
	pid, errno := s.start(flags, -1)
	if errno != 0 {
		return &scriptError{makeNamespaces, errno}
	}
	var ws unix.WaitStatus
	for {
		_, err := unix.Wait4(pid, &ws, 0, nil)
		if err == unix.EINTR {
			continue
		}
		if failed := s.failure(); failed != nil {
			return failed
		}
		if err != nil {
			return os.NewSyscallError("wait4", err)
		}
		if ws != 0 {
			return fmt.Errorf("a child for system calls ended with %#x", uint32(ws))
		}
		return nil
	}
}

// here walks along the steps on a thread of this program's, which ends then with
// all that they did to it. Unlike a child it costs the same in a large program, but
// it can neither enter namespaces of users nor become another program: only calls
// and doTell are for it.
func (s *script) here() (err error) {
	cgroup.OffLeader(func() {
		// Never unlocked: the thread ends with its goroutine.
		runtime.LockOSThread()
		for i := range s.steps {
			st := &s.steps[i]
			a := st.args
			for j, from := range st.from {
				if from != 0 {
					a[j] = s.slots[from-1]
				}
			}
			switch st.action {
			case doTell:
				s.said.told[s.said.tells] = int64(a[0]) + 1
				s.said.tells++
				continue
			case doCall:
			default:
				panic(fmt.Sprintf("jail: action %d is for a child", st.action))
			}
			r, _, errno := syscall.Syscall6(st.nr, a[0], a[1], a[2], a[3], a[4], a[5])
			if errno != 0 {
				s.said.failed, s.said.errno = int64(i+1), int64(errno)
				err = s.failure()
				return
			}
			if st.to != 0 {
				s.slots[st.to-1] = r
			}
		}
	})
	runtime.KeepAlive(s)
	return err
}

// fork forks, and in the child walks along the steps. As in forkExec, in the
// child nothing but raw system calls may happen: no allocation, no growing stack,
// no scheduler, no race detector.
//
//go:noinline
//go:norace
//go:nocheckptr
func (s *script) fork(args *cloneArgs, clone3 bool) (pid uintptr, errno syscall.Errno) {
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
	for i = 0; i < len(s.steps); i++ {
		st = &s.steps[i]
		if st.action == doSame {
			if st.a.Dev != st.b.Dev || st.a.Ino != st.b.Ino || (st.a.Mode^st.b.Mode)&unix.S_IFMT != 0 {
				errno = unix.ESTALE
				goto fail
			}
			continue
		}
		for j = 0; j < len(a); j++ {
			a[j] = st.args[j]
			if st.from[j] != 0 {
				a[j] = s.slots[st.from[j]-1]
			}
		}
		if st.action == doTell {
			if s.said.tells < int64(len(s.said.told)) {
				s.said.told[s.said.tells] = int64(a[0]) + 1
			}
			s.said.tells++
			continue
		}
		r, _, errno = syscall.RawSyscall6(st.nr, a[0], a[1], a[2], a[3], a[4], a[5])
		switch st.action {
		case doSome:
			if errno == 0 && r == 0 {
				errno = unix.EPIPE
			}
		case doAlive:
			if errno != 0 {
				continue
			}
			if r == 0 {
				errno = unix.EPIPE
			}
		case doFork:
			if errno == 0 && r != 0 {
				s.said.child = int64(r)
				for {
					syscall.RawSyscall6(unix.SYS_EXIT_GROUP, 0, 0, 0, 0, 0, 0)
				}
			}
		}
		if errno != 0 {
			goto fail
		}
		if st.to != 0 {
			s.slots[st.to-1] = r
		}
	}
	errno = unix.ENOEXEC // the last step ends this program

fail:
	s.said.failed, s.said.errno = int64(i+1), int64(errno)
	for {
		syscall.RawSyscall6(unix.SYS_EXIT_GROUP, 127, 0, 0, 0, 0, 0)
	}
}
