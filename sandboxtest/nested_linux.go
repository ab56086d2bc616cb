package sandboxtest

// nestedEscapes start from a program that may make user namespaces, as a browser
// does for a sandbox of its own (Cmd.NestedUserNS), and from one that is given a
// directory of the host to read (Cmd.Mounts).
func nestedEscapes() []Escape {
	// In a user namespace of its own a process has all capabilities there, and none
	// on the host: what it changes by them is its own. The rest is for the filter of
	// system calls to stop.
	const inside = `
NEWNS, NEWUSER, NEWPID, NEWNET = 0x20000, 0x10000000, 0x20000000, 0x40000000
def nested(flags, f):
    def g():
        uid = os.getuid()
        try: call('unshare', NEWUSER | flags)
        except OSError as e: return 'no namespace: ' + e.strerror
        try:
            for name, text in (('setgroups', 'deny'), ('uid_map', '0 %d 1' % uid), ('gid_map', '0 %d 1' % os.getgid())):
                with open('/proc/self/' + name, 'w') as w: w.write(text)
        except OSError: pass  # it has its capabilities all the same
        return f()
    kind, value = child(g)
    stopped(value) if kind != 'ok' or value.startswith('no namespace') else escaped(value)
def mounted(kind, at=b'/tmp'):
    call('mount', b'none', at, kind, 0, 0); return 'mounted ' + kind.decode()
`
	var es []Escape
	for _, c := range []struct{ name, tries, code string }{
		{"mount-tmpfs", "mount a file system in a user namespace of its own", `nested(NEWNS, lambda: mounted(b'tmpfs'))`},
		{"mount-proc", "mount a /proc without masks in namespaces of its own", `nested(NEWNS|NEWPID, lambda: mounted(b'proc'))`},
		{"mount-sysfs", "mount the kernel's settings in namespaces of its own", `nested(NEWNS|NEWNET, lambda: mounted(b'sysfs'))`},
		{"remount", "make its read-only root writable in a user namespace of its own", `
nested(NEWNS, lambda: (call('mount', 0, b'/', 0, 32 | 4096, 0), 'made it writable')[1])`},
		{"unmount", "take the masks off /proc in a user namespace of its own", `nested(NEWNS, lambda: (call('umount2', b'/proc/kcore', 2), 'took one off')[1])`},
		{"raw-socket", "open a raw socket in a network namespace of its own", `
nested(NEWNET, lambda: 'opened one' if socket.socket(socket.AF_PACKET, socket.SOCK_RAW) else '')`},
		{"packet-filter", "reach the kernel's packet filter in a network namespace of its own", `
nested(NEWNET, lambda: 'opened its socket' if socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12) else '')`},
		{"bpf", "load a program into the kernel in a user namespace of its own", `nested(0, lambda: 'made a map: %d' % call('bpf', 0, struct.pack('IIII', 2, 4, 4, 1) + bytes(112), 128))`},
		{"keys", "make keys in a user namespace of its own", `nested(0, lambda: 'made one: %d' % call('add_key', b'user', b'x', b'y', 1, -3))`},
		{"ring", "have system calls made for it (io_uring) in a user namespace of its own", `
nested(0, lambda: 'made a ring: %d' % call('io_uring_setup', 4, bytes(120)))`},
		{"first-process", "trace the first process from a user namespace of its own", `nested(0, lambda: (call('ptrace', 16, 1, 0, 0), 'it does')[1])`},
		{"host-name", "change the host's name from a user namespace of its own", `

def rename():
    socket.sethostname('escaped'); return 'changed it'
nested(0, rename)`},
	} {
		es = append(es, Escape{Name: "nested/" + c.name, Tries: c.tries, Seen: "it does", nested: true, code: inside + c.code})
	}
	given := func(name, tries, seen, code string) {
		es = append(es, Escape{Name: "mounts/" + name, Tries: tries, Seen: seen, needs: []need{needMounts}, code: code})
	}
	given("write", "write to a directory that it was given to read", "the open succeeds", `
os.close(os.open('/mnt/given/new', os.O_CREAT|os.O_WRONLY)); escaped('made a file')`)
	given("write-file", "write to a file that it was given to read", "the open succeeds; nothing is written", `opens('/mnt/given/writable')`)
	given("remount", "make what it was given writable", "the kernel does it", `refused('mount', 0, b'/mnt/given', 0, 32, 0)`)
	given("dot-dot", "leave what it was given by ..", seenSecret, `
every(['/mnt/given/..' + '/..' * n + F['file'] for n in range(4)], read)`)
	given("link", "leave what it was given by a link in it", seenSecret, `steal('/mnt/given/link')`)
	return es
}
