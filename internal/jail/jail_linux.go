package jail

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// closeTime bounds [Jail.Close]; a jail is gone in milliseconds unless a process
// hangs in the kernel.
const closeTime = 10 * time.Second

// Jail is one session's set of namespaces with its first process. Its methods
// may be called concurrently.
type Jail struct {
	h      *Host
	policy Policy
	group  *memberGroup // nil: this host has none
	home   string
	nested bool // programs may make user namespaces
	// writable are the paths inside of what is mounted for writing.
	writable []string
	c        *conn
	boss     *os.Process // bwrap; under level none the first process itself
	pidfd    int         // the first process, until done
	proxy    proxy

	done chan struct{} // closed when nothing of the jail is left

	mu     sync.Mutex // guards what follows
	last   uint64
	calls  map[uint64]chan message // requests without an answer yet
	procs  map[uint64]*Process     // programs that have not ended
	subs   map[*Jail]struct{}      // jails of single programs
	ready  bool                    // the handshake is done: c, boss and pidfd stand
	closed bool                    // Close was called
	dead   bool                    // the first process is gone: no more requests
	err    error                   // of the end, for Close
}

// NewJail makes a jail. ctx bounds the making only. The caller closes the jail;
// [Host.Close] closes those that are left.
func (h *Host) NewJail(ctx context.Context, p Policy) (*Jail, error) {
	return h.newJail(ctx, p, nil, false)
}

func (h *Host) newJail(ctx context.Context, p Policy, binds []bind, nested bool) (*Jail, error) {
	if err := h.Check(p); err != nil {
		return nil, err
	}
	if p.Identity == nil {
		return nil, errors.New("jail: policy has no identity; get one from Host.Identity")
	}
	if !filepath.IsAbs(p.Workspace) {
		return nil, fmt.Errorf("jail: workspace %q: want an absolute path", p.Workspace)
	}
	dir, err := openPath(p.Workspace, unix.O_DIRECTORY|unix.O_NOFOLLOW)
	if err != nil {
		return nil, fmt.Errorf("jail: workspace: %w", err)
	}
	defer dir.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(dir.Fd()), &st); err != nil {
		return nil, fmt.Errorf("jail: workspace %s: %w", p.Workspace, err)
	}
	if h.level == levelBwrap && int(st.Uid) != p.Identity.UID {
		return nil, fmt.Errorf("jail: workspace %s belongs to uid %d, want %d, the identity's", p.Workspace, st.Uid, p.Identity.UID)
	}

	// Registered before it runs, so that Close of the host waits for it.
	j := &Jail{
		h: h, policy: p, home: Workspace, nested: nested, done: make(chan struct{}), pidfd: -1,
		calls: map[uint64]chan message{}, procs: map[uint64]*Process{}, subs: map[*Jail]struct{}{},
	}
	if h.level == levelNone {
		j.home = p.Workspace
	}
	h.mu.Lock()
	if h.closed {
		h.mu.Unlock()
		return nil, ErrClosed
	}
	h.jails[j] = struct{}{}
	h.mu.Unlock()

	binds = append([]bind{{f: dir, inside: Workspace, writable: true}}, binds...)
	for _, b := range binds {
		if b.writable {
			j.writable = append(j.writable, b.inside)
		}
	}
	if j.group, err = h.join(p.Identity, p.Limits); err == nil {
		if err = j.open(ctx, binds); err != nil && j.group != nil {
			err = errors.Join(err, j.group.leave())
		}
	}
	if err != nil {
		h.mu.Lock()
		delete(h.jails, j)
		h.mu.Unlock()
		close(j.done)
		return nil, err
	}
	j.mu.Lock()
	j.ready = true
	closed := j.closed
	j.mu.Unlock()
	j.proxy.start(p.Proxy)
	go j.listen() // ends with the jail, which Close waits for
	if closed {
		j.end()
		return nil, errors.Join(ErrClosed, j.Close())
	}
	return j, nil
}

// open starts the first process and shakes hands with it. After an error nothing
// is left.
func (j *Jail) open(ctx context.Context, binds []bind) (err error) {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("jail: %w", err)
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("jail: socket pair: %w", err)
	}
	theirs := os.NewFile(uintptr(pair[1]), "jail")
	defer theirs.Close()
	if err := unix.SetNonblock(pair[0], true); err != nil {
		unix.Close(pair[0])
		return fmt.Errorf("jail: socket pair: %w", err)
	}
	ours := os.NewFile(uintptr(pair[0]), "jail")
	if j.c, err = newConn(ours); err != nil {
		ours.Close()
		return fmt.Errorf("jail: socket pair: %w", err)
	}
	stderr, err := memfd("stderr", 0)
	if err != nil {
		j.c.close()
		return fmt.Errorf("jail: %w", err)
	}
	defer stderr.Close()

	if j.h.level == levelNone {
		j.boss, err = j.h.startNone(j.group, theirs, stderr)
	} else {
		if st := j.h.stage; st != nil {
			defer func() {
				for _, b := range binds {
					if b.staged != "" {
						st.drop(b.staged)
					}
				}
			}()
			for i := range binds {
				if binds[i].staged, err = st.put(binds[i].f, i == 0); err != nil {
					j.c.close()
					return err
				}
			}
		}
		j.boss, err = j.h.startBwrap(j.policy.Identity, j.group, viewSpec{
			tmp: j.sizeOf(j.policy.TmpSize, DefaultTmpSize, 2), shm: j.sizeOf(j.policy.ShmSize, DefaultShmSize, 4),
			binds: binds, nestedUserNS: j.nested,
		}, theirs, stderr)
	}
	if err != nil {
		j.c.close()
		return fmt.Errorf("jail: start: %w", err)
	}
	theirs.Close() // else its end would never be seen
	if err := j.greet(ctx, ours); err != nil {
		j.c.close()
		abandon(j.boss)
		if j.pidfd >= 0 {
			unix.Close(j.pidfd)
		}
		j.proxy.stop()
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		if j.h.level == levelNone {
			return fmt.Errorf("jail: first process: %w %s", err, complaint(stderr))
		}
		return unavailable(complaint(stderr), err)
	}
	return nil
}

// greet sends the handshake and waits for its answer.
func (j *Jail) greet(ctx context.Context, f *os.File) error {
	if err := f.SetDeadline(time.Now().Add(helloTime)); err != nil {
		return err
	}
	// A deadline in the past wakes the reader. If it strikes after the answer
	// came, the jail dies of it: that is what a cancelled start is for.
	stop := context.AfterFunc(ctx, func() { _ = f.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	l := j.policy.Limits
	hello := message{kind: msgHello, nums: []int64{
		protocol, 0, limitValue(l.Files, DefaultFiles), limitValue(l.Processes, DefaultProcesses),
		flag(j.nested), flag(j.policy.Ptrace), flag(j.policy.probing), flag(j.policy.Proxy != nil),
	}, strs: append([]string{j.home}, j.h.spaces...)}
	if j.h.level == levelNone {
		hello.nums[2], hello.nums[3] = -1, -1
	} else {
		hello.nums[1] = 1
	}
	var fds []int
	if j.h.level != levelNone {
		hello.strs = append(hello.strs, j.writable...)
		// A program's terminal is a device of the host's, which it opens again as
		// /dev/stderr.
		if pts, err := openPath("/dev/pts", unix.O_DIRECTORY); err == nil { // else there are none
			defer pts.Close()
			fds = []int{int(pts.Fd())}
		}
	}
	if err := j.c.write(&hello, fds); err != nil {
		return err
	}
	m, fds, err := j.c.read()
	if err == io.EOF {
		return errors.New("the first process ended without an answer")
	}
	if err != nil {
		return err
	}
	if m.kind == msgRefused {
		closeAll(fds)
		return fmt.Errorf("the first process refused: %s", m.str(0))
	}
	if want := 1 + int(flag(j.policy.Proxy != nil)); m.kind != msgReady || len(fds) != want {
		closeAll(fds)
		return errMessage
	}
	j.pidfd = fds[0]
	if j.policy.Proxy != nil {
		if err := j.proxy.take(fds[1]); err != nil {
			return err
		}
	}
	if !stop() {
		return ctx.Err()
	}
	return f.SetDeadline(time.Time{})
}

// limitValue is what the first process is told: a number, or -1.
func limitValue(v, def int) int64 {
	if v == 0 {
		return int64(def)
	}
	return int64(v)
}

// sizeOf is the size of a file system in memory, whose default is that part of
// the worker's memory at most: no process's death frees what it takes, and with
// no memory left the jail dies.
func (j *Jail) sizeOf(size, def, part int64) int64 {
	if size == 0 && j.group != nil && j.group.limits.Memory > 0 {
		def = min(def, j.group.limits.Memory/part)
	}
	return or(size, def)
}

// flag is how a message carries a truth.
func flag(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

func or(v, def int64) int64 {
	if v == 0 {
		return def
	}
	return v
}

// abandon kills a bwrap that made no jail, or a first process, with its children
// and waits for it. Children first: one that bwrap has just made does not die
// with it yet.
func abandon(boss *os.Process) {
	for range 2 {
		for _, p := range processes() {
			if p.parent != boss.Pid {
				continue
			}
			if fd, err := unix.PidfdOpen(p.pid, 0); err == nil {
				if q, ok := readStat(p.pid); ok && q.parent == boss.Pid {
					_ = unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0) // it may be gone
				}
				unix.Close(fd)
			}
		}
		_ = boss.Signal(syscall.SIGSTOP) // it makes no more while we look again
	}
	_ = boss.Kill()
	_, _ = boss.Wait()
}

// Home is the directory that programs start in, as they see it: /workspace, or
// under level none the workspace's path on the host.
func (j *Jail) Home() string { return j.home }

// Done is closed when the jail is gone, closed or not, with all its processes.
func (j *Jail) Done() <-chan struct{} { return j.done }

// Close kills everything in the jail and waits until it is gone. It may be
// called more than once.
func (j *Jail) Close() error {
	j.mu.Lock()
	first := !j.closed
	j.closed = true
	subs := make([]*Jail, 0, len(j.subs))
	for s := range j.subs {
		subs = append(subs, s)
	}
	j.mu.Unlock()
	var errs []error
	for _, s := range subs {
		errs = append(errs, s.Close())
	}
	if first {
		j.end()
	}
	t := time.NewTimer(closeTime)
	defer t.Stop()
	select {
	case <-j.done:
		j.mu.Lock()
		errs = append(errs, j.err)
		j.mu.Unlock()
	case <-t.C:
		errs = append(errs, fmt.Errorf("jail: processes are still there %v after being killed", closeTime))
	}
	return errors.Join(errs...)
}

// end makes the first process end. Confined, it is killed, and the kernel kills
// its namespace with it. Under level none it must first kill what it started,
// which it does when the socket ends.
func (j *Jail) end() {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.dead || !j.ready {
		return // newJail sees that it was closed meanwhile
	}
	if j.h.level == levelNone {
		_ = unix.Shutdown(j.c.fd(), unix.SHUT_WR) // the reader sees the end
		return
	}
	_ = unix.PidfdSendSignal(j.pidfd, unix.SIGKILL, nil, 0) // it may be gone
}

// listen receives everything that the first process sends, until it ends, and
// then sees the jail off. It never waits for anything else, so that the first
// process can always send.
func (j *Jail) listen() {
	for {
		m, fds, err := j.c.read()
		closeAll(fds) // none are expected
		if err != nil {
			break
		}
		j.mu.Lock()
		if m.kind == msgExited {
			p := j.procs[m.id]
			delete(j.procs, m.id)
			j.mu.Unlock()
			if p != nil {
				p.exit(unix.WaitStatus(m.num(0)), false)
			}
			continue
		}
		if m.kind == msgFailed {
			delete(j.procs, m.id)
		}
		ch := j.calls[m.id]
		delete(j.calls, m.id)
		j.mu.Unlock()
		if ch != nil {
			ch <- m // has room for it
		}
	}
	j.bury()
}

// bury waits until nothing of the jail is left and tells everybody.
func (j *Jail) bury() {
	j.mu.Lock()
	j.dead = true
	for id, ch := range j.calls {
		close(ch)
		delete(j.calls, id)
	}
	procs := make([]*Process, 0, len(j.procs))
	for _, p := range j.procs {
		procs = append(procs, p)
	}
	clear(j.procs)
	j.mu.Unlock()

	// The socket has ended, so the first process is ending, unless something
	// else went wrong with it.
	j.c.close()
	j.proxy.close()
	var err error
	if j.h.level == levelNone {
		if !gone(j.pidfd, closeTime/2) {
			err = errors.New("jail: the first process did not end and was killed; what it started may still run")
			_ = unix.PidfdSendSignal(j.pidfd, unix.SIGKILL, nil, 0)
		}
	} else {
		_ = unix.PidfdSendSignal(j.pidfd, unix.SIGKILL, nil, 0) // it may be gone
	}
	// This is the end of its pid namespace too: the kernel reports the end of a
	// first process when the last of the others is gone.
	for !gone(j.pidfd, time.Minute) {
		j.h.log.Warn("a jail's processes do not die; they hang in the kernel")
	}
	_, werr := j.boss.Wait()
	unix.Close(j.pidfd)

	for _, p := range procs {
		p.exit(0, true)
	}
	j.proxy.stop()
	if j.group != nil {
		err = errors.Join(err, j.group.leave())
	}
	j.mu.Lock()
	j.err = errors.Join(err, werr)
	j.mu.Unlock()
	j.h.mu.Lock()
	delete(j.h.jails, j)
	j.h.mu.Unlock()
	close(j.done)
}

// request sends m and waits for its answer. A program that m starts is p, else
// nil. ctx ends the wait only: what was asked for may still happen.
func (j *Jail) request(ctx context.Context, m *message, fds []int, p *Process) (message, error) {
	ch := make(chan message, 1)
	j.mu.Lock()
	if j.dead || j.closed {
		j.mu.Unlock()
		return message{}, ErrClosed
	}
	j.last++
	m.id = j.last
	j.calls[m.id] = ch
	if p != nil {
		p.id = m.id
		j.procs[m.id] = p
	}
	j.mu.Unlock()
	if err := j.c.write(m, fds); err != nil {
		j.mu.Lock()
		delete(j.calls, m.id)
		delete(j.procs, m.id)
		dead := j.dead
		j.mu.Unlock()
		if dead || errors.Is(err, os.ErrClosed) || errors.Is(err, unix.EPIPE) {
			return message{}, ErrClosed
		}
		return message{}, err
	}
	select {
	case m, ok := <-ch:
		if !ok {
			return message{}, ErrClosed
		}
		return m, nil
	case <-ctx.Done():
		j.mu.Lock()
		delete(j.calls, m.id)
		j.mu.Unlock()
		return message{}, ctx.Err()
	}
}
