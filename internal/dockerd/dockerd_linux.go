package dockerd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// ErrNoEngine is wrapped by the error of [Start] where no daemon can run.
var ErrNoEngine = errors.New("no Docker daemon can run here")

const (
	readyTime = 30 * time.Second // on a machine that is busy with other tests
	stopTime  = 20 * time.Second
)

// Daemon is a running dockerd. Its fields are not to be changed.
type Daemon struct {
	Host   string // its socket, as clients name it: unix:///…
	dir    string
	lease  *os.File // locked while the directory is used
	groups string   // the name of its control groups
	stop   chan struct{}
	ended  chan struct{} // closed with err set
	err    error
}

// Start starts a daemon and waits until it answers. The caller closes it. Should
// the program die first, the daemon is told to end.
func Start(ctx context.Context) (_ *Daemon, err error) {
	if os.Geteuid() != 0 {
		return nil, fmt.Errorf("%w: it needs root", ErrNoEngine)
	}
	for _, name := range []string{"dockerd", "containerd", "runc"} {
		if _, err := exec.LookPath(name); err != nil {
			return nil, fmt.Errorf("%w: %w (apt-get install docker.io)", ErrNoEngine, err)
		}
	}
	sweep()
	// Short, for the sockets below have long names and a path of 107 bytes at most.
	dir, err := os.MkdirTemp("/tmp", "dockerd-")
	if err != nil {
		return nil, err
	}
	d := &Daemon{
		Host: "unix://" + dir + "/docker.sock", dir: dir, groups: groupsOf(dir),
		stop: make(chan struct{}), ended: make(chan struct{}),
	}
	if d.lease, err = os.Create(dir + "/lease"); err == nil {
		err = syscall.Flock(int(d.lease.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	}
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	defer func() {
		if err != nil {
			d.lease.Close()
		}
	}()
	if err := os.WriteFile(dir+"/daemon.json", []byte("{}\n"), 0o600); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	log, err := os.Create(dir + "/log")
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	defer log.Close()
	cmd := exec.Command("dockerd", "--config-file", dir+"/daemon.json", "--host", d.Host, "--data-root", dir+"/data",
		"--exec-root", dir+"/exec", "--pidfile", dir+"/pid", "--bridge", "none", "--iptables=false", "--ip6tables=false",
		"--cgroup-parent", "/"+d.groups, "--shutdown-timeout", "1")
	cmd.Env = append(os.Environ(), "DOCKER_BUILDKIT=0", "DOCKER_HOST=", "DOCKER_TMPDIR="+dir+"/tmp")
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGTERM}
	started := make(chan error)
	go d.run(cmd, started)
	if err := <-started; err != nil {
		return nil, errors.Join(fmt.Errorf("%w: %w", ErrNoEngine, err), os.RemoveAll(dir))
	}
	if err := d.ready(ctx); err != nil {
		text, _ := os.ReadFile(dir + "/log")
		return nil, errors.Join(fmt.Errorf("%w: %w; it said:\n%s", ErrNoEngine, err, tail(text, 4000)), d.Close())
	}
	return d, nil
}

// run starts the daemon and waits for it, on one thread: the signal at the death
// of the parent is at that of the thread.
func (d *Daemon) run(cmd *exec.Cmd, started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := cmd.Start()
	started <- err
	if err != nil {
		return
	}
	waited := make(chan struct{})
	go func() { // ends with this function
		select {
		case <-waited:
			return
		case <-d.stop:
		}
		_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended
		select {
		case <-waited:
		case <-time.After(stopTime):
			_ = cmd.Process.Kill()
		}
	}()
	d.err = cmd.Wait()
	close(waited)
	close(d.ended)
}

// ready waits until the daemon answers.
func (d *Daemon) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyTime)
	defer cancel()
	c := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", d.dir+"/docker.sock")
		},
	}}
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://docker/_ping", nil)
		if err != nil {
			return err
		}
		resp, err := c.Do(req)
		if err == nil {
			_, err = io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
			if err == nil && resp.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-d.ended:
			return fmt.Errorf("dockerd ended: %v", d.err)
		case <-ctx.Done():
			return fmt.Errorf("dockerd does not answer: %w", errors.Join(ctx.Err(), err))
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Close stops the daemon with all its containers and removes everything of it:
// processes, mounts, control groups and files. It is to be called once.
func (d *Daemon) Close() error {
	close(d.stop)
	<-d.ended
	return errors.Join(remove(d.dir), d.lease.Close())
}

// remove removes what a daemon that has ended left. What is killed has mounts,
// control groups and files until it is gone, so it tries until nothing is left.
func remove(dir string) error {
	for begin := time.Now(); ; {
		err := removeOnce(dir)
		if err == nil || time.Since(begin) > stopTime {
			return err
		}
		<-time.After(5 * time.Millisecond)
	}
}

func removeOnce(dir string) error {
	if n := killShims(dir); n > 0 {
		return fmt.Errorf("%d processes of the daemon in %s do not die", n, dir)
	}
	if err := errors.Join(unmountBelow(dir), removeGroups(groupsOf(dir))); err != nil {
		return err
	}
	return os.RemoveAll(dir)
}

// groupsOf is the name of the control groups of the daemon in dir.
func groupsOf(dir string) string { return "agentflow-" + filepath.Base(dir) }

// sweep removes what the daemons of programs that died left, once they have ended.
func sweep() {
	leases, _ := filepath.Glob("/tmp/dockerd-*/lease") // the pattern is right
	for _, path := range leases {
		f, err := os.Open(path)
		if err != nil {
			continue
		}
		dir := filepath.Dir(path)
		if st, err := f.Stat(); err != nil || time.Since(st.ModTime()) < readyTime {
			f.Close()
			continue // it may just be in the making
		}
		var pid int
		text, err := os.ReadFile(dir + "/pid")
		_, _ = fmt.Sscan(string(text), &pid) // 0 if there is none
		if syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil && (err != nil || syscall.Kill(pid, 0) != nil) {
			_ = remove(dir) // the next one tries again
		}
		f.Close()
	}
}

// killShims kills what dockerd left of itself: the keepers of its containers, and
// containerd if dockerd was killed. All of them name their directory. It returns
// how many there were.
func killShims(dir string) (n int) {
	cmdlines, _ := filepath.Glob("/proc/[0-9]*/cmdline") // the pattern is right
	for _, path := range cmdlines {
		line, err := os.ReadFile(path)
		if err != nil || !bytes.Contains(line, []byte(dir+"/exec/containerd/")) {
			continue
		}
		var pid int
		if _, err := fmt.Sscanf(path, "/proc/%d/", &pid); err == nil && pid != os.Getpid() {
			_ = syscall.Kill(pid, syscall.SIGKILL) // it may be gone
			n++
		}
	}
	return n
}

// unmountBelow detaches all mounts below dir, the latest first.
func unmountBelow(dir string) error {
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	var errs []error
	lines := strings.Split(string(text), "\n")
	for i := len(lines) - 1; i >= 0; i-- {
		f := strings.Fields(lines[i])
		if len(f) > 4 && strings.HasPrefix(f[4], dir+"/") {
			// EINVAL: one that went with another.
			if err := syscall.Unmount(f[4], syscall.MNT_DETACH); err != nil && !errors.Is(err, syscall.EINVAL) {
				errs = append(errs, fmt.Errorf("unmount %s: %w", f[4], err))
			}
		}
	}
	return errors.Join(errs...)
}

// removeGroups kills what is in the control groups of that name, which outlives its
// keeper, and removes them, from the leaves up.
func removeGroups(name string) error {
	tops, err := filepath.Glob("/sys/fs/cgroup/*/" + name)
	if err != nil {
		return err
	}
	var errs []error
	for _, top := range append(tops, "/sys/fs/cgroup/"+name) {
		var dirs []string
		_ = filepath.WalkDir(top, func(path string, e os.DirEntry, err error) error {
			if err == nil && e.IsDir() {
				dirs = append(dirs, path)
			}
			return nil
		})
		for i := len(dirs) - 1; i >= 0; i-- {
			procs, _ := os.ReadFile(dirs[i] + "/cgroup.procs") // what it has keeps it
			for _, f := range strings.Fields(string(procs)) {
				if pid, err := strconv.Atoi(f); err == nil && pid > 0 {
					_ = syscall.Kill(pid, syscall.SIGKILL) // it may be gone
				}
			}
			if err := syscall.Rmdir(dirs[i]); err != nil && !errors.Is(err, syscall.ENOENT) {
				errs = append(errs, fmt.Errorf("remove control group %s: %w", dirs[i], err))
			}
		}
	}
	return errors.Join(errs...)
}

func tail(b []byte, n int) []byte { return b[max(0, len(b)-n):] }
