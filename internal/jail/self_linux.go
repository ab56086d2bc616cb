package jail

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// sealedSelf returns a copy of the running program in memory that nobody can
// change any more, to be executed as a jail's first process. The program's file
// itself must never be reachable inside: whoever could open it there could
// overwrite it once it is not running.
//
// The copy may be executed but not read (mode 0111), so the kernel makes a
// process that runs it non-dumpable before its first instruction, and measures
// that against the host's user namespace.
func sealedSelf() (*os.File, error) {
	self, err := os.Open("/proc/self/exe")
	if err != nil {
		return nil, fmt.Errorf("open the program itself: %w", err)
	}
	defer self.Close()
	return sealed("jail-init", self, 0o111)
}

// sealed returns a memory file with the content of r that cannot be changed.
func sealed(name string, r io.Reader, mode uint32) (*os.File, error) {
	f, err := memfd(name, unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, err
	}
	if _, err = io.Copy(f, r); err == nil {
		err = unix.Fchmod(int(f.Fd()), mode)
	}
	if err == nil {
		err = seal(f)
	}
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("memory file %s: %w", name, err)
	}
	return f, nil
}

// seal lets nobody change a memory file any more that nobody has mapped. The seal
// against later writers is as good as F_SEAL_WRITE then, which fails on a machine
// whose kernel is busy with the file's pages.
func seal(f *os.File) error {
	const seals = unix.F_SEAL_SEAL | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW
	_, err := unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, seals|unix.F_SEAL_FUTURE_WRITE)
	if errors.Is(err, unix.EINVAL) { // before Linux 5.1
		_, err = unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, seals|unix.F_SEAL_WRITE)
	}
	return err
}

// memfd returns an empty memory file, which may be executed where the system's
// settings do not forbid it outright.
func memfd(name string, flags int) (*os.File, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_EXEC|flags)
	if errors.Is(err, unix.EINVAL) { // before Linux 6.3, where every one is executable
		fd, err = unix.MemfdCreate(name, unix.MFD_CLOEXEC|flags)
	}
	if err != nil {
		return nil, fmt.Errorf("memory file %s: %w", name, err)
	}
	return os.NewFile(uintptr(fd), name), nil
}

// reopen returns a descriptor of f with an offset of its own, at the start.
func reopen(f *os.File) (*os.File, error) {
	fd, err := unix.Open(fmt.Sprintf("/proc/self/fd/%d", f.Fd()), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("reopen %s: %w", f.Name(), err)
	}
	return os.NewFile(uintptr(fd), f.Name()), nil
}
