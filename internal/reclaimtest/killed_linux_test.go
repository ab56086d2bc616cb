package reclaimtest

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

const nobody = 65534

// user is who a host program runs as.
type user struct {
	name string
	uid  int
	dir  string // private to it
}

// users returns root and an ordinary user, or only the one that the test has.
func users(t *testing.T) []user {
	t.Helper()
	if os.Getuid() != 0 {
		return []user{{"unprivileged", os.Getuid(), t.TempDir()}}
	}
	us := []user{{"root", 0, t.TempDir()}, {"nobody", nobody, t.TempDir()}}
	for dir := us[1].dir; dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chown(us[1].dir, nobody, nobody); err != nil {
		t.Fatal(err)
	}
	return us
}

// levels returns those that this machine has, for a user.
func levels(t *testing.T, u user) (names []string) {
	t.Helper()
	for _, level := range []string{"bwrap", "native"} {
		p, err := start(t, u, hostSpec{Level: level, Site: "127.0.0.1:1", DataDir: filepath.Join(u.dir, "probe-"+level)})
		if err != nil {
			t.Logf("NOT TESTED as %s: level %s does not work here: %v", u.name, level, err)
			continue
		}
		p.end(t)
		names = append(names, level)
	}
	if len(names) == 0 {
		t.Fatalf("no level works for %s", u.name)
	}
	return names
}

// listener is a server of this machine that takes connections and holds them.
func listener(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = io.Copy(io.Discard, conn)
				conn.Close()
			}()
		}
	}()
	return ln.Addr().String()
}

// program is a host program that runs.
type program struct {
	cmd  *exec.Cmd
	in   io.Writer
	out  *bufio.Scanner
	errs *bytes.Buffer
	spec hostSpec
}

// start starts a host program and waits until it is ready.
func start(t *testing.T, u user, spec hostSpec) (*program, error) {
	t.Helper()
	text, err := json.Marshal(spec)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(binary)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "TMPDIR=" + u.dir, "HOME=" + u.dir, hostVar + "=" + string(text)}
	cmd.Dir = "/"
	p := &program{cmd: cmd, errs: &bytes.Buffer{}, spec: spec}
	cmd.Stderr = p.errs
	if u.uid != os.Getuid() {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(u.uid), Gid: uint32(u.uid)}}
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if p.in, err = cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	p.out = bufio.NewScanner(out)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() }) // it may have ended
	if err := p.expect("ready"); err != nil {
		return nil, err
	}
	return p, nil
}

func mustStart(t *testing.T, u user, spec hostSpec) *program {
	t.Helper()
	p, err := start(t, u, spec)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// expect waits for a line.
func (p *program) expect(line string) error {
	for p.out.Scan() {
		if p.out.Text() == line {
			return nil
		}
	}
	err := p.cmd.Wait()
	return fmt.Errorf("the host program ended without saying %q: %w: %s", line, err, p.errs)
}

// check lets the program look at its sessions.
func (p *program) check(t *testing.T, when string) {
	t.Helper()
	if _, err := io.WriteString(p.in, "check\n"); err != nil {
		t.Errorf("%s: %v", when, err)
	}
	if err := p.expect("fine"); err != nil {
		t.Errorf("%s: %v", when, err)
	}
}

// kill kills the program with SIGKILL.
func (p *program) kill(t *testing.T) {
	t.Helper()
	if err := p.cmd.Process.Kill(); err != nil {
		t.Error(err)
	}
	_ = p.cmd.Wait() // it says that it was killed
}

// end ends the program with SIGTERM.
func (p *program) end(t *testing.T) {
	t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	go func() { _, _ = io.Copy(io.Discard, scanned{p.out}) }()
	if err := p.cmd.Wait(); err != nil {
		t.Errorf("after SIGTERM: %v: %s", err, p.errs)
	}
}

// scanned reads what a scanner has not.
type scanned struct{ s *bufio.Scanner }

func (s scanned) Read(p []byte) (int, error) {
	if !s.s.Scan() {
		return 0, io.EOF
	}
	return copy(p, s.s.Bytes()), nil
}

func TestNothingOutlivesAKilledProgram(t *testing.T) {
	t.Parallel()
	site := listener(t)
	for _, u := range users(t) {
		t.Run(u.name, func(t *testing.T) {
			t.Parallel()
			for _, level := range levels(t, u) {
				t.Run(level, func(t *testing.T) { killed(t, u, level, site) })
			}
		})
	}
}

func killed(t *testing.T, u user, level, site string) {
	data := filepath.Join(u.dir, "data-"+level)
	spec := hostSpec{Level: level, DataDir: data, Site: site, Sessions: 50}
	p := mustStart(t, u, spec)
	tr := traceOf(t, p.cmd.Process.Pid, data)
	if len(tr.pids) < 3*spec.Sessions || len(tr.spaces) < 2*spec.Sessions || len(tr.alive()) == 0 {
		t.Fatalf("%d processes in %d namespaces: the trace is not of %d sessions", len(tr.pids), len(tr.spaces), spec.Sessions)
	}
	p.kill(t)
	wantGone(t, "processes, mounts and namespaces", tr.alive)

	// Directories and empty control groups are the next program's to remove.
	if n := len(directories(data)); n < spec.Sessions {
		t.Errorf("%d directories were left, want at least %d: where are they?", n, spec.Sessions)
	}
	swept(t, u, hostSpec{Level: level, DataDir: data, Site: site})
	// Any program of this machine may be at it.
	wantGone(t, "control groups", func() []string { return groupsOf(p.cmd.Process.Pid) })
}

// swept runs a program until it has removed what those before it left, which it
// does in the background, and nothing comes of it itself.
func swept(t *testing.T, u user, spec hostSpec) {
	t.Helper()
	p := mustStart(t, u, spec)
	wantGone(t, "directories", func() []string { return directories(spec.DataDir) })
	p.end(t)
	if left := directories(spec.DataDir); len(left) > 0 {
		t.Errorf("after the next program there is %q", left)
	}
}

func TestAStoppedProgramThatIsKilled(t *testing.T) {
	t.Parallel()
	u := users(t)[0]
	data := filepath.Join(u.dir, "data")
	spec := hostSpec{Level: "bwrap", DataDir: data, Site: listener(t), Sessions: 7}
	if os.Getuid() == 0 {
		spec.Workspace = 32 << 20
	}
	p := mustStart(t, u, spec)
	tr := traceOf(t, p.cmd.Process.Pid, data)
	if err := p.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	// It lives, so nobody may take what is its.
	next := mustStart(t, u, hostSpec{Level: "bwrap", DataDir: data, Site: spec.Site})
	next.end(t)
	if n := len(directories(data)); n < spec.Sessions {
		t.Errorf("%d directories of a stopped program are left, want at least %d", n, spec.Sessions)
	}
	p.kill(t)
	wantGone(t, "processes, mounts and namespaces", tr.alive)
	swept(t, u, hostSpec{Level: "bwrap", DataDir: data, Site: spec.Site})
}

func TestATerminatedProgramLeavesNothing(t *testing.T) {
	t.Parallel()
	for _, u := range users(t) {
		data := filepath.Join(u.dir, "data")
		p := mustStart(t, u, hostSpec{Level: "bwrap", DataDir: data, Site: listener(t), Sessions: 7})
		tr := traceOf(t, p.cmd.Process.Pid, data)
		p.end(t)
		if left := append(append(tr.alive(), directories(data)...), groupsOf(p.cmd.Process.Pid)...); len(left) > 0 {
			t.Errorf("as %s: after SIGTERM there is %q", u.name, left)
		}
	}
}

func TestAProgramKilledInTheMiddle(t *testing.T) {
	t.Parallel()
	site := listener(t)
	for _, u := range users(t) {
		t.Run(u.name, func(t *testing.T) {
			t.Parallel()
			data := filepath.Join(u.dir, "data")
			spec := hostSpec{Level: "bwrap", DataDir: data, Site: site, Sessions: 6, Churn: true}
			if u.uid == 0 {
				spec.Workspace = 32 << 20
			}
			for rounds := range 3 {
				p := mustStart(t, u, spec)
				for range rounds * 2 {
					if err := p.expect("round"); err != nil {
						t.Fatal(err)
					}
				}
				tr := traceOf(t, p.cmd.Process.Pid, data)
				p.kill(t)
				wantGone(t, "processes, mounts and namespaces", tr.alive)
			}
			swept(t, u, hostSpec{Level: "bwrap", DataDir: data, Site: site})
		})
	}
}

func TestTwoProgramsLeaveEachOtherAlone(t *testing.T) {
	t.Parallel()
	site := listener(t)
	for _, u := range users(t) {
		t.Run(u.name, func(t *testing.T) {
			t.Parallel()
			data := filepath.Join(u.dir, "shared")
			spec := hostSpec{Level: "bwrap", DataDir: data, Site: site, Sessions: 7}
			one, two := mustStart(t, u, spec), mustStart(t, u, spec)
			one.kill(t)
			two.check(t, "after the other was killed")
			third := mustStart(t, u, spec) // sweeps what the first left
			two.check(t, "while a third sweeps")
			third.check(t, "the third itself")
			wantGone(t, "what the first left", func() []string {
				trash, _ := filepath.Glob(filepath.Join(data, "trash", "*"))
				return trash
			})
			third.end(t)
			two.check(t, "after the third ended")
			two.end(t)
			if left := directories(data); len(left) > 0 {
				t.Errorf("after all have ended there is %q", left)
			}
		})
	}
}

func TestProgramsThatComeAndGo(t *testing.T) {
	t.Parallel()
	site := listener(t)
	u := users(t)[0]
	data := filepath.Join(u.dir, "shared")
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			for i := range 4 {
				p, err := start(t, u, hostSpec{Level: "bwrap", DataDir: data, Site: site, Sessions: 2})
				if err != nil {
					t.Error(err)
					return
				}
				p.check(t, "while others come and go")
				if i%2 == 0 {
					p.end(t)
				} else {
					p.kill(t)
				}
			}
		})
	}
	wg.Wait()
	swept(t, u, hostSpec{Level: "bwrap", DataDir: data, Site: site})
}

func TestATemporaryDataDirectoryGoesToo(t *testing.T) {
	t.Parallel()
	u := users(t)[0]
	spec := hostSpec{Level: "bwrap", Site: listener(t), Sessions: 2}
	p := mustStart(t, u, spec)
	p.kill(t)
	left := func() []string {
		found, _ := filepath.Glob(filepath.Join(u.dir, "sandbox-*"))
		return found
	}
	if len(left()) != 1 {
		t.Fatalf("a killed program's temporary directories: %q, want one", left())
	}
	next := mustStart(t, u, hostSpec{Level: "bwrap", Site: spec.Site})
	wantGone(t, "the dead one's directory", func() []string {
		return strings.Fields(strings.Join(left()[:max(0, len(left())-1)], " "))
	})
	next.end(t)
	if len(left()) > 0 {
		t.Errorf("after the next program there is %q", left())
	}
}
