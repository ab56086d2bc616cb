package jail

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// marker, as the only argument, asks for the first process of a jail. It
	// takes more than that to become one; see maybeInit.
	marker = "\x01jail-first-process\x01"
	// connectMarker, as the first of two arguments, asks for the same where no
	// descriptor can be inherited; the second is the path of the host's socket.
	connectMarker = "\x01jail-first-process-connect\x01"
	// stdinMarker, as the only argument, asks for the same where the socket is the
	// standard input: under a kernel that is not the host's.
	stdinMarker = "\x01jail-first-process-stdin\x01"
	// sockFD is where the socket to the host program is inherited.
	sockFD = 3
	// helloTime bounds the wait for the host program's first message, and the
	// host's for the answer where its caller gives no sooner deadline. The start of
	// another kernel is part of that.
	helloTime = 30 * time.Second
)

// exePath is what is executed for a first process: descriptor 4, the sealed copy
// of the program. It is its argument 0 too.
const exePath = "/proc/self/fd/4"

// nsNames are the namespaces that a confined first process must not share with
// the host.
var nsNames = [...]string{"user", "pid", "mnt", "ipc", "uts", "net", "cgroup"}

// init turns a program that was executed as the first process of a jail into
// one, and does nothing in any other.
func init() {
	switch {
	case len(os.Args) == 2 && os.Args[0] == exePath && os.Args[1] == marker:
		maybeInit(sockFD, false)
	case len(os.Args) == 3 && os.Args[1] == connectMarker:
		maybeInit(connect(os.Args[2]), false)
	case len(os.Args) == 2 && os.Args[1] == stdinMarker:
		maybeInit(takeStdin(), true)
	case len(os.Args) == 2 && os.Args[0] == brokerName && os.Args[1] == brokerMarker:
		maybeBroker()
	}
}

// ConnectArgs are the arguments, after the program's name, of a first process
// that finds the host's socket by its path inside. It connects once; the host
// then removes the socket, so that nobody else can.
func ConnectArgs(socket string) []string { return []string{connectMarker, socket} }

// StdinArgs are the arguments, after the program's name, of a first process whose
// standard input is the socket, with [Traits.OtherKernel].
func StdinArgs() []string { return []string{stdinMarker} }

// takeStdin returns another descriptor of the standard input, and puts the null
// device in the place of all standard streams: those are the host's, and not every
// kernel keeps a program from opening what process 1 has.
func takeStdin() int {
	fd, err := unix.FcntlInt(0, unix.F_DUPFD_CLOEXEC, sockFD)
	if err != nil {
		return -1
	}
	null, err := unix.Open("/dev/null", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1
	}
	for std := range 3 {
		if unix.Dup3(null, std, 0) != nil {
			return -1
		}
	}
	return fd
}

// connect returns a connection to the socket at path, -1 if there is none. Who
// made that socket is asked as with one that was inherited.
func connect(path string) int {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil || unix.Connect(fd, &unix.SockaddrUnix{Name: path}) != nil {
		return -1
	}
	return fd
}

// maybeInit becomes the first process if the trigger is real: descriptor sock is a
// socket that a process outside this pid namespace made (confined), or that our
// parent did (level none), and the first message on it is the handshake. A
// half-forged one ends the program without a word: it was meant to be executed
// as something that it cannot be.
//
// Another kernel knows nothing of who is at the other end. There the first process
// is known by its number alone, and has nothing to lose: whoever makes one makes
// the jail too.
func maybeInit(sock int, otherKernel bool) {
	cred, err := unix.GetsockoptUcred(sock, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		os.Exit(2)
	}
	typ, err := unix.GetsockoptInt(sock, unix.SOL_SOCKET, unix.SO_TYPE)
	if err != nil || typ != unix.SOCK_STREAM {
		os.Exit(2)
	}
	outside := os.Getpid() == 1 && (cred.Pid == 0 || otherKernel)
	parent := os.Getpid() != 1 && int(cred.Pid) == os.Getppid()
	if !outside && !parent {
		os.Exit(2)
	}
	// Whatever was known before the first command runs stays unknown to it.
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		os.Exit(2)
	}
	os.Clearenv()
	signal.Ignore(deaf()...)
	runtime.GOMAXPROCS(2)
	unix.Umask(0o022)
	_, _ = unix.KeyctlJoinSessionKeyring("") // see newStarter

	tv := unix.NsecToTimeval(int64(helloTime))
	if err := unix.SetsockoptTimeval(sock, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv); err != nil {
		os.Exit(2)
	}
	unix.CloseOnExec(sock)
	c, err := newConn(os.NewFile(uintptr(sock), "host"))
	if err != nil {
		os.Exit(2)
	}
	m, fds, err := c.read()
	if err != nil {
		os.Exit(2)
	}
	hello, err := parseHello(&m)
	if err != nil || hello.otherKernel != otherKernel {
		os.Exit(2)
	}
	if err := unix.SetsockoptTimeval(sock, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{}); err != nil {
		os.Exit(2)
	}
	if err := serve(c, hello, fds, outside); err != nil {
		_ = c.write(&message{kind: msgRefused, strs: []string{err.Error()}}, nil) // the host may be gone
		os.Exit(3)
	}
	os.Exit(0)
}

// deaf lists the signals that a first process does not hear. The kernel keeps
// SIGKILL and SIGSTOP of its own jail from it, but the Go runtime would let every
// other end it. It needs SIGCHLD, for ignoring that would reap its children
// unseen, and the runtime needs SIGURG and the two of the C library.
func deaf() (sigs []os.Signal) {
	for s := syscall.Signal(1); s <= 64; s++ {
		switch s {
		case syscall.SIGKILL, syscall.SIGSTOP, syscall.SIGCHLD, syscall.SIGURG, 32, 33:
		default:
			sigs = append(sigs, s)
		}
	}
	return sigs
}

// closeInherited closes every descriptor that was inherited: those without
// close-on-exec, since whatever this program opened itself has it. Standard
// streams and the socket stay.
func closeInherited() error {
	dir, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return fmt.Errorf("list descriptors: %w", err)
	}
	for _, e := range dir {
		fd, err := strconv.Atoi(e.Name())
		if err != nil || fd <= 2 || fd == sockFD {
			continue
		}
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		if err == nil && flags&unix.FD_CLOEXEC == 0 {
			unix.Close(fd)
		}
	}
	return nil
}

// verifyConfined checks from the inside that the jail is one: process 1, no
// capabilities nor a way to gain any, the expected user, no namespace shared with
// the host that must not be, the worker's network, and no way to the program's file. bwrap has ways to
// fail open; this is where that ends.
func verifyConfined(h *hello) error {
	if os.Getpid() != 1 {
		return fmt.Errorf("process number is %d, want 1", os.Getpid())
	}
	if os.Getuid() != h.uid || os.Getgid() != h.gid || os.Geteuid() != h.uid || os.Getegid() != h.gid || h.uid == 0 {
		return fmt.Errorf("user is %d:%d, want %d:%d, not root", os.Geteuid(), os.Getegid(), h.uid, h.gid)
	}
	modes := []int{unix.O_RDONLY, unix.O_WRONLY}
	if h.otherKernel {
		// gVisor must be able to read what it executes. The file is gone before the
		// first program starts, and the process is not dumpable.
		modes = modes[1:]
	}
	for _, flags := range modes {
		if fd, err := unix.Open("/proc/self/exe", flags|unix.O_CLOEXEC, 0); err == nil {
			unix.Close(fd)
			return errors.New("the first process's program can be read or written inside")
		}
	}
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return fmt.Errorf("read own status: %w", err)
	}
	want := map[string]string{"NoNewPrivs": "1"}
	for _, set := range []string{"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"} {
		want[set] = "0000000000000000"
	}
	if h.otherKernel {
		delete(want, "NoNewPrivs") // not in the file: asked for below
		delete(want, "CapAmb")     // gVisor has no ambient capabilities
	}
	if n, err := unix.PrctlRetInt(unix.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0); err != nil || n != 1 {
		return fmt.Errorf("no_new_privs is %d, want 1: %v", n, err)
	}
	for line := range strings.Lines(string(status)) {
		key, value, _ := strings.Cut(line, ":")
		if w, ok := want[key]; ok {
			if v := strings.TrimSpace(value); v != w {
				return fmt.Errorf("%s is %s, want %s", key, v, w)
			}
			delete(want, key)
		}
	}
	if len(want) != 0 {
		return fmt.Errorf("own status lacks %v", want)
	}
	if h.otherKernel {
		return nil
	}
	own, err := namespaces()
	if err != nil {
		return err
	}
	for i := range own {
		if own[i] == h.spaces[i] || h.spaces[i] == "" {
			return fmt.Errorf("namespace %s is shared with the host", nsNames[i])
		}
		if nsNames[i] == "net" && h.network != "" && own[i] != h.network {
			return fmt.Errorf("namespace %s is %s, want the worker's, %s", nsNames[i], own[i], h.network)
		}
	}
	return nil
}

// namespaces names the calling process's namespaces, in the order of nsNames.
func namespaces() ([]string, error) {
	out := make([]string, len(nsNames))
	for i, n := range nsNames {
		s, err := os.Readlink("/proc/self/ns/" + n)
		if err != nil {
			return nil, fmt.Errorf("namespace %s: %w", n, err)
		}
		out[i] = s
	}
	return out, nil
}
