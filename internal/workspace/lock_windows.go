package workspace

import (
	"errors"
	"os"
	"syscall"
)

// errLocked says that somebody else holds a lock.
var errLocked = errors.New("locked by another program")

const errorSharingViolation = syscall.Errno(32)

// lockFile makes a file if need be and locks it until it is closed or the
// program dies: it is opened for nobody else.
func lockFile(path string) (*os.File, error) {
	name, err := syscall.UTF16PtrFromString(path)
	if err != nil {
		return nil, err
	}
	h, err := syscall.CreateFile(name, syscall.GENERIC_READ|syscall.GENERIC_WRITE, 0, nil,
		syscall.OPEN_ALWAYS, syscall.FILE_ATTRIBUTE_NORMAL, 0)
	if errors.Is(err, errorSharingViolation) {
		return nil, errLocked
	}
	if err != nil {
		return nil, &os.PathError{Op: "lock", Path: path, Err: err}
	}
	return os.NewFile(uintptr(h), path), nil
}

// isNotDir reports that a path leads through something else than a directory;
// Windows says "not found" then.
func isNotDir(error) bool { return false }

// unlock gives a lock back and closes its file.
func unlock(f *os.File) error { return f.Close() }
