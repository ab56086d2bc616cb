package workfs

import (
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// identity is whom operations act as.
type identity struct {
	own      bool // the program itself
	uid, gid int
	// What a thread goes back to.
	euid, egid int
	groups     []uint32
	caps       [2]unix.CapUserData
}

func newIdentity(uid, gid int) (identity, error) {
	id := identity{uid: uid, gid: gid, euid: os.Geteuid(), egid: os.Getegid()}
	if id.euid != 0 || uid < 0 || uid == 0 {
		id.own = true
		return id, nil
	}
	groups, err := unix.Getgroups()
	if err != nil {
		return identity{}, fmt.Errorf("workfs: %w", err)
	}
	for _, g := range groups {
		id.groups = append(id.groups, uint32(g))
	}
	if err := unix.Capget(&unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, &id.caps[0]); err != nil {
		return identity{}, fmt.Errorf("workfs: read the program's capabilities: %w", err)
	}
	return id, id.do(func() error { return nil })
}

// do runs fn, which must not panic or wait for anything but the file system, as
// the worker.
//
// The thread gets the worker's file-system uid and gid, no groups and no
// effective capability (CAP_SYS_RESOURCE would pass over quotas). It is never
// the program's first thread: who looks for left-over processes of a worker by
// their uids sees those of the first thread, and would kill this program.
func (id *identity) do(fn func() error) error {
	if id.own {
		return fn()
	}
	runtime.LockOSThread()
	if unix.Gettid() == unix.Getpid() {
		done := make(chan error, 1)
		go func() { done <- id.do(fn) }() // on another thread: this one is taken
		err := <-done
		runtime.UnlockOSThread()
		return err
	}
	err := id.become()
	if err == nil {
		err = fn()
	}
	if back := id.leave(); back != nil {
		// The thread stays locked and ends with its goroutine, before anybody
		// else runs on it.
		return back
	}
	runtime.UnlockOSThread()
	return err
}

func (id *identity) become() error {
	if err := setgroups(nil); err != nil {
		return fmt.Errorf("workfs: drop the groups of a thread: %w", err)
	}
	if err := setfs(id.uid, id.gid); err != nil {
		return err
	}
	none := id.caps
	none[0].Effective, none[1].Effective = 0, 0
	return setcaps(&none)
}

func (id *identity) leave() error {
	caps := id.caps
	if err := setcaps(&caps); err != nil {
		return err
	}
	if err := setfs(id.euid, id.egid); err != nil {
		return err
	}
	if err := setgroups(id.groups); err != nil {
		return fmt.Errorf("workfs: give a thread its groups back: %w", err)
	}
	return nil
}

func setcaps(caps *[2]unix.CapUserData) error {
	if err := unix.Capset(&unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, &caps[0]); err != nil {
		return fmt.Errorf("workfs: set the capabilities of a thread: %w", err)
	}
	return nil
}

// setfs sets the thread's file-system ids. The calls report no failure but
// return what was there before, so they are asked again.
func setfs(uid, gid int) error {
	_, _ = unix.SetfsgidRetGid(gid)
	_, _ = unix.SetfsuidRetUid(uid)
	g, _ := unix.SetfsgidRetGid(-1)
	u, _ := unix.SetfsuidRetUid(-1)
	if u != uid || g != gid {
		return fmt.Errorf("workfs: act as uid %d, gid %d: the kernel refuses, and leaves %d, %d", uid, gid, u, g)
	}
	return nil
}
