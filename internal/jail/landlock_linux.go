package jail

import (
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Landlock is the second line behind read-only mounts: with it, programs write
// below the directories that are theirs and nowhere else, even if a mount were
// writable by mistake. It also holds where mounts do not reach: a descriptor of
// a host's file that was passed for reading cannot be opened again for writing
// through /proc/self/fd, which the file's own mode does not forbid where the
// worker is the host program's user.
//
// It is put on the one thread that forks (see forker) and from there on every
// program of the jail, so that all are in one domain and may look at each other
// in /proc; a domain a program would forbid that. The first process's other
// threads stay without, so that its probe meets the mounts alone.
//
// It is done by raw system calls, since a library for it restricts the whole
// process. A kernel without it (before 5.19, or with it switched off) does
// without: it is never a level of its own.

// The least version with LANDLOCK_ACCESS_FS_REFER: before it, no file could be
// moved from one directory to another.
const landlockVersion = 2

const (
	// writeFile are the rights that files have. Truncation is version 3's.
	writeFile = unix.LANDLOCK_ACCESS_FS_WRITE_FILE | unix.LANDLOCK_ACCESS_FS_TRUNCATE
	// writeDir are those of directories too.
	writeDir = writeFile | unix.LANDLOCK_ACCESS_FS_REMOVE_DIR | unix.LANDLOCK_ACCESS_FS_REMOVE_FILE |
		unix.LANDLOCK_ACCESS_FS_MAKE_CHAR | unix.LANDLOCK_ACCESS_FS_MAKE_DIR | unix.LANDLOCK_ACCESS_FS_MAKE_REG |
		unix.LANDLOCK_ACCESS_FS_MAKE_SOCK | unix.LANDLOCK_ACCESS_FS_MAKE_FIFO | unix.LANDLOCK_ACCESS_FS_MAKE_BLOCK |
		unix.LANDLOCK_ACCESS_FS_MAKE_SYM | unix.LANDLOCK_ACCESS_FS_REFER
)

// writable are the places that programs write to.
type writable struct {
	dirs  []string // everything below, or a single file
	files []string // existing files below
	fds   []int    // as files, by descriptor
}

// landlock returns the version of Landlock that this kernel has, 0 for none.
func landlock() int {
	v, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno != 0 {
		return 0
	}
	return int(v)
}

// restrict takes from the calling thread, and what it starts, the right to write
// anywhere but to w. It does nothing where the kernel cannot.
func (w *writable) restrict() error {
	version := landlock()
	if version < landlockVersion {
		return nil
	}
	handled := uint64(writeDir)
	if version < 3 {
		handled &^= unix.LANDLOCK_ACCESS_FS_TRUNCATE
	}
	attr := unix.LandlockRulesetAttr{Handled_access_fs: handled}
	fd, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET,
		uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr.Handled_access_fs), 0) // its first field is all that version 1 had
	if errno != 0 {
		return fmt.Errorf("landlock: make a ruleset: %w", errno)
	}
	ruleset := int(fd)
	defer unix.Close(ruleset)

	allow := func(name string, parent int, access uint64) error {
		var st unix.Stat_t
		if err := unix.Fstat(parent, &st); err != nil {
			return fmt.Errorf("landlock: %s: %w", name, err)
		}
		if st.Mode&unix.S_IFMT != unix.S_IFDIR {
			access &= writeFile
		}
		rule := unix.LandlockPathBeneathAttr{Allowed_access: access & handled, Parent_fd: int32(parent)}
		_, _, errno := unix.Syscall6(unix.SYS_LANDLOCK_ADD_RULE, uintptr(ruleset), unix.LANDLOCK_RULE_PATH_BENEATH,
			uintptr(unsafe.Pointer(&rule)), 0, 0, 0)
		if errno != 0 {
			return fmt.Errorf("landlock: %s: %w", name, errno)
		}
		return nil
	}
	below := func(paths []string, access uint64) error {
		for _, p := range paths {
			f, err := openPath(p, 0)
			if err != nil {
				return fmt.Errorf("landlock: %w", err)
			}
			err = allow(p, int(f.Fd()), access)
			f.Close()
			if err != nil {
				return err
			}
		}
		return nil
	}
	err := errors.Join(below(w.dirs, writeDir), below(w.files, writeFile))
	for _, fd := range w.fds {
		err = errors.Join(err, allow("a descriptor of the host's", fd, writeFile))
	}
	if err != nil {
		return err
	}
	_, _, errno = unix.Syscall(unix.SYS_LANDLOCK_RESTRICT_SELF, uintptr(ruleset), 0, 0)
	if errno == unix.E2BIG {
		return nil // the host program is in as many domains as there can be
	}
	if errno != 0 {
		return fmt.Errorf("landlock: restrict this thread: %w", errno)
	}
	return nil
}
