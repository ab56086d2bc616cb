package sandboxtest

import (
	"io/fs"
	"os"
	"path/filepath"
)

const (
	seenSecret = "its output holds the secret"
	seenOpen   = "the open succeeds; nothing is read or written"
)

// fileEscapes reach for files of the host and of other workers.
func fileEscapes() []Escape {
	es := []Escape{
		{Name: "files/host-file", Tries: "read a file of the host that anybody may read", Seen: seenSecret,
			code: `steal(F['file'])`},
		{Name: "files/other-workspace", Tries: "read another worker's file by its path on the host", Seen: seenSecret,
			code: `steal(F['other'] + '/secret')`},
		{Name: "files/neighbouring-workspaces", Tries: "find other workspaces around its own", Seen: seenSecret,
			code: `
up = os.path.realpath('.')
paths = []
for _ in range(4):
    up = os.path.dirname(up)
    for n in range(1, 4):
        paths += glob.glob(up + '/*' * n + '/secret')
    if up == '/': break
every(sorted(set(paths)) or [os.path.dirname(os.path.realpath('.')) + '/secret'], read)`},
		{Name: "files/dot-dot", Tries: "climb out of the workspace by ..", Seen: seenSecret,
			code: `steal('../' * 64 + F['file'].lstrip('/'))`},
		{Name: "files/symlink", Tries: "follow a link in the workspace to a file of the host", Seen: seenSecret,
			code: `os.symlink(F['file'], 'to-' + F['case']); steal('to-' + F['case'])`},
		{Name: "files/symlink-to-directory", Tries: "make a file of the host through a link to its directory", Seen: "the file is there, on the host",
			code:  `os.symlink(F['dir'], 'dir-' + F['case']); os.close(os.open('dir-%s/made-%s' % (F['case'], F['case']), os.O_CREAT|os.O_WRONLY)); stopped('made a file somewhere')`,
			after: madeOutside},
		{Name: "files/hard-link", Tries: "link a file of the host into the workspace", Seen: seenSecret,
			code: `os.link(F['file'], 'hard-' + F['case']); steal('hard-' + F['case'])`},
		{Name: "files/rename", Tries: "move a file of its own to the host", Seen: "the file is there, on the host",
			code:  `open('mine-' + F['case'], 'w').close(); os.rename('mine-' + F['case'], F['dir'] + '/made-' + F['case']); stopped('moved it somewhere')`,
			after: madeOutside},
		{Name: "files/create", Tries: "make a file in a directory of the host that anybody may write to", Seen: "the file is there, on the host",
			code:  `os.close(os.open(F['dir'] + '/made-' + F['case'], os.O_CREAT|os.O_WRONLY)); stopped('made a file somewhere')`,
			after: madeOutside},
		{Name: "files/append", Tries: "write to a file of the host that anybody may write to", Seen: "the file has changed, on the host",
			code:  `fd = os.open(F['writable'], os.O_WRONLY|os.O_APPEND); os.write(fd, b'changed by ' + F['case'].encode()); stopped('wrote somewhere')`,
			after: changedOutside},
		{Name: "files/remove", Tries: "remove a file of the host that anybody may remove", Seen: "the file is gone, on the host",
			code: `os.unlink(F['removable']); stopped('removed something')`,
			after: func(w *world, _ *attempt) string {
				if _, err := os.Lstat(w.facts.Removable); err != nil {
					return err.Error()
				}
				return ""
			}},
		{Name: "files/loader", Tries: "start a program of the host by the dynamic loader", Seen: seenSecret,
			code: `
ld = glob.glob('/lib64/ld-linux-*') + glob.glob('/lib/ld-linux-*') + glob.glob('/lib/ld-musl-*')
if not ld: skipped('no dynamic loader found')
import subprocess; p = subprocess.run([ld[0], F['program'], F['file']], capture_output=True)
found(p.stdout, F['program'])
stopped(p.stderr.decode(errors='replace'))`},
		{Name: "files/loader-preload", Tries: "have the dynamic loader open a file of the host and quote it", Seen: seenSecret,
			code: `
import subprocess; p = subprocess.run(['/bin/true'], env={'LD_PRELOAD': F['file'], 'LD_DEBUG': 'files'}, capture_output=True)
found(p.stderr, 'LD_PRELOAD')
if b'invalid ELF header' in p.stderr or b'file too short' in p.stderr: escaped('the loader read it: ' + p.stderr.decode()[-200:])
stopped(p.stderr.decode(errors='replace')[-200:])`},
		{Name: "files/inherited-descriptor", Tries: "use a descriptor that the host program left open", Seen: seenSecret,
			code: `
left = []
for n in os.listdir('/proc/self/fd'):
    n = int(n)
    if n <= 2: continue
    try: to = os.readlink('/proc/self/fd/%d' % n)
    except OSError: continue
    if to == '/proc/%d/fd' % os.getpid(): continue
    left.append('%d -> %s' % (n, to))
    for name in ('secret', '../secret'):
        try: found(os.read(os.open(name, os.O_RDONLY, dir_fd=n), 4096), left[-1])
        except OSError: pass
if left: escaped('has descriptors: ' + ', '.join(left))
stopped('there is none but the standard streams')`},
		{Name: "files/kept-directory", Tries: "climb above the workspace from a descriptor of it that was moved meanwhile", Seen: seenSecret,
			code: `
d = 'a-' + F['case']
os.makedirs(d + '/b/c'); fd = os.open(d + '/b/c', os.O_PATH|os.O_DIRECTORY)
os.rename(d + '/b/c', 'c-' + F['case']); os.fchdir(fd)
steal('../' * 64 + F['file'].lstrip('/'))`},
		{Name: "files/proc-root", Tries: "leave through /proc/self/root and /proc/self/cwd", Seen: seenSecret,
			code: `every(['/proc/self/root' + F['file'], '/proc/self/cwd/' + '../' * 64 + F['file'].lstrip('/'), '/proc/thread-self/root' + F['file']], read)`},
		{Name: "files/handle", Tries: "open a file by a handle, past all directories", Seen: "open_by_handle_at looks at its arguments",
			code: `
h = ctypes.create_string_buffer(struct.pack('Ii', 128, 0) + bytes(128))
mid = ctypes.create_string_buffer(8)
try: call('name_to_handle_at', -100, b'/usr', h, mid, 0)
except OSError: struct.pack_into('Ii', h, 0, 8, 1)
fd = os.open('/usr', os.O_RDONLY)
refused('open_by_handle_at', fd, h, os.O_RDONLY)`},
		{Name: "files/setuid-bit", Tries: "leave a program with the set-user-id bit in the workspace", Seen: "the host sees the bit in the workspace",
			code: `
e = []
def attempt(f, *a):
    try: f(*a)
    except OSError as x: e.append(x.strerror)
open('s1', 'w').close(); attempt(os.chmod, 's1', 0o4755)
attempt(lambda: os.fchmod(os.open('s1', os.O_RDONLY), 0o6755))
attempt(lambda: os.close(os.open('s2', os.O_CREAT|os.O_WRONLY, 0o4755)))
attempt(lambda: call('fchmodat2', -100, b's1', 0o4755, 0))
attempt(lambda: call('openat2', -100, b's3', ctypes.create_string_buffer(struct.pack('QQQ', os.O_CREAT|os.O_WRONLY, 0o4755, 0), 24), 24))
attempt(lambda: call('mknod', b's4', stat.S_IFREG|0o4755, 0) if ARCH == 0 else None)
os.mkdir('s5'); attempt(os.chmod, 's5', 0o2755)
stopped(e)`,
			alone: true,
			after: func(_ *world, tried *attempt) string { return tried.left(fs.ModeSetuid | fs.ModeSetgid) }},
		{Name: "files/capabilities", Tries: "give a program in the workspace capabilities", Seen: "the attribute is set",
			code: `
open('cap-' + F['case'], 'w').close()
os.setxattr('cap-' + F['case'], 'security.capability', struct.pack('<IIIII', 0x02000001, 1 << 21, 0, 0, 0))
escaped('set security.capability')`},
		{Name: "files/setuid-program", Tries: "gain its owner's rights from a set-user-id root program", Seen: "the program's effective user is not the caller's", alone: true,
			needs: []need{needRoot, needSetuid},
			code: `
before = os.getuid()
import subprocess; out = subprocess.run(['./setuid-id', '-u'], capture_output=True)
now = out.stdout.decode().strip()
if now == str(before) and before != 0: stopped('it runs as %s: the mount is nosuid or privileges are off' % now)
if now: escaped('it runs as %s for %d' % (now, before))
stopped(out.stderr.decode())`},
		{Name: "files/device-node", Tries: "make device nodes in the workspace and in /tmp", Seen: "mknod succeeds and the device opens",
			code: `
errors = []
for where in ('dev-' + F['case'], '/tmp/dev-' + F['case']):
    for mode in (stat.S_IFCHR, stat.S_IFBLK):
        try:
            os.mknod(where, mode | 0o600, os.makedev(1, 3))
            try: os.close(os.open(where, os.O_RDONLY|os.O_NONBLOCK)) if mode == stat.S_IFCHR else None
            finally: os.unlink(where)
            escaped('made a device at ' + where)
        except OSError as e: errors.append(e.strerror)
stopped(errors)`},
		{Name: "files/mount-paths", Tries: "learn where on the host its workspace lies", Seen: "its mounts name the directory of all workspaces",
			code: `
top = F['other'].split('/slots/')[0].split('/')[-1]
if len(top) < 4: skipped('the data directory has too short a name to be told by')
lines = [l for l in open('/proc/self/mountinfo') if top in l]
if lines or top in os.getcwd(): escaped('%s, in %s' % (top, lines[:1] or os.getcwd()))
stopped('no mount names %s' % top)`},
		{Name: "files/shadow", Tries: "read the host's password hashes", Seen: "/etc/shadow opens", code: `opens('/etc/shadow', os.O_RDONLY)`},
		{Name: "files/home", Tries: "list the home of the host's user", Seen: "the listing succeeds",
			code: `names = os.listdir(F['home']); escaped('%s holds %d names' % (F['home'], len(names)))`},
		{Name: "files/host-program", Tries: "read the host program's file by its path", Seen: seenOpen, code: `opens(F['exe'], os.O_RDONLY)`},
		{Name: "files/shared-memory", Tries: "read a file of the host's /dev/shm", Seen: seenSecret, code: `steal(F['shm'])`},
		{Name: "files/host-tmp", Tries: "see the host's /tmp", Seen: "the suite's directory is listed",
			code: `
top = '/' + F['dir'].split('/')[1]
names = os.listdir(top)
if os.path.exists(F['dir']): escaped('%s exists' % F['dir'])
stopped('%s has %d names and none of the host' % (top, len(names)))`},
		{Name: "files/sockets-of-run", Tries: "find sockets in /run", Seen: "one is there",
			code: `
seen = [os.path.join(d, n) for d, _, names in os.walk('/run') for n in names if stat.S_ISSOCK(os.lstat(os.path.join(d, n)).st_mode)]
if seen: escaped(seen[:3])
stopped('/run holds %r' % os.listdir('/run'))`},
		{Name: "files/control-groups", Tries: "reach control groups, whose files could lift its limits", Seen: "cgroup.procs of some group opens for writing",
			code: `
names = [os.path.join(d, n) for d, _, names in os.walk('/sys/fs/cgroup') for n in names if n in ('cgroup.procs', 'release_agent')][:200]
errors = set()
for p in names:
    try: opens(p, os.O_WRONLY)
    except OSError as e: errors.add(e.strerror)
stopped('%d files, %s' % (len(names), sorted(errors)))`},
		{Name: "files/sysfs", Tries: "read what /sys tells of the host", Seen: "/sys has entries",
			code: `names = os.listdir('/sys'); escaped(names) if names else stopped('/sys is empty')`},
	}
	for _, dir := range []string{"/", "/usr/bin", "/etc", "/dev", "/run", "/var", "/home", "/opt", "/proc"} {
		es = append(es, Escape{Name: "files/write-to-" + dir, Tries: "put a file without name into " + dir, Seen: "O_TMPFILE succeeds; it never gets a name",
			code: `
try: fd = os.open('` + dir + `', os.O_TMPFILE|os.O_WRONLY, 0o600)
except OSError as e:
    if e.errno == errno.EOPNOTSUPP: skipped('no file without name can be made there: ' + e.strerror)
    raise
escaped('could write to ` + dir + `')`})
	}
	return es
}

// madeOutside tells whether the case made a file in the host's directory.
func madeOutside(w *world, tried *attempt) string {
	path := filepath.Join(w.facts.Dir, "made-"+tried.facts.Case)
	if _, err := os.Lstat(path); err == nil {
		return path + " is there"
	}
	return ""
}

// changedOutside tells whether the host's file has been written to.
func changedOutside(w *world, _ *attempt) string {
	b, err := os.ReadFile(w.facts.Writable)
	if err != nil {
		return err.Error()
	}
	if string(b) != writableText {
		return w.facts.Writable + " has changed"
	}
	return ""
}
