package jail

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/agentflow-go/sandbox/internal/volume"
	"golang.org/x/sys/unix"
)

// closeTime bounds [Jail.Close]; a jail is gone in milliseconds unless a process
// hangs in the kernel. Under level none, where the first process has to find and
// kill all that it started, that takes seconds on a busy machine.
const closeTime = 30 * time.Second

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
	boss     Boss
	pidfd    int // the first process, until done; -1: the boss has to do
	proxy    proxy
	net      *network // nil: it has a network namespace of its own, or confines nothing

	done chan struct{} // closed when nothing of the jail is left

	listening sync.WaitGroup // calls of Listen that use net

	mu     sync.Mutex // guards what follows
	last   uint64
	calls  map[uint64]chan message // requests without an answer yet
	procs  map[uint64]*Process     // programs that have not ended
	subs   map[*Jail]struct{}      // jails of single programs
	ready  bool                    // the handshake is done: c, boss and pidfd stand
	closed bool                    // Close was called
	dead   bool                    // the first process is gone: no more requests
	err    error                   // of the end, for Close
	more   map[*listener]struct{}  // of Listen, not closed yet
}

// NewJail makes a jail. ctx bounds the making only. The caller closes the jail;
// [Host.Close] closes those that are left.
func (h *Host) NewJail(ctx context.Context, p Policy) (*Jail, error) {
	return h.newJail(ctx, p, nil, false)
}

func (h *Host) newJail(ctx context.Context, p Policy, binds []Bind, nested bool) (*Jail, error) {
	if err := h.Check(p); err != nil {
		return nil, err
	}
	if p.Identity == nil {
		return nil, errors.New("jail: policy has no identity; get one from Host.Identity")
	}
	if !filepath.IsAbs(p.Workspace) {
		return nil, fmt.Errorf("jail: workspace %q: want an absolute path", p.Workspace)
	}
	dir, st, err := h.openWorkspace(p)
	if err != nil {
		return nil, fmt.Errorf("jail: workspace: %w", err)
	}
	defer dir.Close()
	if !h.traits.Unconfined && int(st.Uid) != p.Identity.UID {
		return nil, fmt.Errorf("jail: workspace %s belongs to uid %d, want %d, the identity's", p.Workspace, st.Uid, p.Identity.UID)
	}

	// Registered before it runs, so that Close of the host waits for it.
	j := &Jail{
		h: h, policy: p, home: Workspace, nested: nested, done: make(chan struct{}), pidfd: -1,
		calls: map[uint64]chan message{}, procs: map[uint64]*Process{}, subs: map[*Jail]struct{}{},
	}
	if h.traits.Unconfined {
		j.home = p.Workspace
	}
	h.mu.Lock()
	if h.closed {
		h.mu.Unlock()
		return nil, ErrClosed
	}
	h.jails[j] = struct{}{}
	h.mu.Unlock()

	binds = append([]Bind{{File: dir, Inside: Workspace, Writable: true, Volume: p.Volume != nil}}, binds...)
	for _, b := range binds {
		if b.Writable {
			j.writable = append(j.writable, b.Inside)
		}
	}
	if j.group, err = h.join(&p); err == nil {
		if j.net, err = h.enter(&p); err == nil {
			if err = j.open(ctx, binds); err != nil {
				j.net.leave()
			}
		}
		if err != nil && j.group != nil {
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

// openWorkspace opens what the workspace of p is bound from, and tells what it is.
func (h *Host) openWorkspace(p Policy) (f *os.File, st unix.Stat_t, err error) {
	defer func() {
		if err != nil && f != nil {
			f.Close()
		}
	}()
	if p.Volume == nil {
		if p.Limits.Workspace > 0 && !slices.Contains(h.degraded, "workspace") {
			return nil, st, errors.New("a limit is set and the policy has no volume")
		}
		if f, err = openPath(p.Workspace, unix.O_DIRECTORY|unix.O_NOFOLLOW); err == nil {
			err = unix.Fstat(int(f.Fd()), &st)
		}
		return f, st, err
	}
	if !h.traits.Volumes {
		return nil, st, h.Quota(1)
	}
	if f, err = p.Volume(); err == nil {
		err = unix.Fstatat(int(f.Fd()), volume.Dir, &st, unix.AT_SYMLINK_NOFOLLOW)
	}
	if err == nil && st.Mode&unix.S_IFMT != unix.S_IFDIR {
		err = unix.ENOTDIR
	}
	return f, st, err
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
	if j.h.traits.Unconfined {
		_ = unix.Shutdown(j.c.fd(), unix.SHUT_WR) // the reader sees the end
		return
	}
	j.kill()
}

// kill kills the first process, which may be gone.
func (j *Jail) kill() {
	if j.pidfd >= 0 {
		_ = unix.PidfdSendSignal(j.pidfd, unix.SIGKILL, nil, 0)
	}
	j.boss.Kill()
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
	j.closeListeners()
	var err error
	if !j.h.traits.Unconfined {
		j.kill()
	} else if !gone(j.pidfd, closeTime/2) {
		err = errors.New("jail: the first process did not end and was killed; what it started may still run")
		j.kill()
	}
	// This is the end of its pid namespace too: the kernel reports the end of a
	// first process when the last of the others is gone.
	for j.pidfd >= 0 && !gone(j.pidfd, time.Minute) {
		j.h.log.Warn("a jail's processes do not die; they hang in the kernel")
	}
	werr := j.boss.Wait()
	if j.pidfd >= 0 {
		unix.Close(j.pidfd)
	}

	for _, p := range procs {
		p.exit(0, true)
	}
	j.proxy.stop()
	j.net.leave()
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
