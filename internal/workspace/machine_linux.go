package workspace

import (
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// thisMachine returns what tells this machine from others.
func thisMachine() machine {
	read := func(path string) string {
		b, err := os.ReadFile(path)
		if err != nil || len(b) > maxMachine/4 {
			return "" // a container may not have it
		}
		return strings.TrimSpace(string(b))
	}
	return machine{id: read("/etc/machine-id"), boot: read("/proc/sys/kernel/random/boot_id")}
}

// local are the types of file systems that one machine has to itself, by their
// magic numbers. Any other may be shared.
var local = [...]int64{
	unix.EXT4_SUPER_MAGIC, unix.XFS_SUPER_MAGIC, unix.BTRFS_SUPER_MAGIC, unix.F2FS_SUPER_MAGIC, unix.TMPFS_MAGIC, unix.RAMFS_MAGIC,
	0x2fc12fc1, // zfs
	0xca451a4e, // bcachefs
}

// sharedFS reports whether other machines may have the file system at the same
// time. What an overlay lies on cannot be told, but its own rules forbid that it
// is used from two sides.
func sharedFS(path string) bool {
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return true
	}
	kind := int64(uint32(st.Type))
	return kind != unix.OVERLAYFS_SUPER_MAGIC && !slices.Contains(local[:], kind)
}
