package jail

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// network is a network namespace with nothing but a loopback, made by the host
// program and kept by descriptors only: nothing is mounted and no process is
// needed, and the kernel drops it with the last of its jails' processes once
// this program closes it or dies. As root it belongs to the host's user
// namespace, so that its jails have no rights over it at all; else to one made
// with it, in which jails are made. nil stands for none.
type network struct {
	ns    *os.File
	user  *os.File // nil: the host's own
	name  string   // as the links in /proc/PID/ns have it
	proxy proxy
	by    *starter

	of    *workerNet
	jails int             // guarded by of.mu
	mine  map[uint16]bool // the ports of 127.0.0.1 where this program listens; guarded by of.mu
}

// workerNet is the network that a worker's jails share. It is there while there
// are any, as without processes there is nothing in it. The zero value has none
// yet.
type workerNet struct {
	mu     sync.Mutex // guards shared, and the counts and ports of all its networks; held while one, or a socket, is made
	shared *network
}

// openNetworks finds out whether jails can share networks here.
func (h *Host) openNetworks() error {
	if h.ownNets = !h.traits.JoinsNet; h.ownNets {
		return nil
	}
	n, err := newNetwork(h.starter, h.uids == nil, false)
	switch {
	case err == nil:
		n.close()
	case h.uids != nil:
		return &UnavailableError{
			Level: h.Level(), Err: err, Reason: "root may not make a network namespace here: " + err.Error(),
			Remedy: "run the program with CAP_SYS_ADMIN; " + containerRemedy,
		}
	default:
		// Namespaces of users may be a right that bwrap has and this program not.
		h.ownNets = true
		h.log.Warn("sessions of one worker do not share its network: this program may not make user namespaces", "error", err, "remedy", userNSRemedy(h.Level(), false))
	}
	return nil
}

// enter returns the network that a jail of p begins in, which is counted in; nil
// if it is to have one of its own.
func (h *Host) enter(p *Policy) (*network, error) {
	if h.ownNets || h.traits.Unconfined {
		return nil, nil
	}
	w := &p.Identity.net
	w.mu.Lock()
	defer w.mu.Unlock()
	n := p.within
	if n == nil && !p.PrivateNet {
		n = w.shared
	}
	if n != nil {
		if serves := n.proxy.ln != nil; serves != (p.Proxy != nil) {
			return nil, fmt.Errorf("jail: policy: jails that share a network must agree on Proxy (the first one's is there: %v); set PrivateNet", serves)
		}
		n.jails++
		return n, nil
	}
	n, err := newNetwork(h.starter, h.uids == nil, p.Proxy != nil)
	if err != nil {
		return nil, fmt.Errorf("jail: network namespace: %w", err)
	}
	n.of, n.jails, n.mine = w, 1, map[uint16]bool{}
	if p.Proxy != nil {
		n.mine[proxyPort] = true
	}
	n.proxy.start(p.Proxy)
	if !p.PrivateNet {
		w.shared = n
	}
	return n, nil
}

// leave counts a jail out of which no process is left. The last one takes the
// namespace along, and waits for its proxy.
func (n *network) leave() {
	if n == nil {
		return
	}
	n.of.mu.Lock()
	n.jails--
	last := n.jails == 0
	if last && n.of.shared == n {
		n.of.shared = nil
	}
	n.of.mu.Unlock()
	if last {
		n.close()
	}
}

// String is the namespace's name; "" for none.
func (n *network) String() string {
	if n == nil {
		return ""
	}
	return n.name
}

// newNetwork makes a network namespace, with the listener of [ProxyAddr] if
// there is to be a proxy. own makes a user namespace that owns it.
func newNetwork(by *starter, own, proxied bool) (_ *network, err error) {
	task := netTask{make: true, withUser: own}
	if proxied {
		task.family, task.listen, task.port = unix.AF_INET, true, proxyPort
	}
	r, err := task.run(by)
	if err != nil {
		return nil, err
	}
	n := &network{ns: r.net, user: r.user, by: by}
	defer func() {
		if err != nil {
			n.close()
		}
	}()
	if r.sock != nil {
		defer r.sock.Close()
		if n.proxy.ln, err = net.FileListener(r.sock); err != nil {
			return nil, err
		}
	}
	n.name, err = os.Readlink(fmt.Sprintf("/proc/self/fd/%d", n.ns.Fd()))
	return n, err
}

func (n *network) close() {
	n.proxy.stop()
	n.ns.Close()
	if n.user != nil {
		n.user.Close()
	}
}

// listen makes a listener at a free port of the namespace's loopback.
func (n *network) listen() (net.Listener, error) {
	r, err := netTask{user: n.user, net: n.ns, family: unix.AF_INET, listen: true}.run(n.by)
	if err != nil {
		return nil, err
	}
	defer r.sock.Close()
	return net.FileListener(r.sock)
}

// listener is one of [Jail.Listen].
type listener struct {
	net.Listener
	j    *Jail
	once sync.Once
	err  error
}

// Close may be called more than once.
func (l *listener) Close() error {
	l.j.mu.Lock()
	delete(l.j.more, l)
	l.j.mu.Unlock()
	l.once.Do(func() {
		l.j.net.listens(l.Listener, false) // before another can have the port
		l.err = l.Listener.Close()
	})
	return l.err
}

// listens notes whether this program listens at ln.
func (n *network) listens(ln net.Listener, yes bool) {
	n.of.mu.Lock()
	defer n.of.mu.Unlock()
	if port := ln.Addr().(*net.TCPAddr).AddrPort().Port(); yes {
		n.mine[port] = true
	} else {
		delete(n.mine, port)
	}
}

// Listen returns a listener on a free port of the jail's loopback, and its address
// there. Whatever can connect to that loopback reaches it: all programs of the
// jail, and of those that share its network. The caller closes it; it ends with
// the jail at the latest. A jail without a network namespace that this program
// made (under level none, and see [Host.Degraded]) has none: that is an
// [UnavailableError].
func (j *Jail) Listen(ctx context.Context) (net.Listener, string, error) {
	if err := ctx.Err(); err != nil {
		return nil, "", err
	}
	if j.net == nil {
		e := &UnavailableError{Level: j.h.Level(), Reason: "this program cannot listen in a jail's network namespace", Remedy: "use level bwrap"}
		if j.h.traits.Unconfined {
			e.Reason = "programs have the host's network"
		} else if j.h.traits.JoinsNet {
			e.Remedy = userNSRemedy(j.h.Level(), false)
		}
		return nil, "", e
	}
	// Counted like a jail, so that the descriptors stay while it is made.
	j.mu.Lock()
	gone := j.closed || j.dead
	if !gone {
		j.listening.Add(1)
	}
	j.mu.Unlock()
	if gone {
		return nil, "", ErrClosed
	}
	defer j.listening.Done()
	ln, err := j.net.listen()
	if err != nil {
		return nil, "", fmt.Errorf("jail: listen: %w", err)
	}
	j.net.listens(ln, true)
	l := &listener{Listener: ln, j: j}
	j.mu.Lock()
	if gone = j.closed || j.dead; !gone {
		if j.more == nil {
			j.more = map[*listener]struct{}{}
		}
		j.more[l] = struct{}{}
	}
	j.mu.Unlock()
	if gone {
		return nil, "", errors.Join(ErrClosed, l.Close())
	}
	return l, ln.Addr().String(), nil
}

// closeListeners ends what [Jail.Listen] made. The jail is dead: nothing joins.
func (j *Jail) closeListeners() {
	j.listening.Wait()
	j.mu.Lock()
	more := j.more
	j.more = nil
	j.mu.Unlock()
	for l := range more {
		_ = l.Close() // its user may have done it
	}
}

// startIn starts a process in the network namespace n, which no user namespace of
// ours owns. It runs on the thread.
func (s *starter) startIn(n *network, name string, argv []string, attr *os.ProcAttr) (*os.Process, error) {
	switch {
	case s.stuck != nil:
		return nil, s.stuck
	case n == nil:
		return os.StartProcess(name, argv, attr)
	}
	if s.home < 0 {
		fd, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return nil, fmt.Errorf("open own network namespace: %w", err)
		}
		s.home = fd
	}
	if err := unix.Setns(int(n.ns.Fd()), unix.CLONE_NEWNET); err != nil {
		return nil, fmt.Errorf("join network namespace: %w", err)
	}
	p, err := os.StartProcess(name, argv, attr)
	if back := unix.Setns(s.home, unix.CLONE_NEWNET); back != nil {
		// Nobody else's jail may begin where this worker's are.
		s.stuck = fmt.Errorf("the starting thread cannot leave a worker's network namespace: %w", back)
		if p != nil {
			_ = p.Kill()
			_, _ = p.Wait() // killed
		}
		return nil, s.stuck
	}
	return p, err
}

// leaveHome closes what the thread holds, at its end.
func (s *starter) leaveHome() {
	if s.home >= 0 {
		unix.Close(s.home)
	}
}
