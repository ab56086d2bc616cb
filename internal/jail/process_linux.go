package jail

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Process is a program in a jail. Its methods may be called concurrently, and
// after its end.
type Process struct {
	j   *Jail
	id  uint64
	pid int
	own *Jail // the jail that was made for it alone, or nil

	exited chan struct{} // closed after status, lost and oom are set
	status unix.WaitStatus
	lost   bool
	oom    bool

	relayed  bool        // its terminal is a copy
	oomKills int64       // of its group when it was started
	killed   atomic.Bool // by its owner

	pumps pumps
	once  sync.Once
	err   error // what Wait returns
}

// cleanEnv is the environment of every program, before [Cmd.Env].
func (j *Jail) cleanEnv() []string {
	env := []string{
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"LANG=C.UTF-8",
		"TERM=xterm-256color",
		"HOME=" + j.home,
		"USER=agent",
		"LOGNAME=agent",
	}
	if j.policy.Proxy != nil {
		env = append(env, proxyEnv()...)
	}
	return env
}

// environ merges added into the clean environment; the last value of a name wins.
func (j *Jail) environ(added []string) ([]string, error) {
	env := j.cleanEnv()
	at := map[string]int{}
	for i, e := range env {
		name, _, _ := strings.Cut(e, "=")
		at[name] = i
	}
	for _, e := range added {
		name, _, ok := strings.Cut(e, "=")
		if !ok || name == "" || strings.ContainsRune(e, 0) {
			return nil, fmt.Errorf("jail: environment: %q: want NAME=value without NUL", e)
		}
		if i, ok := at[name]; ok {
			env[i] = e
			continue
		}
		at[name] = len(env)
		env = append(env, e)
	}
	return env, nil
}

// Start starts a program. It returns once the program itself runs, so that a
// missing program or directory is an error of Start ([StartError]). ctx bounds
// the start only. The program gets a session of its own; [Process.Wait] must be
// called to have its output complete.
func (j *Jail) Start(ctx context.Context, c Cmd) (*Process, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if c.Path == "" {
		return nil, errors.New("jail: command has no path")
	}
	if c.TTY != nil && (c.Stdin != nil || c.Stdout != nil || c.Stderr != nil) {
		return nil, errors.New("jail: command has a TTY, which takes the place of Stdin, Stdout and Stderr: leave them nil")
	}
	if len(c.Files) > maxFDs-3 {
		return nil, fmt.Errorf("jail: command has %d files, want at most %d", len(c.Files), maxFDs-3)
	}
	for _, s := range append([]string{c.Path, c.Dir}, c.Args...) {
		if strings.ContainsRune(s, 0) {
			return nil, fmt.Errorf("jail: command: %q has a NUL", s)
		}
	}
	if len(c.Mounts) > 0 || c.NestedUserNS {
		return j.startAlone(ctx, c)
	}
	return j.start(ctx, c, nil)
}

// startAlone starts c in a jail of its own, which ends with it.
func (j *Jail) startAlone(ctx context.Context, c Cmd) (*Process, error) {
	if j.h.traits.Unconfined {
		if len(c.Mounts) > 0 {
			return nil, &UnavailableError{Level: levelNone, Reason: "mounts need a confined jail", Remedy: "use level bwrap, or the host's path"}
		}
		return j.start(ctx, c, nil) // it may make what namespaces it likes anyway
	}
	if why := j.h.traits.NoMounts; why != "" && len(c.Mounts) > 0 {
		return nil, &UnavailableError{Level: j.h.Level(), Reason: "no mounts: " + why, Remedy: "copy the files into the workspace, or use level bwrap"}
	}
	if why := j.h.traits.NoNestedUserNS; why != "" && c.NestedUserNS {
		return nil, &UnavailableError{Level: j.h.Level(), Reason: "no user namespaces for programs: " + why, Remedy: "use level bwrap"}
	}
	var mounts []Bind
	defer func() {
		for _, b := range mounts {
			b.File.Close()
		}
	}()
	for _, m := range c.Mounts {
		f, err := openMount(m, j.h.dataDir)
		if err != nil {
			return nil, err
		}
		mounts = append(mounts, Bind{File: f, Inside: m.Inside, Writable: m.Writable})
	}
	j.mu.Lock()
	refused := j.closed || j.dead
	j.mu.Unlock()
	if refused {
		return nil, ErrClosed
	}
	p := j.policy
	p.within = j.net
	own, err := j.h.newJail(ctx, p, mounts, c.NestedUserNS)
	if err != nil {
		return nil, err
	}
	j.mu.Lock()
	refused = j.closed || j.dead
	if !refused {
		j.subs[own] = struct{}{}
	}
	j.mu.Unlock()
	if refused {
		return nil, errors.Join(ErrClosed, own.Close())
	}
	started, err := own.start(ctx, c, own)
	if err != nil {
		j.drop(own)
		return nil, errors.Join(err, own.Close())
	}
	go func() { // ends with the program, at the latest with the jail
		select {
		case <-started.exited:
			if err := own.Close(); err != nil {
				j.h.log.Warn("the jail of a single program did not close", "error", err)
			}
		case <-own.Done():
		}
		j.drop(own)
	}()
	return started, nil
}

func (j *Jail) drop(sub *Jail) {
	j.mu.Lock()
	delete(j.subs, sub)
	j.mu.Unlock()
}

func (j *Jail) start(ctx context.Context, c Cmd, own *Jail) (*Process, error) {
	env, err := j.environ(c.Env)
	if err != nil {
		return nil, err
	}
	p := &Process{j: j, own: own, exited: make(chan struct{}), oomKills: j.group.oomKills()}
	if err := p.pumps.open(&c, j.owner()); err != nil {
		return nil, err
	}
	m := message{kind: msgStart, nums: make([]int64, 2, 5+len(c.Files)), strs: slices.Concat([]string{c.Path, c.Dir}, c.Args, env)}
	m.nums[1] = int64(len(c.Args))
	if c.TTY != nil {
		m.nums[0] = 1
		if p.relayed = j.h.traits.OtherKernel; p.relayed {
			set, err := lend(c.TTY)
			if err != nil {
				p.pumps.sent()
				p.pumps.abort()
				return nil, err
			}
			m.nums[0] = 2
			m.nums = append(m.nums, set.nums()...)
		}
	}
	var fds []int
	for _, f := range append(p.pumps.theirs[:], c.Files...) {
		if f == nil {
			m.nums = append(m.nums, 0)
			continue
		}
		m.nums = append(m.nums, 1)
		fds = append(fds, int(f.Fd()))
	}
	answer, err := j.request(ctx, &m, fds, p)
	p.pumps.sent() // after the descriptors were sent, which keeps them open till here
	if err == nil && answer.kind != msgStarted {
		err = startError(&c, j, stage(answer.num(0)), syscall.Errno(answer.num(1)))
	} else if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		// It may start yet: the order to kill it follows on the same path, and
		// its end is reported to a process that nobody waits for.
		_ = j.c.write(&message{kind: msgKill, about: p.id}, nil)
	}
	if err != nil {
		p.pumps.abort()
		return nil, err
	}
	p.pid = int(answer.num(0))
	p.pumps.run()
	return p, nil
}

// owner is the user that descriptors made for a program must belong to, so that
// it can open them again through /dev/stdout and the like; -1: they do already.
func (j *Jail) owner() int {
	if j.h.traits.OtherKernel {
		return everybody
	}
	if j.h.traits.Unconfined || j.policy.Identity.UID == os.Getuid() {
		return -1
	}
	return j.policy.Identity.UID
}

// startError says what went wrong in words that a caller can act on.
func startError(c *Cmd, j *Jail, at stage, errno syscall.Errno) error {
	e := &StartError{Path: c.Path, Reason: errno.Error(), Err: errno}
	switch at {
	case stageLookup:
		e.Reason, e.Err = "not found in the jail's PATH", ErrNotFound
	case stageExec:
		switch errno {
		case syscall.ENOENT:
			e.Reason, e.Err = "no such program in the jail (or its interpreter is missing)", ErrNotFound
		case syscall.EACCES:
			e.Reason = "not executable in the jail: " + errno.Error()
		}
	case stageDir:
		e.Path = c.Dir
		if e.Path == "" {
			e.Path = j.home
		}
		e.Reason = "cannot be the working directory in the jail: " + errno.Error()
	case stageTTY:
		e.Reason = "its TTY cannot be a controlling terminal: " + errno.Error()
	case stageFork:
		e.Reason = "no new process: " + errno.Error()
	case stageFiles:
		e.Reason = "its descriptors: " + errno.Error()
	case stageLimits:
		e.Reason = "its limits: " + errno.Error()
	}
	return e
}

// Pid is the program's process number as it sees it.
func (p *Process) Pid() int { return p.pid }

// Signal sends a signal to the program itself, not to what it started. After its
// end it returns [os.ErrProcessDone].
func (p *Process) Signal(s os.Signal) error {
	sig, ok := s.(syscall.Signal)
	if !ok {
		return fmt.Errorf("jail: signal %v: want a syscall.Signal", s)
	}
	select {
	case <-p.exited:
		return os.ErrProcessDone
	default:
	}
	if sig == syscall.SIGKILL {
		p.killed.Store(true)
	}
	return p.order(&message{kind: msgSignal, about: p.id, nums: []int64{int64(sig)}})
}

// Relayed tells whether the program's terminal is another one than [Cmd.TTY], with
// what goes through it copied: then neither signals nor sizes that are sent to the
// one reach the other. [Process.SignalTerminal] and [Process.ResizeTerminal] do.
func (p *Process) Relayed() bool { return p.relayed }

// SignalTerminal sends a signal to the foreground processes of a relayed terminal.
func (p *Process) SignalTerminal(s os.Signal) error {
	sig, ok := s.(syscall.Signal)
	if !ok || sig <= 0 {
		return fmt.Errorf("jail: signal %v: want a syscall.Signal", s)
	}
	return p.order(&message{kind: msgTerminal, about: p.id, nums: []int64{int64(sig)}})
}

// ResizeTerminal changes the size of a relayed terminal.
func (p *Process) ResizeTerminal(rows, cols int) error {
	return p.order(&message{kind: msgTerminal, about: p.id, nums: []int64{0, int64(rows), int64(cols)}})
}

// Kill kills the program's whole tree: everything in the sessions that it or a
// descendant leads, and every descendant that still has its ancestors, stopped
// first, so that none escapes by forking. It may be called after the program's
// end, for what it left in its session. What detached itself fully (a double
// fork with a session of its own) cannot be told from other programs any more
// and ends with the jail.
func (p *Process) Kill() error {
	p.killed.Store(true)
	err := p.order(&message{kind: msgKill, about: p.id})
	if errors.Is(err, ErrClosed) || errors.Is(err, os.ErrProcessDone) {
		return nil // the jail took it along
	}
	return err
}

// order sends a request about p and turns its answer into an error. The first
// process answers at once, or is dead.
func (p *Process) order(m *message) error {
	a, err := p.j.request(context.Background(), m, nil, nil)
	if err != nil {
		return err
	}
	switch errno := syscall.Errno(a.num(0)); errno {
	case 0:
		return nil
	case syscall.ESRCH:
		return os.ErrProcessDone
	default:
		return fmt.Errorf("jail: process %d: %w", p.pid, errno)
	}
}

// wasClosed tells whether Close was called.
func (j *Jail) wasClosed() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.closed
}

// exit records the end of the program. It is called once, by the jail.
func (p *Process) exit(ws unix.WaitStatus, lost bool) {
	p.status, p.lost = ws, lost
	// A shell whose command was killed ends with 128 and the signal.
	died := ws.Signaled() && ws.Signal() == syscall.SIGKILL || ws.Exited() && ws.ExitStatus() == 128+int(syscall.SIGKILL)
	if (died || lost && !p.j.wasClosed()) && !p.killed.Load() {
		p.oom = p.oomKills >= 0 && p.j.group.oomKills() > p.oomKills
	}
	close(p.exited)
}

// Wait waits for the program's end and then for its output, up to [WaitDelay]
// longer when something else holds it open. It returns nil for status 0, an
// [ExitError] for any other end, else what went wrong with the output. It waits
// for a write to Stdout or Stderr that is under way, but not for a read of
// Stdin. Any number of calls get the same result.
func (p *Process) Wait() error {
	<-p.exited
	p.once.Do(func() {
		err := p.pumps.wait(time.Now().Add(WaitDelay))
		switch {
		case p.lost:
			p.err = &ExitError{Code: -1, Signal: syscall.SIGKILL, Lost: true, OOM: p.oom}
		case p.status.Signaled():
			p.err = &ExitError{Code: -1, Signal: p.status.Signal(), OOM: p.oom}
		case p.status.ExitStatus() != 0:
			p.err = &ExitError{Code: p.status.ExitStatus(), OOM: p.oom}
		default:
			p.err = err
		}
	})
	return p.err
}

var _ io.Closer = (*Jail)(nil)
