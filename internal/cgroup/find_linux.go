package cgroup

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// kernel is what the package asks of the system beside reading files; tests put
// a tree of plain files in its place.
type kernel struct {
	proc  string // /proc
	mkdir func(path string) error
	rmdir func(path string) error
	// write writes a value into a control file, which must be there.
	write func(dir, name, value string) error
	// delegated tells whether somebody gave this directory away (systemd's mark).
	delegated func(path string) bool
	// try starts a process in the group at dir, a version 2 one.
	try func(dir string) error
}

func realKernel() *kernel {
	return &kernel{
		proc:  "/proc",
		mkdir: func(path string) error { return unix.Mkdir(path, 0o755) },
		rmdir: unix.Rmdir,
		write: write,
		delegated: func(path string) bool {
			var b [8]byte
			for _, name := range []string{"user.delegate", "trusted.delegate"} {
				if n, err := unix.Getxattr(path, name, b[:]); err == nil && string(b[:n]) == "1" {
					return true
				}
			}
			return false
		},
		try: tryStart,
	}
}

// hierarchy is a mounted tree of control groups that has controllers of ours.
type hierarchy struct {
	k     *kernel
	v2    bool
	has   []Controller
	name  string // as /proc/self/cgroup has it: "" for version 2, else the first of its controllers
	mount string // where it is mounted
	root  string // which part of it is mounted there
	own   string // directory of the group that this program runs in
}

// place returns the directory of one of the groups that memberships returned.
func (h *hierarchy) place(groups map[string]string) (dir string, ok bool) {
	path, member := groups[h.name]
	rel, inside := relative(h.root, path)
	return filepath.Join(h.mount, rel), member && inside
}

// hierarchies finds the mounted hierarchies in which this program has a place.
// A controller is in one at most: that is the kernel's rule.
func (k *kernel) hierarchies() ([]*hierarchy, error) {
	groups, err := k.memberships("self")
	if err != nil {
		return nil, err
	}
	mounts, err := os.ReadFile(k.proc + "/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("cgroup: %w", err)
	}
	var out []*hierarchy
	seen := map[string]bool{}
	for line := range strings.Lines(string(mounts)) {
		before, after, ok := strings.Cut(line, " - ")
		f, g := strings.Fields(before), strings.Fields(after)
		if !ok || len(f) < 5 || len(g) < 3 {
			continue
		}
		h := &hierarchy{k: k, v2: g[0] == "cgroup2", root: unescape(f[3]), mount: unescape(f[4])}
		switch g[0] {
		case "cgroup2":
		case "cgroup":
			for _, o := range strings.Split(g[2], ",") {
				if slices.Contains(controllers[:], Controller(o)) {
					h.has = append(h.has, Controller(o))
				}
			}
			if len(h.has) == 0 {
				continue
			}
			h.name = string(h.has[0])
		default:
			continue
		}
		var in bool
		if h.own, in = h.place(groups); !in || seen[h.name] {
			continue // another part of the tree is mounted here
		}
		if h.v2 {
			have, err := os.ReadFile(h.own + "/cgroup.controllers")
			if err != nil {
				continue // hidden from this program
			}
			h.has = ofList(string(have))
		}
		seen[h.name] = true
		out = append(out, h)
	}
	return out, nil
}

// memberships reads which group a process or thread is in, in each hierarchy, by
// controller; "" is version 2.
func (k *kernel) memberships(who string) (map[string]string, error) {
	b, err := os.ReadFile(k.proc + "/" + who + "/cgroup")
	if err != nil {
		return nil, fmt.Errorf("cgroup: %w", err)
	}
	out := map[string]string{}
	for line := range strings.Lines(strings.TrimSuffix(string(b), "\n")) {
		f := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		if len(f) != 3 {
			return nil, fmt.Errorf("cgroup: %s/%s/cgroup: line %q, want number:controllers:path", k.proc, who, line)
		}
		for _, c := range strings.Split(f[1], ",") {
			out[c] = f[2]
		}
	}
	return out, nil
}

// relative returns path below root.
func relative(root, path string) (string, bool) {
	if strings.HasPrefix(path, "/..") {
		return "", false // outside of this cgroup namespace
	}
	if root == "/" || root == path {
		return strings.TrimPrefix(path, strings.TrimSuffix(root, "/")), true
	}
	return strings.CutPrefix(path, root+"/")
}

// unescape undoes the octal escapes of mountinfo.
func unescape(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}

// ofList returns those of our controllers that a list of names has.
func ofList(list string) (out []Controller) {
	names := strings.Fields(list)
	for _, c := range controllers {
		if slices.Contains(names, string(c)) {
			out = append(out, c)
		}
	}
	return out
}

// reason explains an error of the kernel's about a group's directory.
func reason(dir string, err error) error {
	switch {
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		return fmt.Errorf("%w: this user may not make groups with limits in %s (%v); run the program as root, or where control groups "+
			"are delegated to it: systemd-run --user --scope -p Delegate=yes -p DelegateSubgroup=main …", ErrUnsupported, dir, err)
	case errors.Is(err, unix.EROFS):
		return fmt.Errorf("%w: %s is mounted read-only, as in most containers; mount it writable (Docker: --privileged, or --cgroupns=private with a writable /sys/fs/cgroup)",
			ErrUnsupported, dir)
	case errors.Is(err, unix.EBUSY):
		return fmt.Errorf("%w: %s holds processes itself, and version 2 of control groups then allows no groups with limits below it; "+
			"run the program in a group of its own below a delegated one: systemd-run --scope -p Delegate=yes -p DelegateSubgroup=main …, "+
			"or, if it is alone in there, let it move into one (Options.MoveCgroup, server.move_cgroup)", ErrUnsupported, dir)
	}
	return fmt.Errorf("%w: %s: %w", ErrUnsupported, dir, err)
}
