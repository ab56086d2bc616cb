//go:build !linux

package cgroup

import (
	"context"
	"fmt"
	"os"
	"runtime"
)

// Root is this program's place in the control groups, which only Linux has.
type Root struct{}

// Open returns a Root that supports nothing.
func Open(Options) (*Root, error) { return &Root{}, nil }

// Supports says that this is not Linux.
func (r *Root) Supports(Controller) error {
	return fmt.Errorf("%w: control groups need Linux, this is %s", ErrUnsupported, runtime.GOOS)
}

// Any returns false.
func (r *Root) Any() bool { return false }

// Unified returns false.
func (r *Root) Unified() bool { return false }

// New returns [ErrUnsupported].
func (r *Root) New(string, Limits) (*Group, error) { return nil, ErrUnsupported }

// Close does nothing.
func (r *Root) Close() error { return nil }

// Group is a set of processes with common limits; none can be made here.
type Group struct{}

// New returns [ErrUnsupported].
func (g *Group) New(string, Limits) (*Group, error) { return nil, ErrUnsupported }

// Set returns [ErrUnsupported].
func (g *Group) Set(Limits) error { return ErrUnsupported }

// Add returns [ErrUnsupported].
func (g *Group) Add(int) error { return ErrUnsupported }

// Start returns [ErrUnsupported].
func (g *Group) Start(*os.ProcAttr, func() (*os.Process, error)) (*os.Process, func() error, error) {
	return nil, nil, ErrUnsupported
}

// OffLeader runs f.
func OffLeader(f func()) { f() }

// Kill does nothing.
func (g *Group) Kill(context.Context) error { return nil }

// Remove does nothing.
func (g *Group) Remove(context.Context) error { return nil }

// OOMKills returns -1.
func (g *Group) OOMKills() int64 { return -1 }

// Usage tells nothing.
func (g *Group) Usage() Usage {
	return Usage{Memory: -1, MemoryPeak: -1, Pids: -1, CPU: -1, Throttled: -1}
}
