package seccomp

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// systemCalls returns the names of an architecture's system calls, as
// golang.org/x/sys/unix has them.
var systemCalls = func() func(t testing.TB, arch string) map[uint32]string {
	dir := sync.OnceValues(func() (string, error) {
		out, err := exec.Command("go", "list", "-f", "{{.Dir}}", "golang.org/x/sys/unix").Output()
		return strings.TrimSpace(string(out)), err
	})
	return func(t testing.TB, arch string) map[uint32]string {
		t.Helper()
		d, err := dir()
		if err != nil {
			t.Fatal(err)
		}
		f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(d, "zsysnum_linux_"+arch+".go"), nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		names := map[uint32]string{}
		ast.Inspect(f, func(n ast.Node) bool {
			v, ok := n.(*ast.ValueSpec)
			if !ok || len(v.Values) != 1 {
				return true
			}
			lit, ok := v.Values[0].(*ast.BasicLit)
			if !ok {
				return true
			}
			nr, err := strconv.ParseUint(lit.Value, 0, 32)
			if err != nil {
				t.Fatal(err)
			}
			names[uint32(nr)] = strings.ToLower(strings.TrimPrefix(v.Names[0].Name, "SYS_"))
			return true
		})
		if arch == "arm64" {
			delete(names, 244) // arch_specific_syscall: the start of a range without any
		}
		if len(names) < 300 {
			t.Fatalf("%d system calls of %s, want hundreds", len(names), arch)
		}
		return names
	}
}()

// The policy once more, by name and in plain Go, to hold the programs against.

var modelENOSYS = strings.Fields("clone3 openat2 io_uring_setup io_uring_enter io_uring_register userfaultfd io_setup")

var modelEPERM = strings.Fields(`
	mount umount2 pivot_root open_tree open_tree_attr move_mount mount_setattr fsopen fsconfig fsmount fspick
	setns bpf perf_event_open process_vm_readv process_vm_writev process_madvise kcmp pidfd_getfd
	keyctl add_key request_key
	kexec_load kexec_file_load create_module init_module finit_module delete_module get_kernel_syms query_module
	reboot swapon swapoff acct quotactl quotactl_fd syslog open_by_handle_at fanotify_init iopl ioperm modify_ldt
	settimeofday clock_settime adjtimex clock_adjtime sethostname setdomainname vhangup
	mbind set_mempolicy set_mempolicy_home_node move_pages migrate_pages memfd_secret
	uselib ustat sysfs _sysctl nfsservctl getpmsg putpmsg afs_syscall tuxcall security lookup_dcookie vserver
	epoll_ctl_old epoll_wait_old`)

func model(a arch, names map[uint32]string, p Profile, d callData) uint32 {
	const (
		pass   = uint32(unix.SECCOMP_RET_ALLOW)
		eperm  = uint32(unix.SECCOMP_RET_ERRNO) | uint32(unix.EPERM)
		enosys = uint32(unix.SECCOMP_RET_ERRNO) | uint32(unix.ENOSYS)
	)
	unless := func(ok bool) uint32 {
		if ok {
			return pass
		}
		return eperm
	}
	if d.arch != a.audit {
		return unix.SECCOMP_RET_KILL_PROCESS
	}
	name, ok := names[d.nr]
	if !ok || d.nr > 469 || slices.Contains(modelENOSYS, name) {
		return enosys
	}
	if slices.Contains(modelEPERM, name) {
		return eperm
	}
	low := func(i int) uint32 { return uint32(d.args[i]) }
	setID := func(i int) bool { return low(i)&0o6000 != 0 }
	creates := func(i int) bool { return low(i)&0o100 != 0 || low(i)&0o20000000 != 0 }
	const chromium = 0x10000000 | 0x20000000 | 0x40000000 // user, pid, net
	switch name {
	case "ptrace":
		return unless(p.Ptrace)
	case "chroot":
		return unless(p.NestedUserNS)
	case "unshare":
		return unless(p.NestedUserNS && d.args[0]&^chromium == 0)
	case "clone":
		forbidden := uint32(0x00020000 | 0x02000000 | 0x04000000 | 0x08000000 | chromium)
		if p.NestedUserNS {
			forbidden &^= chromium
		}
		return unless(low(0)&forbidden == 0)
	case "personality":
		return unless(slices.Contains([]uint32{0, 8, 0x20000, 0x20008, 0xffffffff}, low(0)))
	case "prlimit64":
		if low(0) == 0 && low(1) == 4 && d.args[2] != 0 && d.args[3] == 0 {
			return unix.SECCOMP_RET_ERRNO
		}
		return unless(d.args[2] == 0 || low(0) == 0 && low(1) != 4)
	case "setrlimit":
		if low(0) == 4 {
			return unix.SECCOMP_RET_ERRNO
		}
	case "memfd_create":
		if low(1)&4 != 0 {
			return unix.SECCOMP_RET_ERRNO | uint32(unix.EINVAL)
		}
	case "mmap", "shmget":
		if name == "mmap" && low(3)&0x40000 != 0 || name == "shmget" && low(2)&0x800 != 0 {
			return unix.SECCOMP_RET_ERRNO | uint32(unix.ENOMEM)
		}
	case "prctl":
		return unless(low(0) != 35)
	case "ioctl":
		return unless(!slices.Contains([]uint32{0x5412, 0x541c, 0x541d, 0x5423}, low(1)))
	case "chmod", "fchmod", "creat", "mknod":
		return unless(!setID(1))
	case "fchmodat", "fchmodat2", "mknodat":
		return unless(!setID(2))
	case "open":
		return unless(!creates(1) || !setID(2))
	case "openat":
		return unless(!creates(2) || !setID(3))
	case "socket", "socketpair":
		switch low(0) {
		case 1:
			return pass
		case 2, 10:
			if t := low(1) &^ 0x80800; t < 1 || t > 3 {
				return unix.SECCOMP_RET_ERRNO | uint32(unix.ESOCKTNOSUPPORT)
			}
			if !slices.Contains([]uint32{0, 1, 6, 17, 58}, low(2)) {
				return unix.SECCOMP_RET_ERRNO | uint32(unix.EPROTONOSUPPORT)
			}
			return pass
		case 16:
			if low(2) == 0 {
				return pass
			}
			return unix.SECCOMP_RET_ERRNO | uint32(unix.EPROTONOSUPPORT)
		}
		return unix.SECCOMP_RET_ERRNO | uint32(unix.EAFNOSUPPORT)
	}
	return pass
}
