//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package workspace

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// errLocked says that somebody else holds a lock.
var errLocked = errors.New("locked by another program")

// lockFile makes a file if need be and locks it until it is closed or the
// program dies.
func lockFile(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0o600)
	if err != nil {
		return nil, err
	}
	if err := lockOpened(f, path); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func lockOpened(f *os.File, path string) error {
	err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return errLocked
	}
	if err != nil {
		return fmt.Errorf("lock %s: %w", path, err)
	}
	// Whoever held it before may have removed it, together with its
	// directory: then this is no lock on anything.
	mine, err := f.Stat()
	if err != nil {
		return err
	}
	if there, err := os.Lstat(path); err != nil || !os.SameFile(mine, there) {
		return errLocked
	}
	return nil
}

// unlock gives a lock back and closes its file. Closing alone is not enough: a
// child that has not executed its own program yet has the descriptor too.
func unlock(f *os.File) error {
	return errors.Join(syscall.Flock(int(f.Fd()), syscall.LOCK_UN), f.Close())
}

// isNotDir reports that a path leads through something else than a directory.
func isNotDir(err error) bool { return errors.Is(err, syscall.ENOTDIR) }
