package jail

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// etcShared lists what a jail sees of the host's /etc: what programs need to
// find their libraries, certificates, fonts, time zone and alternatives, and
// nothing that tells of the host's users, network or services.
var etcShared = [...]string{
	"alternatives", "ca-certificates", "debian_version", "fonts", "ld.so.cache", "ld.so.conf", "ld.so.conf.d",
	"localtime", "magic", "mime.types", "os-release", "pki/ca-trust", "pki/tls/certs", "protocols", "services",
	"ssl/certs", "ssl/openssl.cnf", "terminfo", "timezone",
}

// etcMade lists the files of /etc that are written for the jail, with their
// content.
var etcMade = [...][2]string{
	{"passwd", etcPasswd(UID, GID)},
	{"group", etcGroup(GID)},
	{"hosts", "127.0.0.1 localhost sandbox\n::1 localhost sandbox\n"},
	{"hostname", hostname + "\n"},
	{"nsswitch.conf", "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\nnetworks: files\nprotocols: files\nservices: files\n"},
	{"resolv.conf", "# Names are for the proxy to resolve, where the jail has one.\n"},
}

const hostname = "sandbox"

// procFiles and procDirs are masked: they tell of the host or its kernel, or let
// it be changed. A jail's user may read or write few of them anyway. Whoever may
// write to pressure gives the kernel work for the whole machine.
//
// procCovered are read-only: the settings of the jail's own namespaces belong to its
// user.
var (
	procFiles = [...]string{"kcore", "keys", "key-users", "kmsg", "latency_stats", "sched_debug", "sysrq-trigger", "timer_list", "timer_stats"}
	procDirs  = [...]string{"acpi", "asound", "fs", "pressure", "scsi"}

	procCovered = [...]string{"bus", "irq", "sys"}
)

// inProc are the paths of those names that this host has in /proc.
func inProc(names []string) (paths []string) {
	for _, name := range names {
		if _, err := os.Lstat("/proc/" + name); err == nil {
			paths = append(paths, "/proc/"+name)
		}
	}
	return paths
}

// bind is a host path that a jail sees, by descriptor: what was checked is what
// is bound, whatever happens to the path.
type bind struct {
	f        *os.File // O_PATH
	staged   string   // its path on the stage, if there is one
	inside   string
	writable bool
}

func openPath(path string, flags int) (*os.File, error) {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC|flags, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	return os.NewFile(uintptr(fd), path), nil
}

// forbidden lists host directories that no configured path may be, lie below, or
// contain: they hold sockets, devices, other users' files, or the kernel itself.
var forbidden = [...]string{"/proc", "/sys", "/dev", "/run", "/var/run", "/var/spool", "/tmp", "/var/tmp", "/etc/ssh", "/etc/shadow", "/boot"}

// private are the names below a home that hold secrets.
var private = [...]string{".ssh", ".gnupg", ".aws", ".azure", ".config", ".docker", ".kube", ".netrc", ".mozilla", ".password-store"}

// checkPath refuses a path that jails must never see, whatever is there.
func checkPath(p, data string) error {
	if p == "/" {
		return errors.New("is the whole host")
	}
	for _, dir := range forbidden {
		if p == dir || below(p, dir) || below(dir, p) {
			return fmt.Errorf("is, holds or lies below %s, which jails must not see", dir)
		}
	}
	homes := []string{"/home", "/root"}
	if own, err := os.UserHomeDir(); err == nil && filepath.IsAbs(own) && own != "/" {
		homes = append(homes, filepath.Clean(own))
	}
	for _, home := range homes {
		if p == home || below(home, p) || (home == "/home" && filepath.Dir(p) == home) {
			return errors.New("is or holds a home directory")
		}
	}
	for part := range strings.SplitSeq(p, "/") {
		if slices.Contains(private[:], part) {
			return fmt.Errorf("lies in %s, which holds secrets", part)
		}
	}
	if data != "" {
		real, err := filepath.EvalSymlinks(data)
		if err != nil {
			real = data // it may not exist yet
		}
		for _, d := range []string{data, real} {
			if p == d || below(p, d) || below(d, p) {
				return fmt.Errorf("is, holds or lies below the data directory %s", d)
			}
		}
	}
	return nil
}

// checkDataDir refuses a data directory that every jail would see: where all
// workers are one user, each could read the others' files there.
func checkDataDir(data string) error {
	if data == "" {
		return nil
	}
	fixed, err := Fixtures()
	if err != nil {
		return fmt.Errorf("jail: %w", err)
	}
	real, err := filepath.EvalSymlinks(data)
	if err != nil {
		real = data // it may not exist yet
	}
	for _, f := range fixed {
		if f.Host != "" && (real == f.Host || below(real, f.Host)) {
			return fmt.Errorf("jail: DataDir %s lies in %s, which every jail sees: use a directory elsewhere, such as one below /var/lib", data, f.Host)
		}
	}
	return nil
}

// below tells whether path lies below dir.
func below(path, dir string) bool {
	return path != dir && strings.HasPrefix(path, strings.TrimSuffix(dir, "/")+"/")
}

// insideTaken lists the inside paths that belong to the jail itself.
var insideTaken = [...]string{"/usr", "/bin", "/sbin", "/lib", "/lib64", "/etc", "/proc", "/sys", "/dev", Workspace}

// openMount opens what m is to show. What is checked is what was opened, for an
// agent may own a part of the path and change it at any time.
func openMount(m Mount, data string) (*os.File, error) {
	f, err := openPath(m.Host, 0)
	if err != nil {
		return nil, fmt.Errorf("jail: mount: %w", err)
	}
	real, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", f.Fd()))
	if err == nil {
		err = checkMount(m, real, data)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// checkMount refuses a mount that would hide a part of the jail or show what no
// jail may see. real is the host's path without links.
func checkMount(m Mount, real, data string) error {
	for _, p := range []string{m.Host, m.Inside} {
		if !filepath.IsAbs(p) || filepath.Clean(p) != p {
			return fmt.Errorf("jail: mount %q: want an absolute path in its shortest form", p)
		}
	}
	if m.Inside == "/" || m.Inside == "/tmp" {
		return fmt.Errorf("jail: mount at %q: the jail has one of its own", m.Inside)
	}
	for _, t := range insideTaken {
		if m.Inside == t || below(m.Inside, t) {
			return fmt.Errorf("jail: mount at %q: %s is the jail's own", m.Inside, t)
		}
	}
	if real == "/" {
		return fmt.Errorf("jail: mount %q: is the whole host", m.Host)
	}
	for _, dir := range []string{"/proc", "/sys", "/dev", "/etc", "/boot"} {
		if real == dir || below(real, dir) || below(dir, real) {
			return fmt.Errorf("jail: mount %q: is, holds or lies below %s", m.Host, dir)
		}
	}
	if data != "" && (real == data || below(data, real)) {
		return fmt.Errorf("jail: mount %q: is or holds the data directory", m.Host)
	}
	return nil
}
