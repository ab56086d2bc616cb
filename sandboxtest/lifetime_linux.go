package sandboxtest

import (
	"os"
	"strings"
)

// lifetimeEscapes outlive their session, or break the jail that holds them.
func lifetimeEscapes() []Escape {
	outlive := func(name, tries, code string) Escape {
		return Escape{Name: "lifetime/" + name, Tries: tries, Seen: "a process with its mark runs once its worker is closed", alone: true,
			code: `
mark = F["own"]
def stay(): os.execv('/bin/sh', ['sh', '-c', 'trap "" TERM HUP INT; while :; do sleep 1000; done', mark])
` + code + "\nstopped('the end of its worker')",
			after: func(_ *world, tried *attempt) string {
				return strings.Join(withArgument(tried.facts.Own), ", ")
			}}
	}
	unclean := func(name, tries, code string) Escape {
		return Escape{Name: "lifetime/" + name, Tries: tries, Seen: "closing its worker fails, or leaves the workspace", alone: true,
			// Below its own name, for another worker may be in that place by then.
			code: "os.mkdir(F['case']); os.chdir(F['case'])\n" + code + "\nstopped('it was removed all the same')",
			after: func(_ *world, tried *attempt) string {
				if tried.closed != nil {
					return "closing its worker: " + tried.closed.Error()
				}
				if _, err := os.Lstat(tried.workspace + "/" + tried.facts.Case); err == nil {
					return "what it left is still there"
				}
				return ""
			}}
	}
	survive := func(name, tries, code string) Escape {
		return Escape{Name: "lifetime/" + name, Tries: tries, Seen: "it succeeds, or the session runs nothing afterwards", alone: true,
			code: "only_in_own_pids()\n" + code,
			after: func(_ *world, tried *attempt) string {
				if tried.next != nil {
					return "the session runs nothing any more: " + tried.next.Error()
				}
				return ""
			}}
	}
	return []Escape{
		outlive("daemon", "outlive its session as a daemon", `
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        n = os.open('/dev/null', os.O_RDWR); [os.dup2(n, i) for i in range(3)]
        stay()
    os._exit(0)
os.wait()`),
		outlive("deaf", "outlive its session by ignoring signals", `
if os.fork() == 0:
    for s in range(1, 65):
        try: signal.signal(s, signal.SIG_IGN)
        except (OSError, ValueError): pass
    n = os.open('/dev/null', os.O_RDWR); [os.dup2(n, i) for i in range(3)]
    stay()`),
		outlive("stopped-process", "outlive its session as a stopped process", `
pid = os.fork()
if pid == 0:
    os.setsid(); n = os.open('/dev/null', os.O_RDWR); [os.dup2(n, i) for i in range(3)]
    os.kill(os.getpid(), signal.SIGSTOP); stay()
os.waitpid(pid, os.WUNTRACED)`),
		outlive("chain", "outlive its session by changing its process id all the time, for 20 s at most", `
if os.fork() == 0:
    os.setsid(); n = os.open('/dev/null', os.O_RDWR); [os.dup2(n, i) for i in range(3)]
    end = time.time() + 20
    while time.time() < end:
        if os.fork(): os._exit(0)
        time.sleep(0.002)
    os._exit(0)`),
		outlive("open-output", "hold its caller by a process that keeps its output open", `
if os.fork() == 0: os.setsid(); stay()`),
		unclean("locked-directories", "leave directories that cannot be entered", `
os.makedirs('a/b/c'); open('a/b/c/f', 'w').close()
for d in ('a/b/c', 'a/b', 'a'): os.chmod(d, 0)`),
		unclean("deep-directories", "leave 3,000 levels of directories", `
for _ in range(3000): os.mkdir('d'); os.chdir('d')`),
		unclean("odd-files", "leave fifos, sockets, holes of 8 TiB and names that are no text", `
os.mkfifo('fifo'); socket.socket(socket.AF_UNIX).bind('sock')
with open('sparse', 'wb') as f:
    try: os.ftruncate(f.fileno(), 8 << 40)
    except OSError: os.ftruncate(f.fileno(), 1 << 30)
open(b'\xff\n\x1b]52;c;eA==\x07', 'w').close()
os.symlink('/', 'root'); os.symlink('loop', 'loop')`),
		{Name: "lifetime/link-to-the-outside", Tries: "have the clean-up remove a host's directory through a link", Seen: "the directory is empty, on the host", alone: true,
			code: `
os.mkdir('d'); os.rmdir('d'); os.symlink(F['dir'], 'd'); os.symlink(F['dir'] + '/keep', 'e')
stopped('the clean-up followed no link')`,
			after: func(w *world, _ *attempt) string {
				if _, err := os.Lstat(w.facts.Dir + "/keep/secret"); err != nil {
					return err.Error()
				}
				return ""
			}},
		survive("kill-first", "kill the first process of its jail", `
errors = []
for s in list(range(1, 65)):
    if s in (32, 33): continue
    try: os.kill(1, s)
    except OSError as e: errors.append(e.strerror)
stopped('the first process took all signals' if not errors else sorted(set(errors)))`),
		survive("kill-everybody", "kill everybody in sight", `
os.kill(-1, signal.SIGKILL); stopped('nobody outside its namespace heard it')`),
		survive("starve-first", "have the first process killed for want of memory", `
try: os.write(os.open('/proc/1/oom_score_adj', os.O_WRONLY), b'1000'); escaped('made it the first to die')
except OSError as e: stopped(e.strerror)`),
		survive("stop-by-limits", "take the first process's limits", `
resource.prlimit(1, resource.RLIMIT_NOFILE, (0, 0)); resource.prlimit(1, resource.RLIMIT_NPROC, (0, 0)); escaped('took them')`),
		survive("slow-first", "give the first process the last place among those that want the processor", `
errors = []
for f in (lambda: os.sched_setscheduler(1, os.SCHED_IDLE, os.sched_param(0)), lambda: os.setpriority(os.PRIO_PROCESS, 1, 19),
          lambda: os.sched_setaffinity(1, {0})):
    try: f()
    except OSError as e: errors.append(e.strerror)
stopped(errors) if len(errors) == 3 else escaped('did it')`),
		survive("forged-first", "start a first process of its own by the program of the real one", `
a, b = socket.socketpair()
def f():
    os.dup2(b.fileno(), 3); fd = os.open('/proc/1/exe', os.O_RDONLY); os.dup2(fd, 4)
    os.execve('/proc/self/fd/4', ['/proc/self/fd/4', '\x01jail-first-process\x01'], {})
judge(child(f), 'its program')`),
		survive("socket-of-first", "talk to the host over the first process's socket", `
errors = set()
for n in range(3, 16):
    try: os.close(os.open('/proc/1/fd/%d' % n, os.O_RDWR)); escaped('opened descriptor %d' % n)
    except OSError as e: errors.add(e.strerror)
try: escaped(os.listdir('/proc/1/fdinfo'))
except OSError as e: errors.add(e.strerror)
stopped(sorted(errors))`),
	}
}
