package sandbox

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"sync"

	"github.com/agentflow-go/sandbox/internal/jail"
	"github.com/agentflow-go/sandbox/internal/workfs"
	"github.com/agentflow-go/sandbox/internal/workspace"
)

// owner is what an Env leads to: the things that a session, or a backend's
// warmup, has on the host. Each is made on first use.
type owner struct {
	sb     *Sandbox
	b      *backendEntry
	s      *session     // nil in a warmup
	ws     *workerState // nil in a warmup
	config json.RawMessage
	conf   *Confinement // nil: the sandbox's
	apart  bool         // conf lets less out than the sandbox's, so the network is not the worker's
	checks bool         // conf has an Egress.Check of its own

	mu       sync.Mutex     // guards the rest; held while a jail is made
	jail     *jail.Jail     // nil: no program started yet
	state    *workspace.Dir // nil: not asked for yet
	private  workerFiles    // of a warmup: what its programs run with and in
	proxies  map[*envProxy]struct{}
	released bool
}

// files are those of the worker, or of the warmup itself.
func (o *owner) files() *workerFiles {
	if o.ws != nil {
		return &o.ws.files
	}
	return &o.private
}

// policyOf returns the confinement in force.
func (o *owner) policyOf() Confinement {
	if o.conf != nil {
		return *o.conf
	}
	return o.sb.opts.Confine
}

func (o *owner) workspace() (string, error) {
	if o == nil {
		return "", errNoSandbox()
	}
	if o.ws == nil {
		return "", Errorf(ErrInvalidRequest, "there is no workspace in Warmup; use StateDir")
	}
	return o.files().workspace(o.sb, o.workerID())
}

func (o *owner) access() (*Files, error) {
	if _, err := o.workspace(); err != nil {
		return nil, err
	}
	return o.files().access(o.sb)
}

func (o *owner) workerID() string {
	if o.ws == nil {
		return ""
	}
	o.ws.mu.Lock()
	defer o.ws.mu.Unlock()
	return o.ws.id
}

func (o *owner) stateDir() (string, error) {
	if o == nil {
		return "", errNoSandbox()
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.released {
		return "", errOwnerGone()
	}
	if o.state == nil {
		store, err := o.sb.host.workspaces(o.sb)
		if err != nil {
			return "", err
		}
		if o.state, err = store.State(); err != nil {
			return "", err
		}
	}
	return o.state.Path(), nil
}

// errNoSandbox is for the zero Env, which tests of backends may well use.
func errNoSandbox() error {
	return Errorf(ErrInvalidRequest, "this Env was not made by a sandbox: it has no workspace and starts nothing")
}

func errOwnerGone() error { return Errorf(ErrSessionLost, "the session has ended") }

func (o *owner) home(ctx context.Context) (string, error) {
	j, err := o.jailed(ctx)
	if err != nil {
		return "", err
	}
	return j.Home(), nil
}

func (o *owner) start(ctx context.Context, c Cmd) (*Process, error) {
	mounts := make([]jail.Mount, len(c.Mounts))
	for i, m := range c.Mounts {
		mounts[i] = jail.Mount(m)
	}
	cmd := jail.Cmd{
		Path: c.Path, Args: c.Args, Dir: c.Dir, Env: c.Env,
		Stdin: c.Stdin, Stdout: c.Stdout, Stderr: c.Stderr,
		Files: c.Files, TTY: c.TTY, Mounts: mounts, NestedUserNS: c.NestedUserNS,
	}
	for again := true; ; again = false {
		j, err := o.jailed(ctx)
		if err != nil {
			return nil, err
		}
		p, err := j.Start(ctx, cmd)
		switch {
		case err == nil:
			return &Process{p}, nil
		case !errors.Is(err, jail.ErrClosed):
			return nil, jailError(err)
		case o.s != nil:
			// Its programs are gone, and with them what the session was.
			o.lost(errors.New("the first process of its jail died, and all others with it"))
			return nil, jailError(err)
		case !again:
			return nil, jailError(err)
		}
		// What a warmup ran is gone as well, but the backend can start it again.
		o.forget(j)
	}
}

// forget makes the next program of a warmup start in a jail of its own: j is dead.
func (o *owner) forget(j *jail.Jail) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.jail != j {
		return
	}
	o.jail = nil
	if err := j.Close(); err != nil {
		o.sb.opts.Logger.Warn("the jail of a warmup died and did not close", "backend", o.b.spec.Name, "err", err)
	}
}

// oomKills counts what of the jail's group was killed for want of memory; -1 if
// nobody counts.
func (o *owner) oomKills() int64 {
	if o == nil {
		return -1
	}
	o.mu.Lock()
	j := o.jail
	o.mu.Unlock()
	if j == nil {
		return -1
	}
	return j.OOMKills()
}

// jailed returns the session's jail.
func (o *owner) jailed(ctx context.Context) (*jail.Jail, error) {
	if o == nil {
		return nil, errNoSandbox()
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.released {
		return nil, errOwnerGone()
	}
	if o.jail != nil {
		return o.jail, nil
	}
	conf := o.policyOf()
	host, err := o.sb.host.jails(ctx, o.sb)
	if err != nil {
		return nil, err
	}
	dir, err := o.files().workspace(o.sb, o.workerID())
	if err != nil {
		return nil, err
	}
	proxy, err := o.proxy(conf.Egress)
	if err != nil {
		return nil, err
	}
	j, err := host.NewJail(ctx, jail.Policy{
		Identity:  o.files().identity(),
		Workspace: dir,
		Volume:    o.files().volume(),
		Limits:    jail.Limits(conf.Limits),
		Proxy:     proxy,
		// A session with less of a network than its worker must not find the
		// worker's proxy on a loopback that both have.
		PrivateNet: o.apart,
		Shared:     o.ws == nil,
	})
	if err != nil {
		return nil, jailError(err)
	}
	o.jail = j
	return j, nil
}

func (o *owner) lost(err error) {
	if o != nil && o.s != nil {
		o.sb.lose(o.s, err)
	}
}

// release kills what the owner started and removes what it had.
func (o *owner) release() error {
	o.mu.Lock()
	j, state, proxies := o.jail, o.state, o.proxies
	o.jail, o.state, o.proxies, o.released = nil, nil, nil, true
	o.mu.Unlock()
	var errs []error
	for p := range proxies {
		p.stop()
	}
	if j != nil {
		errs = append(errs, j.Close())
	}
	if state != nil {
		errs = append(errs, state.Release(false))
	}
	if o.ws == nil {
		errs = append(errs, o.private.release(false))
	}
	return errors.Join(errs...)
}

// level tells which confinement the session's programs are under; "" if none
// has started.
func (s *session) level() (string, []string) {
	if !s.mu.TryLock() { // a jail is being made
		return "", nil
	}
	defer s.mu.Unlock()
	if s.jail == nil {
		return "", nil
	}
	return s.sb.host.level(s.policyOf())
}

// workerFiles are a worker's directory and the host user its programs run as.
type workerFiles struct {
	mu       sync.Mutex // guards the rest; held while they are made
	dir      *workspace.Dir
	id       *jail.Identity
	tree     *workfs.Tree // nil: not asked for yet
	released bool         // the worker is closed: nobody would release what is made now
}

// workspace returns the directory, made on first use for the worker's user.
func (f *workerFiles) workspace(sb *Sandbox, worker string) (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.released {
		return "", errOwnerGone()
	}
	if f.dir != nil {
		return f.dir.Path(), nil
	}
	store, err := sb.host.workspaces(sb)
	if err != nil {
		return "", err
	}
	host, err := sb.host.jails(sb.base, sb)
	if err != nil {
		return "", err
	}
	id, err := host.Identity()
	if err != nil {
		return "", jailError(err)
	}
	dir, err := store.New(workspace.DirOptions{UID: id.UID, GID: id.GID, Worker: worker, Size: sb.host.size()})
	if err != nil {
		return "", errors.Join(err, id.Release())
	}
	f.dir, f.id = dir, id
	return dir.Path(), nil
}

// access returns the access to the directory, which is there.
func (f *workerFiles) access(sb *Sandbox) (*Files, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.dir == nil {
		return nil, errOwnerGone()
	}
	if f.tree == nil {
		o := workfs.Options{UID: f.id.UID, GID: f.id.GID, Inside: []string{jail.Workspace}}
		if level, _ := sb.host.level(Confinement{}); level == "none" {
			o.Inside = append(o.Inside, f.dir.Path())
		}
		tree, err := workfs.Open(f.dir.Path(), o)
		if err != nil {
			return nil, err
		}
		f.tree = tree
	}
	return &Files{f.tree}, nil
}

func (f *workerFiles) identity() *jail.Identity {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.id
}

// volume returns what mounts the directory, if it has a file system of its own.
func (f *workerFiles) volume() func() (*os.File, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.dir == nil || !f.dir.Bounded() {
		return nil
	}
	return f.dir.Mount
}

// assign tells a blank worker's directory whose it is.
func (f *workerFiles) assign(worker string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.dir == nil {
		return nil
	}
	return f.dir.Assign(worker)
}

// release gives both back. The directory goes first: it belongs to the user.
func (f *workerFiles) release(keep bool) error {
	f.mu.Lock()
	dir, id, tree := f.dir, f.id, f.tree
	f.dir, f.id, f.tree, f.released = nil, nil, nil, true
	f.mu.Unlock()
	var errs []error
	if tree != nil {
		errs = append(errs, tree.Close())
	}
	if dir != nil {
		errs = append(errs, dir.Release(keep))
	}
	if id != nil {
		errs = append(errs, id.Release())
	}
	return errors.Join(errs...)
}
