package docker

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/agentflow-go/sandbox/internal/cgroup"
	"github.com/agentflow-go/sandbox/internal/gate"
	"github.com/agentflow-go/sandbox/internal/jail"
	"github.com/moby/moby/client"
)

// usualHost is where engines listen.
const usualHost = "unix:///var/run/docker.sock"

// engine makes jails of one sandbox.
type engine struct {
	name string
	c    Config

	cli   *client.Client
	site  *jail.Site
	gate  *gate.Gate
	image string
	joins bool // containers join the control groups of their worker
	fixed []jail.Fixture
	etc   string // directory of the files of /etc that all see
	label map[string]string
}

var _ jail.Driver = (*engine)(nil)

func newEngine(name string, c Config) jail.Driver { return &engine{name: name, c: c} }

func (e *engine) Name() string { return e.name }

// Traits say what containers of an engine without user mapping are.
func (e *engine) Traits() jail.Traits {
	t := jail.Traits{
		HostUser: true, Shared: []string{"user"}, OwnFiles: e.c.Image != "",
		NoMounts:       "the engine looks up paths itself, later than they were checked",
		NoNestedUserNS: "the engine's filter of system calls forbids them",
	}
	if !e.joins {
		t.Limits = func(cgroup.Controller) error { return nil }
	}
	return t
}

func (e *engine) unavailable(reason string, cause error, remedy string) error {
	if cause != nil {
		reason += ": " + cause.Error()
	}
	return &jail.UnavailableError{Level: e.name, Reason: reason, Remedy: remedy, Err: cause}
}

// Open asks the engine what it is and prepares what all containers share.
func (e *engine) Open(ctx context.Context, s *jail.Site) error {
	e.site = s
	host := e.c.Host
	if host == "" {
		if host = os.Getenv("DOCKER_HOST"); host == "" {
			host = usualHost
		}
	}
	if !strings.HasPrefix(host, "unix://") {
		return e.unavailable(fmt.Sprintf("the engine at %s may be on another machine", host), nil, "name the Unix socket of one on this machine")
	}
	var err error
	if e.cli, err = client.New(client.WithHost(host)); err != nil {
		return e.unavailable("no client for "+host, err, "name the engine's socket as unix:///run/docker.sock")
	}
	if err := e.look(ctx, host); err != nil {
		return err
	}
	if e.gate, err = gate.Open(s.StateDir, s.Program, 0o111); err != nil {
		return err
	}
	if err := e.writeEtc(); err != nil {
		return err
	}
	if err := e.findImage(ctx); err != nil {
		return err
	}
	// A control group that a container is moved into after its start, before it
	// starts anything: the engine can make a container in a group of ours only
	// where all controllers have that group at the same path, as on version 2 alone.
	e.joins = s.Joins()
	e.label = ownLabels()
	return e.sweep(ctx)
}

// look refuses engines whose containers could not be what they must be.
func (e *engine) look(ctx context.Context, host string) error {
	result, err := e.cli.Info(ctx, client.InfoOptions{})
	if err != nil {
		return e.unavailable("the engine at "+host+" does not answer", err,
			"start it (systemctl start docker), or name its socket; this program must be root or of the group docker")
	}
	info := result.Info
	if info.OSType != "linux" {
		return e.unavailable("the engine runs containers of "+info.OSType, nil, "use one of Linux")
	}
	for _, o := range info.SecurityOptions {
		for _, bad := range []string{"name=rootless", "name=userns"} {
			if o == bad || strings.HasPrefix(o, bad+",") {
				return e.unavailable("the engine maps users ("+o+"), so workers could not use their own files", nil,
					"use an engine without userns-remap that runs as root; without one use level bwrap, which needs no engine")
			}
		}
	}
	if r := e.c.Runtime; r != "" {
		if _, ok := info.Runtimes[r]; !ok {
			var names []string
			for name := range info.Runtimes {
				names = append(names, name)
			}
			slices.Sort(names)
			return e.unavailable(fmt.Sprintf("the engine has no runtime %q", r), nil, "it has "+strings.Join(names, ", ")+"; more are named in its daemon.json")
		}
	}
	return nil
}

// Close ends the client. Containers are gone by now.
func (e *engine) Close() error {
	if e.cli == nil {
		return nil
	}
	return e.cli.Close()
}
