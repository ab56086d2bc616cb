package jail

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"github.com/agentflow-go/sandbox/internal/seccomp"
	"golang.org/x/sys/unix"
)

// server is the resident first process.
type server struct {
	c        *conn
	confined bool
	home     string
	null     int // /dev/null, for standard streams that nobody wants
	lims     []rlimit
	forks    *forker
	adopted  chan struct{} // buffered 1: there is a child to wait for

	// Of a confined one: its filter of system calls, and whether it is in place.
	// Used by the goroutine that serves only.
	profile  seccomp.Profile
	filtered bool
	// What the probe must not take for a hole.
	otherKernel, ownFiles bool

	// mu guards byID, byPid, prune and the forker, and keeps the pid of every child
	// its own: nothing is reaped without it, so under it a known pid is ours.
	mu    sync.Mutex
	byID  map[uint64]*program
	byPid map[int]*program
	prune int // how many programs may be known before the ended ones are dropped
}

// program is a command that was started; it stays known after its end, as the
// session that it led may live on.
type program struct {
	id    uint64
	pid   int
	ended bool
	relay *relay // nil: its terminal, if any, is the host's
}

// serve is the life of a first process after the handshake. It returns an error
// when the jail is not fit to run anything, and nil when the host is gone.
func serve(c *conn, hello *hello, fds []int, outside bool) error {
	defer closeAll(fds)
	confined := hello.confined
	if err := closeInherited(); err != nil {
		return err
	}
	if confined != outside {
		return errors.New("not started the way the handshake says")
	}
	s := &server{
		c: c, confined: confined, home: hello.home, adopted: make(chan struct{}, 1),
		byID: map[uint64]*program{}, byPid: map[int]*program{}, prune: 256,
		profile:     seccomp.Profile{NestedUserNS: hello.nested, Ptrace: hello.ptrace},
		otherKernel: hello.otherKernel, ownFiles: hello.ownFiles,
	}
	var prepare func() error
	if confined {
		if err := verifyConfined(hello); err != nil {
			return err
		}
		if !hello.otherKernel {
			if err := noRealTime(); err != nil {
				return err
			}
		}
		w := writable{
			dirs:  append([]string{"/tmp", "/dev/shm"}, hello.writable...),
			files: []string{"/dev", "/proc"},
			fds:   fds,
		}
		prepare = w.restrict
	} else if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("become the reaper of orphans: %w", err)
	}
	err := noDumps()
	if err != nil {
		return err
	}
	if s.forks, err = newForker(prepare); err != nil {
		return err
	}
	if s.null, err = unix.Open("/dev/null", unix.O_RDWR|unix.O_CLOEXEC, 0); err != nil {
		return fmt.Errorf("open /dev/null: %w", err)
	}
	if s.lims, err = rlimits(hello.files, hello.processes); err != nil {
		return err
	}
	if confined && !hello.probing {
		if err := s.lockDown(); err != nil {
			return err
		}
	}
	var given []int
	if hello.pidfd {
		pidfd, err := unix.PidfdOpen(os.Getpid(), 0)
		if err != nil {
			return fmt.Errorf("open a descriptor of this process: %w", err)
		}
		given = append(given, pidfd)
	}
	if hello.mounts {
		mnt, err := unix.Open("/proc/self/ns/mnt", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("open the own mount namespace: %w", err)
		}
		given = append(given, mnt)
	}
	if hello.proxy {
		if !confined {
			return errors.New("asked for a proxy without a network namespace of its own")
		}
		// Before any program could take its place.
		ln, err := listenProxy()
		if err != nil {
			return err
		}
		given = append(given, ln)
	}
	go s.reap()
	if err := c.write(&message{kind: msgReady}, given); err != nil {
		return err
	}
	reserveThreads() // before the first program
	closeAll(given)
	for {
		m, fds, err := c.read()
		if err != nil {
			break // the host closed the jail or died
		}
		s.handle(&m, fds)
		closeAll(fds)
	}
	if !confined {
		s.killEverything()
	} // else the kernel kills the namespace when this process ends
	return nil
}

// noDumps keeps this process, and all that it starts, from core dumps. A dump of one
// byte is none. With a limit of 0 the kernel would still start, as the host's root, the
// program that /proc/sys/kernel/core_pattern names on many machines, to read the dump
// from a pipe; 1 is its mark for not to. The filter of system calls keeps it there.
func noDumps() error {
	const limit = 1
	var l unix.Rlimit
	err := unix.Getrlimit(unix.RLIMIT_CORE, &l)
	if l.Max = min(l.Max, limit); err == nil {
		l.Cur = l.Max
		err = unix.Setrlimit(unix.RLIMIT_CORE, &l)
	}
	if err != nil {
		return fmt.Errorf("limit core dumps: %w", err)
	}
	return nil
}

// rlimits returns the limits of every program. A limit cannot be raised in
// here, so a hard limit of the host that is lower stands.
func rlimits(files, processes int64) ([]rlimit, error) {
	var lims []rlimit
	for _, l := range []struct {
		resource int
		value    int64
	}{{unix.RLIMIT_NOFILE, files}, {unix.RLIMIT_NPROC, processes}} {
		var cur unix.Rlimit
		if err := unix.Prlimit(0, l.resource, nil, &cur); err != nil {
			return nil, fmt.Errorf("read resource limit %d: %w", l.resource, err)
		}
		// Without a limit a program still gets what the host was started with;
		// the Go runtime had raised the soft limit of descriptors for itself.
		v := cur.Max
		if l.value > 0 {
			v = min(v, uint64(l.value))
		}
		lims = append(lims, rlimit{l.resource, v})
	}
	return lims, nil
}

func (s *server) handle(m *message, fds []int) {
	switch m.kind {
	case msgStart:
		s.start(m, fds)
	case msgSignal:
		s.answer(m.id, s.signal(m.about, syscall.Signal(m.num(0))))
	case msgTerminal:
		s.answer(m.id, s.terminal(m))
	case msgKill:
		s.answer(m.id, s.kill(m.about))
	case msgProbe:
		found := s.probe(m.strs)
		_ = s.c.write(&message{kind: msgDone, id: m.id, strs: found}, nil) // as in answer
	default:
		s.answer(m.id, unix.ENOSYS)
	}
}

// answer sends an error number. Nothing can be done when the host does not hear
// it: the next read finds that out.
func (s *server) answer(id uint64, err error) {
	var errno syscall.Errno
	if err != nil && !errors.As(err, &errno) {
		errno = unix.EIO
	}
	_ = s.c.write(&message{kind: msgDone, id: id, nums: []int64{int64(errno)}}, nil)
}

// start starts a program and says so, in that order with regard to the report
// of its end: both are sent under mu.
func (s *server) start(m *message, fds []int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, at, err := s.launch(m, fds)
	if err == nil {
		_ = s.c.write(&message{kind: msgStarted, id: m.id, nums: []int64{int64(p.pid)}}, nil) // see answer
		select {
		case s.adopted <- struct{}{}:
		default:
		}
		return
	}
	var errno syscall.Errno
	if !errors.As(err, &errno) {
		errno = unix.EINVAL
	}
	_ = s.c.write(&message{kind: msgFailed, id: m.id, nums: []int64{int64(at), int64(errno)}}, nil)
}

// launch unpacks a start request and starts the program. The caller holds mu.
func (s *server) launch(m *message, fds []int) (*program, stage, error) {
	if len(m.nums) < 3 {
		return nil, stageExec, unix.EBADMSG
	}
	if s.confined && !s.filtered {
		return nil, stageFork, unix.EPERM
	}
	tty, nargs, mask := m.num(0) >= 1, int(m.num(1)), m.nums[2:] // mask: which descriptors are there
	var set *terminal
	if m.num(0) == 2 && len(mask) > terminalNums {
		set, mask = parseTerminal(mask), mask[terminalNums:]
	}
	if nargs < 0 || len(m.strs) < 2+nargs || len(mask) < 3 {
		return nil, stageExec, unix.EBADMSG
	}
	sp := spawn{dir: m.strs[1], tty: tty, lims: s.lims, env: m.strs[2+nargs:]}
	for i, there := range mask {
		switch {
		case there == 1 && len(fds) > 0:
			sp.fds, fds = append(sp.fds, fds[0]), fds[1:]
		case there == 1:
			return nil, stageFiles, unix.EBADMSG
		case i < 3:
			sp.fds = append(sp.fds, s.null)
		default:
			sp.fds = append(sp.fds, -1)
		}
	}
	if !filepath.IsAbs(sp.dir) {
		sp.dir = filepath.Join(s.home, sp.dir)
	}
	if !s.confined {
		sp.deathSignal = syscall.SIGKILL
	}
	var err error
	if sp.path, err = lookPath(m.strs[0], sp.dir, sp.env); err != nil {
		return nil, stageLookup, err
	}
	sp.args = append([]string{m.strs[0]}, m.strs[2:2+nargs]...)

	var r *relay
	if set != nil {
		if r, err = newRelay(&sp, set); err != nil {
			return nil, stageTTY, err
		}
	}
	pid, at, err := s.forks.start(&sp)
	if err != nil {
		if r != nil {
			r.abort()
		}
		return nil, at, err
	}
	if r != nil {
		r.start()
	}
	for id, old := range s.byID {
		// A new process of that number proves that no old session has it.
		if old.pid == pid {
			delete(s.byID, id)
		}
	}
	p := &program{id: m.id, pid: pid, relay: r}
	s.byID[p.id], s.byPid[pid] = p, p
	if len(s.byID) >= s.prune {
		s.forget()
	}
	return p, stageNone, nil
}

// forget drops the programs that have ended and left nothing in their session.
// The caller holds mu.
func (s *server) forget() {
	live := map[int]bool{}
	for _, p := range processes() {
		live[p.session] = true
	}
	for id, p := range s.byID {
		if p.ended && !live[p.pid] {
			delete(s.byID, id)
		}
	}
	s.prune = 2*len(s.byID) + 256
}

// lookPath finds a program as execvp does, in the PATH of env.
func lookPath(name, dir string, env []string) (string, error) {
	if name == "" {
		return "", unix.ENOENT
	}
	if strings.Contains(name, "/") {
		return name, nil // the kernel resolves it, after the change of directory
	}
	var list string
	for _, e := range env {
		if v, ok := strings.CutPrefix(e, "PATH="); ok {
			list = v
		}
	}
	for _, d := range filepath.SplitList(list) {
		p := filepath.Join(d, name)
		if !filepath.IsAbs(p) {
			p = filepath.Join(dir, p)
		}
		var st unix.Stat_t
		if unix.Stat(p, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFREG && unix.Access(p, unix.X_OK) == nil {
			return p, nil
		}
	}
	return "", unix.ENOENT
}

// reap collects every child: commands, whose end it reports, and orphans.
func (s *server) reap() {
	for {
		// Look without reaping, as a pid must not become free unless mu is held.
		err := unix.Waitid(unix.P_ALL, 0, nil, unix.WEXITED|unix.WNOWAIT|unix.WALL, nil)
		if err == unix.ECHILD {
			<-s.adopted
			continue
		}
		if err != nil {
			continue // EINTR
		}
		s.mu.Lock()
		ended, relays := s.collect()
		s.mu.Unlock()
		for i := range ended {
			if relays[i] != nil {
				go s.endRelayed(&ended[i], relays[i]) // it may wait for the host
				continue
			}
			_ = s.c.write(&ended[i], nil) // see answer
		}
	}
}

// collect reaps what has ended. The caller holds mu.
func (s *server) collect() (ended []message, relays []*relay) {
	for {
		var ws unix.WaitStatus
		pid, err := unix.Wait4(-1, &ws, unix.WNOHANG|unix.WALL, nil)
		if err == unix.EINTR {
			continue
		}
		if err != nil || pid <= 0 {
			return ended, relays
		}
		if p := s.byPid[pid]; p != nil {
			p.ended = true
			delete(s.byPid, pid)
			ended = append(ended, message{kind: msgExited, id: p.id, nums: []int64{int64(ws)}})
			relays = append(relays, p.relay)
		}
	}
}

// signal sends a signal to the program itself.
func (s *server) signal(id uint64, sig syscall.Signal) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.byID[id]
	if p == nil || p.ended {
		return unix.ESRCH
	}
	return unix.Kill(p.pid, sig)
}
