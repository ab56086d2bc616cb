package jail

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"syscall"

	"github.com/agentflow-go/sandbox/internal/cgroup"
	"golang.org/x/sys/unix"
)

// starter is the one operating-system thread that starts every jail. A jail is
// killed by the kernel when the thread that started it ends (PR_SET_PDEATHSIG
// belongs to a thread), and the threads of ordinary goroutines come and go.
type starter struct {
	work chan func()
	quit chan struct{} // closed: the thread is to end
	done chan struct{} // closed: it has

	// The thread's own: its network namespace, -1 until known; and why it starts
	// nothing any more.
	home  int
	stuck error

	protected bool // what it starts is to be killed no later than others; see unprotect

	mu     sync.Mutex // guards broker
	broker *broker    // nil: not needed yet, or gone
}

func newStarter() *starter {
	s := &starter{work: make(chan func()), quit: make(chan struct{}), done: make(chan struct{}), home: -1, protected: protected()}
	// Not on the program's first thread: that one never ends, and what is done
	// to it shows in /proc as if done to all of the program.
	go cgroup.OffLeader(func() {
		defer close(s.done)
		// Never unlocked: the thread ends with the goroutine, after the last
		// jail, and its keyring with it.
		runtime.LockOSThread()
		// What this thread starts must not possess the keys of the host
		// program's session. A kernel without keys has none to protect, and
		// where a filter forbids the call it forbids it to the jail as well.
		_, _ = unix.KeyctlJoinSessionKeyring("")
		s.stuck = ordinary()
		defer s.leaveHome()
		for {
			select {
			case f := <-s.work:
				f()
			case <-s.quit:
				return
			}
		}
	})
	return s
}

// do runs f on the thread and returns its error. After close that is [ErrClosed]
// and f does not run: a start that takes longer than closing the host waits for it
// comes too late.
func (s *starter) do(f func() error) error {
	result := make(chan error, 1)
	select {
	case s.work <- func() { result <- f() }:
		return <-result
	case <-s.done:
		return ErrClosed
	}
}

// start runs os.StartProcess on the thread, in the network namespace n unless that
// is nil; see run.
func (s *starter) start(group *memberGroup, n *network, name string, argv []string, attr *os.ProcAttr) (p *os.Process, finish func() error, err error) {
	return s.run(group, attr, func() (*os.Process, error) { return s.startIn(n, name, argv, attr) })
}

// run starts a process on the thread as attr says, so that it begins in group,
// unless that is nil. The process must not start another before finish, unless
// that is nil too, was called; see [cgroup.Group.Start].
func (s *starter) run(group *memberGroup, attr *os.ProcAttr, start func() (*os.Process, error)) (p *os.Process, finish func() error, err error) {
	err = s.do(func() (err error) {
		if group == nil {
			p, err = start()
		} else {
			p, finish, err = group.group.Start(attr, start)
		}
		if err == nil && s.protected {
			err = unprotect(p.Pid)
		}
		return err
	})
	if p != nil && err != nil {
		_ = p.Kill()
		_, _ = p.Wait() // killed
		return nil, nil, err
	}
	return p, finish, err
}

// script returns the script of a process that begins in group, unless that is nil,
// and is to be launched. The caller closes it.
func (s *starter) script(group *memberGroup) (*script, error) {
	sc := newScript()
	if group != nil {
		e, err := group.group.Entrance()
		if err != nil {
			return nil, err
		}
		sc.enter(e)
	}
	if s.protected {
		sc.write("/proc/self/oom_score_adj", "0") // see unprotect
	}
	return sc, nil
}

// launch starts a script, with further clone flags, and returns its child, which is
// this program's and has done nothing yet.
func (s *starter) launch(sc *script, flags uintptr) (*os.Process, error) {
	pid, _, err := s.ask(sc, false, flags)
	if err != nil {
		return nil, err
	}
	return os.FindProcess(pid) // a child that nobody has waited for: it is that one
}

// child runs a script that ends by itself, with further clone flags, and returns
// the descriptors that it told, which are the caller's.
func (s *starter) child(sc *script, flags uintptr) (told []int, err error) {
	defer sc.close()
	status, told, err := s.ask(sc, true, flags)
	if failed := sc.failure(); failed != nil {
		err = failed
	} else if err == nil && status != 0 {
		err = fmt.Errorf("a child for system calls ended with %#x", status)
	}
	if err != nil {
		closeAll(told)
		return nil, err
	}
	return told, nil
}

// ask asks the broker, and a second one if the first has died.
func (s *starter) ask(sc *script, wait bool, flags uintptr) (n int, told []int, err error) {
	for range 2 {
		var b *broker
		if b, err = s.forBroker(); err != nil {
			return 0, nil, err
		}
		n, told, err = b.ask(sc, wait, flags)
		if !errors.Is(err, errBroker) {
			break
		}
		sc.unmap()
		s.dismiss(b)
	}
	return n, told, err
}

// forBroker returns the broker.
func (s *starter) forBroker() (_ *broker, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broker == nil {
		s.broker, err = newBroker(s)
	}
	return s.broker, err
}

// dismiss ends the broker if it is still that one.
func (s *starter) dismiss(b *broker) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broker == b && b != nil {
		b.close()
		s.broker = nil
	}
}

// close ends the thread, which kills whatever it started that still runs.
func (s *starter) close() {
	s.mu.Lock()
	b := s.broker
	s.mu.Unlock()
	s.dismiss(b)
	close(s.quit)
	<-s.done
}

// credential makes a child of the host program run as another user, with no
// further groups; nil when it is the host program's own already.
func credential(uid, gid int) *syscall.Credential {
	if uid == os.Getuid() && gid == os.Getgid() {
		return nil
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
}

// sysProcAttr is for a bwrap: another user, and dead with this program.
func sysProcAttr(id *Identity) *syscall.SysProcAttr {
	// A session of its own: what a terminal sends to the host program's group,
	// as Ctrl-C does, is for the host program alone, which ends jails in order.
	return &syscall.SysProcAttr{Credential: credential(id.UID, id.GID), Pdeathsig: syscall.SIGKILL, Setsid: true}
}
