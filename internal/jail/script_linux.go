package jail

import (
	"fmt"
	"os"
	"syscall"
	"unsafe"

	"github.com/agentflow-go/sandbox/internal/cgroup"
	"golang.org/x/sys/unix"
)

// script is a list of system calls for a child to make, one after the other,
// before it becomes another program. It is how a process gets into namespaces that
// Go code, with its threads, cannot enter, and builds a view of its own there
// without a helper to execute first.
//
// This program writes the whole list into memory that it shares with a [broker],
// whose child, a copy with one thread, only walks along it. It runs no Go code, and
// what it knows is gone with the exec, or the exit, that ends the list.
//
// A script is used once, by one goroutine.
type script struct {
	steps []step
	about [][2]string // what each step does, for its error
	data  []byte      // what arguments point to
	slots int         // how many results are kept
	fds   []int       // descriptors that are arguments
	keep  []any       // what keeps those open

	entrance *cgroup.Entrance // see enter

	arena []byte // once it is laid out
	said  *report
}

// report is what the child tells, in the shared memory.
type report struct {
	failed int64 // the step that failed, counted from 1
	errno  int64
	child  int64    // the process that doFork made
	told   [8]int64 // results and 1, of doTell in its order; 0: not yet
	tells  int64
	into   int64 // 1: the child began in its control group of version 2
}

// action is what a step does beyond its system call.
type action uint8

const (
	doCall  action = iota
	doAlive        // no error is one, a result of 0 is: the other side is gone
	doSame         // no call: two files, by what fstat told, must be the same one
	doPoint        // no call: the second argument is written where the first points
	doFork         // the child goes on, its parent reports its number and ends
	doTell         // no call: the result that is its first argument is told
	doEnter        // left out in a child that began in its control group
)

// meaning is how a number in a script becomes an argument.
type meaning uint8

const (
	asNumber  meaning = iota
	asAddress         // in the data
	asFile            // the descriptor that came with the script at that place
	asResult          // of an earlier step
)

type step struct {
	action action
	means  [6]meaning
	nr     uintptr
	args   [6]uintptr
	to     slot
}

// slot is where a result is kept: its index and 1. 0: nowhere.
type slot int

// place is where something is in a script's data. As an argument it is an address,
// which an offset, for the actions that are no call, is not.
type (
	place  uintptr
	offset place
)

// path names what a step is about, for its error.
type path string

// fd is a descriptor of this program's, open until the script was started.
type fd int

func newScript() *script { return &script{steps: make([]step, 0, 256)} }

// close gives back what the script holds. There is no failure after it.
func (s *script) close() {
	s.unmap()
	_ = s.entrance.Close() // nothing was written that could be lost
}

// unmap gives the shared memory back: the script can be laid out again.
func (s *script) unmap() {
	if s.arena != nil {
		_ = unix.Munmap(s.arena) // it is our own
		s.arena, s.said = nil, nil
	}
}

// put copies b, and a NUL, into the data.
func (s *script) put(b []byte) place {
	at := place(len(s.data))
	s.data = append(append(s.data, b...), 0)
	for len(s.data)%8 != 0 {
		s.data = append(s.data, 0)
	}
	return at
}

// view are the bytes of v, which has no pointers.
func view[T any](v *T) []byte { return unsafe.Slice((*byte)(unsafe.Pointer(v)), unsafe.Sizeof(*v)) }

// add appends a call. Bytes and strings are copied, and the argument is where they
// are then.
func (s *script) add(do action, what string, nr uintptr, args ...any) *step {
	st, about := step{action: do, nr: nr}, [2]string{what}
	for i, a := range args {
		switch a := a.(type) {
		case int:
			st.args[i] = uintptr(a)
		case uintptr:
			st.args[i] = a
		case slot:
			st.args[i], st.means[i] = uintptr(a-1), asResult
		case place:
			st.args[i], st.means[i] = uintptr(a), asAddress
		case offset:
			st.args[i] = uintptr(a)
		case path:
			about[1] = string(a)
			st.args[i], st.means[i] = uintptr(s.put([]byte(a))), asAddress
		case string:
			st.args[i], st.means[i] = uintptr(s.put([]byte(a))), asAddress
		case []byte:
			st.args[i], st.means[i] = uintptr(s.put(a)), asAddress
		case *os.File:
			s.keep = append(s.keep, a)
			st.args[i], st.means[i] = s.file(int(a.Fd())), asFile
		case fd:
			st.args[i], st.means[i] = s.file(int(a)), asFile
		default:
			panic(fmt.Sprintf("jail: argument %T of a script", a))
		}
	}
	s.steps, s.about = append(s.steps, st), append(s.about, about)
	return &s.steps[len(s.steps)-1]
}

func (s *script) file(fd int) uintptr {
	s.fds = append(s.fds, fd)
	return uintptr(len(s.fds) - 1)
}

// call appends a call that must succeed.
func (s *script) call(what string, nr uintptr, args ...any) { s.add(doCall, what, nr, args...) }

// get appends a call whose result later ones use.
func (s *script) get(what string, nr uintptr, args ...any) slot {
	st := s.add(doCall, what, nr, args...)
	s.slots++
	st.to = slot(s.slots)
	return st.to
}

// same appends a check that descriptor number fd and that in got are one file.
func (s *script) same(what string, fd int, got slot) {
	var st unix.Stat_t
	a, b := s.put(view(&st)), s.put(view(&st))
	s.call(what, unix.SYS_FSTAT, fd, a)
	s.call(what, unix.SYS_FSTAT, got, b)
	s.add(doSame, what, 0, offset(a), offset(b))
}

// write appends the writing of a file that is there.
func (s *script) write(file, content string) {
	fd := s.get("open", unix.SYS_OPENAT, unix.AT_FDCWD, path(file), unix.O_WRONLY|unix.O_CLOEXEC)
	s.call("write "+file, unix.SYS_WRITE, fd, content, len(content))
	s.call("close", unix.SYS_CLOSE, fd)
}

// tell appends the telling of a result, as soon as it is there.
func (s *script) tell(got slot) { s.add(doTell, "", 0, got) }

// enter appends what takes the child into a control group, before it does anything
// else. It is the script's from then on.
func (s *script) enter(e *cgroup.Entrance) {
	s.entrance = e
	if e.Procs != nil {
		s.add(doEnter, "enter the control group", unix.SYS_WRITE, e.Procs, "0", 1)
	}
	for _, f := range e.Tasks {
		s.call("enter the control group", unix.SYS_WRITE, f, "0", 1)
	}
}

// end appends the end of a child that becomes no other program.
func (s *script) end() { s.call("end", unix.SYS_EXIT_GROUP, 0) }

// failure is why the child did not come to its end, nil if it says nothing of
// that.
func (s *script) failure() *scriptError {
	if s.said == nil || s.said.failed == 0 {
		return nil
	}
	about := s.about[s.said.failed-1]
	e := &scriptError{what: about[0], errno: syscall.Errno(s.said.errno)}
	if about[1] != "" {
		e.what += " " + about[1]
	}
	return e
}

type scriptError struct {
	what  string
	errno syscall.Errno
}

func (e *scriptError) Error() string { return e.what + ": " + e.errno.Error() }
func (e *scriptError) Unwrap() error { return e.errno }

// header is at the start of a script that is laid out, before its steps, room for
// its results, and its data.
type header struct {
	said               report
	steps, slots, data int64 // numbers, and where the data begin
}

// lay writes the script into memory to be shared, and returns that.
func (s *script) lay() (*os.File, error) {
	h := header{steps: int64(len(s.steps)), slots: int64(s.slots)}
	at := int(unsafe.Sizeof(h)) + len(s.steps)*int(unsafe.Sizeof(step{})) + s.slots*int(unsafe.Sizeof(uintptr(0)))
	h.data = int64(at)
	f, err := memfd("jail-script", 0)
	if err != nil {
		return nil, err
	}
	if err = f.Truncate(int64(at + len(s.data))); err == nil {
		s.arena, err = unix.Mmap(int(f.Fd()), 0, at+len(s.data), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("share a script: %w", err)
	}
	n := copy(s.arena, view(&h))
	if len(s.steps) > 0 {
		copy(s.arena[n:], unsafe.Slice((*byte)(unsafe.Pointer(&s.steps[0])), len(s.steps)*int(unsafe.Sizeof(step{}))))
	}
	copy(s.arena[at:], s.data)
	s.said = &(*header)(unsafe.Pointer(&s.arena[0])).said
	return f, nil
}
