package jail

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// checkReadOnly refuses a path that jails must never see, as a [ReadOnlyError]. data
// is the program's data directory, or "".
func checkReadOnly(path, data string) error {
	err := func() error {
		if !filepath.IsAbs(path) || filepath.Clean(path) != path {
			return errors.New("want an absolute path in its shortest form")
		}
		real, err := filepath.EvalSymlinks(path)
		if err != nil {
			return err
		}
		for _, p := range []string{path, real} {
			if err := checkPath(p, data); err != nil {
				return err
			}
		}
		if err := checkTaken(path); err != nil {
			return err
		}
		// What a link leads to later nobody would have looked at.
		if real != path {
			return fmt.Errorf("is or lies behind a link: name %q", real)
		}
		mounts, err := os.ReadFile("/proc/self/mountinfo")
		if err != nil {
			return err
		}
		if err := checkMounted(string(mounts), real); err != nil {
			return err
		}
		return checkSpecial(real)
	}()
	if err != nil {
		return &ReadOnlyError{Path: path, Err: err}
	}
	return nil
}

// checkTaken refuses what would hide a part of the jail's own view.
func checkTaken(path string) error {
	fixed, err := Fixtures()
	if err != nil {
		return err
	}
	taken := []string{Workspace}
	for _, f := range fixed {
		taken = append(taken, f.Inside)
	}
	for _, made := range etcMade {
		taken = append(taken, "/etc/"+made[0])
	}
	for _, t := range taken {
		if path == t || below(path, t) || below(t, path) {
			return fmt.Errorf("is, holds or lies below %s, which jails have: leave it out", t)
		}
	}
	return nil
}

// kernels are the types of file systems that show the kernel's state, processes of
// the host included, and the devices.
var kernels = [...]string{
	"binfmt_misc", "bpf", "cgroup", "cgroup2", "configfs", "debugfs", "devpts", "devtmpfs", "efivarfs", "fusectl",
	"hugetlbfs", "mqueue", "nfsd", "nsfs", "proc", "pstore", "rpc_pipefs", "securityfs", "selinuxfs", "smackfs", "sysfs", "tracefs",
}

// checkMounted refuses a tree in which one of kernels is mounted, for jails see
// what is mounted in a tree. mounts is what /proc/self/mountinfo says.
func checkMounted(mounts, root string) error {
	unescape := strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)
	for line := range strings.Lines(mounts) {
		before, after, _ := strings.Cut(line, " - ")
		f, g := strings.Fields(before), strings.Fields(after)
		if len(f) < 5 || len(g) < 1 {
			return fmt.Errorf("cannot tell what is mounted there: /proc/self/mountinfo has the line %q", line)
		}
		if at := unescape.Replace(f[4]); slices.Contains(kernels[:], g[0]) && (at == root || below(at, root)) {
			return fmt.Errorf("holds %q, where %s is mounted, which jails must not see", at, g[0])
		}
	}
	return nil
}

// maxWalk bounds the search of a configured tree, in entries.
const maxWalk = 2_000_000

// checkSpecial refuses a tree that holds sockets or FIFOs, which lead to programs of
// the host below a read-only mount too.
func checkSpecial(root string) error {
	n := 0
	return filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			if path == root {
				return err
			}
			return nil // what we may not read, a worker may not either
		}
		switch {
		case d.Type()&fs.ModeSocket != 0:
			return fmt.Errorf("holds the socket %q, which would answer to jails", path)
		case d.Type()&fs.ModeNamedPipe != 0:
			return fmt.Errorf("holds the FIFO %q, from which jails could take what is meant for others", path)
		}
		if n++; n > maxWalk {
			return fmt.Errorf("holds more than %d files, too many to look for sockets among: name a directory below", maxWalk)
		}
		return nil
	})
}
