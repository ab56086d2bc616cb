package jail

import (
	"encoding/binary"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// netTask is what a child does for this program in a network namespace: it
// makes one, or joins one, and listens there. What it opens are descriptors of
// this program's, whose table it shares.
type netTask struct {
	// make asks for a namespace, its loopback up; withUser for one of users
	// that owns it, in which this program's user and group alone exist.
	make, withUser bool
	user, net      int // joined otherwise; user -1: only net
	// listen asks for a listener on 127.0.0.1 at port, 0: at any that is free.
	listen bool
	port   int
}

// netStep is what a child was at when it failed.
type netStep int64

const (
	netStepFork netStep = iota + 1
	netStepMap
	netStepJoin
	netStepLoopback
	netStepOpen
	netStepSocket
	netStepListen
)

var netSteps = [...]string{
	netStepFork: "make namespaces", netStepMap: "map the user", netStepJoin: "join namespaces", netStepLoopback: "bring up the loopback",
	netStepOpen: "open namespaces", netStepSocket: "open a socket", netStepListen: "listen",
}

// netResult is what a child tells, on a page that it shares with this program.
type netResult struct {
	step            netStep // 0: all was done
	errno           int64
	net, user, sock int64 // descriptors; -1: none
}

// ifreq is the kernel's, for flags.
type ifreq struct {
	name  [unix.IFNAMSIZ]byte
	flags uint16
	_     [22]byte
}

// netChild is a task in the shape that the child needs: no allocation, no string.
type netChild struct {
	out                    *netResult
	flags                  uintptr
	make, withUser, listen bool
	userNS, netNS          uintptr // to join
	joinUser               bool
	selfNet, selfUser      *byte
	mapPaths, mapTexts     [3]*byte
	mapSizes               [3]uintptr
	lo                     ifreq
	addr                   unix.RawSockaddrInet4
	backlog                uintptr
}

// run does the task in a copy of this process, which has one thread and so may
// join a namespace of users, as no process of Go's may. The caller closes the
// descriptors. After an error there are none.
func (t netTask) run() (_ netResult, err error) {
	page, err := unix.Mmap(-1, 0, os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_ANONYMOUS)
	if err != nil {
		return netResult{}, fmt.Errorf("map shared page: %w", err)
	}
	defer unix.Munmap(page) // what it was for is done
	out := (*netResult)(unsafe.Pointer(&page[0]))
	*out = netResult{step: netStepFork, errno: int64(unix.ECHILD), net: -1, user: -1, sock: -1}
	c := &netChild{
		out: out, flags: unix.CLONE_FILES, make: t.make, withUser: t.make && t.withUser, listen: t.listen,
		userNS: uintptr(t.user), netNS: uintptr(t.net), joinUser: !t.make && t.user >= 0, backlog: proxyBacklog,
		lo:   ifreq{name: [unix.IFNAMSIZ]byte{'l', 'o'}},
		addr: unix.RawSockaddrInet4{Family: unix.AF_INET, Addr: [4]byte{127, 0, 0, 1}},
	}
	binary.BigEndian.PutUint16((*[2]byte)(unsafe.Pointer(&c.addr.Port))[:], uint16(t.port))
	if t.make {
		c.flags |= unix.CLONE_NEWNET
	}
	if c.withUser {
		c.flags |= unix.CLONE_NEWUSER
		uid, gid := strconv.Itoa(os.Getuid()), strconv.Itoa(os.Getgid())
		for i, m := range [...][2]string{
			{"/proc/self/setgroups", "deny"}, {"/proc/self/uid_map", uid + " " + uid + " 1"}, {"/proc/self/gid_map", gid + " " + gid + " 1"},
		} {
			path, text := append([]byte(m[0]), 0), []byte(m[1])
			c.mapPaths[i], c.mapTexts[i], c.mapSizes[i] = &path[0], &text[0], uintptr(len(text))
		}
	}
	selfNet, selfUser := []byte("/proc/self/ns/net\x00"), []byte("/proc/self/ns/user\x00")
	c.selfNet, c.selfUser = &selfNet[0], &selfUser[0]

	runtime.LockOSThread() // the signal mask is the thread's
	pid, errno := netFork(c)
	runtime.UnlockOSThread()
	runtime.KeepAlive(c)
	if errno != 0 {
		return netResult{}, fmt.Errorf("%s: %w", netSteps[netStepFork], errno)
	}
	for { // not while forking, so that other goroutines go on
		// It has no signal for its end, so that nobody else waits for it.
		if _, err := unix.Wait4(int(pid), nil, unix.WALL, nil); err != unix.EINTR {
			break
		}
	}
	if out.step == 0 {
		return *out, nil
	}
	for _, fd := range []int64{out.net, out.user, out.sock} {
		if fd >= 0 {
			unix.Close(int(fd))
		}
	}
	return netResult{}, fmt.Errorf("%s: %w", netSteps[out.step], syscall.Errno(out.errno))
}

// netFork forks and, in the child, does as c says. As in forkExec, nothing but
// raw system calls may happen there. The child's memory is a copy, its
// descriptors are this program's.
//
//go:noinline
//go:norace
//go:nocheckptr
func netFork(c *netChild) (pid uintptr, errno syscall.Errno) {
	var (
		all  = ^uint64(0)
		old  uint64
		i    int
		r    uintptr
		fd   uintptr
		step netStep
	)
	syscall.RawSyscall6(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK,
		uintptr(unsafe.Pointer(&all)), uintptr(unsafe.Pointer(&old)), 8, 0, 0)
	pid, _, errno = syscall.RawSyscall6(unix.SYS_CLONE, c.flags, 0, 0, 0, 0, 0)
	if errno != 0 || pid != 0 {
		syscall.RawSyscall6(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, uintptr(unsafe.Pointer(&old)), 0, 8, 0, 0)
		return pid, errno
	}

	if c.withUser {
		step = netStepMap
		for i = 0; i < len(c.mapPaths); i++ {
			fd, _, errno = syscall.RawSyscall6(unix.SYS_OPENAT, ^uintptr(99), uintptr(unsafe.Pointer(c.mapPaths[i])), unix.O_WRONLY|unix.O_CLOEXEC, 0, 0, 0)
			if errno != 0 {
				goto done
			}
			_, _, errno = syscall.RawSyscall6(unix.SYS_WRITE, fd, uintptr(unsafe.Pointer(c.mapTexts[i])), c.mapSizes[i], 0, 0, 0)
			syscall.RawSyscall6(unix.SYS_CLOSE, fd, 0, 0, 0, 0, 0)
			if errno != 0 {
				goto done
			}
		}
	}
	if !c.make {
		step = netStepJoin
		if c.joinUser {
			if _, _, errno = syscall.RawSyscall6(unix.SYS_SETNS, c.userNS, unix.CLONE_NEWUSER, 0, 0, 0, 0); errno != 0 {
				goto done
			}
		}
		if _, _, errno = syscall.RawSyscall6(unix.SYS_SETNS, c.netNS, unix.CLONE_NEWNET, 0, 0, 0, 0); errno != 0 {
			goto done
		}
	}
	if c.make {
		step = netStepLoopback
		fd, _, errno = syscall.RawSyscall6(unix.SYS_SOCKET, unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0, 0, 0, 0)
		if errno != 0 {
			goto done
		}
		_, _, errno = syscall.RawSyscall6(unix.SYS_IOCTL, fd, unix.SIOCGIFFLAGS, uintptr(unsafe.Pointer(&c.lo)), 0, 0, 0)
		if errno == 0 {
			c.lo.flags |= unix.IFF_UP
			_, _, errno = syscall.RawSyscall6(unix.SYS_IOCTL, fd, unix.SIOCSIFFLAGS, uintptr(unsafe.Pointer(&c.lo)), 0, 0, 0)
		}
		syscall.RawSyscall6(unix.SYS_CLOSE, fd, 0, 0, 0, 0, 0)
		if errno != 0 {
			goto done
		}
		step = netStepOpen
		r, _, errno = syscall.RawSyscall6(unix.SYS_OPENAT, ^uintptr(99), uintptr(unsafe.Pointer(c.selfNet)), unix.O_RDONLY|unix.O_CLOEXEC, 0, 0, 0)
		if errno != 0 {
			goto done
		}
		c.out.net = int64(r)
		if c.withUser {
			r, _, errno = syscall.RawSyscall6(unix.SYS_OPENAT, ^uintptr(99), uintptr(unsafe.Pointer(c.selfUser)), unix.O_RDONLY|unix.O_CLOEXEC, 0, 0, 0)
			if errno != 0 {
				goto done
			}
			c.out.user = int64(r)
		}
	}
	if c.listen {
		step = netStepSocket
		r, _, errno = syscall.RawSyscall6(unix.SYS_SOCKET, unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0, 0, 0, 0)
		if errno != 0 {
			goto done
		}
		c.out.sock = int64(r)
		step = netStepListen
		// Without SO_REUSEPORT no program can share the port.
		_, _, errno = syscall.RawSyscall6(unix.SYS_BIND, r, uintptr(unsafe.Pointer(&c.addr)), unix.SizeofSockaddrInet4, 0, 0, 0)
		if errno == 0 {
			_, _, errno = syscall.RawSyscall6(unix.SYS_LISTEN, r, c.backlog, 0, 0, 0, 0)
		}
		if errno != 0 {
			goto done
		}
	}
	step = 0

done:
	c.out.step, c.out.errno = step, int64(errno)
	for {
		syscall.RawSyscall6(unix.SYS_EXIT_GROUP, 0, 0, 0, 0, 0, 0)
	}
}
