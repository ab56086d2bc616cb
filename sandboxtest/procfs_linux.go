package sandboxtest

// procEscapes go through /proc: to the jail's first process, to those of others,
// and to the kernel.
func procEscapes() []Escape {
	var es []Escape
	first := func(what, tries, code string) {
		es = append(es, Escape{Name: "proc/first-" + what, Tries: tries + " the first process", Seen: "it succeeds", code: code})
	}
	first("environ", "read the environment of", `b = read('/proc/1/environ'); escaped('%d bytes' % len(b)) if b else stopped('it is empty')`)
	first("exe", "read or reopen for writing the program of", `
errors = []
for flags in (os.O_WRONLY, os.O_RDONLY):
    try: opens('/proc/1/exe', flags)
    except OSError as e: errors.append(e.strerror)
try: escaped('its program is ' + os.readlink('/proc/1/exe'))
except OSError as e: errors.append(e.strerror)
stopped(errors)`)
	first("exe-path", "keep a path descriptor of the program, to write to it later, of", `
fd = os.open('/proc/1/exe', os.O_PATH)
escaped('has one: ' + os.readlink('/proc/self/fd/%d' % fd))`)
	first("exe-run", "execute the program of", `
if not foreign('pid'): skipped('not tried: process 1 is the host\'s')
import subprocess; p = subprocess.run(['/proc/1/exe', '-test.run=^$'], executable='/proc/1/exe', capture_output=True, timeout=5)
escaped('it ran')`)
	first("fd", "see the descriptors of", `escaped(os.listdir('/proc/1/fd'))`)
	first("fd-open", "reopen the descriptors of", `
errors = set()
for n in range(32):
    try: opens('/proc/1/fd/%d' % n, os.O_RDONLY)
    except OSError as e: errors.add(e.strerror)
stopped(sorted(errors))`)
	for _, f := range []string{"maps", "smaps", "auxv", "syscall", "stack", "io", "personality"} {
		first(f, "read "+f+" of", `b = read('/proc/1/`+f+`'); escaped('%d bytes' % len(b)) if b else stopped('it is empty')`)
	}
	first("mem", "open the memory of", `
errors = []
for flags in (os.O_RDWR, os.O_RDONLY):
    try: opens('/proc/1/mem', flags)
    except OSError as e: errors.append(e.strerror)
stopped(errors)`)
	first("root", "enter the root of", `escaped(os.listdir('/proc/1/root/'))`)
	first("cwd", "enter the directory of", `escaped(os.listdir('/proc/1/cwd/'))`)
	first("namespaces", "join the namespaces of", `
errors = set()
for ns in ('user', 'mnt', 'pid', 'net', 'ipc', 'uts', 'cgroup'):
    try: fd = os.open('/proc/1/ns/' + ns, os.O_RDONLY)
    except OSError as e: errors.add(e.strerror); continue
    if not foreign(ns): escaped('has a handle on the %s namespace of the host' % ns)
    try: call('setns', fd, 0); escaped('joined ' + ns)
    except OSError as e: errors.add(e.strerror)
stopped(sorted(errors))`)
	first("threads", "read the environments of the threads of", `every(glob.glob('/proc/1/task/*/environ') + ['/proc/1/task/1/environ'], read)`)

	each := func(what, tries, pattern, get string) {
		es = append(es, Escape{Name: "proc/every-" + what, Tries: tries + " of every process in sight", Seen: seenSecret, needs: []need{needVictim},
			code: "every(sorted(glob.glob('" + pattern + "')) or ['/proc'], " + get + ")"})
	}
	each("environ", "read the environment", "/proc/[0-9]*/environ", "read")
	each("cmdline", "read the arguments", "/proc/[0-9]*/cmdline", "read")
	each("root", "read the host's file below the root", "/proc/[0-9]*", "lambda p: read(p + '/root' + F['file'])")
	each("cwd", "read the host's file from the directory", "/proc/[0-9]*", "lambda p: read(p + '/cwd/secret')")
	each("descriptors", "read the directories among the descriptors", "/proc/[0-9]*/fd", "lambda p: b''.join(read(p + '/' + n + '/secret') for n in os.listdir(p) if os.path.exists(p + '/' + n + '/secret'))")
	each("thread", "read the threads' environments", "/proc/[0-9]*/task/*/environ", "read")

	es = append(es,
		Escape{Name: "proc/memory-of-a-process", Tries: "read the memory of a process of the host", Seen: seenSecret, needs: []need{needVictim},
			code: `
pid = victim()
for line in open('/proc/%d/maps' % pid):
    if '[stack]' in line:
        a, b = (int(x, 16) for x in line.split()[0].split('-'))
        with open('/proc/%d/mem' % pid, 'rb', 0) as f:
            f.seek(a); found(f.read(b - a), 'the stack')
stopped('no secret on its stack')`},
		Escape{Name: "proc/host-environment", Tries: "find the host program's environment, in its own or any other", Seen: "a value of the host's is there", needs: []need{needHostEnv},
			code: `
import hashlib
seen = 0
for p in ['/proc/self/environ'] + glob.glob('/proc/[0-9]*/environ'):
    try: b = read(p)
    except OSError: continue
    for e in b.split(b'\0'):
        seen += 1
        if hashlib.sha256(F['salt'].encode() + e).hexdigest() in F['environ']: escaped('%s has %s of the host' % (p, e.split(b'=')[0].decode()))
stopped('%d variables seen, none of the host' % seen)`},
		Escape{Name: "proc/oom-score", Tries: "have others die of want of memory before it", Seen: "oom_score_adj goes down",
			code: `
f = '/proc/self/oom_score_adj'
before = int(read(f))
fd = os.open(f, os.O_WRONLY); os.write(fd, b'-1000')
escaped('%d became %s' % (before, read(f).decode().strip()))`},
		Escape{Name: "proc/id-maps", Tries: "map itself to users of the host", Seen: "the map is written",
			code: `
errors = []
for f, text in (('setgroups', b'allow'), ('uid_map', b'0 0 1'), ('gid_map', b'0 0 1')):
    try: os.write(os.open('/proc/self/' + f, os.O_WRONLY), text); escaped('wrote ' + f)
    except OSError as e: errors.append(e.strerror)
stopped(errors)`},
	)
	// In the same order each time, for those who choose some by their places.
	for _, f := range []struct{ name, path string }{
		{"core-pattern", "sys/kernel/core_pattern"}, {"modprobe", "sys/kernel/modprobe"}, {"hostname", "sys/kernel/hostname"},
		{"swappiness", "sys/vm/swappiness"}, {"binfmt", "sys/fs/binfmt_misc/register"}, {"sysrq", "sysrq-trigger"},
		{"ip-forward", "sys/net/ipv4/ip_forward"}, {"irq", "irq/default_smp_affinity"}, {"panic", "sys/kernel/panic"},
	} {
		es = append(es, Escape{Name: "proc/write-" + f.name, Tries: "open /proc/" + f.path + " for writing", Seen: seenOpen,
			code: `opens('/proc/` + f.path + `', os.O_WRONLY)`})
	}
	for _, f := range []struct{ name, path string }{
		{"kcore", "kcore"}, {"keys", "keys"}, {"timers", "timer_list"},
		{"page-flags", "kpageflags"}, {"slabs", "slabinfo"}, {"vmalloc", "vmallocinfo"}, {"page-counts", "kpagecount"},
	} {
		es = append(es, Escape{Name: "proc/read-" + f.name, Tries: "read the kernel's /proc/" + f.path, Seen: "there is something in it",
			code: `b = read('/proc/` + f.path + `', 512); escaped('%d bytes' % len(b)) if b else stopped('it is empty')`})
	}
	// What is read there is gone for others, and nothing is left for the next who asks.
	es = append(es, Escape{Name: "proc/read-kmsg", Tries: "read the kernel's /proc/kmsg", Seen: "it opens; nothing is read",
		code: `
fd = os.open('/proc/kmsg', os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
if os.fstat(fd).st_dev == os.stat('/proc').st_dev: escaped('it is open')
stopped('another file is in its place')`})
	es = append(es, Escape{Name: "proc/write-any", Tries: "find a file of /proc, beside those of processes, to write to", Seen: seenOpen,
		code: `
n = 0
for top, dirs, names in os.walk('/proc'):
    if top == '/proc': dirs[:] = [d for d in dirs if not d.isdigit() and d not in ('self', 'thread-self')]
    for p in [top + '/' + name for name in names]:
        n += 1
        try: fd = os.open(p, os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY)
        except OSError: continue
        st = os.fstat(fd); os.close(fd)
        if stat.S_ISCHR(st.st_mode) and st.st_rdev == os.makedev(1, 3): continue  # masked by /dev/null
        escaped('opened ' + p)
stopped('none of %d' % n)`})
	return append(es, Escape{Name: "proc/kernel-addresses", Tries: "learn the kernel's addresses", Seen: "/proc/kallsyms has some that are not zero",
		code: `
b = read('/proc/kallsyms', 1 << 16)
if any(int(l.split()[0], 16) for l in b.splitlines()[:-1]): escaped(b.splitlines()[0].decode())
stopped('all are zero')`})
}
