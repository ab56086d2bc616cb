package cgroup

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Root is this program's place in the control groups. Its methods may be called
// concurrently.
type Root struct {
	k     *kernel
	bases []base
	why   map[Controller]error // nil value: supported
	moved *moved               // nil unless this program was moved
}

// base is the program's own directory in one hierarchy.
type base struct {
	h     *hierarchy
	lease *lease
	has   []Controller // those that passed the probe
}

// moved remembers how to undo the move of this program.
type moved struct{ from, to string }

// Open finds what this program may use, and clears up what dead programs left.
// That nothing may be used is no error; see [Root.Supports]. The caller closes
// the Root after removing its groups.
func Open(o Options) (*Root, error) { return open(realKernel(), o) }

func open(k *kernel, o Options) (*Root, error) {
	r := &Root{k: k, why: map[Controller]error{}}
	for _, c := range controllers {
		r.why[c] = fmt.Errorf("%w: there is no %s controller where this program runs", ErrUnsupported, c)
	}
	suffix, err := k.suffix()
	if err != nil {
		return nil, err
	}
	found, err := k.hierarchies()
	if err != nil {
		return nil, err
	}
	for _, h := range found {
		if h.v2 {
			r.openV2(h, suffix, o)
		} else {
			r.openV1(h, suffix)
		}
	}
	return r, nil
}

func (r *Root) openV1(h *hierarchy, suffix string) {
	r.k.sweep(h, h.own, suffix)
	l, err := r.k.newLease(h.own, suffix)
	if err != nil {
		r.refuse(h.has, reason(h.own, err))
		return
	}
	// Before Linux 5.11 a group does not count in the one above unless told to.
	if b, err := os.ReadFile(l.dir + "/memory.use_hierarchy"); err == nil && strings.TrimSpace(string(b)) == "0" {
		_ = r.k.write(l.dir, "memory.use_hierarchy", "1") // the limit of the worker's own group stands all the same
	}
	r.keep(base{h: h, lease: l}, h.has)
}

// openV2 looks for a place in the version 2 hierarchy: the program's own group,
// or the one above if that is the one that was delegated.
func (r *Root) openV2(h *hierarchy, suffix string, o Options) {
	if len(h.has) == 0 {
		return
	}
	places := []string{h.own}
	if up := filepath.Dir(h.own); r.k.delegated(up) {
		places = []string{up, h.own}
	}
	var err error
	for _, dir := range places {
		r.k.sweep(h, dir, suffix)
		err = r.enableV2(dir, h, suffix, o)
		if err != nil {
			continue
		}
		var l *lease
		if l, err = r.k.newLease(dir, suffix); err != nil {
			continue
		}
		if err = r.k.enable(l.dir, h.has); err != nil {
			err = errors.Join(err, l.release(r.k))
			continue
		}
		r.keep(base{h: h, lease: l}, h.has)
		return
	}
	r.refuse(h.has, reason(h.own, err))
}

// enableV2 turns the controllers on for the groups below dir.
func (r *Root) enableV2(dir string, h *hierarchy, suffix string, o Options) error {
	err := r.k.enable(dir, h.has)
	if !errors.Is(err, unix.EBUSY) || !o.MoveSelf || dir != h.own || r.moved != nil {
		return err
	}
	leaf := fmt.Sprintf("%s/agentflow-program-%d-%s", dir, os.Getpid(), suffix)
	if err := r.k.mkdir(leaf); err != nil && !errors.Is(err, unix.EEXIST) {
		return err
	}
	if err := r.k.write(leaf, "cgroup.procs", strconv.Itoa(os.Getpid())); err != nil {
		return errors.Join(err, r.k.rmdir(leaf))
	}
	r.moved = &moved{from: dir, to: leaf}
	if err := r.k.enable(dir, h.has); err != nil {
		return errors.Join(err, r.moveBack()) // others are in there too
	}
	return nil
}

func (r *Root) moveBack() error {
	m := r.moved
	if m == nil {
		return nil
	}
	r.moved = nil
	on, err := os.ReadFile(m.from + "/cgroup.subtree_control")
	if err != nil {
		return err
	}
	for _, c := range ofList(string(on)) {
		if err := r.k.write(m.from, "cgroup.subtree_control", "-"+string(c)); err != nil {
			return fmt.Errorf("cgroup: %w", err)
		}
	}
	if err := r.k.write(m.from, "cgroup.procs", strconv.Itoa(os.Getpid())); err != nil {
		return fmt.Errorf("cgroup: move this program back: %w", err)
	}
	if err := r.k.rmdir(m.to); err != nil {
		return fmt.Errorf("cgroup: remove %s: %w", m.to, err)
	}
	return nil
}

// enable turns on those of the controllers that are off for the groups below dir.
func (k *kernel) enable(dir string, want []Controller) error {
	on, err := os.ReadFile(dir + "/cgroup.subtree_control")
	if err != nil {
		return err
	}
	have := ofList(string(on))
	for _, c := range want {
		if slices.Contains(have, c) {
			continue
		}
		if err := k.write(dir, "cgroup.subtree_control", "+"+string(c)); err != nil {
			return err
		}
	}
	return nil
}

// keep probes the controllers of a base, and drops it if none of them works.
func (r *Root) keep(b base, want []Controller) {
	for _, c := range want {
		if err := r.probe(b, c); err != nil {
			r.why[c] = reason(b.lease.dir, err)
			continue
		}
		r.why[c] = nil
		b.has = append(b.has, c)
	}
	if len(b.has) == 0 {
		_ = b.lease.release(r.k) // the next Open sweeps it
		return
	}
	r.bases = append(r.bases, b)
}

// probe makes a group with a limit, puts something into it, and removes it.
func (r *Root) probe(b base, c Controller) (err error) {
	l := leg{h: b.h, dir: b.lease.dir + "/probe", has: []Controller{c}}
	if err := r.k.mkdir(l.dir); err != nil {
		return err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), sweepTime)
		defer cancel()
		err = errors.Join(err, r.k.remove(ctx, l.dir))
	}()
	if err := l.set(Limits{Memory: 1 << 30, CPU: 0.5, Pids: 100}); err != nil {
		return err
	}
	if l.h.v2 {
		return r.k.try(l.dir)
	}
	OffLeader(func() { err = r.k.inside([]leg{l}, func() error { return nil }) })
	return err
}

// tryStart starts a program that does nothing in the group at dir.
func tryStart(dir string) error {
	path, err := exec.LookPath("true")
	if err != nil {
		return fmt.Errorf("probe: %w", err)
	}
	f, err := openDir(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, path)
	cmd.Env = []string{}
	cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(f.Fd())}
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("start a process in a group: %w", err)
	}
	return nil
}

func (r *Root) refuse(cs []Controller, why error) {
	for _, c := range cs {
		r.why[c] = why
	}
}

// Supports tells whether groups can have a limit of that kind: nil, or an error
// that says why not and what to do, and wraps [ErrUnsupported].
func (r *Root) Supports(c Controller) error {
	if err, known := r.why[c]; known {
		return err
	}
	return fmt.Errorf("%w: there is no controller %q", ErrUnsupported, c)
}

// Any tells whether groups can be made at all.
func (r *Root) Any() bool { return len(r.bases) > 0 }

// Unified tells whether any of the controllers is one of version 2.
func (r *Root) Unified() bool {
	return slices.ContainsFunc(r.bases, func(b base) bool { return b.h.v2 })
}

// Close removes this program's own directories. Groups must be gone already.
func (r *Root) Close() error {
	var errs []error
	for _, b := range r.bases {
		errs = append(errs, b.lease.release(r.k))
	}
	r.bases = nil
	return errors.Join(append(errs, r.moveBack())...)
}
