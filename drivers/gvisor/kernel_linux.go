package gvisor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/agentflow-go/sandbox/internal/gate"
	"github.com/agentflow-go/sandbox/internal/jail"
)

// tasks is how many threads a sandbox has for itself on the host: those of gVisor,
// of the process that serves it files, of runsc, and of the first process.
const tasks = 160

// kernel makes jails of one sandbox.
type kernel struct {
	name  string
	c     Config
	runsc string
	site  *jail.Site
	gate  *gate.Gate
	fixed []jail.Fixture
}

var _ jail.Driver = (*kernel)(nil)

func newKernel(name string, c Config) jail.Driver { return &kernel{name: name, c: c} }

func (k *kernel) Name() string { return k.name }

// Traits say what a sandbox of gVisor is.
func (k *kernel) Traits() jail.Traits {
	return jail.Traits{
		HostUser: true, OtherKernel: true, NoPidfd: true, Tasks: tasks,
		NoProxy:        "a socket that is made inside gVisor cannot be passed out of it",
		NoMounts:       "runsc looks up paths itself, later than they were checked",
		NoNestedUserNS: "gVisor is the sandbox already, and programs with one of their own are not tried in it",
	}
}

// The directories of a driver, below its state.
const (
	rootDir  = "root"  // what sandboxes have as /, with places to mount at
	etcDir   = "etc"   // files of /etc that all see
	gatesDir = "gates" // doors
	runDir   = "run"   // runsc's own
)

func (k *kernel) path(elem ...string) string {
	return filepath.Join(append([]string{k.site.StateDir}, elem...)...)
}

// Open prepares what all sandboxes share.
func (k *kernel) Open(_ context.Context, s *jail.Site) error {
	k.site = s
	name := k.c.Runsc
	if name == "" {
		name = "runsc"
	}
	var err error
	if k.runsc, err = exec.LookPath(name); err == nil {
		k.runsc, err = filepath.Abs(k.runsc)
	}
	if err != nil {
		return &jail.UnavailableError{
			Level: k.name, Err: err, Reason: name + " is not installed",
			Remedy: "apt-get install runsc, or see https://gvisor.dev/docs/user_guide/install",
		}
	}
	if os.Geteuid() != 0 {
		return &jail.UnavailableError{
			Level: k.name, Reason: "runsc needs root to give workers users of their own",
			Remedy: "run the program as root, or use level bwrap, which needs none",
		}
	}
	for _, dir := range []string{etcDir, gatesDir, runDir} {
		if err := os.Mkdir(k.path(dir), 0o755); err != nil {
			return fmt.Errorf("gvisor: %w", err)
		}
	}
	// runsc reads the program to execute it, as the worker's user.
	if k.gate, err = gate.Open(k.path(gatesDir), s.Program, 0o555); err != nil {
		return err
	}
	if k.fixed, err = jail.Fixtures(); err != nil {
		return fmt.Errorf("gvisor: %w", err)
	}
	return errors.Join(k.writeEtc(), k.makeRoot())
}

// Close does nothing: the state directory is its maker's to remove.
func (k *kernel) Close() error { return nil }
