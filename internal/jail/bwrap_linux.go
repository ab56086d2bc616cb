package jail

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// bwrapDriver makes jails with bubblewrap.
type bwrapDriver struct {
	path     string // as the caller gave it, then absolute
	site     *Site
	stage    *staging   // nil where workers are the host program's own user
	fixed    []string   // options for what all jails see of the host
	masks    []string   // options that mask /proc
	etc      []*os.File // the content of etcMade
	readOnly []bind
}

var _ Driver = (*bwrapDriver)(nil)

func (d *bwrapDriver) Name() string { return levelBwrap }

func (d *bwrapDriver) Traits() Traits {
	return Traits{JoinsNet: true, NoBounds: true, Volumes: d.stage != nil}
}

// Open prepares what all jails share.
func (d *bwrapDriver) Open(_ context.Context, s *Site) (err error) {
	d.site = s
	if d.path, err = findBwrap(d.path); err != nil {
		return err
	}
	if s.users {
		if d.stage, err = newStaging(s.starter); err != nil {
			return noStage(levelBwrap, err)
		}
	}
	if d.fixed, err = fixtureArgs(); err != nil {
		return fmt.Errorf("jail: %w", err)
	}
	d.masks = procMasks()
	for _, made := range etcMade {
		f, err := sealed(made[0], strings.NewReader(made[1]), 0o444)
		if err != nil {
			return fmt.Errorf("jail: %w", err)
		}
		d.etc = append(d.etc, f)
	}
	for _, path := range s.ReadOnly {
		f, err := openPath(path, 0)
		if err != nil {
			return fmt.Errorf("jail: ReadOnly: %w", err)
		}
		b := bind{f: f, inside: path}
		d.readOnly = append(d.readOnly, b)
		if d.stage != nil {
			if d.readOnly[len(d.readOnly)-1].staged, err = d.stage.put(f, false); err != nil {
				return err
			}
		}
	}
	return nil
}

func (d *bwrapDriver) Close() error {
	var errs []error
	for _, f := range d.etc {
		errs = append(errs, f.Close())
	}
	for _, b := range d.readOnly {
		errs = append(errs, b.f.Close())
	}
	return errors.Join(errs...)
}

// findBwrap returns the absolute path of bwrap.
func findBwrap(path string) (string, error) {
	name := path
	if name == "" {
		name = "bwrap"
	}
	found, err := exec.LookPath(name)
	if err == nil {
		found, err = filepath.Abs(found)
	}
	if err != nil {
		return "", &UnavailableError{
			Level: levelBwrap, Err: err,
			Reason: fmt.Sprintf("%s is not installed", name),
			Remedy: "apt-get install bubblewrap (0.8 or newer), or the like for this system",
		}
	}
	return found, nil
}

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

// build writes the options for the view and namespaces of one jail. The
// descriptors that every first process expects are already in files.
func (d *bwrapDriver) build(v *bwrapView, s *Spec, binds []bind) error {
	// Each namespace by name: --unshare-all leaves out what it cannot have.
	v.add("--unshare-user", "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup")
	if s.network == nil {
		v.add("--unshare-net")
	}
	if !s.NestedUserNS {
		v.add("--disable-userns")
	}
	v.add("--cap-drop", "ALL", "--die-with-parent", "--as-pid-1",
		"--uid", strconv.Itoa(UID), "--gid", strconv.Itoa(GID), "--hostname", hostname)

	v.add("--perms", "0755", "--dir", "/etc") // bwrap makes missing parents with mode 0700
	for _, dir := range []string{"/etc/pki", "/etc/pki/tls", "/etc/ssl"} {
		v.add("--perms", "0755", "--dir", dir)
	}
	v.args = append(v.args, d.fixed...)
	for i, made := range etcMade {
		f, err := reopen(d.etc[i]) // an offset of its own: others read it at the same time
		if err != nil {
			return err
		}
		v.own = append(v.own, f)
		v.add("--perms", "0644", "--file", v.pass(f), "/etc/"+made[0])
	}
	for _, b := range d.readOnly {
		v.bind(b)
	}
	v.add("--proc", "/proc")
	v.args = append(v.args, d.masks...)
	v.add("--dev", "/dev",
		"--perms", "1777", "--size", strconv.FormatInt(s.ShmSize, 10), "--tmpfs", "/dev/shm",
		"--perms", "1777", "--size", strconv.FormatInt(s.TmpSize, 10), "--tmpfs", "/tmp",
		"--dir", "/var", "--symlink", "../tmp", "/var/tmp", "--dir", "/run")
	for _, b := range binds {
		v.bind(b)
	}
	v.add("--remount-ro", "/dev", "--remount-ro", "/", "--chdir", Workspace)
	return nil
}

// fixtureArgs are the options for what every jail sees of the host.
func fixtureArgs() (args []string, err error) {
	fixed, err := Fixtures()
	for _, f := range fixed {
		if f.Link != "" {
			args = append(args, "--symlink", f.Link, f.Inside)
		} else {
			args = append(args, "--ro-bind", f.Host, f.Inside)
		}
	}
	return args, err
}

// procMasks are the options that mask what the host's /proc has of procFiles and
// procDirs.
func procMasks() (args []string) {
	for _, path := range inProc(procFiles[:]) {
		args = append(args, "--ro-bind", "/dev/null", path)
	}
	for _, path := range inProc(procDirs[:]) {
		args = append(args, "--tmpfs", path, "--remount-ro", path)
	}
	return args
}

// Launch starts bwrap for one jail.
func (d *bwrapDriver) Launch(_ context.Context, s *Spec) (*First, error) {
	return d.stage.launch(s.Binds, func(binds []bind) (*First, error) { return d.start(s, binds) })
}

func (d *bwrapDriver) start(s *Spec, binds []bind) (_ *First, err error) {
	streams, err := openStreams()
	if err != nil {
		return nil, err
	}
	defer streams.closeTheirs(&err)
	v := &bwrapView{files: streams.files(d.site.Program)}
	defer v.closeOwn()
	if err := d.build(v, s, binds); err != nil {
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
	if err := theirs.Chown(s.Identity.UID, s.Identity.GID); err != nil { // a wrapper of bwrap can read it again
		return nil, err
	}
	argv := []string{"bwrap", "--args", v.pass(theirs), "--", exePath, marker}
	var (
		p      *os.Process
		finish func() error
		sc     *script
	)
	if s.network != nil && s.network.user != nil {
		if sc, err = d.site.starter.script(s.group); err != nil {
			return nil, err
		}
		defer func() {
			if err != nil {
				sc.close()
			}
		}()
		p, err = d.join(s, sc, argv, v.files)
	} else {
		p, finish, err = d.site.start(s, d.path, argv, &os.ProcAttr{
			Dir:   "/",
			Env:   []string{},
			Files: v.files,
			Sys:   sysProcAttr(s.Identity),
		})
	}
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
		(&childBoss{p}).Abandon()
		return nil, err
	}
	if sc == nil {
		return streams.first(p, unavailable), nil
	}
	first := streams.first(p, func(complaint string, cause error) error {
		if failed := sc.failure(); failed != nil {
			cause = failed
		}
		return unavailable(complaint, cause)
	})
	settled := first.Settled
	first.Settled = func() { settled(); sc.close() }
	return first, nil
}

// join starts bwrap in the worker's network and the user namespace that owns it,
// as only a process of one thread can join them.
func (d *bwrapDriver) join(s *Spec, sc *script, argv []string, files []*os.File) (*os.Process, error) {
	sc.join(s.network)
	sc.call("make a session", unix.SYS_SETSID)
	sc.descriptors(files, len(files))
	sc.exec(d.path, argv...)
	return d.site.starter.launch(sc, 0)
}
