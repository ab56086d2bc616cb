package cgroup

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// fakeV2 is a tree of plain files that behaves, as far as this package looks,
// like version 2 with controllers: those are in version 1 hierarchies on some
// machines that the tests run on, and a kernel has them in one place only.
type fakeV2 struct {
	t     *testing.T
	mount string
	gave  []string // delegated directories
	deny  string   // writing and making below it is refused with err
	err   error
	tried []string // groups in which a process was started
}

const v2Controllers = "cpuset cpu io memory pids"

func newFakeV2(t *testing.T, own string) (*fakeV2, *kernel) {
	t.Helper()
	dir := t.TempDir()
	f := &fakeV2{t: t, mount: dir + "/mnt/with space"}
	proc := dir + "/proc"
	err := errors.Join(
		os.MkdirAll(f.mount, 0o755), os.MkdirAll(proc+"/self/ns", 0o755),
		os.WriteFile(proc+"/self/cgroup", []byte("0::"+own+"\n"), 0o644),
		os.WriteFile(proc+"/self/mountinfo", []byte("22 1 0:5 / / rw - ext4 /dev/x rw\n"+
			"31 23 0:28 / "+strings.ReplaceAll(f.mount, " ", `\040`)+" rw,relatime shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"), 0o644),
		os.Symlink("cgroup:[4026531835]", proc+"/self/ns/cgroup"),
		f.fill(f.mount, v2Controllers))
	if err != nil {
		t.Fatal(err)
	}
	for at := ""; own != "/" && at != own; { // the way down, as systemd makes it
		rest := strings.TrimPrefix(own, at)
		next, _, _ := strings.Cut(rest[1:], "/")
		if err := f.write(f.mount+at, "cgroup.subtree_control", "+cpu +memory +pids"); err != nil {
			t.Fatal(err)
		}
		at += "/" + next
		if err := f.mkdir(f.mount + at); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.write(f.mount+own, "cgroup.procs", strconv.Itoa(os.Getpid())); err != nil {
		t.Fatal(err)
	}
	return f, &kernel{
		proc: proc, mkdir: f.mkdir, rmdir: f.rmdir, write: f.write,
		delegated: func(path string) bool { return slices.Contains(f.gave, path) },
		try:       func(dir string) error { f.tried = append(f.tried, dir); return nil },
	}
}

// fill makes the files of a group that has the controllers.
func (f *fakeV2) fill(dir, controllers string) error {
	files := map[string]string{
		"cgroup.controllers": controllers + "\n", "cgroup.subtree_control": "\n", "cgroup.procs": "", "cgroup.kill": "",
	}
	for _, c := range ofList(controllers) {
		for _, name := range map[Controller][]string{
			Memory: {"memory.max", "memory.swap.max", "memory.current"}, CPU: {"cpu.max", "cpu.stat"}, Pids: {"pids.max", "pids.current"},
		}[c] {
			files[name] = "max\n"
		}
	}
	for name, content := range files {
		if err := os.WriteFile(dir+"/"+name, []byte(content), 0o644); err != nil {
			return err
		}
	}
	return nil
}

func (f *fakeV2) denied(path string) bool {
	return f.deny != "" && strings.HasPrefix(path+"/", f.deny+"/")
}

func (f *fakeV2) mkdir(path string) error {
	if f.denied(path) {
		return f.err
	}
	on, err := os.ReadFile(filepath.Dir(path) + "/cgroup.subtree_control")
	if err != nil {
		return err
	}
	if err := unix.Mkdir(path, 0o755); err != nil {
		return err
	}
	return f.fill(path, strings.TrimSpace(string(on)))
}

func (f *fakeV2) rmdir(path string) error {
	b, err := os.ReadFile(path + "/cgroup.procs")
	if err != nil {
		return unix.ENOENT
	}
	if len(b) > 0 || len(tree(path)) > 1 {
		return unix.EBUSY
	}
	return os.RemoveAll(path)
}

func (f *fakeV2) write(dir, name, value string) error {
	path := dir + "/" + name
	if f.denied(path) {
		return f.err
	}
	if _, err := os.Stat(path); err != nil {
		return err
	}
	switch name {
	case "cgroup.subtree_control":
		b, err := os.ReadFile(dir + "/cgroup.procs")
		if err != nil {
			return err
		}
		now := f.list(dir, name)
		for _, v := range strings.Fields(value) {
			if v[0] == '-' {
				now = slices.DeleteFunc(now, func(c string) bool { return c == v[1:] })
			} else if len(b) > 0 && dir != f.mount {
				return unix.EBUSY // no internal processes
			} else if !slices.Contains(f.list(dir, "cgroup.controllers"), v[1:]) {
				return unix.ENOENT
			} else {
				now = append(now, v[1:])
			}
		}
		value = strings.Join(now, " ") + "\n"
	case "cgroup.procs":
		if len(f.list(dir, "cgroup.subtree_control")) > 0 && dir != f.mount {
			return unix.EBUSY
		}
		for _, d := range tree(f.mount) {
			rest := slices.DeleteFunc(f.list(d, name), func(p string) bool { return p == value })
			if err := os.WriteFile(d+"/"+name, []byte(strings.Join(rest, "\n")), 0o644); err != nil {
				return err
			}
		}
		value = strings.Join(append(f.list(dir, name), value), "\n")
	}
	return os.WriteFile(path, []byte(value), 0o644)
}

func (f *fakeV2) list(dir, name string) []string {
	b, err := os.ReadFile(dir + "/" + name)
	if err != nil {
		f.t.Error(err)
	}
	return strings.Fields(string(b))
}

func (f *fakeV2) read(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		f.t.Error(err)
	}
	return strings.TrimSpace(string(b))
}

func TestV2FindsAPlace(t *testing.T) {
	t.Parallel()
	const sub = "/system.slice/agent.service/main"
	tests := []struct {
		name    string
		own     string
		gave    string // below the mount
		other   bool   // another process runs beside this one
		deny    error
		options Options
		place   string // where the directory is made; "": nowhere
		why     string // of the refusal
	}{
		{name: "in the root group", own: "/", place: "/"},
		{name: "above, where it was delegated", own: sub, gave: filepath.Dir(sub), place: filepath.Dir(sub)},
		{name: "its own group has it in", own: sub, why: "holds processes itself"},
		{name: "may move itself", own: sub, options: Options{MoveSelf: true}, place: sub},
		{name: "may move itself but is not alone", own: sub, other: true, options: Options{MoveSelf: true}, why: "holds processes itself"},
		{name: "not its own", own: sub, deny: unix.EACCES, why: "this user may not"},
		{name: "read-only", own: sub, deny: unix.EROFS, why: "mounted read-only"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f, k := newFakeV2(t, tt.own)
			self := f.read(filepath.Join(f.mount, tt.own) + "/cgroup.procs")
			if tt.other {
				if err := f.write(f.mount+tt.own, "cgroup.procs", "4"); err != nil {
					t.Fatal(err)
				}
			}
			if tt.gave != "" {
				f.gave = []string{f.mount + tt.gave}
			}
			if tt.deny != nil {
				f.deny, f.err = f.mount, tt.deny
			}
			r, err := open(k, tt.options)
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range controllers {
				err := r.Supports(c)
				if (err == nil) != (tt.place != "") || (err != nil && (!errors.Is(err, ErrUnsupported) || !strings.Contains(err.Error(), tt.why))) {
					t.Errorf("Supports(%s) = %v, want %q", c, err, tt.why)
				}
			}
			if r.Any() != (tt.place != "") {
				t.Errorf("Any() = %v", r.Any())
			}
			if tt.place != "" {
				if got := filepath.Dir(r.bases[0].lease.dir); got != filepath.Join(f.mount, tt.place) {
					t.Errorf("the place is %s, want %s", got, tt.place)
				}
				if len(f.tried) != len(controllers) {
					t.Errorf("processes were tried in %q, want one for each controller", f.tried)
				}
				g, err := r.New("g", Limits{Memory: 1 << 20, CPU: 1.5, Pids: 7})
				if err != nil {
					t.Fatal(err)
				}
				below, err := g.New("below", Limits{Pids: 3})
				if err != nil {
					t.Fatal(err)
				}
				got := map[string]string{}
				for _, d := range []string{g.legs[0].dir, below.legs[0].dir} {
					for _, file := range []string{"memory.max", "memory.swap.max", "cpu.max", "pids.max"} {
						got[filepath.Base(d)+" "+file] = f.read(d + "/" + file)
					}
				}
				want := map[string]string{
					"g memory.max": "1048576", "g memory.swap.max": "0", "g cpu.max": "150000 100000", "g pids.max": "7",
					"below memory.max": "max", "below memory.swap.max": "max", "below cpu.max": "max 100000", "below pids.max": "3",
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("limits (-want +got):\n%s", diff)
				}
				if err := g.Remove(t.Context()); err != nil {
					t.Error(err)
				}
			}
			if err := r.Close(); err != nil {
				t.Error(err)
			}
			f.deny = ""
			if got := f.list(filepath.Join(f.mount, tt.own), "cgroup.procs"); !slices.Contains(got, self) {
				t.Errorf("this program is not where it was: %q there", got)
			}
			for _, d := range tree(f.mount) {
				if strings.Contains(filepath.Base(d), "agentflow") {
					t.Errorf("%s is left", d)
				}
			}
		})
	}
}

// TestV2WithoutControllers tries what of version 2 the real kernel can do where
// its controllers are in version 1: starting in a group, killing it.
func TestV2WithoutControllers(t *testing.T) {
	t.Parallel()
	needRoot(t)
	k := realKernel()
	found, err := k.hierarchies()
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(found, func(h *hierarchy) bool { return h.v2 })
	if i < 0 {
		t.Skip("version 2 is not mounted")
	}
	h := found[i]
	suffix, err := k.suffix()
	if err != nil {
		t.Fatal(err)
	}
	l, err := k.newLease(h.own, suffix)
	if err != nil {
		t.Skipf("no group of version 2 can be made: %v", err)
	}
	r := &Root{k: k, bases: []base{{h: h, lease: l}}, why: map[Controller]error{}}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := tryStart(l.dir); err != nil {
		t.Errorf("tryStart = %v", err)
	}
	g := newGroup(t, r, "g", Limits{})
	attr := &os.ProcAttr{Files: make([]*os.File, 3)}
	p, finish, err := g.Start(attr, func() (*os.Process, error) {
		return os.StartProcess("/bin/sh", []string{"sh", "-c", "sleep 1000 & wait"}, attr)
	})
	if err != nil || finish != nil {
		t.Fatalf("Start: %v, finish %v, want neither", err, finish != nil)
	}
	if dir, ok := h.place(groupsOf(t, strconv.Itoa(p.Pid))); !ok || dir != g.legs[0].dir {
		t.Errorf("the process is in %s", dir)
	}
	reaped := make(chan syscall.WaitStatus, 1)
	go func() {
		st, err := p.Wait()
		if err != nil {
			t.Error(err)
		}
		reaped <- st.Sys().(syscall.WaitStatus)
	}()
	if err := g.Kill(t.Context()); err != nil {
		t.Error(err)
	}
	if ws := <-reaped; ws.Signal() != syscall.SIGKILL {
		t.Errorf("the process ended with %v", ws)
	}
	if err := g.Remove(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestOldFork(t *testing.T) {
	t.Parallel()
	for err, want := range map[error]bool{
		unix.ENOSYS: true, &os.PathError{Op: "fork/exec", Err: unix.EINVAL}: true, unix.EAGAIN: false, unix.EACCES: false, os.ErrNotExist: false,
	} {
		if got := oldFork(err); got != want {
			t.Errorf("oldFork(%v) = %v, want %v", err, got, want)
		}
	}
}
