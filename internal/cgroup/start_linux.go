package cgroup

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// Start calls start, on the calling thread, to start one process as attr says,
// and sees to it that the process begins life in the group. attr.Sys is changed
// and must be the one that start uses. The process must not start another until
// finish, unless that is nil, was called: it puts the process where it could not
// be started. After an error of finish the caller kills the process.
//
// A thread that is not the program's first is best: that one stands for the
// whole program, in what its memory is counted for too, and is never moved; then
// version 1 takes the slow way. See [OffLeader].
//
// An error of start is returned as it is. When there is a process and an error,
// the calling thread is stuck in the group: kill the process and give the thread
// up.
func (g *Group) Start(attr *os.ProcAttr, start func() (*os.Process, error)) (p *os.Process, finish func() error, err error) {
	if attr.Sys == nil {
		attr.Sys = &syscall.SysProcAttr{}
	}
	var byThread, byKernel, later []leg
	leader := unix.Gettid() == os.Getpid()
	for _, l := range g.joins() {
		switch {
		case l.h.v2:
			byKernel = append(byKernel, l)
		case l.is(CPU) || leader:
			later = append(later, l)
		default:
			byThread = append(byThread, l)
		}
	}
	if len(byKernel) > 0 {
		dir, err := openDir(byKernel[0].dir)
		if err != nil {
			return nil, nil, err
		}
		defer dir.Close()
		attr.Sys.UseCgroupFD, attr.Sys.CgroupFD = true, int(dir.Fd())
	}
	err = g.r.k.inside(byThread, func() (err error) {
		p, err = start()
		if attr.Sys.UseCgroupFD && p == nil && oldFork(err) {
			attr.Sys.UseCgroupFD, later = false, append(later, byKernel...)
			p, err = start()
		}
		return err
	})
	if p != nil && len(later) > 0 {
		finish = func() error { return add(later, p.Pid) }
	}
	return p, finish, err
}

// oldFork tells whether an error may mean that the kernel, or a filter of system
// calls, does not know how to start a process in a group.
func oldFork(err error) bool {
	return errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.E2BIG) || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EOPNOTSUPP)
}

func (g *leg) is(c Controller) bool {
	for _, has := range g.has {
		if has == c {
			return true
		}
	}
	return false
}

// OffLeader runs f on a locked thread that is not the program's first one, and
// waits for it.
func OffLeader(f func()) {
	done := make(chan struct{})
	go offLeader(f, done, func() {})
	<-done
}

func offLeader(f func(), done chan struct{}, locked func()) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if unix.Gettid() == os.Getpid() {
		// Kept until another thread is found, so that it must be another.
		found := make(chan struct{})
		go offLeader(f, done, func() { close(found) })
		<-found
		return
	}
	locked()
	defer close(done)
	f()
}

// inside runs f while the calling thread is in the legs, all of version 1. It
// must not be the program's first thread.
func (k *kernel) inside(legs []leg, f func() error) (err error) {
	if len(legs) == 0 {
		return f()
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	// Not where the thread was at Open: somebody may have moved this program.
	groups, err := k.memberships("thread-self")
	if err != nil {
		return err
	}
	homes := make([]string, len(legs))
	for i, l := range legs {
		var ok bool
		if homes[i], ok = l.h.place(groups); !ok {
			return fmt.Errorf("cgroup: this program has been moved out of %s", l.h.mount)
		}
	}
	entered := 0
	defer func() {
		for i := range entered {
			if lerr := k.write(homes[i], "tasks", "0"); lerr != nil {
				err = errors.Join(err, fmt.Errorf("cgroup: thread does not get out of %s: %w", legs[i].dir, lerr))
			}
		}
	}()
	for _, l := range legs {
		if err := k.write(l.dir, "tasks", "0"); err != nil { // 0 is the thread that writes
			return fmt.Errorf("cgroup: thread does not get into %s: %w", l.dir, err)
		}
		entered++
	}
	return f()
}

// Add moves a process with all its threads into the group. What it started
// before stays where it is.
func (g *Group) Add(pid int) error { return add(g.joins(), pid) }

func add(legs []leg, pid int) error {
	for _, l := range legs {
		if err := l.h.k.write(l.dir, "cgroup.procs", strconv.Itoa(pid)); err != nil {
			return fmt.Errorf("cgroup: move process %d into %s: %w", pid, l.dir, err)
		}
	}
	return nil
}

func openDir(path string) (*os.File, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("cgroup: open %s: %w", path, err)
	}
	return os.NewFile(uintptr(fd), path), nil
}
