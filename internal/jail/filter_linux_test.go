package jail_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/agentflow-go/sandbox/internal/jail"
	"github.com/agentflow-go/sandbox/internal/usertest"
	"golang.org/x/sys/unix"
)

// forbiddenTests are calls that a program in a jail makes by number or through
// Python, and the error that it must get.
var forbiddenTests = []struct{ name, python, want string }{
	{"keyctl", `call(250, 1, 0)`, "EPERM"},
	{"ptrace", `call(101, 0, 0)`, "EPERM"},
	{"unshare of nothing", `call(272, 0)`, "EPERM"},
	{"mount", `call(165, 0, 0, 0, 0, 0)`, "EPERM"},
	{"clone3", `call(435, 0, 0)`, "ENOSYS"},
	{"io_uring", `call(425, 1, 0)`, "ENOSYS"},
	{"userfaultfd", `call(323, 1)`, "ENOSYS"},
	{"x32", `call(0x40000000 + 39)`, "ENOSYS"},
	{"vsock", `socket.socket(40, socket.SOCK_STREAM)`, "EAFNOSUPPORT"},
	{"vsock with a high bit", `call(41, (1 << 32) + 40, 1, 0)`, "EAFNOSUPPORT"},
	{"netlink of another kind", `socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 16)`, "EPROTONOSUPPORT"},
	{"typing into the terminal", `fcntl.ioctl(0, termios.TIOCSTI, b"x")`, "EPERM"},
	{"typing into the terminal with a high bit", `call(16, 0, (1 << 32) + 0x5412, 0)`, "EPERM"},
	{"a set-id program", `os.chmod("/tmp/f", 0o4755)`, "EPERM"},
	{"a set-id program from the start", `os.open("/tmp/g", os.O_CREAT | os.O_WRONLY, 0o4755)`, "EPERM"},
	{"another process's memory", `call(310, os.getpid(), 0, 0, 0, 0, 0)`, "EPERM"},
	{"a fixed memory map", `call(135, 0x0040000)`, "EPERM"},
	{"the log of the kernel", `call(103, 3, 0, 0)`, "EPERM"},
}

const pythonCalls = `
import ctypes, errno, fcntl, os, socket, sys, termios
libc = ctypes.CDLL(None, use_errno=True)
def call(nr, *args):
    r = libc.syscall(ctypes.c_long(nr), *[ctypes.c_ulong(a) for a in args])
    if r == -1:
        raise OSError(ctypes.get_errno(), "")
open("/tmp/f", "w").close()
for line in sys.argv[1:]:
    try:
        exec(line)
        print("allowed")
    except OSError as e:
        print(errno.errorcode[e.errno])
`

func TestForbiddenCalls(t *testing.T) {
	anyUser(t)
	eachConfined(t, testForbiddenCalls)
}

func testForbiddenCalls(t *testing.T, h *jail.Host) {
	requireAMD64(t)
	j := newJail(t, h)
	args := []string{"-c", pythonCalls}
	for _, tt := range forbiddenTests {
		args = append(args, tt.python)
	}
	out, err := run(t, j, jail.Cmd{Path: "/usr/bin/python3", Args: args})
	got := strings.Fields(out)
	if err != nil || len(got) != len(forbiddenTests) {
		t.Fatalf("python3: %v\n%s", err, out)
	}
	for i, tt := range forbiddenTests {
		if got[i] != tt.want {
			t.Errorf("%s: %s = %s, want %s", tt.name, tt.python, got[i], tt.want)
		}
	}
}

func requireAMD64(t *testing.T) {
	t.Helper()
	if runtime.GOARCH != "amd64" {
		t.Skip("the numbers in this test are amd64's")
	}
}

// seccompMode is what a program's status says: 0 none, 2 a filter.
const seccompMode = `while read -r key value; do if test "$key" = Seccomp:; then echo "$value"; fi; done </proc/self/status`

func TestEveryProgramHasTheFilter(t *testing.T) { eachConfined(t, testEveryProgramHasTheFilter) }

func testEveryProgramHasTheFilter(t *testing.T, h *jail.Host) {
	j := newJail(t, h)
	for name, c := range map[string]jail.Cmd{
		"a program":                {},
		"one in a jail of its own": {Mounts: []jail.Mount{{Host: openDir(t), Inside: "/mnt/x"}}},
		"one with user namespaces": {NestedUserNS: true},
	} {
		c.Path, c.Args = "bash", []string{"-c", seccompMode}
		if out, err := run(t, j, c); out != "2\n" || err != nil {
			t.Errorf("seccomp mode of %s = %q, %v, want 2", name, out, err)
		}
	}
	pid, err := j.First()
	if err != nil {
		t.Fatal(err)
	}
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	if err != nil || len(threads) == 0 {
		t.Fatalf("threads of the first process: %v, %v", threads, err)
	}
	for _, th := range threads {
		b, err := os.ReadFile(th)
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ESRCH) {
			continue // it has ended
		}
		if err != nil || !strings.Contains(string(b), "Seccomp:\t2\n") {
			t.Errorf("%s: %v, want Seccomp: 2 in\n%s", th, err, b)
		}
	}

	own, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	out := sh(t, newJail(t, open(t, jail.Options{Level: "none"})), seccompMode)
	if !strings.Contains(string(own), "Seccomp:\t"+out) {
		t.Errorf("seccomp mode under level none = %q, want this program's", out)
	}
}

func openDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := usertest.OpenWay(dir); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestPtraceIsAnOption(t *testing.T) {
	anyUser(t)
	eachConfined(t, testPtraceIsAnOption)
}

func testPtraceIsAnOption(t *testing.T, h *jail.Host) {
	requireAMD64(t)
	p := policy(t, h)
	p.Ptrace = true
	// A parent that stops its child and reads a register of it.
	const trace = `
child = os.fork()
if child == 0:
    call(101, 0, 0, 0, 0)
    os.kill(os.getpid(), 19)
    os._exit(7)
os.waitpid(child, 0)
call(101, 3, child, 8 * 15, ctypes.addressof(ctypes.c_long()))
call(101, 7, child, 0, 0)
assert os.waitpid(child, 0)[1] == 7 << 8
`
	out, err := run(t, newJailOf(t, h, p), jail.Cmd{Path: "/usr/bin/python3", Args: []string{"-c", pythonCalls, trace, `call(250, 1, 0)`}})
	if out != "allowed\nEPERM\n" || err != nil {
		t.Errorf("with Ptrace tracing and keyctl: %q, %v, want allowed, EPERM", out, err)
	}
}

// TestTheProbeSeesBothLines makes each line of defence fail by itself.
func TestTheProbeSeesBothLines(t *testing.T) {
	t.Parallel()
	real, err := exec.LookPath("bwrap")
	if err != nil {
		t.Fatal(err)
	}
	// A kernel that has no filters: all that answers seccomp is ENOSYS.
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.SYS_SECCOMP, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	var b bytes.Buffer
	if err := binary.Write(&b, binary.NativeEndian, filter); err != nil {
		t.Fatal(err)
	}
	noFilters := filepath.Join(openDir(t), "filter")
	if err := os.WriteFile(noFilters, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	// without starts the real bwrap without one of the options that it is given.
	without := func(option string) string {
		return fmt.Sprintf(`args=(); while IFS= read -r -d '' a; do test "$a" = %s || args+=("$a"); done </proc/self/fd/"$2"; shift 2; exec %s "${args[@]}" "$@"`, option, real)
	}
	tests := []struct{ name, script, want, not string }{
		{"as it is", without("--no-such"), "", ""},
		{"no filter can be installed", fmt.Sprintf("exec 99<%s; exec %s --seccomp 99 \"$@\"", noFilters, real), "CONFIG_SECCOMP_FILTER", ""},
		{"user namespaces are not forbidden", without("--disable-userns"), "user namespaces can be made", "system call filter"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			h, err := jail.Open(t.Context(), jail.Options{Level: "bwrap", Bwrap: fakeBwrap(t, tt.script)})
			if err == nil {
				h.Close()
			}
			if tt.want == "" {
				if err != nil {
					t.Errorf("Open() = %v", err)
				}
				return
			}
			if !errors.Is(err, jail.ErrUnavailable) || !strings.Contains(err.Error(), tt.want) || (tt.not != "" && strings.Contains(err.Error(), tt.not)) {
				t.Errorf("Open() = %v, want %q", err, tt.want)
			}
		})
	}
}

// workTests are what agents do all day; it must go on to work. needs are shell
// conditions, each with what is missing when it does not hold.
var workTests = []struct {
	name   string
	needs  map[string]string
	script string
	nested bool
	once   bool // it takes long, and the filter is the same under every level: bwrap alone
}{
	{
		name: "python with processes and threads", needs: map[string]string{"test -x /usr/bin/python3": "python3"},
		script: `/usr/bin/python3 -c '
import multiprocessing as m, threading, concurrent.futures as f, subprocess, tempfile, mmap, asyncio, sqlite3, socket, select
def sq(x): return x * x
if __name__ == "__main__":
    for how in ("fork", "spawn", "forkserver"):
        with m.get_context(how).Pool(3) as p: assert p.map(abs, range(-8, 1))[0] == 8
    q = m.Queue(); p = m.Process(target=q.put, args=(1,)); p.start(); assert q.get() == 1; p.join()
    v = m.Value("i", 0)
    with v.get_lock(): v.value += 1
    with f.ThreadPoolExecutor(8) as e: assert sum(e.map(sq, range(9))) == 204
    with f.ProcessPoolExecutor(2) as e: assert sum(e.map(sq, range(9))) == 204
    assert subprocess.run(["echo", "x"], capture_output=True).stdout == b"x\n"
    async def main():
        p = await asyncio.create_subprocess_exec("true"); assert await p.wait() == 0
    asyncio.run(main())
    socket.if_nameindex(); select.epoll().close()
    db = sqlite3.connect("/tmp/x.db"); db.execute("create table t(a)"); db.commit()
    from multiprocessing import shared_memory as s
    b = s.SharedMemory(create=True, size=4096); b.close(); b.unlink()
    print("done")
'`,
	},
	{
		name: "numpy", needs: map[string]string{"/usr/bin/python3 -c 'import numpy'": "python3-numpy"},
		script: `/usr/bin/python3 -c 'import numpy as n; a = n.random.rand(300, 300); assert n.allclose(a @ n.linalg.inv(a), n.eye(300), atol=1e-3); print("done")'`,
	},
	{
		name: "venv", once: true, needs: map[string]string{"/usr/bin/python3 -c 'import venv, ensurepip'": "python3-venv"},
		script: `/usr/bin/python3 -m venv ~/v && ~/v/bin/python -c 'import sys; assert sys.prefix != sys.base_prefix' && ~/v/bin/pip --version && echo done`,
	},
	{
		name: "node", needs: map[string]string{"command -v node": "nodejs"},
		script: `node -e '
const { Worker, isMainThread } = require("worker_threads"), cp = require("child_process"), fs = require("fs"), http = require("http");
fs.writeFileSync("/tmp/n", "x"); fs.readFileSync("/tmp/n");
if (cp.execFileSync("echo", ["x"]).toString() !== "x\n") process.exit(1);
const w = new Worker("require(\"worker_threads\").parentPort.postMessage(1)", { eval: true });
w.on("message", () => {
  const s = http.createServer((q, r) => r.end("x")).listen(0, "127.0.0.1", () => http.get({ port: s.address().port, host: "127.0.0.1" }, r => { r.resume(); r.on("end", () => { s.close(); console.log("done"); }); }));
});'`,
	},
	{
		name: "git", needs: map[string]string{"command -v git": "git"},
		script: `mkdir ~/r && cd ~/r && git init -q && echo x >f && git add f && git -c user.name=a -c user.email=a@b commit -qm m && git clone -q . ../c && git -C ../c log --oneline | grep -q m && git gc -q && git -C ../c pull -q && echo done`,
	},
	{
		name: "gcc", needs: map[string]string{"command -v gcc && echo '#include <stdio.h>' | gcc -E - >/dev/null": "gcc with headers"},
		script: `printf '#include <pthread.h>\n#include <stdio.h>\nvoid *f(void *x){return x;}\nint main(void){pthread_t t;pthread_create(&t,0,f,0);pthread_join(t,0);puts("done");}\n' >/tmp/a.c && gcc -O2 -pthread -o ~/a /tmp/a.c && ~/a`,
	},
	{
		name:   "bash job control",
		script: `set -m; sleep 1000 & sleep 1000 & kill -STOP %1; kill -CONT %1; kill %1 %2; wait %1; test $? = 143 && wait && (exec 3<>/dev/null; echo x | cat | grep -q x) && trap 'echo done' EXIT`,
	},
	{
		name:   "sort with threads",
		script: `seq 200000 | shuf --random-source=/bin/bash | sort --parallel=4 -S 1M -n -T /tmp | sha256sum | cut -c1-4; echo done`,
	},
	{
		name:   "tar and compression",
		script: `mkdir ~/d && cp -r /usr/share/doc/bash ~/d && chmod 1777 ~/d && tar -czf /tmp/d.tgz -C ~ d && mkdir /tmp/e && tar -xzpf /tmp/d.tgz -C /tmp/e && diff -r ~/d /tmp/e/d && cp -a ~/d /tmp/g && install -m 755 /bin/true /tmp/t && touch -d yesterday /tmp/t && ln /tmp/t /tmp/u && mkfifo /tmp/p && echo done`,
	},
	{
		name: "perl", needs: map[string]string{"command -v perl": "perl"},
		script: `perl -MIO::Socket::INET -MPOSIX -e '$s = IO::Socket::INET->new(Listen => 1, LocalAddr => "127.0.0.1"); if (!fork) { IO::Socket::INET->new(PeerAddr => "127.0.0.1:" . $s->sockport)->print("x"); POSIX::_exit(0) } $c = $s->accept; read($c, $x, 1); wait; print "done\n" if $x eq "x"'`,
	},
	{name: "user namespaces where they are asked for", nested: true, script: `test "$(unshare -Ur id -u)" = 0 && unshare -Urpn --fork true && ! unshare -Urm true && ! unshare -Uri true && echo done`},
	{
		name: "an X server", needs: map[string]string{"command -v Xvfb": "xvfb"},
		script: `mkdir -m 1777 -p /tmp/.X11-unix; exec 3<>/tmp/n; Xvfb -displayfd 3 -screen 0 640x480x24 -nolisten tcp & until test -s /tmp/n; do kill -0 $! || exit 1; sleep 0.05; done; test -S /tmp/.X11-unix/X$(cat /tmp/n) && kill $! && { wait $! || test $? = 143; } && echo done`,
	},
	// Without a sandbox of its own it does not start, as nothing says --no-sandbox.
	{
		name: "Chromium with its own sandbox", nested: true, needs: map[string]string{"command -v chromium-headless-shell": "chromium-headless-shell"},
		script: `chromium-headless-shell --headless --disable-gpu --user-data-dir=/tmp/c --dump-dom 'data:text/html,<script>document.write("do" + "ne")</script>' 2>/tmp/log | grep -q done && echo done || { cat /tmp/log; false; }`,
	},
}

func TestWorkGoesOn(t *testing.T) { eachConfined(t, testWorkGoesOn) }

func testWorkGoesOn(t *testing.T, h *jail.Host) {
	if testing.Short() {
		t.Skip("not in a short run: it compiles and starts a lot")
	}
	for _, tt := range workTests {
		if tt.once && h.Level() != "bwrap" {
			continue
		}
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			j := newJail(t, h)
			for need, what := range tt.needs {
				if _, err := run(t, j, jail.Cmd{Path: "bash", Args: []string{"-c", need}}); err != nil {
					t.Skipf("%s is not installed where jails see it", what)
				}
			}
			// What a script leaves may end a little later than it: cat ends with the last.
			const all = `set -o pipefail; bash -c "$0" 2>&1 | cat`
			out, err := run(t, j, jail.Cmd{Path: "bash", Args: []string{"-c", all, tt.script}, NestedUserNS: tt.nested})
			if err != nil || !strings.HasSuffix(out, "done\n") {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}
