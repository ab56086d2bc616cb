package jail

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/agentflow-go/sandbox/internal/cgroup"
	"github.com/agentflow-go/sandbox/internal/reserve"
	"github.com/agentflow-go/sandbox/internal/seccomp"
)

// Host is this program's hold on confinement. Its methods may be called
// concurrently.
type Host struct {
	degraded []string // limits that may go unenforced
	dataDir  string
	log      *slog.Logger

	driver  Driver
	traits  Traits // the driver's
	starter *starter
	self    *os.File          // the sealed copy of this program
	uids    *reserve.File     // nil unless workers have users of their own
	spaces  []string          // this program's namespaces
	volumes func(int64) error // Options.Quota

	unbounded error        // why nothing bounds the number of jails' files, if the driver does not
	groups    *cgroup.Root // what control groups can do for workers here
	lastGroup atomic.Int64 // the number in the last group's name
	ownNets   bool         // each confined jail has a network namespace that this program cannot make

	mu      sync.Mutex // guards what follows
	closed  bool
	jails   map[*Jail]struct{}
	workers map[*Identity]struct{} // not released
}

// prepare sees to what every confined jail needs, whatever the driver.
func (h *Host) prepare() (err error) {
	if _, err := seccomp.Program(seccomp.Profile{}); err != nil {
		return &UnavailableError{
			Level: h.Level(), Err: err, Reason: err.Error(),
			Remedy: "use a machine of one of these architectures",
		}
	}
	if os.Geteuid() == 0 {
		h.uids, err = openUIDs(h.Level())
	}
	return err
}

func (h *Host) limits(l Limits) []limit { return limits(h.Level(), l, h.supports, h.Quota) }

// Quota tells whether workspaces can be kept to so many bytes, and if not why.
func (h *Host) Quota(bytes int64) error {
	switch {
	case h.volumes == nil:
		return errors.New("this program has no means for it")
	case !h.traits.Volumes && h.uids == nil && !h.traits.Unconfined:
		return errors.New("it takes a file system for each worker, which only root can mount")
	case !h.traits.Volumes:
		return fmt.Errorf("level %s cannot show programs a file system of their own", h.Level())
	}
	return h.volumes(bytes)
}

// supports tells what can be done about a limit.
func (h *Host) supports(c cgroup.Controller) error {
	if h.traits.Limits != nil {
		return h.traits.Limits(c)
	}
	return h.groups.Supports(c)
}

// Level returns the level that was picked: never auto.
func (h *Host) Level() string { return h.driver.Name() }

// Degraded names what is weaker on this host than it could be, apart from
// limits: "single-uid" means that all workers run as one host user, apart from
// each other only by their namespaces; "net-per-session" that each jail has a
// network namespace of its own, also that of a single program, instead of sharing
// its worker's, and that [Jail.Listen] is not possible; "unbounded-files" that the
// number of files in /tmp and /dev/shm, and of terminals, has no bound of the
// jail's, and that programs may change the settings of the jail's own namespaces.
func (h *Host) Degraded() (names []string) {
	if h.uids == nil {
		names = append(names, "single-uid")
	}
	if h.ownNets {
		names = append(names, "net-per-session")
	}
	if h.unbounded != nil {
		names = append(names, "unbounded-files")
	}
	return names
}

// Unenforced names the limits that l leaves to their defaults, or sets by the
// leave of AllowDegraded, and that nothing enforces on this host.
func (h *Host) Unenforced(l Limits) []string {
	out := unenforced(h.limits(l))
	if h.traits.Limits == nil {
		return out
	}
	for _, x := range h.limits(l) {
		if x.group && !x.none && x.reason+x.partial == "" {
			out = append(out, x.name+": counted in each session, not over all of a worker's")
		}
	}
	return out
}

// Check tells whether p can be enforced. A limit that is set and cannot be is a
// [PolicyError] that names it, unless AllowDegraded does. It does not look at
// the identity and the workspace.
func (h *Host) Check(p Policy) error {
	if p.Proxy != nil && h.traits.NoProxy != "" {
		return &PolicyError{Limit: "egress", Reason: h.traits.NoProxy, Remedy: "leave the allow list empty, or use level bwrap"}
	}
	if p.TmpSize < 0 || p.ShmSize < 0 {
		return fmt.Errorf("jail: TmpSize %d, ShmSize %d: want bytes, or 0 for the default", p.TmpSize, p.ShmSize)
	}
	return checkLimits(h.limits(p.Limits), h.degraded)
}

// Close closes the jails that are still open, and the Host.
func (h *Host) Close() error {
	h.mu.Lock()
	if h.closed {
		h.mu.Unlock()
		return nil
	}
	h.closed = true
	var jails []*Jail
	for j := range h.jails {
		jails = append(jails, j)
	}
	workers := slices.Collect(maps.Keys(h.workers))
	h.mu.Unlock()

	var errs []error
	for _, j := range jails {
		errs = append(errs, j.Close())
	}
	for _, id := range workers {
		errs = append(errs, id.group.close())
	}
	if h.groups != nil {
		errs = append(errs, h.groups.Close())
	}
	if h.starter != nil {
		h.starter.close()
	}
	errs = append(errs, h.driver.Close())
	if h.self != nil {
		errs = append(errs, h.self.Close())
	}
	if h.uids != nil {
		errs = append(errs, h.uids.Close())
	}
	return errors.Join(errs...)
}
