package jail

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// bwrapView collects the options of one bwrap and the descriptors they name.
type bwrapView struct {
	args  []string
	files []*os.File // descriptor i of bwrap is files[i]
	own   []*os.File // those to close once bwrap runs
}

func (v *bwrapView) add(args ...string) { v.args = append(v.args, args...) }

// pass makes f a descriptor of bwrap's and returns its number.
func (v *bwrapView) pass(f *os.File) string {
	v.files = append(v.files, f)
	return strconv.Itoa(len(v.files) - 1)
}

// bind adds b, from the stage or by descriptor. bwrap adds nosuid and nodev.
func (v *bwrapView) bind(b bind) {
	option := "--ro-bind"
	if b.writable {
		option = "--bind"
	}
	if b.staged != "" {
		v.add(option, b.staged, b.inside)
	} else {
		v.add(option+"-fd", v.pass(b.f), b.inside)
	}
}

func (v *bwrapView) closeOwn() {
	for _, f := range v.own {
		f.Close()
	}
}

// viewSpec is what differs from jail to jail.
type viewSpec struct {
	tmp, shm     int64 // bytes
	nestedUserNS bool
	binds        []bind // the workspace first
}

// build writes the options for the view and namespaces of one jail. The
// descriptors that every first process expects are already in files.
func (h *Host) build(v *bwrapView, s viewSpec) error {
	// Each namespace by name: --unshare-all leaves out what it cannot have.
	v.add("--unshare-user", "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-net", "--unshare-cgroup")
	if !s.nestedUserNS {
		v.add("--disable-userns")
	}
	v.add("--cap-drop", "ALL", "--die-with-parent", "--as-pid-1",
		"--uid", strconv.Itoa(UID), "--gid", strconv.Itoa(GID), "--hostname", hostname)

	v.add("--ro-bind", "/usr", "/usr")
	v.add("--perms", "0755", "--dir", "/etc") // bwrap makes missing parents with mode 0700
	for _, dir := range []string{"/etc/pki", "/etc/pki/tls", "/etc/ssl"} {
		v.add("--perms", "0755", "--dir", dir)
	}
	v.args = append(v.args, h.links...)
	for i, made := range etcMade {
		f, err := reopen(h.etc[i]) // an offset of its own: others read it at the same time
		if err != nil {
			return err
		}
		v.own = append(v.own, f)
		v.add("--perms", "0644", "--file", v.pass(f), "/etc/"+made[0])
	}
	for _, b := range h.readOnly {
		v.bind(b)
	}
	v.add("--proc", "/proc")
	v.args = append(v.args, h.masks...)
	v.add("--dev", "/dev",
		"--perms", "1777", "--size", strconv.FormatInt(s.shm, 10), "--tmpfs", "/dev/shm",
		"--perms", "1777", "--size", strconv.FormatInt(s.tmp, 10), "--tmpfs", "/tmp",
		"--dir", "/var", "--symlink", "../tmp", "/var/tmp", "--dir", "/run")
	for _, b := range s.binds {
		v.bind(b)
	}
	v.add("--remount-ro", "/dev", "--remount-ro", "/", "--chdir", Workspace)
	return nil
}

// hostLinks are the options for what the host has in its root beside /usr: links
// into it on a merged system, directories on others.
func hostLinks() (args []string, err error) {
	for _, dir := range []string{"/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"} {
		st, err := os.Lstat(dir)
		if os.IsNotExist(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if st.Mode()&os.ModeSymlink == 0 {
			args = append(args, "--ro-bind", dir, dir)
			continue
		}
		target, err := os.Readlink(dir)
		if err != nil {
			return nil, err
		}
		if abs := filepath.Join("/", target); !below(abs, "/usr") {
			return nil, fmt.Errorf("%s is a link to %q, want one into /usr", dir, target)
		}
		args = append(args, "--symlink", target, dir)
	}
	for _, name := range etcShared {
		path := "/etc/" + name
		st, err := os.Lstat(path)
		if err != nil {
			continue // not on this host
		}
		if st.Mode()&os.ModeSymlink != 0 {
			target, err := os.Readlink(path)
			if err != nil {
				return nil, err
			}
			abs := target
			if !filepath.IsAbs(abs) {
				abs = filepath.Join(filepath.Dir(path), abs)
			}
			if below(abs, "/usr") {
				args = append(args, "--symlink", target, path)
				continue
			}
		}
		args = append(args, "--ro-bind", path, path)
	}
	return args, nil
}

// procMasks are the options that mask what the host's /proc has of procFiles and
// procDirs.
func procMasks() (args []string) {
	for _, name := range procFiles {
		path := "/proc/" + name
		if _, err := os.Lstat(path); err == nil {
			args = append(args, "--ro-bind", "/dev/null", path)
		}
	}
	for _, name := range procDirs {
		path := "/proc/" + name
		if _, err := os.Lstat(path); err == nil {
			args = append(args, "--tmpfs", path, "--remount-ro", path)
		}
	}
	return args
}

// startBwrap starts bwrap for one jail. sock is the first process's end of the
// socket pair, stderr is where bwrap and the first process complain.
func (h *Host) startBwrap(id *Identity, group *memberGroup, s viewSpec, sock, stderr *os.File) (*os.Process, error) {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer null.Close()
	v := &bwrapView{files: []*os.File{null, null, stderr, sock, h.self}}
	defer v.closeOwn()
	if err := h.build(v, s); err != nil {
		return nil, err
	}
	// The options go through a descriptor, and the environment is empty: what
	// /proc shows of bwrap to others of the same user tells nothing. It is a pipe,
	// so that bwrap starts nothing before they come.
	theirs, opts, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer opts.Close()
	v.own = append(v.own, theirs)
	if err := theirs.Chown(id.UID, id.GID); err != nil { // a wrapper of bwrap can read it again
		return nil, err
	}
	argv := []string{"bwrap", "--args", v.pass(theirs), "--", exePath, marker}
	p, finish, err := h.starter.start(group, h.bwrap, argv, &os.ProcAttr{
		Dir:   "/",
		Env:   []string{},
		Files: v.files,
		Sys:   sysProcAttr(id),
	})
	if err != nil {
		return nil, err
	}
	theirs.Close() // so that the end of bwrap is seen
	if finish != nil {
		err = finish()
	}
	if err == nil {
		if err = opts.SetWriteDeadline(time.Now().Add(helloTime)); err == nil {
			_, err = opts.WriteString(strings.Join(v.args, "\x00") + "\x00")
		}
	}
	if err != nil && !errors.Is(err, unix.EPIPE) { // then bwrap has ended, and said why
		// Before the pipe is closed: half the options make half a jail.
		abandon(p)
		return nil, err
	}
	return p, nil
}

// complaint is what bwrap wrote to its standard error, cut and on one line.
func complaint(stderr *os.File) string {
	b := make([]byte, 4096)
	n, _ := stderr.ReadAt(b, 0) // the end of the file is no surprise
	return strings.Join(strings.Fields(string(bytes.ToValidUTF8(b[:n], []byte("?")))), " ")
}
