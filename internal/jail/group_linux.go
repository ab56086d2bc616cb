package jail

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/agentflow-go/sandbox/internal/cgroup"
)

// JailTasks is how many processes and threads a jail may have for itself, on top
// of what Limits.Processes grants to programs: bwrap, and the first process,
// which dies if it is refused a thread that it needs.
const JailTasks = 16

// groupTime bounds the removal of a control group.
const groupTime = 5 * time.Second

// workerGroup is the control group of one worker. What its jails use together
// is bounded by the loosest of their limits; below it there is one group for
// each set of limits, as sessions of one worker may have different ones, and
// only those have processes. The zero value has no group yet.
type workerGroup struct {
	mu      sync.Mutex // guards the rest, and what the members count
	group   *cgroup.Group
	limits  cgroup.Limits // the loosest so far; Pids without the jails' own
	members map[cgroup.Limits]*memberGroup
	jails   int
	tasks   int // of each jail for itself
}

// memberGroup is the group of those jails of a worker that have equal limits.
type memberGroup struct {
	w      *workerGroup
	group  *cgroup.Group
	limits cgroup.Limits
	jails  int
}

// groupLimits are p's as the host can have them: defaults filled in, and those
// left out that it cannot enforce, which [Host.Check] has allowed.
func (h *Host) groupLimits(p *Policy) cgroup.Limits {
	l := p.Limits
	var c cgroup.Limits
	if h.groups.Supports(cgroup.Memory) == nil {
		c.Memory = max(0, cmp.Or(l.Memory, DefaultMemory))
	}
	if h.groups.Supports(cgroup.CPU) == nil {
		c.CPU = max(0, l.CPU)
	}
	if h.groups.Supports(cgroup.Pids) == nil {
		c.Pids = int(max(0, limitValue(l.Processes, DefaultProcesses)))
	}
	if p.Shared {
		c.Memory, c.CPU, c.Pids = c.Memory*SharedMemory, c.CPU*SharedMemory, c.Pids*SharedProcesses
	}
	return c
}

// join returns the group for a jail with policy p, which is counted in; nil if
// this host has no control groups. The jail leaves it when nothing of it runs.
func (h *Host) join(p *Policy) (*memberGroup, error) {
	if !h.groups.Any() || h.traits.Limits != nil {
		return nil, nil
	}
	l, id := p.Limits, p.Identity
	c, w := h.groupLimits(p), &id.group
	w.mu.Lock()
	defer w.mu.Unlock()
	w.tasks = cmp.Or(h.traits.Tasks, JailTasks)
	m, err := w.join(h, c)
	if err == nil {
		return m, nil
	}
	if m == nil && w.jails == 0 {
		err = errors.Join(err, w.drop())
	}
	for _, x := range h.limits(l) {
		if x.set && x.group && !slices.Contains(h.degraded, x.name) {
			return nil, &PolicyError{Limit: x.name, Reason: "its control group cannot be made: " + err.Error(), Remedy: x.remedy}
		}
	}
	h.log.Warn("a worker's programs run without the default limits", "error", err)
	return nil, nil
}

// join is [Host.join] for limits as they are set. The caller holds mu.
func (w *workerGroup) join(h *Host, c cgroup.Limits) (_ *memberGroup, err error) {
	all := c
	if w.group != nil {
		all = loosest(w.limits, c)
	}
	// The worker's own first: no group below may have more than it.
	total := w.withJails(all, w.jails+1)
	if w.group == nil {
		if w.group, err = h.groups.New("worker-"+strconv.FormatInt(h.lastGroup.Add(1), 10), total); err != nil {
			return nil, err
		}
	} else if err := w.group.Set(total); err != nil {
		return nil, err
	}
	w.limits = all
	m := w.members[c]
	if m == nil {
		m = &memberGroup{w: w, limits: c}
		if m.group, err = w.group.New("limits-"+strconv.FormatInt(h.lastGroup.Add(1), 10), w.withJails(c, 1)); err != nil {
			return nil, err
		}
		if w.members == nil {
			w.members = map[cgroup.Limits]*memberGroup{}
		}
		w.members[c] = m
	} else if err := m.group.Set(w.withJails(c, m.jails+1)); err != nil {
		return m, err
	}
	m.jails++
	w.jails++
	return m, nil
}

// leave counts a jail out. The last one takes the group along, and with it what
// escaped its first process, as a daemon can under level none.
func (m *memberGroup) leave() error {
	w := m.w
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.members[m.limits] != m {
		return nil // the worker's group was dropped, with what was still in it
	}
	m.jails--
	w.jails--
	if m.jails > 0 {
		return errors.Join(m.group.Set(w.withJails(m.limits, m.jails)), w.group.Set(w.withJails(w.limits, w.jails)))
	}
	delete(w.members, m.limits)
	return end(m.group)
}

// drop removes the worker's group with all that is in it. The caller holds mu.
func (w *workerGroup) drop() error {
	g := w.group
	if g == nil {
		return nil
	}
	w.group, w.members, w.jails = nil, nil, 0
	return end(g)
}

// close is drop for those who do not hold mu.
func (w *workerGroup) close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.drop()
}

// end kills what is in a group and removes it.
func end(g *cgroup.Group) error {
	ctx, cancel := context.WithTimeout(context.Background(), groupTime)
	defer cancel()
	if err := errors.Join(g.Kill(ctx), g.Remove(ctx)); err != nil {
		return fmt.Errorf("jail: %w", err)
	}
	return nil
}

// oomKills is how many processes of the jail's group died for want of memory;
// -1 if nobody counts.
func (m *memberGroup) oomKills() int64 {
	if m == nil {
		return -1
	}
	return m.group.OOMKills()
}

// loosest returns limits that are nowhere tighter than a or b.
func loosest(a, b cgroup.Limits) cgroup.Limits {
	return cgroup.Limits{Memory: looser(a.Memory, b.Memory), CPU: looser(a.CPU, b.CPU), Pids: looser(a.Pids, b.Pids)}
}

// looser is the higher one, where 0 is the highest.
func looser[T int | int64 | float64](a, b T) T {
	if a == 0 || b == 0 {
		return 0
	}
	return max(a, b)
}

// withJails grants the first processes of so many jails what they need.
func (w *workerGroup) withJails(c cgroup.Limits, jails int) cgroup.Limits {
	if c.Pids > 0 {
		c.Pids += jails * w.tasks
	}
	return c
}

// OOMKills is how many processes that have the jail's limits together with it the
// kernel has killed so far because memory ran out: that of the limit, or the
// host's. It is -1 without the memory controller.
func (j *Jail) OOMKills() int64 { return j.group.oomKills() }
