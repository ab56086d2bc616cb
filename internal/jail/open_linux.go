package jail

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"time"

	"github.com/agentflow-go/sandbox/internal/cgroup"
)

// openTime bounds what a driver does before its probe and around it. What hangs
// that long hangs in the kernel, on a file system that does not answer.
const openTime = 2 * probeTime

// Open finds a driver for o.Level and probes it with a real jail that tries what
// must not be possible. It fails closed, with an [UnavailableError] that says what
// to do, when the level does not work here. ctx bounds it, and [openTime] for each
// driver that is tried, of which the probe has [probeTime]; no process stays. The
// caller closes the Host.
func Open(ctx context.Context, o Options) (*Host, error) {
	drivers, err := pick(o)
	if err != nil {
		return nil, err
	}
	if err := checkDegraded(o.AllowDegraded); err != nil {
		return nil, err
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.DataDir != "" {
		if o.DataDir, err = filepath.Abs(o.DataDir); err != nil {
			return nil, fmt.Errorf("jail: DataDir: %w", err)
		}
	}
	var refused []*UnavailableError
	for _, d := range drivers {
		h, err := openInTime(ctx, o, d)
		if err == nil {
			for _, e := range refused {
				o.Logger.Warn("a confinement level does not work here; the next one is used", "level", e.Level, "used", d.Name(), "error", e)
			}
			return h, nil
		}
		e, ok := errors.AsType[*UnavailableError](err)
		if !ok || len(drivers) == 1 || ctx.Err() != nil {
			return nil, err
		}
		refused = append(refused, e)
	}
	return nil, none(refused)
}

// pick returns the drivers that the options name, the best first.
func pick(o Options) ([]Driver, error) {
	if o.Driver != nil {
		return []Driver{o.Driver}, nil
	}
	level, err := checkLevel(o.Level)
	if err != nil {
		return nil, err
	}
	bwrap, native := &bwrapDriver{path: o.Bwrap}, &nativeDriver{}
	switch level {
	case levelBwrap:
		return []Driver{bwrap}, nil
	case levelNative:
		return []Driver{native}, nil
	case levelNone:
		return []Driver{&noneDriver{}}, nil
	}
	return []Driver{bwrap, native}, nil
}

// none says why no level of auto works.
func none(refused []*UnavailableError) error {
	e := &UnavailableError{Level: levelAuto}
	var reasons, remedies []string
	var errs []error
	for _, r := range refused {
		reasons = append(reasons, r.Level+": "+r.Reason)
		remedies = append(remedies, "for "+r.Level+": "+r.Remedy)
		errs = append(errs, r)
	}
	e.Reason, e.Remedy, e.Err = strings.Join(reasons, "; "), strings.Join(remedies, "; "), errors.Join(errs...)
	if len(refused) == 2 && refused[0].Remedy == refused[1].Remedy {
		e.Remedy = refused[0].Remedy
	}
	return e
}

// openInTime is open, given up when the host does not answer, as a mount can that
// nobody serves: no system call on it returns, and none can be called off. Then a
// goroutine is left, which cleans up if ever it can.
func openInTime(ctx context.Context, o Options, d Driver) (*Host, error) {
	ctx, cancel := context.WithTimeout(ctx, openTime)
	defer cancel()
	type result struct {
		h   *Host
		err error
	}
	opened := make(chan result, 1)
	go func() {
		h, err := open(ctx, o, d)
		opened <- result{h, err}
	}()
	patience := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		time.AfterFunc(hangTime, func() { close(patience) })
	})
	defer stop()
	select {
	case r := <-opened:
		return r.h, r.err
	case <-patience:
	}
	go func() { // ends when the host answers
		if r := <-opened; r.h != nil {
			_ = r.h.Close() // nobody is there to hear of it
		}
	}()
	return nil, &UnavailableError{
		Level: d.Name(), Err: ctx.Err(), Reason: "this host's files do not answer",
		Remedy: "look with ls /usr /etc for a mount that hangs (autofs, NFS, FUSE)",
	}
}

// hangTime is what an Open that was called off gets to clean up.
const hangTime = 5 * time.Second

func open(ctx context.Context, o Options, d Driver) (_ *Host, err error) {
	h := &Host{driver: d, degraded: o.AllowDegraded, dataDir: o.DataDir, log: o.Logger, volumes: o.Quota,
		jails: map[*Jail]struct{}{}, workers: map[*Identity]struct{}{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, h.Close())
		}
	}()
	for _, path := range o.ReadOnly {
		if err := checkReadOnly(path, h.dataDir); err != nil {
			return nil, err
		}
	}
	confined := !d.Traits().Unconfined
	if confined {
		if err := checkDataDir(h.dataDir); err != nil {
			return nil, err
		}
	}
	if h.spaces, err = namespaces(); err != nil {
		return nil, fmt.Errorf("jail: %w", err)
	}
	if h.groups, err = cgroup.Open(cgroup.Options{MoveSelf: o.MoveCgroup}); err != nil {
		return nil, fmt.Errorf("jail: %w", err)
	}
	h.starter = newStarter()
	if h.self, err = sealedSelf(); err != nil {
		return nil, fmt.Errorf("jail: copy of the program: %w", err)
	}
	if confined {
		if err := h.prepare(); err != nil {
			return nil, err
		}
	}
	if err := d.Open(ctx, &Site{
		Program: h.self, ReadOnly: o.ReadOnly, DataDir: h.dataDir, StateDir: o.StateDir, Log: h.log,
		starter: h.starter, groups: h.groups, users: h.uids != nil,
	}); err != nil {
		return nil, err
	}
	h.traits = d.Traits()
	if confined {
		if err := h.openNetworks(); err != nil {
			return nil, err
		}
		if err := h.probe(ctx); err != nil {
			return nil, err
		}
	}
	return h, nil
}
