package jail

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/agentflow-go/sandbox/internal/cgroup"
	"github.com/agentflow-go/sandbox/internal/reserve"
	"github.com/agentflow-go/sandbox/internal/seccomp"
)

// Host is this program's hold on confinement. Its methods may be called
// concurrently.
type Host struct {
	level    string
	degraded []string // limits that may go unenforced
	dataDir  string
	log      *slog.Logger

	starter *starter
	self    *os.File      // the sealed copy of this program
	uids    *reserve.File // nil unless workers have users of their own
	spaces  []string      // this program's namespaces

	groups    *cgroup.Root // what control groups can do for workers here
	lastGroup atomic.Int64 // the number in the last group's name

	// Of level bwrap only.
	bwrap    string
	stage    *staging   // nil where workers are the host program's own user
	links    []string   // options for the links in the root and for /etc
	masks    []string   // options that mask /proc
	etc      []*os.File // the content of etcMade
	readOnly []bind

	mu      sync.Mutex // guards what follows
	closed  bool
	jails   map[*Jail]struct{}
	workers map[*Identity]struct{} // not released
}

// Open picks the driver that o.Level names and probes it with a real jail that
// tries what must not be possible. It fails closed, with an [UnavailableError]
// that says what to do, when the level does not work here. ctx bounds the probe,
// which takes [probeTime] at most; no process stays. The caller closes the Host.
func Open(ctx context.Context, o Options) (_ *Host, err error) {
	level, err := checkLevel(o.Level)
	if err != nil {
		return nil, err
	}
	if err := checkDegraded(o.AllowDegraded); err != nil {
		return nil, err
	}
	h := &Host{level: level, degraded: o.AllowDegraded, dataDir: o.DataDir, log: o.Logger,
		jails: map[*Jail]struct{}{}, workers: map[*Identity]struct{}{}}
	if level == levelAuto {
		h.level = levelBwrap
	}
	if h.log == nil {
		h.log = slog.New(slog.DiscardHandler)
	}
	if h.dataDir != "" {
		if h.dataDir, err = filepath.Abs(h.dataDir); err != nil {
			return nil, fmt.Errorf("jail: DataDir: %w", err)
		}
	}
	for _, path := range o.ReadOnly {
		if err := checkReadOnly(path, h.dataDir); err != nil {
			return nil, err
		}
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, h.Close())
		}
	}()
	if h.spaces, err = namespaces(); err != nil {
		return nil, fmt.Errorf("jail: %w", err)
	}
	if h.groups, err = cgroup.Open(cgroup.Options{}); err != nil {
		return nil, fmt.Errorf("jail: %w", err)
	}
	h.starter = newStarter()
	if h.self, err = sealedSelf(); err != nil {
		return nil, fmt.Errorf("jail: copy of the program: %w", err)
	}
	if h.level == levelNone {
		h.log.Warn("confinement is off: programs started for workers run as this user and reach whatever it reaches", "level", levelNone)
		return h, nil
	}
	if err := h.openBwrap(o); err != nil {
		return nil, err
	}
	if err := h.probe(ctx); err != nil {
		return nil, err
	}
	return h, nil
}

// openBwrap prepares what all jails of level bwrap share.
func (h *Host) openBwrap(o Options) (err error) {
	if _, err := seccomp.Program(seccomp.Profile{}); err != nil {
		return &UnavailableError{
			Level: levelBwrap, Err: err, Reason: err.Error(),
			Remedy: "use a machine of one of these architectures",
		}
	}
	if h.bwrap, err = findBwrap(o.Bwrap); err != nil {
		return err
	}
	if os.Geteuid() == 0 {
		if h.uids, err = openUIDs(); err != nil {
			return err
		}
		if h.stage, err = newStaging(h.starter); err != nil {
			return &UnavailableError{
				Level: levelBwrap, Err: err,
				Reason: "root may not make a mount namespace here: " + err.Error(),
				Remedy: "run the program as an ordinary user, or with CAP_SYS_ADMIN; " + containerRemedy,
			}
		}
	}
	if h.links, err = hostLinks(); err != nil {
		return fmt.Errorf("jail: %w", err)
	}
	h.masks = procMasks()
	for _, made := range etcMade {
		f, err := sealed(made[0], strings.NewReader(made[1]), 0o444)
		if err != nil {
			return fmt.Errorf("jail: %w", err)
		}
		h.etc = append(h.etc, f)
	}
	for _, path := range o.ReadOnly {
		f, err := openPath(path, 0)
		if err != nil {
			return fmt.Errorf("jail: ReadOnly: %w", err)
		}
		b := bind{f: f, inside: path}
		if h.stage != nil {
			if b.staged, err = h.stage.put(f, false); err != nil {
				f.Close()
				return err
			}
		}
		h.readOnly = append(h.readOnly, b)
	}
	return nil
}

// Level returns the level that was picked: bwrap or none.
func (h *Host) Level() string { return h.level }

// Degraded names what is weaker on this host than it could be, apart from
// limits: "single-uid" means that all workers run as one host user, apart from
// each other only by their namespaces.
func (h *Host) Degraded() []string {
	if h.uids == nil {
		return []string{"single-uid"}
	}
	return nil
}

// Unenforced names the limits that l leaves to their defaults, or sets by the
// leave of AllowDegraded, and that nothing enforces on this host.
func (h *Host) Unenforced(l Limits) []string { return unenforced(h.level, l, h.groups.Supports) }

// Check tells whether p can be enforced. A limit that is set and cannot be is a
// [PolicyError] that names it, unless AllowDegraded does. It does not look at
// the identity and the workspace.
func (h *Host) Check(p Policy) error {
	if p.Proxy != nil && h.level == levelNone {
		return &PolicyError{Limit: "egress", Reason: "level none leaves programs the whole network of the host", Remedy: "leave the allow list empty, or use level bwrap"}
	}
	if p.TmpSize < 0 || p.ShmSize < 0 {
		return fmt.Errorf("jail: TmpSize %d, ShmSize %d: want bytes, or 0 for the default", p.TmpSize, p.ShmSize)
	}
	return checkLimits(h.level, p.Limits, h.groups.Supports, h.degraded)
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
	if h.self != nil {
		errs = append(errs, h.self.Close())
	}
	for _, f := range h.etc {
		errs = append(errs, f.Close())
	}
	for _, b := range h.readOnly {
		errs = append(errs, b.f.Close())
	}
	if h.uids != nil {
		errs = append(errs, h.uids.Close())
	}
	return errors.Join(errs...)
}
