package drivers_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"testing"

	"github.com/agentflow-go/sandbox"
	"github.com/agentflow-go/sandbox/backends/bash"
	"github.com/agentflow-go/sandbox/drivers/docker"
	"github.com/agentflow-go/sandbox/drivers/gvisor"
	"github.com/agentflow-go/sandbox/internal/dockerd"
)

// dockerHost is the socket of the tests' own engine; "" if none can run here, and
// then noDocker says why.
var dockerHost, noDocker string

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == hostHelper {
		helpHost(os.Args[2:])
		return
	}
	os.Exit(run(m))
}

func run(m *testing.M) (status int) {
	d, err := dockerd.Start(context.Background())
	if err != nil && !errors.Is(err, dockerd.ErrNoEngine) {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if err != nil {
		noDocker = err.Error()
		defer fmt.Fprintf(os.Stderr, "SKIPPED all tests that need a Docker engine: %s\n", noDocker)
		return m.Run()
	}
	defer func() {
		if err := d.Close(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			status = 1
		}
	}()
	dockerHost = d.Host
	return m.Run()
}

// level is a driver under test.
type level struct {
	name   string
	driver sandbox.Driver
	lacks  map[string]string // what cannot be tested at it, and why
}

func dockerLevel(t testing.TB) level {
	t.Helper()
	if dockerHost == "" {
		t.Skipf("SKIPPED: %s", noDocker)
	}
	return level{"docker", docker.Driver(docker.Config{Host: dockerHost}), nil}
}

func gvisorLevel(t testing.TB) level {
	t.Helper()
	if _, err := exec.LookPath("runsc"); err != nil || os.Geteuid() != 0 {
		t.Skipf("SKIPPED: gVisor needs runsc and root: %v (apt-get install runsc)", err)
	}
	return level{"gvisor", gvisor.Driver(gvisor.Config{Platform: "ptrace"}), map[string]string{
		"/dev/tty":                       "gVisor of 2022 has no controlling terminal to open by that name",
		"EOF":                            "gVisor of 2022 does not know the terminal's end-of-file character",
		"after it the shell is the same": "gVisor of 2022 does not tell what is in the foreground: the shell is killed instead of interrupted",
		"egress":                         "sockets cannot be passed out of gVisor",
	}}
}

// eachLevel runs f for every driver.
func eachLevel(t *testing.T, f func(t *testing.T, l level)) {
	t.Helper()
	for name, get := range map[string]func(testing.TB) level{"docker": dockerLevel, "gvisor": gvisorLevel} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f(t, get(t))
		})
	}
}

// bare returns a sandbox at the level with the backend b, which has no tools, and
// where the Env of b's latest session will be.
func (l level) bare(t testing.TB) (*sandbox.Sandbox, *sandbox.Env) {
	t.Helper()
	var reg sandbox.Registry
	env := &sandbox.Env{}
	sandbox.AddBackend(&reg, sandbox.BackendSpec{Name: "b"}, sandbox.BackendFuncs[int]{
		OpenFunc: func(_ context.Context, e sandbox.Env) (int, error) { *env = e; return 1, nil },
	})
	o := l.options(sandbox.Confinement{})
	o.Registry = &reg
	sb, err := sandbox.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := sb.Shutdown(context.Background()); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
	})
	return sb, env
}

// options are those of a sandbox at the level.
func (l level) options(c sandbox.Confinement) sandbox.Options {
	c.Level = l.name
	return sandbox.Options{Drivers: map[string]sandbox.Driver{l.name: l.driver}, Confine: c}
}

// box is a sandbox with a shell, and a worker.
type box struct {
	t  *testing.T
	sb *sandbox.Sandbox
	sh bash.Tools
	w  *sandbox.Worker
}

// newBox makes a sandbox at the level and a session of its worker.
func (l level) newBox(t *testing.T, c sandbox.Confinement) *box {
	t.Helper()
	return l.newBoxIn(t, c, "")
}

// newBoxIn is newBox with a data directory.
func (l level) newBoxIn(t *testing.T, c sandbox.Confinement, dir string) *box {
	t.Helper()
	var reg sandbox.Registry
	sh := bash.Register(&reg, bash.Config{})
	o := l.options(c)
	o.Registry, o.DataDir = &reg, dir
	sb, err := sandbox.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := sb.Shutdown(context.Background()); err != nil {
			t.Errorf("Shutdown() = %v", err)
		}
	})
	b := &box{t, sb, sh, sb.Worker(t.Name())}
	b.session(b.w)
	return b
}

func (b *box) session(w *sandbox.Worker) {
	b.t.Helper()
	info, err := w.CreateSession(b.t.Context(), "bash", sandbox.SessionOptions{})
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Logf("level %s, unenforced %q", info.Level, info.Unenforced)
}

func (b *box) run(in bash.RunInput) bash.RunOutput {
	b.t.Helper()
	return b.runAs(b.w, in)
}

func (b *box) runAs(w *sandbox.Worker, in bash.RunInput) bash.RunOutput {
	b.t.Helper()
	out, err := b.sh.Run.Call(b.t.Context(), w, in)
	if err != nil {
		b.t.Fatalf("run %q: %v", in.Command, err)
	}
	return out
}

// must runs a command that must succeed and returns its output.
func (b *box) must(command string) string {
	b.t.Helper()
	out := b.run(bash.RunInput{Command: command})
	if out.ExitCode != 0 || out.Restarted {
		b.t.Fatalf("run %q = %+v", command, out)
	}
	return out.Stdout
}
