package jail

import (
	"bytes"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// streams are what a first process that is started on this host inherits: its
// socket, and a file in memory that it and what starts it complain to.
type streams struct {
	ours, theirs, stderr, null *os.File
}

func openStreams() (_ *streams, err error) {
	s := &streams{}
	defer func() {
		if err != nil {
			s.closeTheirs(&err)
		}
	}()
	if s.ours, s.theirs, err = Socket(); err != nil {
		return nil, err
	}
	if s.stderr, err = memfd("stderr", 0); err != nil {
		return nil, err
	}
	s.null, err = os.OpenFile(os.DevNull, os.O_RDWR, 0)
	return s, err
}

// files are the descriptors of a first process, from 0 on.
func (s *streams) files(program *os.File) []*os.File {
	return []*os.File{s.null, s.null, s.stderr, s.theirs, program}
}

// closeTheirs closes what only the child needs, else its end would never be
// seen; and all after an error.
func (s *streams) closeTheirs(err *error) {
	s.theirs.Close()
	s.null.Close()
	if *err != nil {
		s.ours.Close()
		s.stderr.Close()
	}
}

// first is what was launched with s as p. explain gets what was complained of.
func (s *streams) first(p *os.Process, explain func(complaint string, cause error) error) *First {
	return &First{
		Conn: s.ours, Boss: &childBoss{p},
		Explain: func(cause error) error { return explain(complaint(s.stderr), cause) },
		Settled: func() { s.stderr.Close() },
	}
}

// complaint is what was written to standard error, cut and on one line.
func complaint(stderr *os.File) string {
	b := make([]byte, 4096)
	n, _ := stderr.ReadAt(b, 0) // the end of the file is no surprise
	return strings.Join(strings.Fields(string(bytes.ToValidUTF8(b[:n], []byte("?")))), " ")
}

// childBoss is a child of this program: a bwrap, or a first process.
type childBoss struct{ p *os.Process }

func (b *childBoss) Pid() int { return b.p.Pid }

// Kill does nothing: the host has a descriptor of the first process, whose end
// is also the end of what started it.
func (b *childBoss) Kill() {}

func (b *childBoss) Wait() error {
	_, err := b.p.Wait()
	return err
}

// Abandon kills a bwrap that made no jail, or a first process, with its children
// and waits for them. Children first: one that bwrap has just made does not die
// with it yet.
func (b *childBoss) Abandon() {
	dying := killChildren(b.p.Pid)
	if b.p.Signal(syscall.SIGSTOP) == nil {
		// It may be making one just now, and makes no more once it has stopped.
		for unix.Waitid(unix.P_PID, b.p.Pid, nil, unix.WSTOPPED|unix.WEXITED|unix.WNOWAIT, nil) == unix.EINTR {
		}
		dying = append(dying, killChildren(b.p.Pid)...)
	}
	_ = b.p.Kill()
	_ = b.Wait()
	for _, fd := range dying {
		gone(fd, killTime) // or it hangs in the kernel
	}
	closeAll(dying)
}

// KillChildren kills the processes that pid, a child of this program that was not
// waited for, has started and not waited for. It does not wait for their end.
func KillChildren(pid int) { closeAll(killChildren(pid)) }

// killChildren is KillChildren. It returns descriptors of what it killed, which are
// the caller's.
func killChildren(pid int) (dying []int) {
	for _, p := range processes() {
		if p.parent != pid {
			continue
		}
		fd, err := unix.PidfdOpen(p.pid, 0)
		if err != nil {
			continue // gone
		}
		if q, ok := readStat(p.pid); ok && q.parent == pid {
			_ = unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0) // it may be gone
			dying = append(dying, fd)
		} else {
			unix.Close(fd)
		}
	}
	return dying
}
