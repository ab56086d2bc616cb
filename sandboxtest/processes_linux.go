package sandboxtest

// processEscapes reach for processes outside, and for what processes share.
func processEscapes() []Escape {
	hurt := func(what, tries, code string) Escape {
		return Escape{Name: "processes/" + what, Tries: tries + " a process of the host", Seen: "the call succeeds, or the process is gone",
			needs: []need{needVictim}, code: "pid = victim()\n" + code, after: victimGone}
	}
	return []Escape{
		hurt("kill", "kill", `os.kill(pid, signal.SIGKILL); escaped('killed it')`),
		hurt("kill-group", "kill the group of", `os.killpg(pid, signal.SIGTERM); escaped('killed it')`),
		hurt("pidfd", "kill by descriptor", `fd = call('pidfd_open', pid, 0); call('pidfd_send_signal', fd, 9, 0, 0); escaped('killed it')`),
		hurt("sigio", "have the kernel signal", `
import fcntl
a, b = socket.socketpair()
fcntl.fcntl(a, fcntl.F_SETOWN, pid)
fcntl.fcntl(a, 10, signal.SIGKILL)  # F_SETSIG
fcntl.fcntl(a, fcntl.F_SETFL, fcntl.fcntl(a, fcntl.F_GETFL) | os.O_ASYNC)
b.send(b'x'); stopped('the kernel did not complain')`),
		hurt("priority", "lower the priority of", `os.setpriority(os.PRIO_PROCESS, pid, 19); escaped('did it')`),
		hurt("affinity", "move between processors", `os.sched_setaffinity(pid, os.sched_getaffinity(0)); escaped('did it')`),
		hurt("scheduler", "change the scheduling of", `os.sched_setscheduler(pid, os.SCHED_BATCH, os.sched_param(0)); escaped('did it')`),
		hurt("limits", "change the limits of", `resource.prlimit(pid, resource.RLIMIT_CORE, (0, 0)); escaped('did it')`),
		hurt("ptrace", "trace", `call('ptrace', 0x4206, pid, 0, 0); escaped('traces it')`),
		hurt("read-memory", "read the memory of", `
buf = ctypes.create_string_buffer(16); v = struct.pack('QQ', ctypes.addressof(buf), 16)
try: call('process_vm_readv', pid, v, 1, struct.pack('QQ', 4096, 16), 1, 0)
except OSError as e:
    if e.errno in (EPERM, errno.ESRCH, ENOSYS): raise
    escaped('only its address was wrong: ' + e.strerror)
escaped('read some')`),
		hurt("descriptors", "take a descriptor from", `fd = call('pidfd_open', pid, 0); escaped('got %d' % call('pidfd_getfd', fd, 0, 0))`),
		hurt("compare", "compare itself with", `escaped('kcmp = %d' % call('kcmp', os.getpid(), pid, 1, 0, 0))`),
		hurt("move-pages", "move the memory of", `escaped('move_pages = %d' % call('migrate_pages', pid, 64, bytes(8), bytes(8)))`),
		hurt("sessions", "learn the session of", `escaped('session %d' % os.getsid(pid))`),

		{Name: "processes/trace-first", Tries: "trace the first process", Seen: "ptrace succeeds", alone: true,
			code: `
only_in_own_pids()
call('ptrace', 0x4206, 1, 0, 0); escaped('traces it')`},
		{Name: "processes/first-descriptor", Tries: "take the socket to the host from the first process", Seen: "pidfd_getfd gives it", alone: true,
			code: `
only_in_own_pids()
fd = call('pidfd_open', 1, 0); escaped('got %d' % call('pidfd_getfd', fd, 3, 0))`},
		{Name: "processes/count", Tries: "see a process of the host or of another worker", Seen: "the arguments of one name the suite", needs: []need{needVictim},
			code: `
pids = [p for p in os.listdir('/proc') if p.isdigit()]
for p in pids:
    try:
        if F['mark'].encode() in read('/proc/%s/cmdline' % p): escaped('sees process ' + p)
    except OSError: pass
stopped('of %d in sight, none' % len(pids))`},
		{Name: "processes/shared-memory", Tries: "attach to shared memory (System V) of the host by its number", Seen: seenSecret,
			code: `
libc.shmat.restype = ctypes.c_void_p
p = libc.shmat(F['sysv'], None, 0o10000)
if p in (None, ctypes.c_void_p(-1).value): stopped(os.strerror(ctypes.get_errno()))
found(ctypes.string_at(p, 128), 'segment %d' % F['sysv']); stopped('no secret in it')`},
		{Name: "processes/shared-memory-key", Tries: "find shared memory (System V) of the host by its key", Seen: seenSecret,
			code: `
shm = libc.shmget(F['sysv_key'], 0, 0)
if shm < 0: stopped(os.strerror(ctypes.get_errno()))
libc.shmat.restype = ctypes.c_void_p
p = libc.shmat(shm, None, 0o10000)
if p in (None, ctypes.c_void_p(-1).value): stopped(os.strerror(ctypes.get_errno()))
found(ctypes.string_at(p, 128), 'its key'); stopped('no secret in it')`},
		{Name: "processes/message-queue", Tries: "open a message queue of the host", Seen: "mq_open succeeds",
			code: `escaped('descriptor %d' % call('mq_open', F['mq'].encode(), os.O_RDONLY|os.O_NONBLOCK, 0, 0))`},
		{Name: "processes/namespaces", Tries: "find itself in namespaces of the host", Seen: "the names are the host's",
			code: `
same = [n for n in F['ns'] if not foreign(n)]
if same: escaped('shares ' + ', '.join(same))
stopped('all are its own')`},
	}
}

// victimGone tells whether the victim ended.
func victimGone(_ *world, tried *attempt) string {
	if tried.hurt {
		return "the process is gone"
	}
	return ""
}
