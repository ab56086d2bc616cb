package code

import (
	"errors"
	"io"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// maxHeld is how much output is kept between two calls. What a background
// process prints beyond it waits for the next call.
const maxHeld = 1 << 20

// stream reads what an interpreter and its children write to one descriptor,
// for the life of the interpreter. While a call runs it goes to the call's sink,
// else it is held for the next call.
//
// The end of a call needs no mark in the output, which output could forge: when
// the driver has answered, all that was written before is in the pipe, and
// drain takes exactly that.
type stream struct {
	f     *os.File // our end of the pipe
	rc    syscall.RawConn
	ended chan struct{} // closed when the reader has returned

	mu   sync.Mutex // guards what follows, and reading
	room sync.Cond  // hold was taken, or the stream closed
	buf  []byte
	hold []byte
	sink io.Writer // nil between calls; called with mu held
	stop bool
}

func newStream(f *os.File) (*stream, error) {
	rc, err := f.SyscallConn()
	if err != nil {
		return nil, err
	}
	s := &stream{f: f, rc: rc, ended: make(chan struct{}), buf: make([]byte, 64<<10)}
	s.room.L = &s.mu
	go func() { // ends with the last writer, or by close
		defer close(s.ended)
		_ = s.rc.Read(s.available) // it fails when the file is closed
	}()
	return s, nil
}

// available reads what is there; true ends the reader.
func (s *stream) available(fd uintptr) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		for !s.stop && s.sink == nil && len(s.hold) >= maxHeld {
			s.room.Wait()
		}
		if s.stop {
			return true
		}
		n, err := s.read(int(fd), len(s.buf))
		if err == unix.EAGAIN {
			return false
		}
		if err != nil || n == 0 {
			return true
		}
		s.mu.Unlock() // a call that begins or ends comes first
		s.mu.Lock()
	}
}

// read reads at most most bytes and hands them on. s.mu is held.
func (s *stream) read(fd, most int) (int, error) {
	for {
		n, err := unix.Read(fd, s.buf[:min(most, len(s.buf))])
		if err == unix.EINTR {
			continue
		}
		if n > 0 {
			if s.sink != nil {
				s.sink.Write(s.buf[:n])
			} else {
				s.hold = append(s.hold, s.buf[:n]...)
			}
		}
		return n, err
	}
}

// begin starts a call: sink gets what was held, then all that is read.
func (s *stream) begin(sink io.Writer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.hold) > 0 {
		sink.Write(s.hold)
		s.hold = nil
	}
	s.sink = sink
	s.room.Broadcast()
}

// end ends a call: what has been written by now still goes to its sink.
func (s *stream) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drain()
	s.sink = nil
}

func (s *stream) drain() {
	_ = s.rc.Control(func(fd uintptr) { // it fails when the file is closed: nothing is left then
		left, err := unix.IoctlGetInt(int(fd), unix.TIOCINQ)
		for err == nil && left > 0 {
			var n int
			if n, err = s.read(int(fd), left); n == 0 {
				return
			}
			left -= n
		}
	})
}

// rest takes what was held and what can still be read, once the interpreter
// has ended.
func (s *stream) rest() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drain()
	hold := s.hold
	s.hold = nil
	return hold
}

// close ends the reader and waits for it.
func (s *stream) close() error {
	s.mu.Lock()
	s.stop = true
	s.room.Broadcast()
	s.mu.Unlock()
	err := s.f.Close()
	<-s.ended
	return err
}

// pipe makes a pipe between the host, in whose poller its end is, and an
// interpreter, whose end blocks. uid may open it again, by /dev/stdout for one.
func pipe(uid int, hostWrites bool) (host, theirs *os.File, err error) {
	var fd [2]int
	if err := unix.Pipe2(fd[:], unix.O_CLOEXEC); err != nil {
		return nil, nil, err
	}
	ours, other := fd[0], fd[1]
	if hostWrites {
		ours, other = other, ours
	}
	if !hostWrites { // fewer wake-ups for much output; the kernel may refuse
		_, _ = unix.FcntlInt(uintptr(ours), unix.F_SETPIPE_SZ, 256<<10)
	}
	err = unix.SetNonblock(ours, true)
	if os.Geteuid() == 0 && uid != 0 {
		err = errors.Join(err, unix.Fchown(other, uid, -1))
	}
	if err != nil {
		return nil, nil, errors.Join(err, unix.Close(ours), unix.Close(other))
	}
	return os.NewFile(uintptr(ours), "pipe"), os.NewFile(uintptr(other), "pipe"), nil
}

// owner returns the user that a worker's processes run as: its directory's.
func owner(dir string) (uid int, err error) {
	info, err := os.Stat(dir)
	if err != nil {
		return 0, err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, errors.New("the owner of the workspace is unknown")
	}
	return int(st.Uid), nil
}
