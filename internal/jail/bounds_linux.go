package jail

import (
	"fmt"

	"golang.org/x/sys/unix"
)

const (
	// maxTerminals bounds the terminals that programs of one jail may have open; a
	// machine has 4,096 for all.
	maxTerminals = 64
	// bytesPerFile and leastFiles bound the number of files in a file system in
	// memory by its size: what a file takes of the kernel's memory is not part of
	// that.
	bytesPerFile, leastFiles = 4 << 10, 1 << 10

	terminalOptions = "newinstance,ptmxmode=0666,mode=0620"
)

// maxFiles is how many files a file system in memory of that many bytes may have.
func maxFiles(size int64) int64 { return max(leastFiles, size/bytesPerFile) }

// mountCall is a mount(2) that changes a mount of the jail's.
type mountCall struct {
	source, path string
	flags        uintptr
	options      string
}

// bound bounds the numbers of files and terminals of a jail that is there already
// and has not started anything, and makes the settings in its /proc read-only, for a
// driver that cannot ask for that. mnt is the jail's mount namespace.
func (j *Jail) bound(mnt int, spec *Spec) error {
	const remount = unix.MS_REMOUNT | unix.MS_NOSUID
	all := []mountCall{
		{"", "/tmp", remount | unix.MS_NODEV, fmt.Sprintf("nr_inodes=%d", maxFiles(spec.TmpSize))},
		{"", "/dev/shm", remount | unix.MS_NODEV, fmt.Sprintf("nr_inodes=%d", maxFiles(spec.ShmSize))},
		{"", "/dev/pts", remount | unix.MS_NOEXEC, fmt.Sprintf("%s,max=%d", terminalOptions, maxTerminals)},
	}
	// bwrap leaves them as they are where its own user may not write to the directory,
	// which says nothing of the files.
	for _, p := range inProc(procCovered[:]) {
		all = append(all,
			mountCall{p, p, unix.MS_BIND, ""},
			mountCall{"", p, remount | unix.MS_BIND | unix.MS_RDONLY | unix.MS_NODEV | unix.MS_NOEXEC, ""})
	}
	if j.h.uids != nil {
		return j.h.starter.mounts(mnt, all)
	}
	return j.h.starter.mountsAsOwner(mnt, all)
}

// mounts goes to the mount namespace mnt and comes back, as root can.
func (s *starter) mounts(mnt int, all []mountCall) error {
	return s.do(func() (err error) {
		if s.stuck != nil {
			return s.stuck
		}
		// The thread has a root directory of its own (see newStaging), without which
		// it could not go.
		own, err := unix.Open("/proc/thread-self/ns/mnt", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("bound files: open own mount namespace: %w", err)
		}
		defer unix.Close(own)
		if err := unix.Setns(mnt, unix.CLONE_NEWNS); err != nil {
			return fmt.Errorf("bound files: join mount namespace: %w", err)
		}
		for _, m := range all {
			if err = unix.Mount(m.source, m.path, "", m.flags, m.options); err != nil {
				err = fmt.Errorf("bound %s: %w", m.path, err)
				break
			}
		}
		if back := unix.Setns(own, unix.CLONE_NEWNS); back != nil {
			s.stuck = fmt.Errorf("the starting thread cannot leave a jail's mount namespace: %w", back)
			return s.stuck
		}
		return err
	})
}

// mountsAsOwner does it for a program that is not root. The mounts belong to the
// user namespace that owns theirs, and so to who made that; but only a process of
// one thread can go there.
func (s *starter) mountsAsOwner(mnt int, all []mountCall) error {
	user, err := unix.IoctlRetInt(mnt, unix.NS_GET_USERNS)
	if err != nil {
		return fmt.Errorf("bound files: owner of the mounts: %w", err)
	}
	defer unix.Close(user)
	sc := newScript()
	defer sc.close()
	sc.call("join the user namespace", unix.SYS_SETNS, fd(user), unix.CLONE_NEWUSER)
	sc.call("join the mount namespace", unix.SYS_SETNS, fd(mnt), unix.CLONE_NEWNS)
	for _, m := range all {
		sc.call("bound", unix.SYS_MOUNT, m.source, path(m.path), 0, m.flags, m.options)
	}
	sc.end()
	_, err = s.child(sc, 0)
	return err
}
