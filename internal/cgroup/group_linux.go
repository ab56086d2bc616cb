package cgroup

import (
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// period is the time over which a CPU limit is kept, the kernel's default.
const period = 100_000 // microseconds

// Group is a set of processes with common limits: its members and those of all
// groups below. Its methods may be called concurrently, but for Remove.
type Group struct {
	r    *Root
	up   *Group // nil for those that a Root made
	legs []leg
	// cpu tells that a CPU limit was set. Without any, processes stay out of the
	// version 1 legs that have nothing else, for joining those is slow.
	cpu atomic.Bool
}

// joins are the legs that processes of the group must be in.
func (g *Group) joins() []leg {
	for up := g; up != nil; up = up.up {
		if up.cpu.Load() {
			return g.legs
		}
	}
	return slices.DeleteFunc(slices.Clone(g.legs), func(l leg) bool { return !l.h.v2 && len(l.has) == 1 && l.is(CPU) })
}

// leg is a group's directory in one hierarchy.
type leg struct {
	h   *hierarchy
	dir string
	has []Controller
}

// New makes a group. Its name must be letters, digits and dashes that no other
// group has. A limit that the host does not support is an error that wraps
// [ErrUnsupported]. The caller removes the group.
func (r *Root) New(name string, l Limits) (*Group, error) {
	if !r.Any() {
		return nil, fmt.Errorf("%w: no controller can be used", ErrUnsupported)
	}
	legs := make([]leg, len(r.bases))
	for i, b := range r.bases {
		legs[i] = leg{h: b.h, dir: b.lease.dir, has: b.has}
	}
	return r.make(nil, legs, name, l)
}

// New makes a group below g, with limits of its own beside g's. On version 2 the
// group g can have no processes itself then.
func (g *Group) New(name string, l Limits) (*Group, error) { return g.r.make(g, g.legs, name, l) }

func (r *Root) make(up *Group, parents []leg, name string, l Limits) (_ *Group, err error) {
	if name == "" || strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-") != "" {
		return nil, fmt.Errorf("cgroup: group name %q, want letters, digits and dashes", name)
	}
	g := &Group{r: r, up: up}
	defer func() {
		if err != nil {
			for _, l := range g.legs {
				_ = r.k.rmdir(l.dir) // it is empty
			}
		}
	}()
	for _, p := range parents {
		if p.h.v2 {
			if err := r.k.enable(p.dir, p.has); err != nil {
				return nil, fmt.Errorf("cgroup: group %s: %w", name, err)
			}
		}
		c := leg{h: p.h, dir: p.dir + "/" + name, has: p.has}
		if err := r.k.mkdir(c.dir); err != nil {
			return nil, fmt.Errorf("cgroup: make %s: %w", c.dir, err)
		}
		g.legs = append(g.legs, c)
	}
	return g, g.Set(l)
}

// Set changes the limits. A first CPU limit may hold only for what is started, or
// added, after it was set.
func (g *Group) Set(l Limits) error {
	if l.Memory < 0 || l.CPU < 0 || l.Pids < 0 || math.IsNaN(l.CPU) {
		return fmt.Errorf("cgroup: limits %+v: want no negative values", l)
	}
	for c, set := range map[Controller]bool{Memory: l.Memory > 0, CPU: l.CPU > 0, Pids: l.Pids > 0} {
		if err := g.r.Supports(c); set && err != nil {
			return err
		}
	}
	for _, leg := range g.legs {
		if err := leg.set(l); err != nil {
			return fmt.Errorf("cgroup: %s: %w", leg.dir, err)
		}
	}
	if l.CPU > 0 {
		g.cpu.Store(true)
	}
	return nil
}

func (g *leg) set(l Limits) error {
	for _, c := range g.has {
		var err error
		switch {
		case c == Memory && g.h.v2:
			err = g.h.k.write(g.dir, "memory.max", number(l.Memory, "max"))
			if err == nil && l.Memory > 0 {
				err = g.h.k.writeIfThere(g.dir, "memory.swap.max", "0")
			}
		case c == Memory:
			err = g.setMemoryV1(l.Memory)
		case c == CPU && g.h.v2:
			err = g.h.k.write(g.dir, "cpu.max", number(quota(l.CPU), "max")+" "+strconv.Itoa(period))
		case c == CPU:
			err = g.setCPUv1(l.CPU)
		case c == Pids:
			err = g.h.k.write(g.dir, "pids.max", number(int64(l.Pids), "max"))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// socketsPart is the part of a memory limit that the buffers of internet sockets
// may have beside it on version 1.
const socketsPart = 8

// setMemoryV1 keeps the limit of memory with swap, where the kernel counts that,
// equal to that of memory; it may never be the lower one. Version 2 counts what is
// in the buffers of internet sockets as memory; version 1 counts it apart, and not
// at all unless it is told a limit.
func (g *leg) setMemoryV1(limit int64) error {
	const memory, both, sockets = "memory.limit_in_bytes", "memory.memsw.limit_in_bytes", "memory.kmem.tcp.limit_in_bytes"
	value := number(limit, "-1")
	if err := g.h.k.writeIfThere(g.dir, sockets, number(limit/socketsPart, "-1")); err != nil {
		return err
	}
	if err := g.h.k.writeIfThere(g.dir, both, "-1"); err != nil {
		return err
	}
	if err := g.h.k.write(g.dir, memory, value); err != nil {
		return err
	}
	if limit > 0 {
		// Without a count of swap, at least nothing is swapped out for the
		// sake of this limit.
		if err := g.h.k.writeIfThere(g.dir, "memory.swappiness", "0"); err != nil {
			return err
		}
	}
	return g.h.k.writeIfThere(g.dir, both, value)
}

// setCPUv1 sets the quota. Version 1 refuses one that is above the quota of a
// group further up, which then is the limit anyway.
func (g *leg) setCPUv1(cpu float64) error {
	const name = "cpu.cfs_quota_us"
	want := quota(cpu)
	if err := g.h.k.write(g.dir, "cpu.cfs_period_us", strconv.Itoa(period)); err != nil {
		return err
	}
	err := g.h.k.write(g.dir, name, number(want, "-1"))
	if !errors.Is(err, unix.EINVAL) || want == 0 {
		return err
	}
	for up := filepath.Dir(g.dir); up != "/"; up = filepath.Dir(up) {
		q, p := readInt(up, name), readInt(up, "cpu.cfs_period_us")
		if q > 0 && p > 0 && float64(q)/float64(p) <= cpu {
			return g.h.k.write(g.dir, name, "-1")
		}
	}
	return err
}

// quota is the time in each period, 0 for no limit.
func quota(cpu float64) int64 {
	if cpu <= 0 {
		return 0
	}
	return max(1000, int64(math.Ceil(min(cpu, 1e6)*period)))
}

func number(n int64, none string) string {
	if n <= 0 {
		return none
	}
	return strconv.FormatInt(n, 10)
}
