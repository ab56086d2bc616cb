package jail

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// nativeDriver makes jails by this program's own means, where bwrap is missing.
// It makes what bwrap makes, with the same system calls.
type nativeDriver struct {
	site     *Site
	stage    *staging // nil where workers are the host program's own user
	fixed    []fixture
	files    []string // masked of /proc
	dirs     []string // likewise
	covered  []string // likewise, but to be read
	lastCap  int
	readOnly []bind
}

// fixture is a [Fixture] with what has to be made for it.
type fixture struct {
	Fixture
	dir bool
}

var _ Driver = (*nativeDriver)(nil)

func (d *nativeDriver) Name() string { return levelNative }

func (d *nativeDriver) Traits() Traits { return Traits{JoinsNet: true, Volumes: d.stage != nil} }

// Open prepares what all jails share.
func (d *nativeDriver) Open(_ context.Context, s *Site) (err error) {
	d.site = s
	if s.users {
		if d.stage, err = newStaging(s.starter); err != nil {
			return noStage(levelNative, err)
		}
	}
	fixed, err := Fixtures()
	if err != nil {
		return fmt.Errorf("jail: %w", err)
	}
	for _, f := range fixed {
		own := fixture{Fixture: f}
		if f.Link == "" {
			st, err := os.Stat(f.Host)
			if err != nil {
				continue // a link that leads nowhere
			}
			own.dir = st.IsDir()
		}
		d.fixed = append(d.fixed, own)
	}
	d.files, d.dirs, d.covered = inProc(procFiles[:]), inProc(procDirs[:]), inProc(procCovered[:])
	d.lastCap = 63
	if b, err := os.ReadFile("/proc/sys/kernel/cap_last_cap"); err == nil {
		if n, err := strconv.Atoi(strings.TrimSpace(string(b))); err == nil {
			d.lastCap = n
		}
	}
	for _, path := range s.ReadOnly {
		f, err := openPath(path, 0)
		if err != nil {
			return fmt.Errorf("jail: ReadOnly: %w", err)
		}
		d.readOnly = append(d.readOnly, bind{f: f, inside: path})
		if d.stage != nil {
			if d.readOnly[len(d.readOnly)-1].staged, err = d.stage.put(f, false); err != nil {
				return err
			}
		}
	}
	return nil
}

func (d *nativeDriver) Close() error {
	var errs []error
	for _, b := range d.readOnly {
		errs = append(errs, b.f.Close())
	}
	return errors.Join(errs...)
}

// Launch starts the first process of one jail.
func (d *nativeDriver) Launch(_ context.Context, s *Spec) (*First, error) {
	return d.stage.launch(s.Binds, func(binds []bind) (*First, error) { return d.start(s, append(binds, d.readOnly...)) })
}

func (d *nativeDriver) start(s *Spec, binds []bind) (_ *First, err error) {
	streams, err := openStreams()
	if err != nil {
		return nil, err
	}
	defer streams.closeTheirs(&err)
	sc, err := d.site.starter.script(s.group)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			sc.close()
		}
	}()
	files := streams.files(d.site.Program)
	for _, b := range binds {
		files = append(files, b.f)
	}
	flags := uintptr(unix.CLONE_NEWUSER | unix.CLONE_NEWPID | unix.CLONE_NEWNS | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS | unix.CLONE_NEWCGROUP)
	n := s.network
	if n == nil {
		flags |= unix.CLONE_NEWNET
	}
	other := credential(s.Identity.UID, s.Identity.GID) != nil
	if n != nil {
		sc.join(n)
	}
	sc.descriptors(files, len(streams.files(nil)))
	if other {
		// The namespaces are to be the worker's user's.
		sc.call("leave the groups of root", unix.SYS_SETGROUPS, 0, 0)
		sc.call("become the worker's group", unix.SYS_SETRESGID, s.Identity.GID, s.Identity.GID, s.Identity.GID)
		sc.call("become the worker's user", unix.SYS_SETRESUID, s.Identity.UID, s.Identity.UID, s.Identity.UID)
	}
	if n != nil || other {
		// What has become all that goes; the process that it makes is this
		// program's child, as it would be itself.
		sc.add(doFork, makeNamespaces, unix.SYS_CLONE, flags|uintptr(unix.CLONE_PARENT)|uintptr(unix.SIGCHLD), 0, 0, 0, 0)
		flags = 0
	}
	sc.call("make a session", unix.SYS_SETSID)
	sc.users(fmt.Sprintf("%d %d 1\n", UID, s.Identity.UID), fmt.Sprintf("%d %d 1\n", GID, s.Identity.GID))
	sc.call("name the machine", unix.SYS_SETHOSTNAME, hostname, len(hostname))
	if n == nil {
		sc.loopback()
	}
	if err := d.view(sc, s, binds); err != nil {
		return nil, err
	}
	sc.giveUp(d.lastCap)
	sc.exec(exePath, exePath, marker)

	p, err := d.fork(sc, flags)
	if err != nil {
		return nil, d.explain(sc, "", err)
	}
	first := streams.first(p, func(complaint string, cause error) error { return d.explain(sc, complaint, cause) })
	settled := first.Settled
	first.Settled = func() { settled(); sc.close() }
	return first, nil
}

// explain says why there is no jail.
func (d *nativeDriver) explain(sc *script, complaint string, cause error) error {
	e := &UnavailableError{Level: levelNative, Err: cause, Reason: "no jail could be made"}
	if failed := sc.failure(); failed != nil {
		e.Err, e.Reason = failed, failed.Error()
	} else if refused, ok := errors.AsType[*scriptError](cause); ok {
		e.Reason = refused.Error()
	} else if cause != nil {
		e.Reason += ": " + cause.Error()
	}
	if complaint != "" {
		e.Reason += fmt.Sprintf(": %q", complaint)
	}
	e.Remedy = remedy(levelNative, e.Reason, e.Err)
	return e
}

// fork starts the script and returns the process that is to be the first one.
func (d *nativeDriver) fork(sc *script, flags uintptr) (*os.Process, error) {
	p, err := d.site.starter.launch(sc, flags)
	if err != nil {
		return nil, err
	}
	if flags != 0 {
		return p, nil
	}
	if _, err := p.Wait(); err != nil {
		return nil, err
	}
	if sc.said.child == 0 {
		return nil, errors.New("the process that was to make the jail ended")
	}
	return os.FindProcess(int(sc.said.child))
}

// makeNamespaces is the step that a host refuses which has no user namespaces.
const makeNamespaces = "make namespaces"

// join takes the child into the namespaces of n.
func (s *script) join(n *network) {
	if n.user != nil {
		s.call("join the worker's user namespace", unix.SYS_SETNS, n.user, unix.CLONE_NEWUSER)
	}
	s.call("join the worker's network", unix.SYS_SETNS, n.ns, unix.CLONE_NEWNET)
}

// descriptors puts the child's descriptors in their places and closes all others.
// The first ones stay when it becomes another program.
func (s *script) descriptors(files []*os.File, stay int) {
	tmp := make([]slot, len(files))
	for i, f := range files {
		tmp[i] = s.get("duplicate a descriptor", unix.SYS_FCNTL, f, unix.F_DUPFD_CLOEXEC, len(files))
	}
	for i := range files {
		flags := 0
		if i >= stay {
			flags = unix.O_CLOEXEC
		}
		s.call("place a descriptor", unix.SYS_DUP3, tmp[i], i, flags)
	}
	s.call("close descriptors", unix.SYS_CLOSE_RANGE, len(files), int(^uint32(0)), 0)
}

// users writes the maps of a user namespace that the child has just made. It may
// do so itself for its own user. Meanwhile its files in /proc must be its own.
func (s *script) users(uids, gids string) {
	s.call("be dumpable", unix.SYS_PRCTL, unix.PR_SET_DUMPABLE, 1, 0, 0, 0)
	s.write("/proc/self/setgroups", "deny")
	s.write("/proc/self/uid_map", uids)
	s.write("/proc/self/gid_map", gids)
	s.call("be not dumpable", unix.SYS_PRCTL, unix.PR_SET_DUMPABLE, 0, 0, 0, 0)
}

// loopback switches the network namespace's loopback on.
func (s *script) loopback() {
	req := &ifreq{name: [unix.IFNAMSIZ]byte{'l', 'o'}, flags: unix.IFF_UP | unix.IFF_RUNNING}
	fd := s.get("open a socket", unix.SYS_SOCKET, unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	s.call("switch the loopback on", unix.SYS_IOCTL, fd, unix.SIOCSIFFLAGS, view(req))
	s.call("close", unix.SYS_CLOSE, fd)
}

// giveUp leaves the child without any right, and without a way to have more. The
// view and the namespaces belong to the user namespace that it leaves here; where
// no further ones are allowed, this one is the last (see viewScript.proc).
func (s *script) giveUp(lastCap int) {
	s.call("make a user namespace", unix.SYS_UNSHARE, unix.CLONE_NEWUSER)
	s.users(fmt.Sprintf("%d %d 1\n", UID, UID), fmt.Sprintf("%d %d 1\n", GID, GID))
	for c := 0; c <= lastCap; c++ {
		s.call("drop a capability", unix.SYS_PRCTL, unix.PR_CAPBSET_DROP, c, 0, 0, 0)
	}
	s.call("drop ambient capabilities", unix.SYS_PRCTL, unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
	head := &unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	s.call("drop capabilities", unix.SYS_CAPSET, view(head), view(new([2]unix.CapUserData)))
	s.call("refuse new privileges", unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
}

// exec ends the script as the program at file, without an environment, which dies
// with the thread that every jail dies with. If that is gone by now, so is the
// socket.
func (s *script) exec(file string, argv ...string) {
	s.call("die with the host program", unix.SYS_PRCTL, unix.PR_SET_PDEATHSIG, int(unix.SIGKILL), 0, 0, 0)
	s.add(doAlive, "look for the host program", unix.SYS_RECVFROM, sockFD, make([]byte, 1), 1, unix.MSG_PEEK|unix.MSG_DONTWAIT, 0, 0)
	const word = place(unsafe.Sizeof(uintptr(0)))
	list := s.put(make([]byte, (len(argv)+1)*int(word)))
	for i, a := range argv {
		s.add(doPoint, "", 0, offset(list+place(i)*word), a)
	}
	s.call("execute", unix.SYS_EXECVE, path(file), list, list+place(len(argv))*word)
}

// ifreq is the kernel's, for flags.
type ifreq struct {
	name  [unix.IFNAMSIZ]byte
	flags uint16
	_     [22]byte
}
