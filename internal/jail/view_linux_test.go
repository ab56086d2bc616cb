package jail_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/agentflow-go/sandbox/internal/jail"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// Each script must succeed in a confined jail; $HOSTFILE is a file that every
// user of the host may read, $HOSTPID the host program, unless the jail has come to
// that number itself.
var viewTests = []struct{ name, script string }{
	{"no host file", `! cat "$HOSTFILE" && ! cat "/proc/1/root$HOSTFILE" && ! ls "$(dirname "$HOSTFILE")"`},
	{"only these in the root", `test "$(cd / && echo [!l]* | sed s/sbin/sbin/)" = "bin dev etc proc run sbin tmp usr var workspace"`},
	{"no sys", `! test -e /sys`},
	{"no home of the host", `! test -e /root && ! test -e /home && ! test -e /opt && ! test -e /srv && ! test -e /mnt`},
	{"empty run", `test -z "$(ls -A /run)"`},
	{"no shadow, no ssh", `! test -e /etc/shadow && ! test -e /etc/ssh && ! test -e /etc/machine-id`},
	{"users", `test "$(cut -d: -f1,3 /etc/passwd | tr '\n' ' ')" = "root:0 agent:1000 nobody:65534 " && test "$(id)" = "uid=1000(agent) gid=1000(agent) groups=1000(agent)"`},
	{"host name", `test "$(hostname)" = sandbox && test "$(cat /etc/hostname)" = sandbox && getent hosts localhost`},
	{"certificates and time zone", `test -e /etc/ssl/certs && date && ldconfig -p | head -1`},

	{"first process: environment", `! cat /proc/1/environ`},
	{"first process: executable", `! readlink /proc/1/exe && ! cat /proc/1/exe`},
	{"first process: descriptors", `! ls /proc/1/fd && ! ls /proc/1/fdinfo`},
	{"first process: memory", `! cat /proc/1/maps && ! cat /proc/1/mem && ! ls /proc/1/map_files`},
	{"first process: root and directory", `! ls /proc/1/root/ && ! ls /proc/1/cwd/`},
	{"first process: command line tells nothing", `test "$(tr -d '\0' </proc/1/cmdline)" = "/proc/self/fd/4$(printf '\001jail-first-process\001')"`},
	{"first process survives signals", `for s in $(seq 1 64); do test $s = 32 -o $s = 33 || kill -$s 1; done; sleep 0.05; kill -0 1`},
	{"no host process", `{ test $HOSTPID -le $(($$ + 9)) || ! kill -0 $HOSTPID; } && test "$(ls -d /proc/[0-9]* | wc -l)" -lt 8`},
	{"descriptors", `test "$(cd /proc/self/fd && echo *)" = "0 1 2 3"`}, // 3 is the directory being listed

	{"root is read-only", `! touch /x && ! mkdir /x && ! touch /var/x && ! touch /run/x`},
	{"system is read-only", `! touch /usr/x && ! touch /usr/bin/x && ! touch /bin/x && ! rm /usr/bin/env`},
	{"etc is read-only", `! touch /etc/x && ! sh -c 'echo x >>/etc/passwd' && ! rm /etc/hosts && ! sh -c 'echo x >>/etc/ssl/openssl.cnf'`},
	{"devices are read-only", `! touch /dev/x && ! rm /dev/null && ! mknod /dev/y c 1 3 && ! mknod /tmp/y b 254 0`},
	{"kernel settings are read-only", `! sh -c 'echo 1000 >/proc/sys/kernel/msgmni' && ! sh -c 'echo 1 >/proc/sys/kernel/panic' && ! sh -c 'echo x >/proc/sys/kernel/hostname' && ! sh -c 'echo b >/proc/sysrq-trigger'`},
	{"proc is masked", `for f in kcore keys key-users kmsg timer_list sched_debug latency_stats; do ! cat /proc/$f || exit 1; done; for d in acpi scsi asound fs pressure; do test -z "$(ls -A /proc/$d)" || exit 1; done`},
	{"devices", `echo x >/dev/null && test "$(head -c 3 /dev/zero | wc -c)" = 3 && head -c 1 /dev/urandom >/tmp/r && ! sh -c 'echo x >/dev/full' && test -c /dev/tty && test -d /dev/pts && test -c /dev/ptmx && ls -d /dev/fd/ && ! test -e /dev/vda && ! test -e /dev/kvm`},
	{"pty of its own", `script -qc 'tty' /dev/null | grep -q /dev/pts/0`},

	{"workspace", `echo x >~/f && cat ~/f && test "$PWD" = /workspace && test "$HOME" = /workspace && mkdir d && cp /usr/bin/true d/ && d/true`},
	{"workspace without set-id and devices", `grep -q ' /workspace .*nosuid,nodev' /proc/self/mountinfo && grep -q ' /tmp .*nosuid,nodev' /proc/self/mountinfo`},
	{"sized tmp", `! head -c 300M /dev/zero >/tmp/big; rm /tmp/big; echo x >/tmp/f; echo x >/var/tmp/g; test -e /tmp/g`},
	{"sized shm", `! head -c 80M /dev/zero >/dev/shm/big; rm /dev/shm/big; echo x >/dev/shm/f`},
	{"output can be opened again", `echo x >/dev/stdout; echo x >/dev/stderr`},

	{"no network", `test "$(tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' ')" = lo && ! (exec 3<>/dev/tcp/192.0.2.1/80)`},
	{"own loopback", `python3 -c 'import socket; s=socket.create_server(("127.0.0.1",8080)); c=socket.create_connection(s.getsockname()); print(c)'`},
	{"abstract sockets are its own", `test "$(tail -n +2 /proc/net/unix | wc -l)" -lt 3`},

	{"no capabilities", `grep -q 'CapBnd:.0000000000000000' /proc/self/status && grep -q 'CapEff:.0000000000000000' /proc/self/status && grep -q 'NoNewPrivs:.1' /proc/self/status`},
	{"no user namespace", `! unshare -U true && ! unshare -Ur true && ! python3 -c 'import os; os.unshare(os.CLONE_NEWUSER)'`},
	{"no mount", `! mount -t tmpfs none /tmp && ! umount /tmp && ! mount -o remount,rw /usr && ! mount --bind /usr /tmp`},
	{"no chroot, no raised limits", `! chroot / true && ! bash -c 'ulimit -n 4096' && ! bash -c 'ulimit -u 4096' && ! nice -n -5 true 2>/dev/null | grep -q x`},
	{"no other user", `! python3 -c 'import os; os.setuid(0)' && ! python3 -c 'import os; os.setgroups([0])'`},
	{"limits", `test "$(ulimit -n)" = 1024 && test "$(ulimit -u)" = 256 && test "$(ulimit -c)" = 0`},
	{"processes are limited and the jail survives", `for i in $(seq 400); do sleep 1000 & done 2>&1 | grep -m1 -q 'Resource temporarily unavailable'; kill -9 -1; true`},
}

func TestConfinedView(t *testing.T) { eachConfined(t, testConfinedView) }

func testConfinedView(t *testing.T, h *jail.Host) {
	j := newJail(t, h)
	dir := t.TempDir()
	secret := filepath.Join(dir, "secret")
	if err := os.WriteFile(secret, []byte("secret of the host"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, tt := range viewTests {
		t.Run(tt.name, func(t *testing.T) { // one after another: they share a jail
			out, err := run(t, j, jail.Cmd{
				Path: "bash", Args: []string{"-c", tt.script},
				Env: []string{"HOSTFILE=" + secret, fmt.Sprintf("HOSTPID=%d", os.Getpid())},
			})
			killed := strings.Contains(tt.script, "kill -9 -1")
			if err != nil && !killed {
				t.Errorf("%s\n%v\n%s", tt.script, err, out)
			}
			if strings.Contains(out, "secret of the host") {
				t.Errorf("it read the host's file: %s", out)
			}
		})
	}
	if got := sh(t, j, "echo alive"); got != "alive\n" {
		t.Errorf("after all that echo = %q", got)
	}
}

func TestNoDescriptorOfTheHostPasses(t *testing.T) {
	eachConfinedInTurn(t, testNoDescriptorOfTheHostPasses)
}

func testNoDescriptorOfTheHostPasses(t *testing.T, h *jail.Host) {
	// A careless host program: descriptors without close-on-exec.
	var fds []int
	name := filepath.Join(t.TempDir(), "leaked")
	if err := os.WriteFile(name, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/", name} {
		fd, err := unix.Open(path, unix.O_RDONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		fds = append(fds, fd)
	}
	defer func() {
		for _, fd := range fds {
			unix.Close(fd)
		}
	}()
	j := newJail(t, h)
	if got, want := sh(t, j, "cd /proc/self/fd && echo *"), "0 1 2 3\n"; got != want {
		t.Errorf("descriptors of a program: %q, want %q", got, want)
	}
	pid, err := j.First()
	if err != nil {
		t.Fatal(err)
	}
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	if os.Getuid() != 0 {
		if _, err := os.ReadDir(dir); err == nil {
			t.Errorf("%s can be read, so the first process is dumpable", dir)
		}
		return
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		target, err := os.Readlink(filepath.Join(dir, e.Name()))
		if errors.Is(err, os.ErrNotExist) {
			continue // it was the last program's and is being closed
		}
		if err != nil {
			t.Fatal(err)
		}
		if target == "/" || target == name || strings.HasPrefix(target, "/memfd:jail-init") {
			t.Errorf("the first process holds %s as descriptor %s", target, e.Name())
		}
	}
}

func TestBwrapTellsNothing(t *testing.T) {
	t.Parallel()
	h := open(t, jail.Options{Level: "bwrap"})
	j := newJail(t, h)
	// An environment meant for the inside must not act on what runs outside.
	out, err := run(t, j, jail.Cmd{Path: "true", Env: []string{"LD_PRELOAD=/no/such.so"}, NestedUserNS: true})
	if err != nil || !strings.Contains(out, "/no/such.so") || strings.Count(out, "cannot be preloaded") != 1 {
		t.Errorf("true with LD_PRELOAD = %v, %q, want one complaint from inside", err, out)
	}
	env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", j.Bwrap()))
	if err != nil || len(env) != 0 {
		t.Errorf("environment of bwrap = %q, %v, want none", env, err)
	}
	cmdline, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", j.Bwrap()))
	if err != nil || strings.Contains(string(cmdline), "/tmp") || !strings.Contains(string(cmdline), "--args") {
		t.Errorf("command line of bwrap = %q, %v, want its options elsewhere", cmdline, err)
	}
}

func TestWorkersDoNotSeeEachOther(t *testing.T) { eachConfined(t, testWorkersDoNotSeeEachOther) }

func testWorkersDoNotSeeEachOther(t *testing.T, h *jail.Host) {
	pa, pb := policy(t, h), policy(t, h)
	a, b := newJailOf(t, h, pa), newJailOf(t, h, pb)
	sh(t, b, "exec >/dev/null 2>&1; umask 077; echo of b >secret; sleep 1000 & python3 -c 'import socket; s=socket.socket(socket.AF_UNIX); s.bind(\"/tmp/s\")'")
	if got := sh(t, a, "ls -A ~ /tmp /dev/shm; pgrep sleep || true"); strings.Contains(got, "secret") || strings.ContainsAny(got, "0123456789") {
		t.Errorf("worker a sees %q of worker b", got)
	}
	if os.Getuid() != 0 {
		if diff := cmp.Diff([]string{"single-uid"}, h.Degraded()); diff != "" {
			t.Errorf("Degraded() (-want +got):\n%s", diff)
		}
		t.Log("not tested: users of their own need root")
		return
	}
	if diff := cmp.Diff([]string(nil), h.Degraded()); diff != "" {
		t.Errorf("Degraded() (-want +got):\n%s", diff)
	}
	if pa.Identity.UID == pb.Identity.UID || pa.Identity.UID < 1_900_000_000 {
		t.Errorf("identities %d and %d, want two above 1,900,000,000", pa.Identity.UID, pb.Identity.UID)
	}
	// Even a descriptor of the other's directory opens nothing in it.
	dir, err := os.Open(pb.Workspace)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	out, err := run(t, a, jail.Cmd{Path: "bash", Args: []string{"-c", "ls /proc/self/fd/3/; cat /proc/self/fd/3/secret; touch /proc/self/fd/3/x"}, Files: []*os.File{dir}})
	if err == nil || strings.Contains(out, "of b") || strings.Count(out, "Permission denied") != 3 {
		t.Errorf("by descriptor: %v, %q, want three times Permission denied", err, out)
	}
	var st syscall.Stat_t
	if err := syscall.Stat(filepath.Join(pb.Workspace, "secret"), &st); err != nil || int(st.Uid) != pb.Identity.UID {
		t.Errorf("file made inside belongs to %d, %v, want %d", st.Uid, err, pb.Identity.UID)
	}
}

func TestNestedUserNSAndMounts(t *testing.T) { eachConfined(t, testNestedUserNSAndMounts) }

func testNestedUserNSAndMounts(t *testing.T, h *jail.Host) {
	j := newJail(t, h)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "f"), []byte("mounted"), 0o644); err != nil {
		t.Fatal(err)
	}
	sh(t, j, "echo shared >~/w; echo x >/tmp/own")
	out, err := run(t, j, jail.Cmd{
		Path: "bash", Args: []string{"-c", "unshare -Ur id -u; cat ~/w /mnt/data/f; ls /tmp; touch /mnt/data/x"},
		NestedUserNS: true, Mounts: []jail.Mount{{Host: dir, Inside: "/mnt/data"}},
	})
	if want := "0\nshared\nmountedtouch: cannot touch '/mnt/data/x': Read-only file system\n"; out != want || err == nil {
		t.Errorf("in a jail of its own: %v (-want +got):\n%s", err, cmp.Diff(want, out))
	}
	for _, m := range []jail.Mount{
		{Host: "/", Inside: "/mnt"}, {Host: "/proc", Inside: "/mnt"}, {Host: "/etc/ssh", Inside: "/mnt"}, {Host: dir + "/no", Inside: "/mnt"}, {Host: dir, Inside: "mnt"},
		{Host: dir, Inside: "/"}, {Host: dir, Inside: "/usr/x"}, {Host: dir, Inside: "/workspace/x"}, {Host: dir, Inside: "/mnt/../etc"},
	} {
		if _, err := j.Start(t.Context(), jail.Cmd{Path: "true", Mounts: []jail.Mount{m}}); err == nil {
			t.Errorf("a mount of %q at %q was allowed", m.Host, m.Inside)
		}
	}
}

func TestReadOnlyPaths(t *testing.T) {
	t.Parallel()
	base := t.TempDir()
	data, tree, home := filepath.Join(base, "data"), filepath.Join(base, "tree"), filepath.Join(base, "socket")
	for _, d := range []string{data, data + "/slots", tree, home} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: home + "/s"}); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/run", base+"/link"); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/", "/run", "/var/run", "/var", "/proc", "/sys/kernel", "/dev", "/home", "/root", "/tmp", "/tmp/x", "usr", "/usr/../etc", "/usr/no/such", base + "/link", home, data, data + "/slots", base} {
		if h, err := jail.Open(t.Context(), jail.Options{Level: "bwrap", DataDir: data, ReadOnly: []string{path}}); err == nil {
			h.Close()
			t.Errorf("ReadOnly path %q was allowed", path)
		}
	}
	h := open(t, jail.Options{Level: "bwrap", DataDir: data, ReadOnly: []string{"/var/lib/dpkg"}})
	if got := sh(t, newJail(t, h), "ls -d /var/lib/*; test -e /var/lib/dpkg/status; touch /var/lib/dpkg/x 2>&1 || true"); got != "/var/lib/dpkg\ntouch: cannot touch '/var/lib/dpkg/x': Read-only file system\n" {
		t.Errorf("with a ReadOnly path: %q", got)
	}
}

func TestDataDirThatJailsSee(t *testing.T) {
	anyUser(t)
	t.Parallel()
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink("/usr/share", link); err != nil {
		t.Fatal(err)
	}
	for _, level := range confined {
		for _, dir := range []string{"/usr", "/usr/local/no-such", "/etc/ssl/certs/data", link} {
			h, err := jail.Open(t.Context(), jail.Options{Level: level, DataDir: dir})
			if err == nil {
				h.Close()
			}
			if err == nil || !strings.Contains(err.Error(), "which every jail sees") {
				t.Errorf("Open with DataDir %s under %s = %v, want a refusal", dir, level, err)
			}
		}
	}
	open(t, jail.Options{Level: "native", DataDir: filepath.Join(t.TempDir(), "usr", "etc")})
}
