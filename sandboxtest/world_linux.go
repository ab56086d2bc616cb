package sandboxtest

import (
	"bufio"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// facts is what a case is told of the outside: where to look, never what is
// there.
type facts struct {
	Case  string `json:"case"`  // the case's name, as part of file names
	Mark  string `json:"mark"`  // in the arguments of the suite's own processes
	Own   string `json:"own"`   // in the arguments of the case's processes
	Level string `json:"level"` // confinement in force

	Dir       string `json:"dir"`       // a directory of the host that anybody may write to
	File      string `json:"file"`      // with a secret
	Writable  string `json:"writable"`  // that anybody may write to
	Removable string `json:"removable"` // not needed
	Program   string `json:"program"`   // that prints files
	Other     string `json:"other"`     // another worker's workspace, with a secret
	Shm       string `json:"shm"`       // with a secret, in /dev/shm
	Home      string `json:"home"`      // of the host's user
	Exe       string `json:"exe"`       // the host program
	PTSDev    uint64 `json:"pts_dev"`   // the file system of the host's terminals

	TCP4     int      `json:"tcp4"`    // a server on 127.0.0.1
	TCP6     int      `json:"tcp6"`    // on ::1; 0: none
	TCPAny   int      `json:"tcp_any"` // on all addresses
	HTTP     int      `json:"http"`    // one that tells how it was asked, on 127.0.0.1; it keeps no secret
	UDP      int      `json:"udp"`     // on 127.0.0.1
	Abstract string   `json:"abstract"`
	Socket   string   `json:"socket"` // the path of one
	Addrs    []string `json:"addrs"`  // of the host, but loopback

	SysV    int    `json:"sysv"` // shared memory with a secret
	SysVKey int    `json:"sysv_key"`
	MQ      string `json:"mq"`

	Namespaces map[string]string `json:"ns"` // of the host program
	Salt       string            `json:"salt"`
	Environ    []string          `json:"environ"` // hashes of the host program's variables

	Victim int   `json:"victim"` // a process of the host, if the case needs one
	Memory int64 `json:"memory"` // the limits in force
	Files  int   `json:"files"`
	Proven bool  `json:"proven"` // the limits that the case has set are enforced
}

const writableText = "unchanged\n"

// world is what there is to steal from and to hurt: all of it made by the suite.
type world struct {
	id    string
	facts facts
	undo  []func()
}

func (w *world) secret(of string) string { return "sandboxtest-secret-" + w.id + "-" + of }

func (w *world) close() {
	for _, f := range slices.Backward(w.undo) {
		f()
	}
}

func newWorld() (_ *world, err error) {
	b := make([]byte, 8)
	_, _ = rand.Read(b) // never fails
	w := &world{id: hex.EncodeToString(b)}
	defer func() {
		if err != nil {
			w.close()
		}
	}()
	w.facts.Mark = "sandboxtest-" + w.id
	for _, make := range []func() error{w.files, w.descriptors, w.servers, w.ipc, w.self} {
		if err := make(); err != nil {
			return nil, fmt.Errorf("sandboxtest: make something to steal: %w", err)
		}
	}
	return w, nil
}

func (w *world) files() error {
	dir, err := os.MkdirTemp("", "sandboxtest")
	if err != nil {
		return err
	}
	w.undo = append(w.undo, func() { os.RemoveAll(dir) })
	f := &w.facts
	f.Dir = dir
	f.File, f.Writable, f.Removable = dir+"/secret", dir+"/writable", dir+"/removable"
	f.Program, f.Socket, f.Shm = dir+"/cat", dir+"/socket", "/dev/shm/sandboxtest-"+w.id
	cat, err := exec.LookPath("cat")
	if err != nil {
		return err
	}
	program, err := os.ReadFile(cat)
	if err != nil {
		return err
	}
	errs := []error{
		os.Chmod(dir, 0o777), os.Mkdir(dir+"/keep", 0o755),
		os.Mkdir(dir+"/given", 0o755), os.Symlink(f.File, dir+"/given/link"),
	}
	for path, text := range map[string]string{
		f.File: w.secret("file"), f.Writable: writableText, f.Removable: "", f.Program: string(program),
		f.Shm: w.secret("shm"), dir + "/keep/secret": w.secret("kept"),
		dir + "/given/writable": "",
	} {
		// No permission is to stop what a jail must.
		errs = append(errs, os.WriteFile(path, []byte(text), 0o600), os.Chmod(path, 0o777))
	}
	w.undo = append(w.undo, func() { os.Remove(f.Shm) })
	return errors.Join(errs...)
}

// descriptors leaves one open that whatever the host program starts inherits,
// unless somebody sees to it.
func (w *world) descriptors() error {
	fd, err := unix.Open(w.facts.Dir, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	w.undo = append(w.undo, func() { unix.Close(fd) })
	tty, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil // no terminals here: the cases look at file systems only
	}
	w.undo = append(w.undo, func() { tty.Close() })
	var st unix.Stat_t
	if err := unix.Stat("/dev/pts", &st); err != nil {
		return err
	}
	w.facts.PTSDev = st.Dev
	return nil
}

func (w *world) servers() error {
	f := &w.facts
	f.Abstract = "sandboxtest-" + w.id
	port := func(l net.Listener) int { return l.Addr().(*net.TCPAddr).Port }
	for _, s := range []struct {
		network, addr string
		port          *int
		optional      bool
	}{
		{"tcp4", "127.0.0.1:0", &f.TCP4, false}, {"tcp6", "[::1]:0", &f.TCP6, true}, {"tcp", ":0", &f.TCPAny, false},
		{"unix", "@" + f.Abstract, nil, false}, {"unix", f.Socket, nil, false},
	} {
		l, err := net.Listen(s.network, s.addr)
		if err != nil && s.optional {
			continue
		}
		if err != nil {
			return err
		}
		w.undo = append(w.undo, func() { l.Close() })
		if s.port != nil {
			*s.port = port(l)
		}
		go func() { // until l is closed
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				_, _ = io.WriteString(c, w.secret("server")) // whoever went away has missed it
				c.Close()
			}
		}()
	}
	if err := os.Chmod(f.Socket, 0o777); err != nil {
		return err
	}
	web, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return err
	}
	w.undo = append(w.undo, func() { web.Close() })
	f.HTTP = port(web)
	go serveHeard(web)
	u, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		return err
	}
	w.undo = append(w.undo, func() { u.Close() })
	f.UDP = u.LocalAddr().(*net.UDPAddr).Port
	go func() { // until u is closed
		b := make([]byte, 16)
		for {
			_, from, err := u.ReadFrom(b)
			if err != nil {
				return
			}
			_, _ = u.WriteTo([]byte(w.secret("udp")), from) // as above
		}
	}()
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return err
	}
	for _, a := range addrs {
		if ip, ok := a.(*net.IPNet); ok && ip.IP.IsGlobalUnicast() {
			f.Addrs = append(f.Addrs, ip.IP.String())
		}
	}
	return nil
}

func (w *world) ipc() error {
	b := make([]byte, 4)
	_, _ = rand.Read(b) // never fails
	w.facts.SysVKey = int(b[0])<<16 | int(b[1])<<8 | int(b[2]) | 0x5a000000
	id, err := unix.SysvShmGet(w.facts.SysVKey, 4096, unix.IPC_CREAT|unix.IPC_EXCL|0o666)
	if err != nil {
		return fmt.Errorf("shared memory: %w", err)
	}
	w.undo = append(w.undo, func() { _, _ = unix.SysvShmCtl(id, unix.IPC_RMID, nil) })
	w.facts.SysV = id
	mem, err := unix.SysvShmAttach(id, 0, 0)
	if err != nil {
		return fmt.Errorf("shared memory: %w", err)
	}
	copy(mem, w.secret("sysv"))
	if err := unix.SysvShmDetach(mem); err != nil {
		return err
	}
	w.facts.MQ = "sandboxtest-" + w.id
	name, err := unix.BytePtrFromString(w.facts.MQ)
	if err != nil {
		return err
	}
	fd, _, errno := unix.Syscall6(unix.SYS_MQ_OPEN, uintptr(unsafe.Pointer(name)), unix.O_CREAT|unix.O_EXCL|unix.O_RDWR, 0o666, 0, 0, 0)
	if errno != 0 {
		return nil // none here: then there is nothing to open
	}
	unix.Close(int(fd))
	w.undo = append(w.undo, func() { unix.Syscall(unix.SYS_MQ_UNLINK, uintptr(unsafe.Pointer(name)), 0, 0) })
	return nil
}

// self is what the host program itself has to hide.
func (w *world) self() (err error) {
	f := &w.facts
	if f.Exe, err = os.Executable(); err != nil {
		return err
	}
	if f.Home, err = os.UserHomeDir(); err != nil {
		f.Home = "/root"
	}
	f.Namespaces = map[string]string{}
	for _, ns := range []string{"user", "pid", "mnt", "net", "ipc", "uts", "cgroup"} {
		if f.Namespaces[ns], err = os.Readlink("/proc/self/ns/" + ns); err != nil {
			return err
		}
	}
	f.Salt = w.id
	clean := []string{"PATH", "LANG", "TERM", "HOME", "USER", "LOGNAME", "SHELL", "PWD"}
	for _, e := range os.Environ() {
		if name, value, _ := strings.Cut(e, "="); len(value) >= 6 && !slices.Contains(clean, name) {
			sum := sha256.Sum256([]byte(f.Salt + e))
			f.Environ = append(f.Environ, hex.EncodeToString(sum[:]))
		}
	}
	return nil
}

// victim is a process to be hurt.
type victim struct {
	pid int
	// answers has it say something; the error is that of a process that is gone.
	answers func() error
	stop    func()
}

// gone tells whether it has ended. It is asked, for a signal that was just sent
// comes before whatever it does next, however long that takes on a busy machine.
func (v *victim) gone() bool { return v.answers() != nil }

// newVictim starts a process with secrets in its arguments and environment. It
// ends with the suite at the latest, whose end closes its input.
func (w *world) newVictim() (*victim, error) {
	cmd := exec.Command("/bin/sh", "-c", "cd "+w.facts.Dir+"; echo; while read x; do echo; done", w.facts.Mark, w.secret("argument"))
	cmd.Env = []string{"PATH=/usr/bin:/bin", "SECRET=" + w.secret("environment")}
	cmd.SysProcAttr = &unix.SysProcAttr{Setsid: true}
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	v := &victim{pid: cmd.Process.Pid}
	said := bufio.NewReader(out)
	v.answers = func() error {
		if _, err := io.WriteString(in, "\n"); err != nil {
			return err
		}
		if d, ok := out.(interface{ SetReadDeadline(time.Time) error }); ok {
			_ = d.SetReadDeadline(time.Now().Add(tryTime)) // it may have been stopped
		}
		_, err := said.ReadByte()
		return err
	}
	v.stop = func() {
		in.Close()
		_ = cmd.Process.Kill() // it may have ended
		_ = cmd.Wait()         // however it ended
	}
	if _, err = said.ReadByte(); err != nil { // it is there
		v.stop()
		return nil, fmt.Errorf("sandboxtest: a process to be hurt: %w", err)
	}
	return v, nil
}

// withArgument lists the processes of the machine that have an argument.
func withArgument(arg string) (found []string) {
	dirs, _ := filepath.Glob("/proc/[0-9]*") // the pattern is right
	for _, d := range dirs {
		b, err := os.ReadFile(d + "/cmdline")
		if err == nil && slices.Contains(strings.Split(string(b), "\x00"), arg) {
			found = append(found, "process "+filepath.Base(d))
		}
	}
	return found
}
