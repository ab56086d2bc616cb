package workfs

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// setgroups sets the groups of this thread; the function of that name in
// package syscall sets those of all.
func setgroups(groups []uint32) error {
	var p *uint32
	if len(groups) > 0 {
		p = &groups[0]
	}
	_, _, errno := unix.RawSyscall(unix.SYS_SETGROUPS, uintptr(len(groups)), uintptr(unsafe.Pointer(p)), 0)
	if errno != 0 {
		return errno
	}
	return nil
}
