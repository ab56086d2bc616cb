package jail

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// probe tries, from inside a jail and with a program's own rights, what must
// not be possible, and returns what was possible all the same. strs: the path
// of a file that exists outside only. First what the kernel must refuse by
// itself, then, with the filter of system calls in place, what that must.
func (s *server) probe(strs []string) (found []string) {
	if s.filtered || !s.confined {
		return []string{"this jail was not made to be probed"}
	}
	found = s.probeView(strs)
	if err := s.lockDown(); err != nil {
		return append(found, err.Error())
	}
	return append(found, probeFilter()...)
}

func (s *server) probeView(strs []string) (found []string) {
	add := func(format string, args ...any) { found = append(found, fmt.Sprintf(format, args...)) }

	if len(strs) != 1 {
		add("no canary was named")
		return found
	}
	paths := []string{strs[0], "/proc/1/root" + strs[0]}
	if !s.ownFiles {
		paths = append(paths, "/etc/shadow", "/root", "/home", "/run/lock")
	}
	if !s.otherKernel { // whose /sys shows nothing of the host
		paths = append(paths, "/sys/kernel")
	}
	for _, path := range paths {
		if _, err := os.Lstat(path); err == nil {
			add("%s is visible", path)
		}
	}
	for _, dir := range []string{"/", "/usr", "/etc", "/dev", "/proc/sys/kernel", "/usr/bin"} {
		path := dir + "/.jail-probe"
		if f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o600); err == nil {
			f.Close()
			os.Remove(path)
			add("%s is writable", dir)
		}
	}
	home := s.home + "/.jail-probe"
	if f, err := os.OpenFile(home, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o600); err != nil {
		add("the workspace is not writable: %v", err)
	} else {
		f.Close()
		os.Remove(home)
	}
	for _, p := range processes() {
		if p.pid != os.Getpid() {
			add("process %d of the host is visible", p.pid)
			break
		}
	}
	if dev, err := os.ReadFile("/proc/self/net/dev"); err != nil {
		add("network devices: %v", err)
	} else {
		for line := range strings.Lines(string(dev)) {
			if name, _, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) != "lo" {
				add("network interface %s is visible", strconv.Quote(strings.TrimSpace(name)))
			}
		}
	}
	if err := unix.Setresuid(0, 0, 0); err == nil {
		add("user 0 can be had")
	}
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	want := [2]unix.CapUserData{{Effective: 1 << unix.CAP_SYS_ADMIN, Permitted: 1 << unix.CAP_SYS_ADMIN}}
	if err := unix.Capset(&hdr, &want[0]); err == nil {
		add("capabilities can be gained")
	}
	if err := unix.Mount("none", "/tmp", "tmpfs", 0, ""); err == nil {
		add("file systems can be mounted")
	}
	if s.otherKernel {
		return found // it may make user namespaces of its own: the filter forbids them all the same
	}
	// A user namespace, which only a process with one thread can ask for: the
	// child that has one would go on to execute a directory.
	s.mu.Lock()
	defer s.mu.Unlock()
	_, at, err := s.forks.start(&spawn{path: "/", args: []string{"/"}, flags: unix.CLONE_NEWUSER})
	if at != stageFork {
		add("user namespaces can be made")
	} else if !errors.Is(err, unix.ENOSPC) && !errors.Is(err, unix.EPERM) {
		add("user namespaces: unexpected refusal: %v", err)
	}
	return found
}
