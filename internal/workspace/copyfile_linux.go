package workspace

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"
)

const (
	// copyChunk is how much is copied between two looks at the context.
	copyChunk = 4 << 20
	// smallFile is up to what size a file is read and written: the kernel's own
	// copying costs more than it saves.
	smallFile = 64 << 10
)

// errSwapped says that an entry became something else.
var errSwapped = errors.New("changed meanwhile")

// regular copies a file.
func (c *copier) regular(t *twin, name string, buf *[]byte) error {
	var st unix.Stat_t
	from, repaired, err := openFile(t.a.fd, name, &st)
	if err != nil {
		return err
	}
	defer unix.Close(from)
	if repaired {
		defer unix.Fchmod(from, st.Mode&0o7777)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG || st.Dev != c.dev {
		return errSwapped
	}
	if st.Nlink > 1 {
		if privileged && st.Uid != c.owner {
			return errSwapped // a link to what may be somebody else's
		}
		return c.linked(t, name, from, &st, buf)
	}
	to, err := c.create(t.b.fd, name, &st)
	if err != nil {
		return err
	}
	defer unix.Close(to)
	return c.fill(from, to, t.b.fd, name, &st, buf)
}

// openFile opens a file for reading, by force if its owner may do that. What it
// opens need not be a regular file.
func openFile(dir int, name string, st *unix.Stat_t) (fd int, repaired bool, err error) {
	// O_NONBLOCK: should it have become a FIFO, nobody is waited for.
	fd, err = openEntry(dir, name, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY)
	if err == unix.EACCES {
		fd, err = openRepaired(dir, name, unix.S_IFREG, 0o400, st)
		return fd, err == nil, err
	}
	if err != nil {
		return -1, false, err
	}
	if err := unix.Fstat(fd, st); err != nil {
		unix.Close(fd)
		return -1, false, err
	}
	return fd, false, nil
}

// create makes the file that is to be a copy of what st describes.
func (c *copier) create(dir int, name string, st *unix.Stat_t) (int, error) {
	mode := st.Mode & 0o777
	fd, err := unix.Openat(dir, name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, mode)
	if err != nil {
		return -1, made(err)
	}
	if c.uid != -1 {
		err = unix.Fchown(fd, c.uid, c.gid)
	}
	if err == nil && mode&c.umask != 0 {
		err = unix.Fchmod(fd, mode)
	}
	if err != nil {
		unix.Close(fd)
		return -1, made(err)
	}
	return fd, nil
}

// fill copies data and times.
func (c *copier) fill(from, to, dir int, name string, st *unix.Stat_t, buf *[]byte) error {
	if st.Size > 0 {
		if err := c.data(from, to, st, buf); err != nil {
			return made(err)
		}
	}
	return made(unix.UtimesNanoAt(dir, name, []unix.Timespec{st.Atim, st.Mtim}, unix.AT_SYMLINK_NOFOLLOW))
}

// data copies what a file held when st was taken.
func (c *copier) data(from, to int, st *unix.Stat_t, buf *[]byte) error {
	if !c.noClone.Load() {
		err := unix.IoctlFileClone(to, from)
		if err == nil { // it may have grown
			var now unix.Stat_t
			if err := unix.Fstat(to, &now); err != nil {
				return err
			}
			return c.count(min(now.Size, now.Blocks*512))
		}
		switch err {
		case unix.EOPNOTSUPP, unix.EXDEV, unix.ENOTTY, unix.EINVAL, unix.ENOSYS, unix.EPERM:
			c.noClone.Store(true)
		default:
			return err
		}
	}
	if st.Blocks*512 >= st.Size {
		return c.extent(from, to, 0, st.Size, buf)
	}
	if err := unix.Ftruncate(to, st.Size); err != nil {
		return err
	}
	for at := int64(0); at < st.Size; {
		begin, err := unix.Seek(from, at, unix.SEEK_DATA)
		if err == unix.ENXIO { // a hole up to the end
			return nil
		}
		if err == unix.EINVAL { // no such thing here
			return c.extent(from, to, at, st.Size, buf)
		}
		if err != nil {
			return err
		}
		end, err := unix.Seek(from, begin, unix.SEEK_HOLE)
		if err == unix.ENXIO { // cut short meanwhile
			return nil
		}
		if err != nil {
			return err
		}
		if end = min(end, st.Size); end > begin {
			if err := c.extent(from, to, begin, end, buf); err != nil {
				return err
			}
		}
		at = max(end, at+1)
	}
	return nil
}

// extent copies a part of a file, or what is left of it.
func (c *copier) extent(from, to int, begin, end int64, buf *[]byte) error {
	for at := begin; at < end; {
		if c.ctx.Err() != nil {
			return context.Cause(c.ctx)
		}
		n, err := c.chunk(from, to, at, int(min(end-at, copyChunk)), end-begin, buf)
		if err != nil {
			return err
		}
		if n == 0 { // cut short meanwhile
			return nil
		}
		if err := c.count(int64(n)); err != nil {
			return err
		}
		at += int64(n)
	}
	return nil
}

// chunk copies up to size bytes and returns how many; 0 at the end of the file.
func (c *copier) chunk(from, to int, at int64, size int, whole int64, buf *[]byte) (int, error) {
	if whole > smallFile && !c.noRange.Load() {
		r, w := at, at
		n, err := unix.CopyFileRange(from, &r, to, &w, size, 0)
		switch err {
		case nil:
			return n, nil
		case unix.EINTR, unix.EAGAIN:
			return c.chunk(from, to, at, size, whole, buf)
		case unix.EXDEV, unix.ENOSYS, unix.EOPNOTSUPP, unix.EINVAL, unix.EPERM, unix.EBADF:
			c.noRange.Store(true)
		default:
			return 0, err
		}
	}
	if *buf == nil {
		*buf = make([]byte, 2*smallFile)
	}
	p := (*buf)[:min(size, len(*buf))]
	n, err := unix.Pread(from, p, at)
	if err != nil {
		return 0, err
	}
	for done := 0; done < n; {
		m, err := unix.Pwrite(to, p[done:n], at+int64(done))
		if err != nil && err != unix.EINTR {
			return 0, err
		}
		done += max(m, 0)
	}
	return n, nil
}

// count counts data against the limit.
func (c *copier) count(n int64) error {
	if c.bytes.Add(n) > c.limits.Bytes {
		return fmt.Errorf("more than %d bytes: %w", c.limits.Bytes, ErrLimit)
	}
	return nil
}

// links are the files that have further names. Each is also linked into a
// directory of its own for the time of the copy, by which it is found again:
// however many there are, that takes no descriptors.
type links struct {
	root int // the top of the copy

	mu   sync.Mutex // guards the rest; held while a file is made
	seen map[uint64]int
	dir  int // descriptor of the directory
	name string
}

// linked copies a file with further names: the first time its data, later the
// link.
func (c *copier) linked(t *twin, name string, from int, st *unix.Stat_t, buf *[]byte) error {
	l := &c.links
	l.mu.Lock()
	n, known := l.seen[st.Ino]
	if known {
		err := unix.Linkat(l.dir, strconv.Itoa(n), t.b.fd, name, 0)
		l.mu.Unlock()
		if err != unix.EMLINK {
			return made(err)
		}
		l.mu.Lock() // as many as there can be: another file then
	}
	to, err := c.create(t.b.fd, name, st)
	if err == nil {
		if err = made(l.add(t.b.fd, name, st.Ino)); err != nil {
			unix.Close(to)
		}
	}
	l.mu.Unlock()
	if err != nil {
		return err
	}
	defer unix.Close(to)
	return c.fill(from, to, t.b.fd, name, st, buf)
}

// add remembers a file. l.mu is held.
func (l *links) add(dir int, name string, ino uint64) error {
	if l.name == "" {
		l.name = ".links-" + trashName()
		if err := unix.Mkdirat(l.root, l.name, 0o700); err != nil {
			return err
		}
		var err error
		if l.dir, err = openEntry(l.root, l.name, unix.O_RDONLY|unix.O_DIRECTORY); err != nil {
			return err
		}
	}
	n := len(l.seen)
	if old, known := l.seen[ino]; known {
		n = old
		if err := unix.Unlinkat(l.dir, strconv.Itoa(n), 0); err != nil {
			return err
		}
	}
	if err := unix.Linkat(dir, name, l.dir, strconv.Itoa(n), 0); err != nil {
		return err
	}
	l.seen[ino] = n
	return nil
}

// remove removes the directory.
func (l *links) remove() error {
	if l.dir < 0 {
		return nil
	}
	for n := range len(l.seen) {
		if err := unix.Unlinkat(l.dir, strconv.Itoa(n), 0); err != nil {
			unix.Close(l.dir)
			return made(err)
		}
	}
	unix.Close(l.dir)
	return made(unix.Unlinkat(l.root, l.name, unix.AT_REMOVEDIR))
}
