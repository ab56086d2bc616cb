package jail

import (
	"fmt"
	"os"
	"runtime"

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

// bound bounds the numbers of files and terminals of a jail that is there already,
// for a driver that cannot ask for that. mnt is the jail's mount namespace, and
// what is mounted there belongs to the user namespace that owns it: this program
// has all rights over that, as who made it or as root, but only a process of one
// thread can go there.
func (j *Jail) bound(mnt int, spec *Spec) error {
	user, err := unix.IoctlRetInt(mnt, unix.NS_GET_USERNS)
	if err != nil {
		return fmt.Errorf("bound files: owner of the mounts: %w", err)
	}
	defer unix.Close(user)
	sc, err := newScript()
	if err != nil {
		return err
	}
	defer sc.close()
	sc.call("join the user namespace", unix.SYS_SETNS, user, unix.CLONE_NEWUSER)
	sc.call("join the mount namespace", unix.SYS_SETNS, mnt, unix.CLONE_NEWNS)
	for _, t := range []struct {
		path    string
		flags   int
		options string
	}{
		{"/tmp", unix.MS_NODEV, fmt.Sprintf("nr_inodes=%d", maxFiles(spec.TmpSize))},
		{"/dev/shm", unix.MS_NODEV, fmt.Sprintf("nr_inodes=%d", maxFiles(spec.ShmSize))},
		{"/dev/pts", unix.MS_NOEXEC, fmt.Sprintf("%s,max=%d", terminalOptions, maxTerminals)},
	} {
		sc.call("bound files of", unix.SYS_MOUNT, 0, path(t.path), 0, unix.MS_REMOUNT|unix.MS_NOSUID|t.flags, t.options)
	}
	sc.call("end", unix.SYS_EXIT_GROUP, 0)
	runtime.LockOSThread()
	pid, errno := sc.start(0, -1)
	runtime.UnlockOSThread()
	if errno != 0 {
		return fmt.Errorf("bound files: fork: %w", errno)
	}
	p, err := os.FindProcess(pid) // a child that nobody has waited for: it is that one
	if err == nil {
		_, err = p.Wait()
	}
	if failed := sc.failure(); failed != nil {
		return failed
	}
	return err
}
