package jail

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// noPrivileges is on every mount, and readOnly on most.
	noPrivileges = unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV
	readOnly     = noPrivileges | unix.MOUNT_ATTR_RDONLY
)

// tmpfsOptions are for a file system in memory of that many bytes.
func tmpfsOptions(size int64, mode string) string {
	return fmt.Sprintf("mode=%s,size=%d,nr_inodes=%d", mode, size, maxFiles(size))
}

// view appends what builds the view of one jail and moves into it. The child is in
// its own mount namespace, a copy of the host's, with all rights over it.
//
// What is to be seen is taken first, as mounts of no place, then the root is made
// where the host has /usr, and all is put below that by relative paths.
func (d *nativeDriver) view(sc *script, s *Spec, binds []bind) error {
	sc.call("set the file mode mask", unix.SYS_UMASK, 0)
	// Nothing that the host mounts later appears inside.
	sc.call("take mounts from the host", unix.SYS_MOUNT, 0, path("/"), 0, unix.MS_PRIVATE|unix.MS_REC, 0)
	null := sc.take("/dev/null")
	fixed := make([]slot, len(d.fixed))
	for i, f := range d.fixed {
		if f.Link == "" {
			fixed[i] = sc.take(f.Host)
		}
	}
	nodes := make([]slot, len(devices))
	for i, name := range devices {
		nodes[i] = sc.take("/dev/" + name)
	}
	bound := make([]slot, len(binds))
	for i := range binds {
		var err error
		if bound[i], err = sc.takeBind(&binds[i], sockFD+2+i); err != nil {
			return err
		}
	}

	sc.call("mount", unix.SYS_MOUNT, "jail", path("/usr"), "tmpfs", unix.MS_NOSUID|unix.MS_NODEV,
		fmt.Sprintf("mode=0755,size=4m,nr_inodes=%d", leastFiles))
	sc.call("enter the root", unix.SYS_CHDIR, path("/usr"))
	v := &viewScript{script: sc, made: map[string]bool{".": true}}
	for i, f := range d.fixed {
		if f.Link != "" {
			v.link(f.Link, f.Inside)
		} else {
			v.place(fixed[i], f.Inside, f.dir, readOnly)
		}
	}
	for _, made := range etcMade {
		v.file("/etc/"+made[0], made[1])
	}
	v.proc(d, null, !s.NestedUserNS)
	v.dev(nodes, s.ShmSize)
	v.mount("tmpfs", "/tmp", 0, tmpfsOptions(s.TmpSize, "1777"))
	v.dir("/run")
	v.link("../tmp", "/var/tmp")
	// The workspace last, so that no other bind is below what programs write to.
	for i := len(binds) - 1; i >= 0; i-- {
		if err := v.bind(binds[i], bound[i]); err != nil {
			return err
		}
	}
	for _, p := range []string{"dev", "."} {
		sc.call("make read-only", unix.SYS_MOUNT, 0, path(p), 0, unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY|unix.MS_NOSUID|unix.MS_NODEV, 0)
	}
	// The host's root comes to lie on the new one and is taken off, with all that
	// is mounted on it.
	sc.call("enter the view", unix.SYS_PIVOT_ROOT, path("."), ".")
	sc.call("leave the host's files", unix.SYS_UMOUNT2, path("."), unix.MNT_DETACH)
	sc.call("enter the view", unix.SYS_CHDIR, path("/"))
	sc.call("enter the workspace", unix.SYS_CHDIR, path(Workspace))
	sc.call("set the file mode mask", unix.SYS_UMASK, 0o022)
	return nil
}

// take gets what the host has at p, with what is mounted below it, as a mount of
// no place yet.
func (s *script) take(p string) slot {
	return s.get("take", unix.SYS_OPEN_TREE, unix.AT_FDCWD, path(p),
		unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE)
}

// takeBind takes what b is; fd is its descriptor in the child. A descriptor of the
// host's belongs to the host's mount namespace, from which nothing can be taken:
// its path must lead to the same file here.
func (s *script) takeBind(b *bind, fd int) (slot, error) {
	p, err := b.staged, error(nil)
	if p == "" {
		if p, err = os.Readlink(fmt.Sprintf("/proc/self/fd/%d", b.f.Fd())); err != nil {
			return 0, fmt.Errorf("jail: bind %s: %w", b.f.Name(), err)
		}
	}
	how := &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC | unix.O_NOFOLLOW, Resolve: unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS}
	at := s.get("open", unix.SYS_OPENAT2, unix.AT_FDCWD, path(p), view(how), unix.SizeofOpenHow)
	if b.staged == "" { // what is on the stage nobody else can change
		s.same("look again at "+p, fd, at)
	}
	return s.get("take", unix.SYS_OPEN_TREE, at, "", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE|unix.AT_EMPTY_PATH, path(p)), nil
}

// viewScript appends what builds a root in the working directory. Paths are
// absolute, as seen from inside.
type viewScript struct {
	*script
	made map[string]bool // directories that are there
}

// rel is how the child names a path inside.
func rel(inside string) string {
	if inside == "/" {
		return "."
	}
	return strings.TrimPrefix(inside, "/")
}

// dir makes a directory and those above it.
func (v *viewScript) dir(inside string) {
	p := rel(inside)
	if v.made[p] {
		return
	}
	v.dir("/" + strings.TrimPrefix(filepath.Dir(p), "."))
	v.made[p] = true
	v.call("make directory", unix.SYS_MKDIRAT, unix.AT_FDCWD, path(p), 0o755)
}

// file makes a file with that content.
func (v *viewScript) file(inside, content string) {
	v.dir(filepath.Dir(inside))
	fd := v.get("make file", unix.SYS_OPENAT, unix.AT_FDCWD, path(rel(inside)), unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY|unix.O_CLOEXEC, 0o644)
	if content != "" {
		v.call("write "+inside, unix.SYS_WRITE, fd, content, len(content))
	}
	v.call("close", unix.SYS_CLOSE, fd)
}

// link makes a symbolic link.
func (v *viewScript) link(target, inside string) {
	v.dir(filepath.Dir(inside))
	v.call("link", unix.SYS_SYMLINKAT, target, unix.AT_FDCWD, path(rel(inside)))
}

// mount mounts a new file system.
func (v *viewScript) mount(kind, inside string, flags int, options string) {
	v.dir(inside)
	v.call("mount "+kind+" on", unix.SYS_MOUNT, kind, path(rel(inside)), kind, unix.MS_NOSUID|unix.MS_NODEV|flags, options)
}

// place puts a tree that was taken at a path that is made for it.
func (v *viewScript) place(tree slot, inside string, dir bool, attrs uint64) {
	if dir {
		v.dir(inside)
	} else {
		v.file(inside, "")
	}
	v.put(tree, inside, attrs)
}

// put puts a tree that was taken on a path that is there.
func (v *viewScript) put(tree slot, inside string, attrs uint64) {
	attr := &unix.MountAttr{Attr_set: attrs}
	v.call("restrict", unix.SYS_MOUNT_SETATTR, tree, "", unix.AT_EMPTY_PATH|unix.AT_RECURSIVE, view(attr), int(unsafe.Sizeof(*attr)), path(inside))
	v.call("bind", unix.SYS_MOVE_MOUNT, tree, "", unix.AT_FDCWD, path(rel(inside)), unix.MOVE_MOUNT_F_EMPTY_PATH)
	v.call("close", unix.SYS_CLOSE, tree)
}

// again takes a further copy of a tree that was taken, or of what is at a path.
func (v *viewScript) again(tree slot) slot {
	return v.get("take", unix.SYS_OPEN_TREE, tree, "", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_EMPTY_PATH)
}

// bind puts a host path where a policy or program wants it.
func (v *viewScript) bind(b bind, tree slot) error {
	var st unix.Stat_t
	if err := unix.Fstat(int(b.f.Fd()), &st); err != nil {
		return fmt.Errorf("jail: bind %s: %w", b.f.Name(), err)
	}
	attrs := uint64(readOnly)
	if b.writable {
		attrs = noPrivileges
	}
	v.place(tree, b.inside, st.Mode&unix.S_IFMT == unix.S_IFDIR, attrs)
	return nil
}

// proc mounts the process table of the jail's own pid namespace, without what
// tells of the host. lock leaves the user namespace room for one more below it, and
// that one none.
func (v *viewScript) proc(d *nativeDriver, null slot, lock bool) {
	v.mount("proc", "/proc", unix.MS_NOEXEC, "")
	if lock {
		v.write("proc/sys/user/max_user_namespaces", "1")
	}
	for _, p := range d.covered {
		v.put(v.take(rel(p)), p, readOnly)
	}
	for _, p := range d.files {
		v.put(v.again(null), p, readOnly)
	}
	for _, p := range d.dirs {
		v.call("mount tmpfs on", unix.SYS_MOUNT, "tmpfs", path(rel(p)), "tmpfs",
			unix.MS_RDONLY|unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "mode=0555,size=4k,nr_inodes=2")
	}
}

// devices are the host's devices that a jail has.
var devices = [...]string{"null", "zero", "full", "random", "urandom", "tty"}

// dev makes a small /dev.
func (v *viewScript) dev(nodes []slot, shm int64) {
	v.mount("tmpfs", "/dev", unix.MS_NOEXEC, "mode=0755,size=64k,nr_inodes=64")
	for i, name := range devices {
		v.place(nodes[i], "/dev/"+name, false, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NOEXEC)
	}
	for i, name := range []string{"stdin", "stdout", "stderr"} {
		v.link("/proc/self/fd/"+strconv.Itoa(i), "/dev/"+name)
	}
	v.link("/proc/self/fd", "/dev/fd")
	v.link("/proc/kcore", "/dev/core")
	v.mount("tmpfs", "/dev/shm", 0, tmpfsOptions(shm, "1777"))
	v.dir("/dev/pts")
	// Devices are what this one is for.
	v.call("mount devpts on", unix.SYS_MOUNT, "devpts", path("dev/pts"), "devpts", unix.MS_NOSUID|unix.MS_NOEXEC,
		fmt.Sprintf("%s,max=%d", terminalOptions, maxTerminals))
	v.link("pts/ptmx", "/dev/ptmx")
}
