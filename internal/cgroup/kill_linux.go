package cgroup

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Kill kills everything in the group and in those below, and waits until it is
// gone. Nothing can be started in the group afterwards: only Remove is left to
// be called. ctx bounds the wait. This program itself is never killed, even
// while a thread of its is in the group ([Group.Start]).
func (g *Group) Kill(ctx context.Context) error { return g.r.k.kill(ctx, g.legs) }

func (k *kernel) kill(ctx context.Context, legs []leg) error {
	p := newPause()
	defer p.stop()
	for {
		left := 0
		for _, l := range legs {
			n, err := k.killOnce(l)
			if err != nil {
				return err
			}
			left += n
		}
		if left == 0 {
			return nil
		}
		if err := p.wait(ctx); err != nil {
			return fmt.Errorf("cgroup: %d processes in %s do not die: %w", left, legs[0].dir, err)
		}
	}
}

// killOnce kills what is in the leg and returns how many that were. Version 1
// cannot kill a group; there new processes are forbidden, where that can be, and
// those that are listed killed one by one.
func (k *kernel) killOnce(l leg) (n int, err error) {
	whole := false
	if l.h.v2 {
		whole = k.write(l.dir, "cgroup.kill", "1") == nil // since Linux 5.14
	}
	for _, dir := range tree(l.dir) {
		if !whole {
			_ = k.write(dir, "pids.max", "0") // not there without that controller
		}
		pids, err := procs(dir)
		if err != nil {
			return n, err
		}
		for _, pid := range pids {
			if pid == os.Getpid() {
				continue
			}
			n++
			if whole {
				continue
			}
			if err := k.killMember(pid, l); err != nil {
				return n, err
			}
		}
	}
	return n, nil
}

// killMember kills a process if it is in the leg still: its number may have
// become another's since it was listed, but not since the descriptor was opened.
func (k *kernel) killMember(pid int, l leg) error {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return nil // gone
	}
	defer unix.Close(fd)
	groups, err := k.memberships(strconv.Itoa(pid))
	if err != nil {
		return nil // gone
	}
	dir, ok := l.h.place(groups)
	if !ok || (dir != l.dir && !strings.HasPrefix(dir, l.dir+"/")) {
		return nil
	}
	if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err != nil && err != unix.ESRCH {
		return fmt.Errorf("cgroup: kill process %d in %s: %w", pid, l.dir, err)
	}
	return nil
}

// procs lists the processes in a group, without those that this program cannot
// see, whose number reads 0. A group that is gone has none.
func procs(dir string) (pids []int, err error) {
	b, err := os.ReadFile(dir + "/cgroup.procs")
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ENODEV) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cgroup: %w", err)
	}
	for _, f := range strings.Fields(string(b)) {
		if pid, err := strconv.Atoi(f); err == nil && pid > 0 {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

// maxGroups bounds how many groups below one are looked at.
const maxGroups = 10_000

// tree lists a group and those below it, each before those below it.
func tree(dir string) []string {
	out := []string{dir}
	for i := 0; i < len(out) && len(out) < maxGroups; i++ {
		entries, err := os.ReadDir(out[i])
		if err != nil {
			continue // gone
		}
		for _, e := range entries {
			if e.IsDir() {
				out = append(out, filepath.Join(out[i], e.Name()))
			}
		}
	}
	return out
}

// Remove removes the group and those below it, and waits, until ctx ends, for
// the last process that was killed to be reaped. A group that is gone is no error.
func (g *Group) Remove(ctx context.Context) error {
	var errs []error
	for _, l := range g.legs {
		errs = append(errs, g.r.k.remove(ctx, l.dir))
	}
	return errors.Join(errs...)
}

func (k *kernel) remove(ctx context.Context, dir string) error {
	p := newPause()
	defer p.stop()
	for {
		busy := error(nil)
		all := tree(dir)
		for i := len(all) - 1; i >= 0; i-- {
			err := k.rmdir(all[i])
			if errors.Is(err, unix.EBUSY) || errors.Is(err, unix.ENOTEMPTY) {
				busy = fmt.Errorf("cgroup: remove %s: %w", all[i], err)
			} else if err != nil && !errors.Is(err, unix.ENOENT) {
				return fmt.Errorf("cgroup: remove %s: %w", all[i], err)
			}
		}
		if busy == nil {
			return nil
		}
		if p.wait(ctx) != nil {
			return busy
		}
	}
}

// pause waits a little longer each time, from 1 ms to 20.
type pause struct {
	t    *time.Timer
	next time.Duration
}

func newPause() *pause { return &pause{t: time.NewTimer(0), next: time.Millisecond} }

func (p *pause) wait(ctx context.Context) error {
	p.t.Reset(p.next)
	p.next = min(2*p.next, 20*time.Millisecond)
	select {
	case <-p.t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (p *pause) stop() { p.t.Stop() }
