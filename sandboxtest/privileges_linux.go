package sandboxtest

// privilegeEscapes ask for more rights than the programs were given.
func privilegeEscapes() []Escape {
	return []Escape{
		{Name: "privileges/setuid", Tries: "become root", Seen: "its user is 0 after the call", code: `judge(child(lambda: os.setuid(0) or os.getuid()), 'setuid(0)')`},
		{Name: "privileges/setgid", Tries: "join the group root", Seen: "the call succeeds", code: `judge(child(lambda: os.setgid(0) or os.getgid()), 'setgid(0)')`},
		{Name: "privileges/setgroups", Tries: "choose its groups", Seen: "the call succeeds", code: `judge(child(lambda: os.setgroups([0, 4, 27]) or os.getgroups()), 'setgroups')`},
		{Name: "privileges/neighbour", Tries: "become the user of another worker", Seen: "the call succeeds", code: `judge(child(lambda: os.setuid(os.getuid() + 1) or os.getuid()), 'setuid')`},
		{Name: "privileges/capset", Tries: "raise all its capabilities", Seen: "it has some after the call",
			code: `
def f():
    call('capset', struct.pack('II', 0x20080522, 0), struct.pack('IIIIII', 0xffffffff, 0xffffffff, 0, 0x1ff, 0x1ff, 0))
    return 'has them'
def g():
    for line in open('/proc/self/status'):
        if line.startswith('CapEff') and int(line.split()[1], 16): return 'has ' + line.split()[1]
    return f()
judge(child(g), 'capabilities')`},
		{Name: "privileges/bounding-set", Tries: "find capabilities that a program could give it", Seen: "some of its sets is not empty",
			code: `
sets = {l.split(':')[0]: int(l.split()[1], 16) for l in open('/proc/self/status') if l.startswith('Cap')}
left = {k: hex(v) for k, v in sets.items() if v}
if left: escaped(left)
stopped('all sets are empty')`},
		{Name: "privileges/no-new-privs", Tries: "run without no_new_privs, or drop it", Seen: "the flag is 0",
			code: `
PR_SET, PR_GET = 38, 39
if libc.prctl(PR_GET, 0, 0, 0, 0) == 0: escaped('it is not set')
libc.prctl(PR_SET, 0, 0, 0, 0)
if libc.prctl(PR_GET, 0, 0, 0, 0) == 0: escaped('dropped it')
stopped('it is set and stays')`},
		{Name: "privileges/groups", Tries: "find itself in groups of the host", Seen: "it has further groups than its own",
			code: `
extra = sorted(set(os.getgroups()) - {os.getgid(), 65534})
if extra: escaped(extra)
stopped('groups %r, own %d' % (os.getgroups(), os.getgid()))`},
		{Name: "privileges/nice", Tries: "take processor time from everybody by its priority", Seen: "the call succeeds", code: `judge(child(lambda: os.setpriority(os.PRIO_PROCESS, 0, -20) or 'nice -20'), 'setpriority')`},
		{Name: "privileges/realtime", Tries: "take the processor in real time", Seen: "the call succeeds", code: `judge(child(lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1)) or 'real time'), 'SCHED_FIFO')`},
		{Name: "privileges/hostname", Tries: "rename the machine (as it is named)", Seen: "the call succeeds", code: `socket.sethostname(socket.gethostname()); escaped('did it')`},
		{Name: "privileges/raise-limits", Tries: "raise its hard limits", Seen: "one is higher than before",
			code: `
errors = []
for name in ('NOFILE', 'NPROC', 'CORE'):
    which = getattr(resource, 'RLIMIT_' + name)
    soft, hard = resource.getrlimit(which)
    if hard == resource.RLIM_INFINITY:
        if name == 'CORE': escaped('core dumps are not limited')
        errors.append(name + ' is unlimited'); continue
    try: resource.setrlimit(which, (soft, hard + 1))
    except (ValueError, OSError) as e: errors.append('%s: %s' % (name, e))
    if resource.getrlimit(which)[1] > hard: escaped('raised ' + name)
stopped(errors)`},
		{Name: "privileges/dac", Tries: "open a file of its own that it may not", Seen: "the open succeeds",
			code: `
os.close(os.open('locked-' + F['case'], os.O_CREAT|os.O_WRONLY, 0)); os.close(os.open('locked-' + F['case'], os.O_RDONLY)); escaped('permissions do not hold it')`},
		{Name: "privileges/immutable", Tries: "make a file that cannot be removed", Seen: "the attribute is set (and then cleared)",
			code: `
import fcntl
fd = os.open('immutable-' + F['case'], os.O_CREAT|os.O_RDWR)
flags = bytearray(fcntl.ioctl(fd, 0x80086601, bytes(8)))
fcntl.ioctl(fd, 0x40086602, bytes([flags[0] | 0x10]) + bytes(flags[1:]))
fcntl.ioctl(fd, 0x40086602, bytes(flags)); escaped('set it')`},
	}
}
