package sandboxtest

import "github.com/agentflow-go/sandbox"

// resourceEscapes take more than the policy gives. Each takes a bounded amount
// only, and most look at the limit first. Of a limit of processes a few dozen more
// are granted, as a jail has some of its own.
func resourceEscapes() []Escape {
	const fill = `
def fill(where):
    v = os.statvfs(where); size = v.f_blocks * v.f_frsize
    if not foreign('mnt') or size > 300 << 20:
        escaped('%s has %d MiB; not filled' % (where, size >> 20))
    name = where + '/fill-' + F['case']
    fd = os.open(name, os.O_CREAT|os.O_WRONLY)
    try:
        try:
            for at in range(0, size + (2 << 20), 1 << 20): os.posix_fallocate(fd, at, 1 << 20)
        except OSError as e: stopped('%s after %d MiB of %d' % (e.strerror, at >> 20, size >> 20))
        escaped('took %d MiB, more than its size' % (size >> 20))
    finally: os.unlink(name)
`
	const hog = `
# Bounded by itself, at twice the limit.
def hog(take):
    got, step = 0, 4 << 20
    keep = []
    while got < 2 * F['memory']:
        keep.append(take(step)); got += step
    return got
`
	return []Escape{
		{Name: "resources/processes", Tries: "have more processes than its limit, 400 at most", Seen: "they are there at once", alone: true,
			limits: sandbox.Limits{Processes: 64},
			code: `
soft, hard = resource.getrlimit(resource.RLIMIT_NPROC)
if not (0 < hard <= 64) and not F['proven']: skipped('not tried: no limit is to be seen')
pids, why = [], ''
r, w = os.pipe()
for _ in range(400):
    try: pid = os.fork()
    except OSError as e: why = e.strerror; break
    if pid == 0:
        os.close(w); os.read(r, 1); os._exit(0)
    pids.append(pid)
os.close(w)
for p in pids: os.waitpid(p, 0)
if len(pids) > 96: escaped('%d processes' % len(pids))
stopped('%s after %d' % (why, len(pids)))`},
		{Name: "resources/threads", Tries: "have more threads than its limit of processes, 400 at most", Seen: "they are there at once", alone: true,
			limits: sandbox.Limits{Processes: 64},
			code: `
import threading
soft, hard = resource.getrlimit(resource.RLIMIT_NPROC)
if not (0 < hard <= 64) and not F['proven']: skipped('not tried: no limit is to be seen')
threading.stack_size(64 << 10)
stop, n = threading.Event(), 0
try:
    for n in range(400): threading.Thread(target=stop.wait, daemon=True).start()
except RuntimeError as e: stopped('%s after %d' % (e, n)) if n <= 96 else escaped(n)
escaped('%d threads' % n)`},
		{Name: "resources/descriptors", Tries: "open more files than its limit, 4,000 at most", Seen: "they are open at once",
			code: `
limit = F['files']
if limit <= 0 or limit > 4000: skipped('the policy has no limit below 4000')
n = 0
try:
    while n <= limit + 8: os.open('/dev/null', os.O_RDONLY); n += 1
except OSError as e: stopped('%s after %d' % (e.strerror, n)) if n <= limit else escaped(n)
escaped('%d are open' % n)`},
		{Name: "resources/memory", Tries: "take twice its limit of memory", Seen: "it has it", alone: true, needs: []need{needMemory},
			limits: sandbox.Limits{Memory: 96 << 20},
			code:   hog + `escaped('has %d MiB' % (hog(lambda n: b'x' * n) >> 20))`},
		{Name: "resources/shared-memory", Tries: "take twice its limit of memory as shared memory that no process maps", Seen: "it has it", alone: true, needs: []need{needMemory},
			limits: sandbox.Limits{Memory: 96 << 20},
			code: hog + `
def take(n):
    fd = os.memfd_create('x'); os.posix_fallocate(fd, 0, n); return fd
escaped('has %d MiB' % (hog(take) >> 20))`},
		{Name: "resources/memory-of-sysv", Tries: "take twice its limit of memory as System V segments, which outlive processes", Seen: "it has it", alone: true, needs: []need{needMemory},
			limits: sandbox.Limits{Memory: 96 << 20},
			code: hog + `
if not foreign('ipc'): skipped('not tried: segments would stay on the host')
libc.shmat.restype = ctypes.c_void_p
def take(n):
    s = libc.shmget(0, n, 0o1600)
    if s < 0: raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    p = libc.shmat(s, None, 0); ctypes.memset(p, 1, n); return s
escaped('has %d MiB' % (hog(take) >> 20))`},
		{Name: "resources/children", Tries: "take twice its limit of memory in several processes", Seen: "they have it", alone: true, needs: []need{needMemory},
			limits: sandbox.Limits{Memory: 96 << 20},
			code: `
r, w = os.pipe(); gr, gw = os.pipe(); pids = []
for _ in range(4):
    pid = os.fork()
    if pid == 0:
        os.close(gw); x = b'x' * (48 << 20); os.write(w, b'1'); os.read(gr, 1); os._exit(0)
    pids.append(pid)
os.close(w); got = 0
import select
while got < 4:
    if select.select([r], [], [], 0.02)[0]: got += len(os.read(r, 4))
    p, status = os.waitpid(-1, os.WNOHANG)
    if p: stopped('one of four children ended: status %d; %d had their memory' % (status, got))
escaped('four children have 48 MiB each')`},
		{Name: "resources/netlink-buffers", Tries: "take more than its limit of memory in the buffers of netlink sockets, 500 of them", Seen: "they hold it", alone: true, needs: []need{needMemory},
			limits: sandbox.Limits{Memory: 96 << 20},
			code: `
if not foreign('net'): skipped('not tried: the buffers would be the host\'s')
link = struct.pack('IHHIIBBHiII', 32, 18, 1, 1, 0, 0, 0, 0, 1, 0, 0)  # RTM_GETLINK of the loopback
keep = []
for _ in range(500):
    s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0); s.setblocking(False); keep.append(s)
    try:
        for _ in range(3): s.send(link * 60)
    except OSError: pass  # its buffer is full
got = sum(struct.unpack('9I', s.getsockopt(socket.SOL_SOCKET, 55, 36))[0] for s in keep)
if got > F['memory']: escaped('they hold %d MiB' % (got >> 20))
stopped('they hold %d MiB' % (got >> 20))`},
		{Name: "resources/tmp", Tries: "fill /tmp beyond its size", Seen: "it takes more, or has no size of its own", alone: true, code: fill + `fill('/tmp')`},
		{Name: "resources/shm", Tries: "fill /dev/shm beyond its size", Seen: "it takes more, or has no size of its own", alone: true, code: fill + `fill('/dev/shm')`},
		{Name: "resources/unlinked", Tries: "fill /tmp with files that have no name any more", Seen: "it takes more, or has no size of its own", alone: true,
			code: fill + `
v = os.statvfs('/tmp'); size = v.f_blocks * v.f_frsize
if not foreign('mnt') or size > 300 << 20: escaped('/tmp has %d MiB; not filled' % (size >> 20))
for n in range(0, (size >> 20) + 2):
    fd = os.open('/tmp/gone', os.O_CREAT|os.O_WRONLY); os.unlink('/tmp/gone')
    try: os.posix_fallocate(fd, 0, 1 << 20)
    except OSError as e: stopped('%s after %d files of 1 MiB' % (e.strerror, n))
escaped('took more than its size')`},
		{Name: "resources/inodes", Tries: "take the kernel's memory by empty files in /tmp, 400,000 at most", Seen: "they are there", alone: true, needs: []need{needMemory},
			limits: sandbox.Limits{Memory: 96 << 20},
			code: `
if not foreign('mnt'): skipped('not tried: /tmp is the host\'s')
n = 0
try:
    for n in range(400000): os.close(os.open('/tmp/%d' % n, os.O_CREAT|os.O_WRONLY))
except OSError as e: stopped('%s after %d' % (e.strerror, n))
escaped('has %d files in %d MiB of memory' % (n + 1, F['memory'] >> 20))`},
		{Name: "resources/queues", Tries: "take the kernel's memory by message queues", Seen: "more than 16 MiB are there",
			code: `
if not foreign('ipc'): skipped('not tried: queues would stay on the host')
n = 0
attr = struct.pack('qqqq', 0, 10, 8192, 0) + bytes(32)
try:
    for n in range(200): call('mq_open', ('q%d' % n).encode(), os.O_CREAT|os.O_RDWR, 0o600, attr)
except OSError as e: stopped('%s after %d queues' % (e.strerror, n))
escaped('%d queues of 80 KiB' % n)`},
		{Name: "resources/zombies", Tries: "fill the process table with children that nobody waits for", Seen: "they stay", alone: true,
			code: `
for _ in range(40):
    pid = os.fork()
    if pid == 0:
        if os.fork() == 0: os._exit(0)
        os._exit(0)
    os.waitpid(pid, 0)
for _ in range(2000):
    left = 0
    for p in glob.glob('/proc/[0-9]*/stat'):
        try: f = read(p).decode().rsplit(')', 1)[1].split()
        except OSError: continue
        left += f[0] == 'Z' and f[1] in ('1', str(os.getpid()))
    if not left: stopped('somebody waited for all of them')
    time.sleep(0.01)
escaped('%d zombies after 20 seconds' % left)`},
		{Name: "resources/core-dumps", Tries: "leave a core dump", Seen: "the limit of its size is more than a byte",
			code: `
soft, hard = resource.getrlimit(resource.RLIMIT_CORE)
if not 0 <= hard <= 1: escaped('the limit is %d' % hard)
stopped('the limit is %d' % hard)`},
		{Name: "resources/core-dump-collector", Tries: "have the host's root collect a core dump from a pipe", Seen: "the limit of core dumps, which must be 1 to forbid that, becomes 0",
			code: `
if resource.getrlimit(resource.RLIMIT_CORE)[1] == 0: skipped('the limit was 0 before the program started, and cannot be raised')
errors = set()
for f in (lambda: resource.setrlimit(resource.RLIMIT_CORE, (0, 0)), lambda: resource.prlimit(0, resource.RLIMIT_CORE, (0, 0)),
          lambda: call('setrlimit', resource.RLIMIT_CORE, bytes(16))):
    try: f()
    except OSError as e: errors.add(e.strerror)
if 0 in resource.getrlimit(resource.RLIMIT_CORE): escaped('it is 0')
stopped(sorted(errors) or 'nothing was done')`},
		{Name: "resources/huge-pages", Tries: "take the machine's huge pages, which no limit of memory counts", Seen: "it is given some",
			code: `
import mmap
errors = set()
for f in (lambda: mmap.mmap(-1, 1 << 30, flags=mmap.MAP_PRIVATE|mmap.MAP_ANONYMOUS|0x40000, prot=0),
          lambda: os.memfd_create('x', os.MFD_HUGETLB), lambda: call('shmget', 0, 1 << 30, 0o5600)):
    try: f()
    except OSError as e: errors.add(e.strerror)
    else: escaped('it has some')
stopped(sorted(errors))`},
		{Name: "resources/aio-contexts", Tries: "take contexts of asynchronous input and output, which the machine has some of for everybody", Seen: "it has one",
			code: `call('io_setup', 1, (ctypes.c_long * 1)()); escaped('it has one')`},
		{Name: "resources/socket-buffers", Tries: "take more than its limit of memory in the buffers of sockets, twice at most", Seen: "they hold it", alone: true, needs: []need{needMemory},
			limits: sandbox.Limits{Memory: 96 << 20},
			code: `
if not foreign('net'): skipped('not tried: the buffers would be the host\'s')
def held(s): return struct.unpack('9I', s.getsockopt(socket.SOL_SOCKET, 55, 36))[0]  # SO_MEMINFO
out, keep, got = socket.socket(socket.AF_INET, socket.SOCK_DGRAM), [], 0
while got < 2 * F['memory'] and len(keep) < 900:
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('127.0.0.1', 0))
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    before = -1
    while held(s) > before:
        before = held(s)
        for _ in range(8): out.sendto(bytes(30000), s.getsockname())
    keep.append(s); got += held(s)
got = sum(map(held, keep))
if got > F['memory']: escaped('they hold %d MiB' % (got >> 20))
stopped('%d sockets hold %d MiB' % (len(keep), got >> 20))`},
	}
}
