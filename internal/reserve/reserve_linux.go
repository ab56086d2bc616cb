package reserve

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// File is a lock file of numbers. Its methods may be called concurrently.
type File struct {
	f *os.File

	mu     sync.Mutex // guards what follows, and the order of lock and byte
	closed bool
	held   map[int]bool
	low    int // every number below low is held by this File
}

// Open opens the lock file at path and makes it, with mode 0600, where there is
// none. It takes no number. The file must be a regular file of the caller's own
// that nobody else may write, for whoever can write it can hold every number;
// its directory should be just as private. The caller closes the File.
func Open(path string) (*File, error) {
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CREAT|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("reserve: open %s: %w", path, err)
	}
	f := os.NewFile(uintptr(fd), path)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		f.Close()
		return nil, fmt.Errorf("reserve: stat %s: %w", path, err)
	}
	switch {
	case st.Mode&unix.S_IFMT != unix.S_IFREG:
		err = errors.New("not a regular file")
	case int(st.Uid) != os.Geteuid():
		err = fmt.Errorf("belongs to uid %d, want %d", st.Uid, os.Geteuid())
	case st.Mode&0o022 != 0:
		err = fmt.Errorf("mode %04o lets others write it, want 0600", st.Mode&0o7777)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("reserve: %s: %w", path, err)
	}
	return &File{f: f, held: make(map[int]bool)}, nil
}

// Take reserves the smallest free number. Dirty tells that its last holder did
// not release it, so that things of its may still be about. Take returns
// [ErrNone] when all are taken.
func (f *File) Take() (n int, dirty bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for n = f.low; n < Max; {
		if f.held[n] {
			if n == f.low {
				f.low++
			}
			n++
			continue
		}
		dirty, err = f.take(n)
		if !errors.Is(err, ErrTaken) {
			return n, dirty, err
		}
		// Somebody else has it. Skip the whole range that they hold.
		if n, err = f.after(n); err != nil {
			return 0, false, err
		}
	}
	return 0, false, ErrNone
}

// TakeN reserves number n, or returns [ErrTaken]. See [File.Take] for dirty.
func (f *File) TakeN(n int) (dirty bool, err error) {
	if n < 0 || n >= Max {
		return false, fmt.Errorf("reserve: number %d, want 0 to %d", n, Max-1)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.take(n)
}

// Release gives number n back, clean: whoever takes it next will not be told to
// clear up. A number that could not be cleared up is better kept until Close.
func (f *File) Release(n int) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return ErrClosed
	}
	if !f.held[n] {
		return fmt.Errorf("reserve: number %d is not held", n)
	}
	// The byte first: once the lock is gone it is somebody else's to write.
	if err := f.mark(n, 0); err != nil {
		return err
	}
	if err := f.lock(n, unix.F_UNLCK); err != nil {
		return fmt.Errorf("reserve: unlock number %d: %w", n, err)
	}
	delete(f.held, n)
	f.low = min(f.low, n)
	return nil
}

// Close closes the file. Numbers still held become free, and dirty.
func (f *File) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil
	}
	f.closed = true
	clear(f.held)
	// Not by closing alone: a child of this program that has not executed its own
	// program yet has a copy of the descriptor, and with it would keep the locks.
	err := f.lockRange(0, Max, unix.F_UNLCK)
	return errors.Join(err, f.f.Close())
}

func (f *File) take(n int) (dirty bool, err error) {
	if f.closed {
		return false, ErrClosed
	}
	if f.held[n] {
		// The kernel would grant it again: it is our own lock.
		return false, ErrTaken
	}
	err = f.lock(n, unix.F_WRLCK)
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
		return false, ErrTaken
	}
	if err != nil {
		return false, fmt.Errorf("reserve: lock number %d: %w", n, err)
	}
	var b [1]byte
	if _, err = f.f.ReadAt(b[:], int64(n)); err != nil && err != io.EOF {
		return false, errors.Join(fmt.Errorf("reserve: read number %d: %w", n, err), f.lock(n, unix.F_UNLCK))
	}
	if err = f.mark(n, 1); err != nil {
		return false, errors.Join(err, f.lock(n, unix.F_UNLCK))
	}
	f.held[n] = true
	return b[0] != 0, nil
}

func (f *File) mark(n int, b byte) error {
	if _, err := f.f.WriteAt([]byte{b}, int64(n)); err != nil {
		return fmt.Errorf("reserve: mark number %d: %w", n, err)
	}
	return nil
}

func (f *File) lock(n int, kind int16) error { return f.lockRange(n, 1, kind) }

func (f *File) lockRange(first, count int, kind int16) error {
	lk := unix.Flock_t{Type: kind, Whence: io.SeekStart, Start: int64(first), Len: int64(count)}
	for {
		err := unix.FcntlFlock(f.f.Fd(), unix.F_OFD_SETLK, &lk)
		if err != unix.EINTR {
			return err
		}
	}
}

// after returns the first number at or past n that the holder of n does not
// hold, which is n itself when it was freed meanwhile.
func (f *File) after(n int) (int, error) {
	lk := unix.Flock_t{Type: unix.F_WRLCK, Whence: io.SeekStart, Start: int64(n), Len: 1}
	if err := unix.FcntlFlock(f.f.Fd(), unix.F_OFD_GETLK, &lk); err != nil {
		return 0, fmt.Errorf("reserve: look at number %d: %w", n, err)
	}
	if lk.Type == unix.F_UNLCK {
		return n, nil
	}
	if lk.Len == 0 { // to the end of the file: nobody of ours locks like that
		return Max, nil
	}
	return int(lk.Start + lk.Len), nil
}
