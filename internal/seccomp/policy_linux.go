package seccomp

import "golang.org/x/sys/unix"

// Profile says for which programs a filter is. The zero value is for those of an
// agent.
type Profile struct {
	// NestedUserNS is for a program with a sandbox of its own, namely Chromium:
	// it may make user, pid and network namespaces and change its root
	// directory. It is profile "chromium" of the documents.
	NestedUserNS bool
	// Ptrace lets debuggers trace, which the kernel allows among processes of
	// one user only.
	Ptrace bool
}

// call is a system call with its number on each architecture.
type call struct {
	name         string
	amd64, arm64 int
}

// none is the number of a call that an architecture does not have.
const none = -1

// rule is what is done about some calls.
type rule struct {
	do    action
	calls []call
}

const (
	// namespaces are the flags of clone that make namespaces. (CLONE_NEWTIME
	// shares its bit with the signal there, so that clone cannot make one.)
	namespaces = unix.CLONE_NEWNS | unix.CLONE_NEWCGROUP | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC |
		unix.CLONE_NEWUSER | unix.CLONE_NEWPID | unix.CLONE_NEWNET
	// nested are those that Chromium's own sandbox makes.
	nested = unix.CLONE_NEWUSER | unix.CLONE_NEWPID | unix.CLONE_NEWNET

	// shmHugeTLB is SHM_HUGETLB.
	shmHugeTLB = 0o4000

	// setID are the mode bits of a program that runs as its owner.
	setID = unix.S_ISUID | unix.S_ISGID
	// creates are the flags with which open looks at a mode at all; without them
	// it is whatever was in the register.
	creates = unix.O_CREAT | unix.O_TMPFILE&^unix.O_DIRECTORY
)

// rules lists what is denied. No call is in two rules; those in none are allowed.
func rules(p Profile) []rule {
	var (
		eperm  = fail(unix.EPERM)
		enosys = fail(unix.ENOSYS)
		enomem = fail(unix.ENOMEM)
		done   = fail(0) // success, without the call
		chroot = eperm
		// Any unshare, not only of namespaces: nothing but runtimes of containers
		// asks for it.
		unshare = eperm
		made    = uint32(namespaces)
		ptrace  = eperm
	)
	if p.NestedUserNS {
		chroot = allow
		// The kernel looks at all 64 bits.
		other := nested
		unshare = wide(0, eperm, anyBit(0, ^uint32(other), eperm, allow))
		made &^= nested
	}
	if p.Ptrace {
		ptrace = allow
	}
	return []rule{
		// Their arguments lie in memory, where a filter cannot look (what
		// namespaces to make, what mode to create a file with), or they do behind
		// the filter's back what other calls are denied. glibc and everybody else
		// falls back on clone, open and read where a kernel has none of them.
		// userfaultfd lets a program stop the kernel in the middle of a copy,
		// which many an exploit of a race needed.
		{enosys, []call{
			{"clone3", 435, 435}, {"openat2", 437, 437},
			{"io_uring_setup", 425, 425}, {"io_uring_enter", 426, 426}, {"io_uring_register", 427, 427},
			{"userfaultfd", 323, 282},
		}},

		// What the machine has once for everybody, and no limit of a worker's counts:
		// contexts of asynchronous input and output (fs.aio-max-nr) and huge pages. One
		// program could have all of them. Who asks is answered as by a kernel that has
		// none, and does without; what Chromium asks memfd_create it must answer so.
		{enosys, []call{{"io_setup", 206, 0}}},
		{anyBit(3, unix.MAP_HUGETLB, enomem, allow), []call{{"mmap", 9, 222}}},
		{anyBit(1, unix.MFD_HUGETLB, fail(unix.EINVAL), allow), []call{{"memfd_create", 319, 279}}},
		{anyBit(2, shmHugeTLB, enomem, allow), []call{{"shmget", 29, 194}}},

		// The view is finished when the first program starts.
		{eperm, []call{
			{"mount", 165, 40}, {"umount2", 166, 39}, {"pivot_root", 155, 41},
			{"open_tree", 428, 428}, {"move_mount", 429, 429}, {"fsopen", 430, 430}, {"fsconfig", 431, 431},
			{"fsmount", 432, 432}, {"fspick", 433, 433}, {"mount_setattr", 442, 442}, {"open_tree_attr", 467, 467},
		}},
		{chroot, []call{{"chroot", 161, 51}}},

		// A user namespace of its own gives a program capabilities over whatever
		// it makes in it, and with them a far greater part of the kernel. clone
		// takes its flags as 32 bits; on all architectures here they come first.
		{eperm, []call{{"setns", 308, 268}}},
		{unshare, []call{{"unshare", 272, 97}}},
		{anyBit(0, made, eperm, allow), []call{{"clone", 56, 220}}},

		// Looking into other processes and into the kernel.
		{ptrace, []call{{"ptrace", 101, 117}}},
		{eperm, []call{
			{"process_vm_readv", 310, 270}, {"process_vm_writev", 311, 271}, {"process_madvise", 440, 440},
			{"kcmp", 312, 272}, {"pidfd_getfd", 438, 438},
			{"bpf", 321, 280}, {"perf_event_open", 298, 241}, {"syslog", 103, 116},
		}},

		// The limits of others: every program of a jail has the user of its first
		// process, whose end would be the end of all. Asking, without new limits, is
		// free. Its own limit of core dumps keeps the kernel from starting the machine's
		// collector of dumps, as root, with what the program made of itself; a limit of 0
		// does not. Who asks for 0 has no dumps, and so has what was asked for, unless the
		// old limit is to be written somewhere. The pid and the resource are 32 bits.
		{
			oneOf(0, []uint32{0},
				oneOf(1, []uint32{unix.RLIMIT_CORE}, null(2, allow, null(3, done, eperm)), allow),
				null(2, allow, eperm)),
			[]call{{"prlimit64", 302, 261}},
		},
		{oneOf(0, []uint32{unix.RLIMIT_CORE}, done, allow), []call{{"setrlimit", 160, 164}}},

		// Keyrings know no namespaces but a user's.
		{eperm, []call{{"keyctl", 250, 219}, {"add_key", 248, 217}, {"request_key", 249, 218}}},

		// The machine is the host's.
		{eperm, []call{
			{"kexec_load", 246, 104}, {"kexec_file_load", 320, 294}, {"reboot", 169, 142},
			{"init_module", 175, 105}, {"finit_module", 313, 273}, {"delete_module", 176, 106},
			{"swapon", 167, 224}, {"swapoff", 168, 225}, {"acct", 163, 89},
			{"quotactl", 179, 60}, {"quotactl_fd", 443, 443}, {"vhangup", 153, 58},
			{"settimeofday", 164, 170}, {"clock_settime", 227, 112}, {"adjtimex", 159, 171}, {"clock_adjtime", 305, 266},
			{"sethostname", 170, 161}, {"setdomainname", 171, 162},
			{"iopl", 172, none}, {"ioperm", 173, none}, {"modify_ldt", 154, none},
		}},

		// A handle opens a file past all directories; fanotify sees other users'.
		{eperm, []call{{"open_by_handle_at", 304, 265}, {"fanotify_init", 300, 262}}},

		// Placing memory on nodes, and memory that not even the kernel sees: holes
		// of the past, of use to databases on large machines only.
		{eperm, []call{
			{"mbind", 237, 235}, {"set_mempolicy", 238, 237}, {"set_mempolicy_home_node", 450, 450},
			{"move_pages", 279, 239}, {"migrate_pages", 256, 238}, {"memfd_secret", 447, 447},
		}},

		// Obsolete, and absent from a kernel of today or nearly so.
		{eperm, []call{
			{"uselib", 134, none}, {"ustat", 136, none}, {"sysfs", 139, none}, {"_sysctl", 156, none},
			{"create_module", 174, none}, {"get_kernel_syms", 177, none}, {"query_module", 178, none},
			{"nfsservctl", 180, 42}, {"getpmsg", 181, none}, {"putpmsg", 182, none}, {"afs_syscall", 183, none},
			{"tuxcall", 184, none}, {"security", 185, none}, {"lookup_dcookie", 212, 18}, {"vserver", 236, none},
			{"epoll_ctl_old", 214, none}, {"epoll_wait_old", 215, none},
		}},

		// A personality can switch protections off (READ_IMPLIES_EXEC,
		// ADDR_NO_RANDOMIZE). Left are Linux itself, the one of 32 bits, both with
		// an old version number, and -1, which only asks. The kernel takes 32 bits.
		{
			oneOf(0, []uint32{0, 8, 0x20000, 0x20008, 0xffffffff}, allow, eperm),
			[]call{{"personality", 135, 92}},
		},

		// Moving the marks of its own memory map about, which lets a process look
		// like another; of use to checkpointing only. The option is 32 bits.
		{oneOf(0, []uint32{unix.PR_SET_MM}, eperm, allow), []call{{"prctl", 157, 167}}},

		// A set-id program in the workspace would be run by whoever comes across
		// it on the host. (The mounts are nosuid as well; openat2, which has its
		// mode in memory, is above.) A mode is 16 bits.
		{anyBit(1, setID, eperm, allow), []call{
			{"chmod", 90, none}, {"fchmod", 91, 52}, {"creat", 85, none}, {"mknod", 133, none},
		}},
		{anyBit(2, setID, eperm, allow), []call{
			{"fchmodat", 268, 53}, {"fchmodat2", 452, 452}, {"mknodat", 259, 33},
		}},
		{
			anyBit(1, creates, anyBit(2, setID, eperm, allow), allow),
			[]call{{"open", 2, none}},
		},
		{
			anyBit(2, creates, anyBit(3, setID, eperm, allow), allow),
			[]call{{"openat", 257, 56}},
		},

		// Typing into a terminal that others read from (TIOCSTI, TIOCLINUX),
		// taking the console's output, loading line disciplines. The command is 32
		// bits.
		{
			oneOf(1, []uint32{unix.TIOCSTI, unix.TIOCLINUX, unix.TIOCSETD, unix.TIOCCONS}, eperm, allow),
			[]call{{"ioctl", 16, 29}},
		},

		// The other families reach past the network namespace (AF_VSOCK, the host
		// of a virtual machine) or are large and seldom looked at. So are the other
		// protocols of the internet's two (SCTP, DCCP, L2TP, MPTCP), whose modules the
		// kernel loads when anybody asks for one; DCCP by its type alone. Of netlink
		// programs need their own addresses and routes. All three are 32 bits.
		{
			oneOf(0, []uint32{unix.AF_UNIX}, allow,
				oneOf(0, []uint32{unix.AF_INET, unix.AF_INET6},
					oneOf(1, internetTypes(),
						oneOf(2, []uint32{unix.IPPROTO_IP, unix.IPPROTO_ICMP, unix.IPPROTO_TCP, unix.IPPROTO_UDP, unix.IPPROTO_ICMPV6},
							allow, fail(unix.EPROTONOSUPPORT)),
						fail(unix.ESOCKTNOSUPPORT)),
					oneOf(0, []uint32{unix.AF_NETLINK},
						oneOf(2, []uint32{unix.NETLINK_ROUTE}, allow, fail(unix.EPROTONOSUPPORT)),
						fail(unix.EAFNOSUPPORT)))),
			[]call{{"socket", 41, 198}, {"socketpair", 53, 199}},
		},
	}
}

// internetTypes are the types of sockets that programs may have on the internet,
// with the flags that go with them. (A raw one takes a capability.)
func internetTypes() (types []uint32) {
	for _, flags := range []uint32{0, unix.SOCK_CLOEXEC, unix.SOCK_NONBLOCK, unix.SOCK_CLOEXEC | unix.SOCK_NONBLOCK} {
		for _, typ := range []uint32{unix.SOCK_STREAM, unix.SOCK_DGRAM, unix.SOCK_RAW} {
			types = append(types, typ|flags)
		}
	}
	return types
}
