# What every case starts with. Its verdict is its last line of output:
# ESCAPED, STOPPED or SKIPPED, and why.
import ctypes, errno, glob, json, os, re, resource, signal, socket, stat, struct, sys, time
from errno import EACCES, EINVAL, ENOENT, ENOSYS, EPERM

F = json.loads(os.environ['ESCAPE_FACTS'])
SECRET = b'sandboxtest-' + b'secret-'  # in two, to be found in no argument of ours
libc = ctypes.CDLL(None, use_errno=True)


def verdict(word, why):
    sys.stdout.write('\n%s %s\n' % (word, ' '.join(str(why).split())[:400]))
    sys.stdout.flush()
    os._exit(0)


def escaped(why): verdict('ESCAPED', why)
def stopped(why): verdict('STOPPED', why)
def skipped(why): verdict('SKIPPED', why)


def told(e):  # an error in words
    return '%s: %s' % (e.filename or 'the call', e.strerror) if isinstance(e, OSError) else repr(e)


def found(data, where):  # a secret of the suite's in data is an escape
    if isinstance(data, str):
        data = data.encode('utf8', 'surrogateescape')
    m = re.search(SECRET + rb'[0-9a-f]+-\w+', data)
    if m:
        escaped('%s: read %s' % (where, m.group().decode()))


def read(path, limit=1 << 20):
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    try:
        data = os.read(fd, limit)
        while data and len(data) < limit:  # a file of /proc gives a part at a time
            try:
                more = os.read(fd, limit - len(data))
            except OSError:
                break
            if not more:
                break
            data += more
        return data
    finally:
        os.close(fd)


def steal(path):
    data = read(path)
    found(data, path)
    stopped('%s holds nothing of the suite: %r' % (path, data[:40]))


def every(paths, get):  # try all, and tell the errors if none gives a secret
    errors, seen = {}, 0
    for p in paths:
        try:
            found(get(p), p)
            seen += 1
        except OSError as e:
            errors[e.strerror] = errors.get(e.strerror, 0) + 1
    stopped('%d readable, no secret in them; errors: %s' % (seen, errors))


def opens(path, flags=os.O_RDWR):  # opening it is the escape; nothing is written
    fd = os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY)
    os.close(fd)
    escaped('opened ' + path)


def foreign(name='pid'):  # a namespace that is not the suite's
    return os.readlink('/proc/self/ns/' + name) != F['ns'][name]


def only_in_own_pids():
    if not foreign('pid'):
        skipped('not tried: this is the process namespace of the host')


def victim():  # its number, if that is not another process here
    pid = F['victim']
    try:
        cmd = read('/proc/%d/cmdline' % pid)
    except OSError:
        return pid
    if F['mark'].encode() not in cmd:
        stopped('process %d is another one here' % pid)
    return pid


# Numbers of system calls: amd64, arm64.
NR = dict(
    open=(2, None), ioctl=(16, 29), socket=(41, 198), clone=(56, 220), ptrace=(101, 117), syslog=(103, 116), mknod=(133, None),
    personality=(135, 92), modify_ldt=(154, None), pivot_root=(155, 41), adjtimex=(159, 171), acct=(163, 89),
    mount=(165, 40), umount2=(166, 39), swapon=(167, 224), reboot=(169, 142), iopl=(172, None), ioperm=(173, None),
    init_module=(175, 105), delete_module=(176, 106), migrate_pages=(256, 238), add_key=(248, 217), request_key=(249, 218), keyctl=(250, 219),
    unshare=(272, 97), move_pages=(279, 239), perf_event_open=(298, 241), fanotify_init=(300, 262),
    name_to_handle_at=(303, 264), open_by_handle_at=(304, 265), setns=(308, 268), process_vm_readv=(310, 270),
    process_vm_writev=(311, 271), kcmp=(312, 272), finit_module=(313, 273), kexec_load=(246, 104), kexec_file_load=(320, 294),
    bpf=(321, 280), userfaultfd=(323, 282), pidfd_send_signal=(424, 424), io_uring_setup=(425, 425), io_uring_enter=(426, 426),
    open_tree=(428, 428), move_mount=(429, 429), fsopen=(430, 430), fspick=(433, 433), pidfd_open=(434, 434), clone3=(435, 435),
    openat2=(437, 437), pidfd_getfd=(438, 438), process_madvise=(440, 440), mount_setattr=(442, 442), quotactl=(179, 60),
    memfd_secret=(447, 447), fchmodat2=(452, 452), capset=(126, 91), shmget=(29, 194), shmat=(30, 196), shmctl=(31, 195),
    mq_open=(240, 180), mq_timedreceive=(243, 183), settimeofday=(164, 170), setrlimit=(160, 164), io_setup=(206, 0),
)
MACHINE = os.uname().machine
ARCH = {'x86_64': 0, 'aarch64': 1}.get(MACHINE)


def number(name):
    nr = NR[name][ARCH] if ARCH is not None else None
    if nr is None:
        skipped('%s is no system call of %s' % (name, MACHINE))
    return nr


def raw(nr, *args):
    ctypes.set_errno(0)
    libc.syscall.restype = ctypes.c_long
    keep = [a if isinstance(a, (bytes, ctypes.Array, ctypes.Structure)) else ctypes.c_long(a) for a in args]
    r = libc.syscall(ctypes.c_long(nr), *keep)
    if r == -1 and ctypes.get_errno():
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return r


def call(name, *args):
    return raw(number(name), *args)


# A call that must be refused as such. An error that speaks of its arguments means
# that it was not.
def refused(name, *args, by=(EPERM, ENOSYS, EACCES, errno.EAFNOSUPPORT)):
    try:
        r = call(name, *args)
    except OSError as e:
        if e.errno in by:
            stopped('%s: %s' % (name, e.strerror))
        escaped('%s was let through to look at its arguments: %s' % (name, e.strerror))
    escaped('%s = %d' % (name, r))


# Run f in a child; its return value, or its end, as (kind, value).
def child(f):
    r, w = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            out = 'ok %s' % f()
        except OSError as e:
            out = 'error %s' % e.strerror
        except BaseException as e:
            out = 'broken %r' % e
        os.write(w, out.encode())
        os._exit(0)
    os.close(w)
    out = b''
    while True:
        b = os.read(r, 4096)
        if not b:
            break
        out += b
    os.close(r)
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status):
        return 'killed', signal.Signals(os.WTERMSIG(status)).name
    kind, _, value = out.decode().partition(' ')
    if kind == 'broken' or not kind:
        raise RuntimeError('child: ' + value)
    return kind, value


def judge(result, what):
    kind, value = result
    if kind == 'ok':
        escaped('%s: %s' % (what, value))
    stopped('%s: %s' % (what, value))


def main():
    try:
        exec(compile(sys.argv[1], 'escape', 'exec'), globals())
    except OSError as e:
        stopped(told(e))
    sys.stdout.write('\nno verdict\n')


main()
