//go:build !linux

package reserve

import (
	"fmt"
	"runtime"
)

// File is a lock file of numbers; see the Linux documentation.
type File struct{}

// Open returns an error: the locks it needs exist on Linux only.
func Open(path string) (*File, error) {
	return nil, fmt.Errorf("reserve: %s: reservations need Linux, this is %s", path, runtime.GOOS)
}

// Take returns [ErrClosed]: no File can be open here.
func (f *File) Take() (n int, dirty bool, err error) { return 0, false, ErrClosed }

// TakeN returns [ErrClosed]: no File can be open here.
func (f *File) TakeN(n int) (dirty bool, err error) { return false, ErrClosed }

// Release returns [ErrClosed]: no File can be open here.
func (f *File) Release(n int) error { return ErrClosed }

// Close does nothing.
func (f *File) Close() error { return nil }
