package volume

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Volume is a file system that is mounted. Its methods may be called
// concurrently, but for Close.
type Volume struct {
	dev   string   // its loop device, which the mount holds
	mount *os.File // of no namespace
	path  string
}

// Create makes the file image with a file system of size bytes in it, its own
// tables included, that has Dir with mode 0700. After an error there is no image.
func Create(ctx context.Context, image string, size int64, o Options) (err error) {
	if size < MinSize {
		return tooSmall(size)
	}
	size -= size % blockSize
	f, err := os.OpenFile(image, os.O_RDWR|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return fmt.Errorf("volume: %w", err)
	}
	defer func() {
		err = errors.Join(err, f.Close())
		if err != nil {
			err = errors.Join(err, os.Remove(image))
		}
	}()
	if err := f.Truncate(size); err != nil {
		return fmt.Errorf("volume: %w", err)
	}
	if err := mkfs(ctx, f, o.Keep); err != nil {
		return err
	}
	v, err := Open(image)
	if err != nil {
		return err
	}
	return errors.Join(v.furnish(o), v.Close(Sync))
}

// furnish makes what a new file system has.
func (v *Volume) furnish(o Options) error {
	root := int(v.mount.Fd())
	if err := unix.Unlinkat(root, "lost+found", unix.AT_REMOVEDIR); err != nil && err != unix.ENOENT {
		return fmt.Errorf("volume: %w", err)
	}
	if err := unix.Fchmodat(root, ".", 0o711, 0); err != nil {
		return fmt.Errorf("volume: %w", err)
	}
	if err := unix.Mkdirat(root, Dir, 0o700); err != nil {
		return fmt.Errorf("volume: %w", err)
	}
	if err := unix.Fchmodat(root, Dir, 0o700, 0); err != nil { // the umask may have taken more
		return fmt.Errorf("volume: %w", err)
	}
	if err := unix.Fchownat(root, Dir, o.UID, o.GID, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return fmt.Errorf("volume: give it to uid %d, gid %d: %w", o.UID, o.GID, err)
	}
	return nil
}

// Open mounts the volume in image, which Create made and nobody has open. The
// caller closes it.
func Open(image string) (*Volume, error) {
	dev, loop, err := attach(image)
	if err != nil {
		return nil, err
	}
	defer loop.Close() // the mount holds the device then
	m, err := mount(dev)
	if err != nil {
		return nil, err
	}
	// By the number of the process, so that programs that it starts can follow it.
	path := filepath.Join("/proc", strconv.Itoa(os.Getpid()), "fd", strconv.Itoa(int(m.Fd())), Dir)
	return &Volume{dev: dev, mount: m, path: path}, nil
}

// busyTime is how long an image is waited for that is still in use: a mount ends
// with its last user, which may be a process that is just being killed.
const busyTime = 5 * time.Second

// openImage opens and locks an image. The lock belongs to the open file, which a
// loop device shares: it lasts as long as that does, and nobody else, in no
// program, mounts the same file system a second time, which would destroy it.
func openImage(image string) (*os.File, error) {
	f, err := os.OpenFile(image, os.O_RDWR|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("volume: %w", err)
	}
	if st, err := f.Stat(); err != nil || !st.Mode().IsRegular() {
		f.Close()
		return nil, fmt.Errorf("volume: %s is not a regular file", image)
	}
	deadline := time.Now().Add(busyTime)
	for pause := time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return f, nil
		}
		if err != unix.EWOULDBLOCK && err != unix.EINTR || time.Now().After(deadline) {
			f.Close()
			return nil, fmt.Errorf("volume: %s is in use: %w", image, err)
		}
		time.Sleep(pause)
	}
}

func tooSmall(size int64) error {
	return fmt.Errorf("volume: a size of %d bytes; want at least %d", size, MinSize)
}

// tries is how often a loop device is looked for that others take meanwhile.
const tries = 100

// attach puts the image on a loop device that frees itself when nobody has it
// open any more.
func attach(image string) (string, *os.File, error) {
	f, err := openImage(image)
	if err != nil {
		return "", nil, err
	}
	defer f.Close() // the device has it
	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		return "", nil, fmt.Errorf("%w: no loop devices: %w", ErrUnsupported, err)
	}
	defer control.Close()
	for range tries {
		n, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
		if err != nil {
			return "", nil, fmt.Errorf("%w: no free loop device: %w", ErrUnsupported, err)
		}
		dev := "/dev/loop" + strconv.Itoa(n)
		loop, err := os.OpenFile(dev, os.O_RDWR, 0)
		if err != nil {
			return "", nil, fmt.Errorf("%w: loop device: %w", ErrUnsupported, err)
		}
		cfg := unix.LoopConfig{Fd: uint32(f.Fd()), Info: unix.LoopInfo64{Flags: unix.LO_FLAGS_AUTOCLEAR}}
		copy(cfg.Info.File_name[:len(cfg.Info.File_name)-1], "agentflow-sandbox")
		err = unix.IoctlLoopConfigure(int(loop.Fd()), &cfg)
		if err == nil {
			return dev, loop, nil
		}
		loop.Close()
		if err != unix.EBUSY { // else somebody else was faster
			return "", nil, fmt.Errorf("%w: set up %s: %w", ErrUnsupported, dev, err)
		}
	}
	return "", nil, fmt.Errorf("%w: others take every free loop device", ErrUnsupported)
}

// mount makes a mount of the file system on dev that belongs to no namespace.
func mount(dev string) (*os.File, error) {
	fs, err := unix.Fsopen("ext4", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("%w: ext4: %w", ErrUnsupported, err)
	}
	defer unix.Close(fs)
	err = unix.FsconfigSetString(fs, "source", dev)
	if err == nil { // freed blocks go back to the disk that the image lies on
		err = unix.FsconfigSetFlag(fs, "discard")
	}
	if err == nil { // nobody waits for tables that are not used yet
		err = unix.FsconfigSetFlag(fs, "noinit_itable")
	}
	if err == nil {
		err = unix.FsconfigCreate(fs)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: mount %s: %w%s", ErrUnsupported, dev, err, complaint(fs))
	}
	m, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOATIME)
	if err != nil {
		return nil, fmt.Errorf("%w: mount %s: %w", ErrUnsupported, dev, err)
	}
	return os.NewFile(uintptr(m), dev), nil
}

// complaint is what the kernel says about a mount that it refused.
func complaint(fs int) string {
	b := make([]byte, 512)
	n, err := unix.Read(fs, b)
	if err != nil || n <= 0 {
		return ""
	}
	return " (" + strings.TrimSpace(string(b[:n])) + ")"
}

// Path returns the path of the volume's Dir. It leads through /proc and is good
// while the volume is open; it must not be resolved to another.
func (v *Volume) Path() string { return v.path }

// Mount returns another mount of the volume, of no namespace either, which the
// caller may attach to one. It must be closed before the volume is.
func (v *Volume) Mount() (*os.File, error) { return mount(v.dev) }

// shutdown is EXT4_IOC_SHUTDOWN, _IOR('X', 125, __u32), which writes nothing more.
const (
	shutdown      = 0x8004587d
	withoutLogged = 2
)

// Close ends the mount. Nothing may use the volume any more, else its device
// stays until that has ended too.
func (v *Volume) Close(c Closing) error {
	if c == Discard {
		// If it does not work, what is to be thrown away is written once more.
		if fd, err := unix.Openat(int(v.mount.Fd()), ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0); err == nil {
			_ = unix.IoctlSetPointerInt(fd, shutdown, withoutLogged)
			unix.Close(fd)
		}
	}
	if err := v.mount.Close(); err != nil {
		return fmt.Errorf("volume: %w", err)
	}
	return nil
}

// Probe finds out whether volumes of that size work, by making one in the file
// image and filling it. Nothing stays.
func Probe(ctx context.Context, image string, size int64) (err error) {
	// A small one tells: the image is sparse, and its size only a number.
	size = min(size, 4*MinSize)
	if err := Create(ctx, image, size, Options{UID: -1, GID: -1}); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.Remove(image)) }()
	v, err := Open(image)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, v.Close(Discard)) }()
	name := filepath.Join(v.Path(), "probe")
	if err := os.WriteFile(name, make([]byte, size+1), 0o600); !errors.Is(err, unix.ENOSPC) {
		return fmt.Errorf("%w: %d bytes fit into a volume of %d (%v)", ErrUnsupported, size+1, size, err)
	}
	return nil
}
