package jail

import (
	"encoding/binary"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// netTask is what a thread or a child does for this program in a network
// namespace: it makes one, or joins one, and opens a socket there.
type netTask struct {
	// make asks for a namespace, its loopback up; withUser for one of users
	// that owns it, in which this program's user and group alone exist.
	make, withUser bool
	net, user      *os.File // joined otherwise; user nil: only net
	// family asks for a TCP socket of it, AF_INET or AF_INET6. 0: none.
	family int
	// listen makes that, of AF_INET, a listener on 127.0.0.1 at port, 0: at any that
	// is free.
	listen bool
	port   int
}

// netResult has what was opened; nil: it was not asked for.
type netResult struct{ net, user, sock *os.File }

// run does the task on a thread of its own if it concerns no namespace of users,
// else in a child of a broker: that has one thread and so may join one, as no
// process of Go's may. The caller closes the descriptors. After an error there are
// none.
func (t netTask) run(by *starter) (r netResult, err error) {
	s := newScript()
	defer s.close()
	flags, apart := uintptr(unix.CLONE_FILES), t.withUser || t.user != nil
	if t.make && apart {
		flags |= unix.CLONE_NEWNET
	} else if t.make {
		s.call(makeNamespaces, unix.SYS_UNSHARE, unix.CLONE_NEWNET)
	}
	if t.make && t.withUser {
		flags |= unix.CLONE_NEWUSER
		s.users(fmt.Sprintf("%[1]d %[1]d 1\n", os.Getuid()), fmt.Sprintf("%[1]d %[1]d 1\n", os.Getgid()))
	}
	var got []int
	var opened []**os.File // what the slots to tell are for
	open := func(f **os.File, got slot) slot {
		opened = append(opened, f)
		s.tell(got)
		return got
	}
	if t.make {
		s.loopback()
		open(&r.net, s.get("open the network namespace", unix.SYS_OPENAT, unix.AT_FDCWD, "/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC))
		if t.withUser {
			open(&r.user, s.get("open the user namespace", unix.SYS_OPENAT, unix.AT_FDCWD, "/proc/self/ns/user", unix.O_RDONLY|unix.O_CLOEXEC))
		}
	} else {
		if t.user != nil {
			s.call("join the user namespace", unix.SYS_SETNS, t.user, unix.CLONE_NEWUSER)
		}
		s.call("join the network namespace", unix.SYS_SETNS, t.net, unix.CLONE_NEWNET)
	}
	var sock slot
	if t.family != 0 {
		sock = open(&r.sock, s.get("open a socket", unix.SYS_SOCKET, t.family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0))
	}
	if t.listen {
		addr := &unix.RawSockaddrInet4{Family: unix.AF_INET, Addr: [4]byte{127, 0, 0, 1}}
		binary.BigEndian.PutUint16((*[2]byte)(unsafe.Pointer(&addr.Port))[:], uint16(t.port))
		// Without SO_REUSEPORT no program can share the port.
		s.call("bind", unix.SYS_BIND, sock, view(addr), unix.SizeofSockaddrInet4)
		s.call("listen", unix.SYS_LISTEN, sock, proxyBacklog)
	}
	if apart {
		s.end()
		got, err = by.child(s, flags)
	} else {
		got, err = s.here()
	}
	if err == nil && len(got) != len(opened) {
		err = errMessage
	}
	if err != nil {
		closeAll(got)
		return netResult{}, err
	}
	for i, f := range opened {
		*f = os.NewFile(uintptr(got[i]), "network")
	}
	return r, nil
}
