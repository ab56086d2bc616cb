package workfs

import (
	"errors"
	"io/fs"
	"os"
	"strconv"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// dir is an open directory of the tree, by a descriptor that needs no right to
// read it. It is closed when all who hold it have closed it.
type dir struct {
	fd   int
	refs atomic.Int32
}

func newDir(fd int) *dir {
	d := &dir{fd: fd}
	d.refs.Store(1)
	return d
}

func openRoot(path string) (*dir, error) {
	fd, err := retry(func() (int, error) {
		return unix.Open(path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	})
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return newDir(fd), nil
}

// hold takes a further hold, unless the directory is closed.
func (d *dir) hold() bool {
	for {
		n := d.refs.Load()
		if n <= 0 {
			return false
		}
		if d.refs.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

func (d *dir) close() {
	if d.refs.Add(-1) == 0 {
		_ = unix.Close(d.fd) // nothing was written through it
	}
}

// shut ends the hold of the tree itself.
func (d *dir) shut() error {
	d.close()
	return nil
}

// openBelow opens the directory that elements without links lead to, in one
// step; "" is d itself. An error may only mean that a link is in the way.
func (d *dir) openBelow(rel string) (*dir, error) {
	if !d.hold() {
		return nil, ErrClosed
	}
	if rel == "" || rel == "." {
		return d, nil
	}
	defer d.close()
	fd, err := retry(func() (int, error) {
		return unix.Openat2(d.fd, rel, &unix.OpenHow{
			Flags:   unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC,
			Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS,
		})
	})
	if err != nil {
		return nil, err
	}
	return newDir(fd), nil
}

// openDir opens a directory; what is none, a link included, is ErrNotDir.
func (d *dir) openDir(name string) (*dir, error) {
	fd, err := retry(func() (int, error) {
		return unix.Openat(d.fd, name, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	})
	if err == unix.ENOTDIR || err == unix.ELOOP {
		return nil, ErrNotDir
	}
	if err != nil {
		return nil, err
	}
	return newDir(fd), nil
}

// openFile opens a regular file. Of anything else at most a FIFO is opened,
// without waiting for its other end, and closed again.
func (d *dir) openFile(name string, flags int, perm uint32) (*os.File, Info, error) {
	fd, err := retry(func() (int, error) {
		return unix.Openat(d.fd, name, flags|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, perm)
	})
	if err != nil {
		if err == unix.ELOOP || err == unix.ENXIO || err == unix.EISDIR {
			if info, serr := d.lstat(name); serr == nil {
				if what := regular(info.Mode); what != nil { // else it was swapped just now
					err = what
				}
			}
		}
		return nil, Info{}, err
	}
	return regularFile(fd, name, flags)
}

// openFileBelow opens a regular file that elements without links lead to, for
// reading, in one step. An error may only mean that a link is in the way.
func (d *dir) openFileBelow(rel string) (*os.File, Info, error) {
	if !d.hold() {
		return nil, Info{}, ErrClosed
	}
	defer d.close()
	fd, err := retry(func() (int, error) {
		return unix.Openat2(d.fd, rel, &unix.OpenHow{
			Flags:   unix.O_RDONLY | unix.O_NONBLOCK | unix.O_NOCTTY | unix.O_CLOEXEC,
			Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS,
		})
	})
	if err != nil {
		return nil, Info{}, err
	}
	return regularFile(fd, rel, 0)
}

// regularFile makes a file of a descriptor, or closes it.
func regularFile(fd int, name string, flags int) (*os.File, Info, error) {
	var st unix.Stat_t
	err := unix.Fstat(fd, &st)
	if err == nil {
		err = regular(info(&st).Mode)
	}
	if err == nil {
		// Reads of a regular file need no poller, which would refuse it.
		_, err = unix.FcntlInt(uintptr(fd), unix.F_SETFL, flags&unix.O_APPEND)
	}
	if err != nil {
		_ = unix.Close(fd)
		return nil, Info{}, err
	}
	return os.NewFile(uintptr(fd), name), info(&st), nil
}

func (d *dir) lstat(name string) (Info, error) {
	var st unix.Stat_t
	if err := unix.Fstatat(d.fd, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return Info{}, err
	}
	i := info(&st)
	if i.Mode.Type() == fs.ModeSymlink {
		i.Target, _ = d.readlink(name) // it may be gone
	}
	return i, nil
}

func (d *dir) readlink(name string) (string, error) {
	buf := make([]byte, maxPath+1)
	n, err := unix.Readlinkat(d.fd, name, buf)
	if err != nil {
		return "", err
	}
	if n > maxPath {
		return "", unix.ENAMETOOLONG
	}
	return string(buf[:n]), nil
}

func (d *dir) mkdir(name string, perm uint32) error {
	if err := unix.Mkdirat(d.fd, name, perm); err != nil {
		return err
	}
	return nil
}

func (d *dir) symlink(target, name string) error { return unix.Symlinkat(target, d.fd, name) }

// remove removes an entry: a directory, which must be empty, or anything else.
func (d *dir) remove(name string, directory bool) error {
	flags := 0
	if directory {
		flags = unix.AT_REMOVEDIR
	}
	err := unix.Unlinkat(d.fd, name, flags)
	if err == unix.EEXIST { // some file systems say so
		err = unix.ENOTEMPTY
	}
	return err
}

// rename moves an entry; without replace only to a name that is free.
func (d *dir) rename(name string, to *dir, toName string, replace bool) error {
	if replace {
		return unix.Renameat(d.fd, name, to.fd, toName)
	}
	err := unix.Renameat2(d.fd, name, to.fd, toName, unix.RENAME_NOREPLACE)
	if err != unix.EINVAL && err != unix.ENOSYS {
		return err
	}
	// The file system cannot, or a directory would go into itself.
	if _, err := to.lstat(toName); err == nil {
		return unix.EEXIST
	}
	return unix.Renameat(d.fd, name, to.fd, toName)
}

// unlock makes a directory of the worker's accessible to it again.
func (d *dir) unlock(name string) error {
	sub, err := d.openDir(name)
	if err != nil {
		return err
	}
	defer sub.close()
	// A descriptor opened with O_PATH takes no fchmod; its name in /proc leads
	// to the directory itself and to nothing else.
	return unix.Chmod("/proc/self/fd/"+strconv.Itoa(sub.fd), 0o700)
}

// version changes whenever the content of an open file does.
func version(f *os.File) (string, error) {
	var st unix.Stat_t
	var err error
	if raw, rerr := f.SyscallConn(); rerr != nil {
		return "", rerr
	} else if rerr = raw.Control(func(fd uintptr) { err = unix.Fstat(int(fd), &st) }); rerr != nil {
		return "", rerr
	}
	return strconv.FormatUint(st.Ino, 36) + "-" + strconv.FormatInt(st.Ctim.Nano(), 36) + "-" + strconv.FormatInt(st.Size, 36), err
}

func info(st *unix.Stat_t) Info {
	mode := fs.FileMode(st.Mode & 0o777)
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
	case unix.S_IFDIR:
		mode |= fs.ModeDir
	case unix.S_IFLNK:
		mode |= fs.ModeSymlink
	case unix.S_IFIFO:
		mode |= fs.ModeNamedPipe
	case unix.S_IFSOCK:
		mode |= fs.ModeSocket
	default:
		mode |= fs.ModeDevice
	}
	return Info{Size: st.Size, Mode: mode, Modified: time.Unix(st.Mtim.Unix())}
}

// retry calls a system call again that was interrupted, or that met a rename.
func retry(call func() (int, error)) (int, error) {
	for n := 0; ; n++ {
		fd, err := call()
		if err == unix.EINTR || err == unix.EAGAIN && n < 16 {
			continue
		}
		return fd, err
	}
}

// translate turns what the system says into the errors of this package.
func translate(err error) error {
	switch {
	case errors.Is(err, unix.ENOTDIR):
		return with(ErrNotDir, "an element of the path is not a directory")
	case errors.Is(err, unix.EISDIR):
		return with(ErrIsDir, "it is a directory")
	case errors.Is(err, unix.ELOOP), errors.Is(err, unix.ENXIO):
		return with(ErrBusy, "something is changing it; try again")
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT), errors.Is(err, unix.EFBIG):
		return with(ErrFull, "there is no space left in the workspace")
	case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.ETXTBSY), errors.Is(err, unix.EBUSY):
		return with(ErrBusy, "%v: it is in use by another process; try again", err)
	case errors.Is(err, unix.ENOTEMPTY):
		return ErrNotEmpty
	case errors.Is(err, unix.ENAMETOOLONG):
		return with(ErrPath, "the name is too long")
	}
	return err
}
