package sandboxtest

import "fmt"

const seenKernel = "the call is not refused as such, but succeeds or complains of its arguments"

// kernelEscapes make system calls that an agent has no use for.
func kernelEscapes() []Escape {
	var es []Escape
	add := func(name, tries, code string) {
		es = append(es, Escape{Name: "kernel/" + name, Tries: tries, Seen: seenKernel, code: code})
	}
	add("mount-tmpfs", "mount a file system in the workspace", `
os.mkdir('m-' + F['case'])
call('mount', b'x', ('m-' + F['case']).encode(), b'tmpfs', 0, b'size=64k')
call('umount2', ('m-' + F['case']).encode(), 2); escaped('mounted one, and unmounted it')`)
	add("mount-bind", "bind a directory of the jail over another", `
os.mkdir('b-' + F['case'])
call('mount', b'/usr', ('b-' + F['case']).encode(), 0, 4096, 0)
call('umount2', ('b-' + F['case']).encode(), 2); escaped('bound one, and unmounted it')`)
	add("mount-proc", "mount a fresh /proc, without masks", `
os.mkdir('p-' + F['case'])
call('mount', b'proc', ('p-' + F['case']).encode(), b'proc', 0, 0)
call('umount2', ('p-' + F['case']).encode(), 2); escaped('mounted one, and unmounted it')`)
	add("remount", "make its own workspace's mount executable set-id programs", `
only_in_own_pids()
call('mount', 0, b'/usr', 0, 32|4096, 0); escaped('remounted /usr')`)
	add("unmount", "unmount what masks /proc", `
only_in_own_pids()
call('umount2', b'/proc/kcore', 2); escaped('unmounted /proc/kcore')`)
	add("fsopen", "open a file system by the new calls", `refused('fsopen', b'tmpfs', 0)`)
	add("fspick", "reconfigure a mounted file system", `refused('fspick', -100, b'/', 0)`)
	add("open-tree", "clone a tree of mounts", `refused('open_tree', -100, b'/usr', 1)`)
	add("move-mount", "move a mount", `refused('move_mount', -1, b'', -1, b'', 4|64)`)
	add("mount-setattr", "change the attributes of mounts", `refused('mount_setattr', -100, b'/usr', 0, bytes(32), 32)`)
	add("pivot-root", "change the root of all", `refused('pivot_root', b'/nonexistent', b'/nonexistent')`)
	add("chroot", "change its own root", `os.chroot('.'); escaped('did it')`)
	for _, ns := range []struct {
		name string
		flag int
	}{{"user", 0x10000000}, {"mount", 0x20000}, {"pid", 0x20000000}, {"net", 0x40000000}, {"ipc", 0x8000000}, {"uts", 0x4000000}, {"cgroup", 0x2000000}, {"time", 0x80}} {
		add("unshare-"+ns.name, "make a "+ns.name+" namespace", fmt.Sprintf(`judge(child(lambda: call('unshare', %#x)), 'unshare')`, ns.flag))
	}
	add("unshare-all", "make a user namespace and others in it at once", `judge(child(lambda: call('unshare', 0x7e020000)), 'unshare')`)
	add("clone-user", "start a child in a user namespace", `
pid = call('clone', 0x10000000 | signal.SIGCHLD, 0, 0, 0, 0)
if pid == 0: os._exit(0)
os.waitpid(pid, 0); escaped('started one')`)
	add("clone-user-high-bits", "start a child in a user namespace, with bits set that the kernel drops", `
pid = call('clone', 1 << 40 | 0x10000000 | signal.SIGCHLD, 0, 0, 0, 0)
if pid == 0: os._exit(0)
os.waitpid(pid, 0); escaped('started one')`)
	add("clone3-user", "start a child in a user namespace by the call that no filter can look into", `
pid = call('clone3', struct.pack('QQQQQQQQ', 0x10000000, 0, 0, 0, signal.SIGCHLD, 0, 0, 0), 64)
if pid == 0: os._exit(0)
os.waitpid(pid, 0); escaped('started one')`)
	add("keyring-add", "leave a key where the host's user would find it", `
k = call('add_key', b'user', b'sandboxtest', b'x', 1, -4); call('keyctl', 3, k); escaped('added one, and revoked it')`)
	add("keyring-read", "look into the user's keyring", `refused('keyctl', 11, -4, 0, 0)`)
	add("keyring-request", "search for a key", `refused('request_key', b'user', b'sandboxtest', 0, 0)`)
	add("keyring-session", "join a session keyring by name", `refused('keyctl', 1, b'sandboxtest')`)
	add("module-load", "load a kernel module", `refused('init_module', 0, 0, b'')`)
	add("module-load-file", "load a kernel module from a file", `refused('finit_module', -1, b'', 0)`)
	add("module-unload", "unload a kernel module", `refused('delete_module', b'sandboxtest_none', 0x800)`)
	add("kexec", "load another kernel", `refused('kexec_load', 0, 1 << 20, 0, 0)`)
	add("kexec-file", "load another kernel from a file", `refused('kexec_file_load', -1, -1, 0, 0, 1 << 20)`)
	add("reboot", "restart the machine (with wrong magic numbers)", `refused('reboot', 0, 0, 0, 0)`)
	add("swap", "swap to a file", `refused('swapon', b'/nonexistent', 0)`)
	add("accounting", "have the kernel write accounts", `refused('acct', b'/nonexistent/x')`)
	add("kernel-log", "read the kernel's log", `refused('syslog', 10, 0, 0)`)
	add("bpf-map", "make a BPF map", `refused('bpf', 0, struct.pack('IIIII', 2, 4, 4, 1, 0) + bytes(100), 120)`)
	add("bpf-program", "load a BPF program", `refused('bpf', 5, bytes(120), 120)`)
	add("perf", "watch performance counters", `refused('perf_event_open', struct.pack('IIQ', 1, 112, 0) + bytes(96), 0, -1, -1, 0)`)
	add("userfaultfd", "stop the kernel within a page fault", `refused('userfaultfd', 1)`)
	add("io-uring", "make an io_uring, which does system calls past the filter", `refused('io_uring_setup', 1, ctypes.create_string_buffer(120))`)
	add("io-uring-enter", "enter an io_uring", `refused('io_uring_enter', -1, 0, 0, 0, 0, 0)`)
	add("fanotify", "watch the files of others", `refused('fanotify_init', 0, 0)`)
	add("memfd-secret", "have memory that the kernel cannot see", `refused('memfd_secret', 0)`)
	add("iopl", "reach the machine's ports", `refused('iopl', 3)`)
	add("ioperm", "reach one port", `refused('ioperm', 0x80, 1, 1)`)
	add("modify-ldt", "change the descriptor table", `refused('modify_ldt', 0, bytes(16), 16)`)
	add("quota", "set quotas", `refused('quotactl', 0x80000700, 0, 0, 0)`)
	add("personality", "switch off the randomisation of addresses", `judge(child(lambda: call('personality', 0x40000)), 'personality')`)
	add("personality-high-bits", "switch protections off with bits set that the kernel drops", `judge(child(lambda: call('personality', 1 << 32 | 0x400000)), 'personality')`)
	add("ptrace-traceme", "be traced", `judge(child(lambda: call('ptrace', 0, 0, 0, 0)), 'ptrace')`)
	for _, io := range []struct {
		name, tries, nr, arg string
	}{
		{"tiocsti", "type into its terminal", "0x5412", "b'x'"},
		{"tiocsti-high-bits", "type into its terminal, with bits set that the kernel drops", "0x5412 | 1 << 32", "b'x'"},
		{"tiocsti-sign", "type into its terminal, with a negative number", "0x5412 - (1 << 62)", "b'x'"},
		{"tioclinux", "paste into a console", "0x541c", "b'\\x03'"},
		{"tiocsetd", "load a line discipline", "0x5423", "struct.pack('i', 15)"},
		{"tioccons", "take the console's output", "0x541d", "0"},
	} {
		add(io.name, io.tries, `
master, slave = os.openpty()
def f():
    os.setsid(); s = os.open(os.ttyname(slave), os.O_RDWR)
    return call('ioctl', s, `+io.nr+`, `+io.arg+`)
kind, value = child(f)
if kind == 'ok': escaped('the ioctl succeeded')
stopped(value)`)
	}
	return append(es, foreignCalls()...)
}

// foreignCalls make system calls by the numbers of other architectures.
func foreignCalls() []Escape {
	const int80 = `
if ARCH != 0: skipped('no such call on ' + MACHINE)
def int80(nr, *args):
    import mmap
    code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ|mmap.PROT_WRITE|mmap.PROT_EXEC)
    code.write(b'\x53\xb8' + struct.pack('<I', nr) + b'\xbb' + struct.pack('<i', args[0] if args else 0) + b'\x31\xc9\x31\xd2\xcd\x80\x5b\xc3')
    return ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(code)))()
def f(nr, *args):
    r = int80(nr, *args)
    if r < 0: raise OSError(-r, os.strerror(-r))
    return r
`
	const x32 = `
if ARCH != 0: skipped('no such call on ' + MACHINE)
`
	var es []Escape
	add := func(name, tries, code string) {
		es = append(es, Escape{Name: "kernel/" + name, Tries: tries, Seen: "the call does what it does", code: code})
	}
	add("int80-getpid", "make a 32-bit system call by int 0x80", int80+`judge(child(lambda: f(20)), 'getpid of 32 bits')`)
	add("int80-unshare", "make a namespace by int 0x80", int80+`judge(child(lambda: f(310, 0x10000000)), 'unshare of 32 bits')`)
	add("int80-ptrace", "be traced by int 0x80", int80+`judge(child(lambda: f(26, 0)), 'ptrace of 32 bits')`)
	add("x32-getpid", "make a system call of x32", x32+`judge(child(lambda: raw(0x40000000 | 39)), 'getpid of x32')`)
	add("x32-unshare", "make a namespace by x32", x32+`judge(child(lambda: raw(0x40000000 | 272, 0x10000000)), 'unshare of x32')`)
	add("x32-ptrace", "be traced by the number that x32 has for it", x32+`judge(child(lambda: raw(0x40000000 | 521, 0)), 'ptrace of x32')`)
	add("number-high-bits", "make a namespace by a number with bits set that the kernel drops", `judge(child(lambda: raw(1 << 32 | number('unshare'), 0x10000000)), 'unshare')`)
	return es
}
