package sandboxtest

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/agentflow-go/sandbox"
	"golang.org/x/sync/errgroup"
)

//go:embed prelude.py
var prelude string

const (
	atOnce  = 4               // cases that run at once
	tryTime = 2 * time.Minute // for one, which takes up to 10 s on a busy machine
)

// RunEscapes tries the cases, or all but the known holes if none is given, under o and fails the test
// for each that escapes, as a subtest with the case's name. Skipped ones are
// listed, with the reason, in the test's log. See [TryEscapes] for o.
func RunEscapes(t *testing.T, o sandbox.Options, cases ...Escape) {
	t.Helper()
	if len(cases) == 0 {
		for _, e := range Escapes() {
			if e.Known == "" {
				cases = append(cases, e)
			} else {
				t.Logf("KNOWN %s: to %s is not stopped: %s", e.Name, e.Tries, e.Known)
			}
		}
	}
	results, err := TryEscapes(t.Context(), o, cases)
	if err != nil {
		t.Fatal(err)
	}
	count := map[Outcome]int{}
	for _, r := range results {
		count[r.Outcome]++
		t.Run(r.Escape.Name, func(t *testing.T) {
			switch r.Outcome {
			case Escaped:
				t.Errorf("ESCAPED: it tried to %s, and did (%s): %s", r.Escape.Tries, r.Escape.Seen, r.Detail)
			case Broken:
				t.Errorf("it tried to %s, and nothing can be said: %s", r.Escape.Tries, r.Detail)
			case Skipped:
				t.Skipf("not tried to %s: %s", r.Escape.Tries, r.Detail)
			default:
				t.Logf("tried to %s; stopped by: %s", r.Escape.Tries, r.Detail)
			}
		})
	}
	for _, r := range results {
		if r.Outcome == Skipped {
			t.Logf("SKIPPED %s: %s", r.Escape.Name, r.Detail)
		}
	}
	t.Logf("%d cases: %d stopped, %d escaped, %d skipped, %d broken", len(results), count[Stopped], count[Escaped], count[Skipped], count[Broken])
}

// TryEscapes tries the cases in a sandbox with options o and returns what came of
// each, in their order. The sandbox has a registry of its own, keeps no
// workspaces, and is shut down in the end; everything else is as o says, but for
// the cases of egress, which run under an allow list of the suite's. The error says
// why nothing could be tried.
func TryEscapes(ctx context.Context, o sandbox.Options, cases []Escape) ([]Result, error) {
	w, err := newWorld()
	if err != nil {
		return nil, err
	}
	defer w.close()
	own, listed := split(cases)
	results, level, err := tryIn(ctx, w, o, own.cases, nil)
	if err != nil {
		return nil, err
	}
	if level != "none" { // which can enforce no list
		o.Confine.Egress = sandbox.Egress{Allow: w.listed()}
	}
	further, _, err := tryIn(ctx, w, o, listed.cases, nil)
	if errors.Is(err, sandbox.ErrCannotEnforce) { // not by this level
		further = make([]Result, len(listed.cases))
		for i, e := range listed.cases {
			further[i] = Result{Escape: e, Outcome: Skipped, Detail: fmt.Sprintf("not tried: %v", err)}
		}
	} else if err != nil {
		return nil, err
	}
	all := make([]Result, len(cases))
	own.put(all, results)
	listed.put(all, further)
	return all, nil
}

// part is some of the cases, with their places among all.
type part struct {
	cases  []Escape
	places []int
}

// split parts the cases that need the suite's allow list from the others.
func split(cases []Escape) (own, listed part) {
	for i, e := range cases {
		p := &own
		if e.egress {
			p = &listed
		}
		p.cases, p.places = append(p.cases, e), append(p.places, i)
	}
	return own, listed
}

func (p *part) put(all, results []Result) {
	for i, at := range p.places {
		all[at] = results[i]
	}
}

// tryIn tries the cases in a sandbox of their own and tells its level. env is added
// to the environment of what runs in it.
func tryIn(ctx context.Context, w *world, o sandbox.Options, cases []Escape, env []string) ([]Result, string, error) {
	var reg sandbox.Registry
	b := sandbox.AddBackend(&reg, sandbox.BackendSpec{Name: "escapes"}, sandbox.BackendFuncs[sandbox.Env]{
		OpenFunc: func(_ context.Context, env sandbox.Env) (sandbox.Env, error) { return env, nil },
	})
	l := &lab{w: w, base: o.Confine, env: env,
		run: sandbox.AddSessionTool(b, sandbox.ToolSpec{Name: "run"}, sandbox.Method(run))}
	o.Registry, o.KeepWorkspaces, o.CallTimeout, o.SessionTTL = &reg, false, 0, -1
	var err error
	if l.sb, err = sandbox.New(o); err != nil {
		return nil, "", err
	}
	results, err := l.tryAll(ctx, cases)
	if err = errors.Join(err, l.sb.Shutdown(context.WithoutCancel(ctx))); err != nil {
		return nil, "", err
	}
	return results, l.shared.level, nil
}

// lab is where the cases are tried.
type lab struct {
	w      *world
	sb     *sandbox.Sandbox
	base   sandbox.Confinement
	run    *sandbox.Tool[program, ended]
	shared *room
	env    []string // of the programs
}

// room is a worker with a session.
type room struct {
	worker    *sandbox.Worker
	workspace string
	level     string
	lacks     []string // limits that are not enforced
}

func (l *lab) tryAll(ctx context.Context, cases []Escape) (_ []Result, err error) {
	if l.shared, err = l.enter(ctx, "shared", nil); err != nil {
		return nil, err
	}
	other, err := l.enter(ctx, "other", nil)
	if err != nil {
		return nil, err
	}
	l.w.facts.Other = other.workspace
	out, err := l.run.Call(ctx, other.worker, program{Path: "sh", Args: []string{"-c", `printf %s "$0" > secret; chmod 644 secret`, l.w.secret("workspace")}})
	if err == nil {
		err = out.err()
	}
	if err != nil {
		return nil, fmt.Errorf("sandboxtest: the other worker's file: %w", err)
	}
	if out, err := l.run.Call(ctx, l.shared.worker, program{Path: "python3", Args: []string{"-c", "print('here')"}}); err != nil || out.err() != nil {
		return nil, fmt.Errorf("sandboxtest: python3 does not run in the jail; install it: %w", errors.Join(err, out.err()))
	}

	results := make([]Result, len(cases))
	var g errgroup.Group
	g.SetLimit(atOnce)
	for i, e := range cases {
		g.Go(func() error {
			results[i] = l.try(ctx, e)
			return ctx.Err()
		})
	}
	return results, g.Wait()
}

// enter opens a session of a new worker.
func (l *lab) enter(ctx context.Context, id string, c *sandbox.Confinement) (*room, error) {
	r := &room{worker: l.sb.Worker("escapes-" + id)}
	if _, err := r.worker.CreateSession(ctx, "escapes", sandbox.SessionOptions{Confinement: c}); err != nil {
		return nil, err
	}
	out, err := l.run.Call(ctx, r.worker, program{Path: "true"})
	if err != nil {
		return nil, errors.Join(err, r.worker.Close(ctx))
	}
	r.workspace = out.Workspace
	infos, err := r.worker.Sessions(ctx)
	if err != nil || len(infos) != 1 {
		return nil, errors.Join(fmt.Errorf("sandboxtest: worker %s has %d sessions, want 1", id, len(infos)), err, r.worker.Close(ctx))
	}
	r.level, r.lacks = infos[0].Level, infos[0].Unenforced
	return r, nil
}

// attempt is one case being tried, and what was seen of it.
type attempt struct {
	facts     facts
	victim    *victim
	hurt      bool // the victim ended before its time
	workspace string
	modes     fs.FileMode // of all that lay in its workspace
	next      error       // of running a further program in its jail
	closed    error       // of closing its worker
}

func (a *attempt) left(modes fs.FileMode) string {
	if found := a.modes & modes; found != 0 {
		return fmt.Sprintf("there is a file with mode %v", found)
	}
	return ""
}

func (l *lab) try(ctx context.Context, e Escape) (res Result) {
	ctx, cancel := context.WithTimeout(ctx, tryTime)
	defer cancel()
	result := func(o Outcome, format string, args ...any) Result {
		return Result{Escape: e, Outcome: o, Detail: fmt.Sprintf(format, args...)}
	}
	a := &attempt{facts: l.w.facts}
	a.facts.Case = strings.NewReplacer("/", "-").Replace(e.Name)
	a.facts.Own = "own-" + l.w.id + "-" + a.facts.Case
	limits := l.base.Limits
	at := l.shared
	if e.alone || e.worker != "" {
		c := l.base
		limits = tighter(c.Limits, e.limits)
		c.Limits = limits
		var err error
		at, err = l.enter(ctx, a.facts.Case+e.worker, &c)
		if errors.Is(err, sandbox.ErrCannotEnforce) {
			return result(Skipped, "not tried: %v", err)
		}
		if err != nil {
			return result(Broken, "no session for it: %v", err)
		}
		defer func() {
			if a.closed = at.worker.Close(context.WithoutCancel(ctx)); e.after == nil && a.closed != nil && res.Outcome != Escaped {
				res = result(Broken, "closing its worker: %v", a.closed)
			}
			res = l.look(res, a)
		}()
	} else {
		defer func() { res = l.look(res, a) }()
	}
	a.workspace, a.facts.Level = at.workspace, at.level
	a.facts.Memory, a.facts.Files = limits.Memory, limits.Files
	if a.facts.Files == 0 {
		a.facts.Files = 1024
	}
	lacks := func(limit string) bool {
		return slices.ContainsFunc(at.lacks, func(s string) bool { return strings.HasPrefix(s, limit) })
	}
	a.facts.Proven = !lacks("processes")
	var mounts []sandbox.Mount
	for _, n := range e.needs {
		why, err := "", error(nil)
		switch n {
		case needVictim:
			if a.victim, err = l.w.newVictim(); err == nil {
				defer func() {
					a.hurt = a.victim.gone()
					a.victim.stop()
				}()
				a.facts.Victim = a.victim.pid
			}
		case needRoot:
			if os.Getuid() != 0 {
				why = "the suite is not root"
			}
		case needSetuid:
			err = setuidProgram(at.workspace)
		case needMounts:
			mounts = []sandbox.Mount{{Host: l.w.facts.Dir + "/given", Inside: "/mnt/given"}}
			if at.level == "none" {
				why = "level none has no mounts"
			}
		case needMemory:
			if lacks("memory") {
				why = "no limit of memory is enforced here"
			}
		case needHostEnv:
			if len(a.facts.Environ) == 0 {
				why = "the host program's environment has nothing to be told by"
			}
		}
		if err != nil {
			return result(Broken, "%v", err)
		}
		if why != "" {
			return result(Skipped, "not tried: %s", why)
		}
	}
	told, err := json.Marshal(a.facts)
	if err != nil {
		return result(Broken, "%v", err)
	}
	out, err := l.run.Call(ctx, at.worker, program{Path: "python3",
		Args: []string{"-I", "-S", "-B", "-c", prelude, e.code, a.facts.Own}, Env: append(l.env[:len(l.env):len(l.env)], "ESCAPE_FACTS="+string(told)),
		Mounts: mounts, Nested: e.nested})
	if errors.Is(err, sandbox.ErrCannotEnforce) {
		return result(Skipped, "not tried: %v", err)
	}
	if err != nil {
		return result(Broken, "%v", err)
	}
	if entries, err := os.ReadDir(at.workspace); err == nil && e.alone {
		for _, entry := range entries {
			if info, err := entry.Info(); err == nil {
				a.modes |= info.Mode()
			}
		}
		again, err := l.run.Call(ctx, at.worker, program{Path: "true"})
		a.next = errors.Join(err, again.err())
	}
	lines := strings.Split(strings.TrimSpace(out.Output), "\n")
	word, detail, _ := strings.Cut(lines[len(lines)-1], " ")
	for _, o := range []Outcome{Stopped, Escaped, Skipped} {
		if word == strings.ToUpper(string(o)) {
			return result(o, "%s", detail)
		}
	}
	switch {
	case out.OOM && e.limits.Memory > 0:
		return result(Stopped, "killed for want of memory")
	case out.Signal == "bad system call":
		return result(Stopped, "killed for the system call")
	}
	return result(Broken, "%v; its last line is %q", out.err(), lines[len(lines)-1])
}

// look adds what is seen from outside.
func (l *lab) look(res Result, a *attempt) Result {
	if res.Escape.after == nil || res.Outcome == Skipped {
		return res
	}
	if seen := res.Escape.after(l.w, a); seen != "" {
		res.Outcome, res.Detail = Escaped, strings.TrimSpace(res.Detail+" (seen from outside: "+seen+")")
	}
	return res
}

// tighter returns base with those limits of want that are lower.
func tighter(base, want sandbox.Limits) sandbox.Limits {
	if want.Memory > 0 && (base.Memory <= 0 || want.Memory < base.Memory) {
		base.Memory = want.Memory
	}
	if want.Processes > 0 && (base.Processes <= 0 || want.Processes < base.Processes) {
		base.Processes = want.Processes
	}
	return base
}

// setuidProgram puts a copy of id into dir that runs as root, where it may. No child
// of this program that has not executed its own yet may have it open for writing:
// then it could not be executed.
func setuidProgram(dir string) error {
	path, err := exec.LookPath("id")
	if err != nil {
		return err
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	name := filepath.Join(dir, "setuid-id")
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	return errors.Join(os.WriteFile(name, b, 0o755), os.Chmod(name, 0o755|fs.ModeSetuid))
}

// program is what a case runs.
type program struct {
	Path   string
	Args   []string
	Env    []string
	Mounts []sandbox.Mount
	Nested bool // it may make user namespaces
}

// ended is how it ended.
type ended struct {
	Output    string
	Workspace string // on the host
	Ended     string // "": with exit status 0
	Signal    string
	OOM       bool
}

func (e ended) err() error {
	if e.Ended == "" {
		return nil
	}
	return fmt.Errorf("it ended with %s: %.1000s", e.Ended, e.Output)
}

func run(env sandbox.Env, ctx context.Context, p program) (e ended, err error) {
	if e.Workspace, err = env.Workspace(); err != nil {
		return e, err
	}
	var out bytes.Buffer
	proc, err := env.Start(ctx, sandbox.Cmd{Path: p.Path, Args: p.Args, Env: p.Env, Stdout: &out, Stderr: &out, Mounts: p.Mounts, NestedUserNS: p.Nested})
	if err != nil {
		return e, err
	}
	stop := context.AfterFunc(ctx, func() { _ = proc.Kill() }) // Wait tells
	defer stop()
	err = proc.Wait()
	e.Output = out.String()
	if x, ok := errors.AsType[*sandbox.ExitError](err); ok {
		e.Ended, e.OOM = x.Error(), x.OOM
		if x.Signal != nil {
			e.Signal = x.Signal.String()
		}
		return e, nil
	}
	if err != nil {
		e.Ended = err.Error() // its output is there all the same
	}
	return e, nil
}
