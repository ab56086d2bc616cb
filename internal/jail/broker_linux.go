package jail

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// brokerName and brokerMarker, as argument 0 and the only other, ask for a broker;
// as with a first process, it takes more than that to become one.
const (
	brokerName   = "jail-broker"
	brokerMarker = "\x01jail-broker\x01"
)

// broker is a child of this program that forks for it: this program again, with
// little memory of its own. A fork copies the page tables of who forks, and those
// of a program with a large heap take long.
//
// What it forks for jails are this program's children, not its own, and end with
// the same thread as it does itself. It knows nothing but the scripts that it is
// sent, and has their descriptors only while it forks.
type broker struct {
	p *os.Process
	c *conn
}

// newBroker starts one. It sees the files that the thread of s sees by now.
func newBroker(s *starter) (_ *broker, err error) {
	ours, theirs, err := Socket()
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	defer func() {
		if err != nil {
			ours.Close()
		}
	}()
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer null.Close()
	b := &broker{}
	if b.c, err = newConn(ours); err != nil {
		return nil, err
	}
	attr := &os.ProcAttr{
		Dir: "/", Env: []string{}, Files: []*os.File{null, null, null, theirs},
		Sys: &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setsid: true},
	}
	err = s.do(func() (err error) {
		if err = s.stuck; err == nil {
			// The program's own file, by which AppArmor knows what it may do.
			b.p, err = os.StartProcess("/proc/self/exe", []string{brokerName, brokerMarker}, attr)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("start a broker: %w", err)
	}
	return b, nil
}

// close ends the broker. What it forked goes on.
func (b *broker) close() {
	b.c.close()
	_ = b.p.Kill() // it may wait for a child that hangs
	_, _ = b.p.Wait()
}

// errBroker tells that a request was not taken: another broker may take it.
var errBroker = errors.New("the broker has ended")

// ask has a script started, with further clone flags. It returns the number of the
// child, which is this program's; or, if the broker waits for its end, how it ended,
// and what it told.
func (b *broker) ask(s *script, wait bool, flags uintptr) (n int, told []int, err error) {
	arena, err := s.lay()
	if err != nil {
		return 0, nil, err
	}
	defer arena.Close()
	ours, theirs, err := Socket()
	if err != nil {
		return 0, nil, err
	}
	defer ours.Close()
	fds := []int{int(theirs.Fd()), int(arena.Fd())}
	into := s.entrance != nil && s.entrance.Dir != nil
	if into {
		fds = append(fds, int(s.entrance.Dir.Fd()))
	}
	if fds = append(fds, s.fds...); len(fds) > maxFDs {
		theirs.Close()
		return 0, nil, fmt.Errorf("a script with %d descriptors, want at most %d: bind fewer paths: %w", len(fds), maxFDs, unix.E2BIG)
	}
	err = b.c.write(&message{kind: msgScript, nums: []int64{flag(wait), flag(into), int64(flags)}}, fds)
	theirs.Close()
	runtime.KeepAlive(s)
	if err != nil {
		return 0, nil, fmt.Errorf("%w: %w", errBroker, err)
	}
	answer, err := newConn(ours)
	if err == nil {
		err = ours.SetReadDeadline(time.Now().Add(helloTime))
	}
	if err != nil {
		return 0, nil, err
	}
	m, told, err := answer.read()
	switch {
	case err != nil:
		return 0, nil, fmt.Errorf("the broker does not answer: %w", err)
	case m.kind != msgForked || len(m.nums) != 2:
		closeAll(told)
		return 0, nil, errMessage
	case m.num(0) != 0:
		return 0, nil, &scriptError{makeNamespaces, syscall.Errno(m.num(0))}
	}
	return int(m.num(1)), told, nil
}

// maybeBroker becomes a broker if the descriptor is a socket that its parent made.
// Nobody gains anything by making one: it does what its parent may do itself.
func maybeBroker() {
	cred, err := unix.GetsockoptUcred(sockFD, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil || int(cred.Pid) != os.Getppid() {
		os.Exit(2)
	}
	signal.Ignore(deaf()...) // its parent ends it
	runtime.GOMAXPROCS(2)
	unix.CloseOnExec(sockFD)
	c, err := newConn(os.NewFile(sockFD, "host"))
	if err != nil {
		os.Exit(2)
	}
	for {
		m, fds, err := c.read()
		if err != nil || m.kind != msgScript || len(fds) < 2 {
			os.Exit(0) // the host program is gone, or wants no more
		}
		go func() { // ends with the script's fork, or the child that is waited for
			defer func() { closeAll(fds) }()
			answer, told := broken(&m, fds)
			c, err := newConn(os.NewFile(uintptr(fds[0]), "answer"))
			fds = fds[1:] // that one is the conn's
			if err == nil {
				_ = c.write(&answer, told) // the host program may have given up
				c.close()
			}
			closeAll(told)
		}()
	}
}

// broken does what one message asks for and returns the answer, and descriptors
// that are to go with it.
func broken(m *message, fds []int) (answer message, told []int) {
	fork := func() (int, syscall.Errno, error) {
		var st unix.Stat_t
		if err := unix.Fstat(fds[1], &st); err != nil {
			return 0, 0, err
		}
		arena, err := unix.Mmap(fds[1], 0, int(st.Size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
		if err != nil {
			return 0, 0, err
		}
		defer unix.Munmap(arena)
		dir, with := -1, fds[2:]
		if m.num(1) != 0 {
			dir, with = with[0], with[1:]
		}
		w, err := load(arena, with)
		if err != nil {
			return 0, 0, err
		}
		return w.run(m.num(0) != 0, uintptr(m.num(2)), dir, &told)
	}
	n, errno, err := fork()
	if err != nil && !errors.As(err, &errno) {
		errno = unix.EPROTO
	}
	return message{kind: msgForked, nums: []int64{int64(errno), int64(n)}}, told
}

// run starts the script and, if it is to wait, returns how the child ended, with
// what it told.
func (w *walker) run(wait bool, flags uintptr, dir int, told *[]int) (n int, errno syscall.Errno, err error) {
	if wait {
		// The child opens what it tells for us.
		flags |= unix.CLONE_FILES
	} else {
		flags |= unix.CLONE_PARENT
	}
	pid, errno := w.start(flags, dir)
	if dir >= 0 && (errno == unix.ENOSYS || errno == unix.E2BIG || errno == unix.EINVAL || errno == unix.EOPNOTSUPP) {
		// A kernel, or a filter, that does not know this way into a group.
		pid, errno = w.start(flags, -1)
	}
	if errno != 0 || !wait {
		return pid, errno, nil
	}
	var ws unix.WaitStatus
	for {
		if _, err = unix.Wait4(pid, &ws, 0, nil); err != unix.EINTR {
			break
		}
	}
	for i := range min(w.said.tells, int64(len(w.said.told))) {
		*told = append(*told, int(w.said.told[i])-1)
	}
	return int(ws), 0, err
}
