package jail

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// loopback4 is where this program listens in networks of jails. Read only.
var loopback4 = netip.AddrFrom4([4]byte{127, 0, 0, 1})

// Dial connects over TCP to addr, an address of loopback, on the loopback that the
// jails of the identity share: what listens there was started by one of them. It
// is for a proxy outside that serves the worker; a jail with PrivateNet has another
// loopback, and level none has the host's, where Dial never leads. Where no jail
// is there is nothing to connect to, and the connection is refused
// ([unix.ECONNREFUSED]). It may be called concurrently.
//
// The socket is made in the network namespace and belongs to it for good, so that
// whatever addr is, the connection cannot end anywhere else.
func (id *Identity) Dial(ctx context.Context, addr netip.AddrPort) (net.Conn, error) {
	if !addr.Addr().IsLoopback() {
		return nil, fmt.Errorf("jail: dial %v: not an address of loopback: %w", addr, unix.EADDRNOTAVAIL)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	sock, err := id.net.socket(addr)
	if err == nil {
		defer sock.Close()
		var conn net.Conn
		if conn, err = connectSocket(ctx, sock, addr); err == nil {
			return conn, nil
		}
	}
	return nil, fmt.Errorf("jail: dial %v: %w", addr, err)
}

// socket makes a TCP socket in the namespace that the jails share. They are made
// one at a time, so that a worker that has many made takes one thread of this
// program's, or child of the broker's, and not many.
func (w *workerNet) socket(addr netip.AddrPort) (*os.File, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := w.shared
	if n == nil || addr.Addr().Unmap() == loopback4 && n.mine[addr.Port()] {
		return nil, unix.ECONNREFUSED
	}
	family := unix.AF_INET
	if addr.Addr().Is6() {
		family = unix.AF_INET6
	}
	r, err := netTask{user: n.user, net: n.ns, family: family}.run(n.by)
	return r.sock, err
}

// connectSocket connects a socket that does not block. The caller closes sock in any case.
func connectSocket(ctx context.Context, sock *os.File, addr netip.AddrPort) (net.Conn, error) {
	var to unix.Sockaddr = &unix.SockaddrInet6{Addr: addr.Addr().As16(), Port: int(addr.Port())}
	if addr.Addr().Is4() {
		to = &unix.SockaddrInet4{Addr: addr.Addr().As4(), Port: int(addr.Port())}
	}
	raw, err := sock.SyscallConn()
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = sock.SetWriteDeadline(time.Unix(1, 0)) }) // fails only once it is closed
	defer stop()
	begun := false
	var result error
	err = raw.Write(func(fd uintptr) (done bool) {
		if !begun {
			begun = true
			result = unix.Connect(int(fd), to)
			return result != unix.EINPROGRESS && result != unix.EINTR
		}
		var errno int
		if errno, result = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ERROR); result != nil {
			return true
		}
		if errno != 0 {
			result = syscall.Errno(errno)
			return true
		}
		// It may have been woken for what the socket was before.
		_, result = unix.Getpeername(int(fd))
		return result != unix.ENOTCONN
	})
	if err == nil && result == nil {
		err = raw.Control(func(fd uintptr) { result = toItself(int(fd)) })
	}
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case err != nil:
		return nil, err
	case result != nil:
		return nil, result
	}
	return net.FileConn(sock)
}

// toItself refuses a connection whose two ends are one socket: the kernel may give it
// the very port that it is to connect to, where nobody listens.
func toItself(fd int) error {
	near, err := unix.Getsockname(fd)
	if err != nil {
		return err
	}
	far, err := unix.Getpeername(fd)
	if err != nil {
		return err
	}
	switch near := near.(type) {
	case *unix.SockaddrInet4:
		if far, ok := far.(*unix.SockaddrInet4); ok && near.Port == far.Port && near.Addr == far.Addr {
			return unix.ECONNREFUSED
		}
	case *unix.SockaddrInet6:
		if far, ok := far.(*unix.SockaddrInet6); ok && near.Port == far.Port && near.Addr == far.Addr {
			return unix.ECONNREFUSED
		}
	}
	return nil
}
