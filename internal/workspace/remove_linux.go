package workspace

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// maxDepth is how deep a removal goes before it moves what is deeper up
	// into the trash: a tree of any depth takes so many descriptors and no
	// path that is too long.
	maxDepth = 16
	// maxPasses is how often a directory is read again because something
	// appeared in it meanwhile.
	maxPasses = 16
	// batch is how many names are read at once.
	batch = 512
	// maxLate is how many batches may hold what appeared after the removal
	// began, before it is given up: a writer can be as fast as we are.
	maxLate = 16
	// maxRelinked is the same for what is as old as it should be and was changed
	// since: removing one name of a file changes those that have others, too.
	maxRelinked = 1 << 14
)

// removeTree removes the directory or file name from the trash directory.
func removeTree(ctx context.Context, trash, name string) error {
	fd, err := openat(unix.AT_FDCWD, trash)
	if err != nil {
		return fmt.Errorf("workspace: remove from %s: %w", trash, err)
	}
	r := remover{ctx: ctx, start: time.Now(), trash: int(fd.Fd()), base: name, queue: []string{name}}
	for len(r.queue) > 0 && !r.over() {
		next := r.queue[len(r.queue)-1]
		r.queue = r.queue[:len(r.queue)-1]
		r.entry(r.trash, next, next, 0)
	}
	r.fails.add(ctx.Err())
	if r.pursued() {
		r.fails.add(errWriter)
	}
	r.fails.add(fd.Close())
	if err := r.fails.err(); err != nil {
		return fmt.Errorf("workspace: remove from %s: %w", trash, err)
	}
	return nil
}

// remover removes one tree. It belongs to one goroutine.
type remover struct {
	ctx   context.Context // of the one call of removeTree
	start time.Time
	trash int
	base  string   // the tree's name there
	queue []string // directories moved up into the trash
	fails failures

	late     int // batches seen that hold something made after start
	relinked int // and those that hold something changed since
}

var errWriter = errors.New("something keeps writing to it")

// over reports whether the removal is to end, done or not.
func (r *remover) over() bool { return r.ctx.Err() != nil || r.pursued() }

// pursued reports whether something writes as fast as we remove.
func (r *remover) pursued() bool { return r.late > maxLate || r.relinked > maxRelinked }

// entry removes one entry of the directory parent. at is its path from the
// trash, for errors.
func (r *remover) entry(parent int, name, at string, depth int) {
	err := r.unlink(parent, name, 0)
	if err == nil || err == unix.ENOENT {
		return
	}
	if err != unix.EISDIR {
		r.fail(at, err)
		return
	}
	for range maxPasses {
		err := r.unlink(parent, name, unix.AT_REMOVEDIR)
		switch err {
		case nil, unix.ENOENT:
			return
		case unix.ENOTEMPTY, unix.EEXIST:
		case unix.ENOTDIR: // swapped for a file
			if err = r.unlink(parent, name, 0); err != nil && err != unix.ENOENT {
				r.fail(at, err)
			}
			return
		default:
			r.fail(at, err)
			return
		}
		before := r.fails
		done := r.descend(parent, name, at, depth)
		if !done || len(r.fails.errs) > len(before.errs) || r.fails.more > before.more || r.over() {
			return // said already, or moved away
		}
	}
	r.fail(at, errWriter)
}

// descend empties a directory, or moves it up into the trash if it is deep
// down. It reports whether the directory may be removed now.
func (r *remover) descend(parent int, name, at string, depth int) bool {
	dir, err := openDir(parent, name)
	if err == unix.ENOENT || err == unix.ENOTDIR || err == unix.ELOOP {
		return true // swapped for something else: the caller looks again
	}
	if err != nil {
		r.fail(at, err)
		return false
	}
	defer dir.Close()
	if depth == maxDepth {
		up := trashPart(r.base)
		err := unprotected(parent, name, func() error { return unix.Renameat(parent, name, r.trash, up) })
		if err == unix.ENOENT { // somebody else empties the trash too
			return true
		}
		if err != nil {
			r.fail(at, err)
			return false
		}
		r.queue = append(r.queue, up)
		return false
	}
	for !r.over() {
		names, err := dir.Readdirnames(batch)
		r.look(int(dir.Fd()), names)
		for _, n := range names {
			r.entry(int(dir.Fd()), n, filepath.Join(at, n), depth+1)
		}
		if err == io.EOF || errors.Is(err, unix.ENOENT) { // or somebody else empties the trash too
			return true
		}
		if err != nil {
			r.fail(at, err)
			return false
		}
	}
	return false
}

// look counts a batch that holds something young.
func (r *remover) look(dir int, names []string) {
	var st unix.Statx_t
	if len(names) == 0 || unix.Statx(dir, names[0], unix.AT_SYMLINK_NOFOLLOW, unix.STATX_CTIME|unix.STATX_BTIME, &st) != nil {
		return
	}
	switch young := func(t unix.StatxTimestamp) bool { return time.Unix(t.Sec, int64(t.Nsec)).After(r.start) }; {
	case st.Mask&unix.STATX_BTIME != 0 && young(st.Btime):
		r.late++
	case young(st.Ctime):
		r.relinked++
	}
}

// unlink removes a name, if need be after taking its protection away: nobody
// but us has a say over what is in the trash.
func (r *remover) unlink(parent int, name string, flags int) error {
	return unprotected(parent, name, func() error { return unix.Unlinkat(parent, name, flags) })
}

// unprotected runs op on an entry of parent, again without their protection
// if that refused it.
func unprotected(parent int, name string, op func() error) error {
	err := op()
	if err != unix.EPERM {
		return err
	}
	outer, inner := unprotect(parent, "."), unprotect(parent, name)
	if !outer && !inner {
		return err
	}
	return op()
}

func (r *remover) fail(at string, err error) {
	if err == unix.EBUSY || err == unix.EXDEV {
		err = fmt.Errorf("a mount point, left alone: %w", err)
	}
	r.fails.add(fmt.Errorf("%q: %w", at, err))
}

// openDir opens a directory for reading and changing, without following a link
// or crossing a mount. Its mode is repaired if need be.
func openDir(parent int, name string) (*os.File, error) {
	f, err := openBeneath(parent, name, unix.O_RDONLY|unix.O_DIRECTORY)
	if err == unix.EACCES {
		if err = repair(parent, name); err != nil {
			return nil, err
		}
		f, err = openBeneath(parent, name, unix.O_RDONLY|unix.O_DIRECTORY)
	}
	if err != nil {
		return nil, err
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err == nil && st.Mode&0o700 != 0o700 {
		// Needed unless we are root. If it fails, what it is needed for says so.
		_ = unix.Fchmod(int(f.Fd()), st.Mode&0o7777|0o700)
	}
	return f, nil
}

// repair makes a directory readable that is not.
func repair(parent int, name string) error {
	f, err := openBeneath(parent, name, unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer f.Close()
	// A descriptor opened with O_PATH takes no fchmod; its name in /proc leads
	// to the directory itself and to nothing else.
	return unix.Chmod("/proc/self/fd/"+strconv.Itoa(int(f.Fd())), 0o700)
}

// openBeneath opens an entry of parent that is no link and no mount point.
func openBeneath(parent int, name string, flags int) (*os.File, error) {
	fd, err := openEntry(parent, name, flags)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}

// openTries is how often an opening is tried that a rename came between. What
// is opened without waiting and has a lease says the same, for as long as its
// holder likes.
const openTries = 64

// openEntry is openBeneath for those who close by themselves.
func openEntry(parent int, name string, flags int) (int, error) {
	for tries := 1; ; tries++ {
		fd, err := unix.Openat2(parent, name, &unix.OpenHow{
			Flags:   uint64(flags | unix.O_NOFOLLOW | unix.O_CLOEXEC),
			Resolve: unix.RESOLVE_NO_XDEV | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_BENEATH,
		})
		switch err {
		case unix.EINTR:
			continue
		case unix.EAGAIN:
			if tries < openTries {
				continue
			}
		case unix.ENOSYS, unix.EPERM: // an old kernel, or a filter that does not know the call
			return openSameDevice(parent, name, flags)
		}
		return fd, err
	}
}

// openSameDevice is openEntry for kernels before 5.6. It takes a bind mount
// of the same file system for a directory; its root cannot be removed anyway.
func openSameDevice(parent int, name string, flags int) (int, error) {
	fd, err := openAgain(parent, name, flags)
	if err != nil {
		return -1, err
	}
	var outer, inner unix.Stat_t
	if err := errors.Join(unix.Fstat(parent, &outer), unix.Fstat(fd, &inner)); err != nil {
		return -1, errors.Join(err, unix.Close(fd))
	}
	if outer.Dev != inner.Dev {
		unix.Close(fd)
		return -1, unix.EXDEV
	}
	return fd, nil
}

// openat opens the directory name below parent, through no link.
func openat(parent int, name string) (*os.File, error) {
	fd, err := openAgain(parent, name, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}

// openAgain opens name, again if a signal came between.
func openAgain(parent int, name string, flags int) (int, error) {
	for {
		fd, err := unix.Openat(parent, name, flags|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if err != unix.EINTR {
			return fd, err
		}
	}
}

// The attributes of chattr that forbid removal, and the call that sets them,
// which is numbered like its opposite but for direction and last digit.
const (
	attrImmutable, attrAppend = 0x10, 0x20
	iocSetFlags               = unix.FS_IOC_GETFLAGS ^ 0xc0000003
)

// unprotect takes the attributes away from a file or directory that forbid its
// removal and reports whether there were any. Only a privileged program can,
// and only one can have set them.
func unprotect(parent int, name string) bool {
	path, err := openBeneath(parent, name, unix.O_PATH)
	if err != nil {
		return false
	}
	defer path.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(path.Fd()), &st); err != nil {
		return false
	}
	if kind := st.Mode & unix.S_IFMT; kind != unix.S_IFREG && kind != unix.S_IFDIR {
		return false // opening it could do something
	}
	fd, err := unix.Open("/proc/self/fd/"+strconv.Itoa(int(path.Fd())), unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	attrs, err := unix.IoctlGetUint32(fd, unix.FS_IOC_GETFLAGS)
	if err != nil || attrs&(attrImmutable|attrAppend) == 0 {
		return false
	}
	return unix.IoctlSetPointerInt(fd, iocSetFlags, int(attrs&^(attrImmutable|attrAppend))) == nil
}
