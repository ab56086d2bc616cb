// Package cgroup bounds the memory, the processor time and the number of
// processes of groups of processes, with whatever control groups this program
// may use: version 2 with delegated controllers, version 1, or both at once, as
// on hosts whose controllers sit in hierarchies of version 1 beside an empty one
// of version 2.
//
// # What it may use
//
// [Open] finds that out by doing it: below the control group that this program
// runs in it makes a directory of its own, and in there a group with limits,
// which it removes again. What does not work is a reason of [Root.Supports], not
// an error: a program without any right over control groups opens fine and can
// limit nothing.
//
// # Directories
//
// A program's own directory is named agentflow-sandbox-PID-NAMESPACE-NUMBER and
// locked (flock) for as long as it is used. Open removes those that no program
// has locked any more, after killing what still runs in them, and touches no
// other. A lock is seen only by programs in the same cgroup namespace, which is
// why the namespace is in the name and others' directories are left alone.
//
// # Putting processes in
//
// Moving another process costs 7 to 16 ms on version 1, for the kernel waits
// until all processors have noticed. A thread that moves itself does not wait
// (0.1 ms there and back), and what it starts meanwhile begins life in the group.
// [Group.Start] does that; on version 2 the kernel itself starts a process in a
// group. Processor time is the exception on version 1: a thread that starts
// processes for everybody must not run, even shortly, under the quota of a group
// that may have used it up, so there the process is moved once it exists.
package cgroup

import (
	"errors"
	"time"
)

// Controller is a kind of limit.
type Controller string

// The controllers, by the kernel's names.
const (
	Memory Controller = "memory"
	CPU    Controller = "cpu"
	Pids   Controller = "pids"
)

// controllers lists them.
var controllers = [...]Controller{Memory, CPU, Pids}

// ErrUnsupported is wrapped by the errors of limits that cannot be set here.
var ErrUnsupported = errors.New("cgroup: not supported here")

// Limits bounds a group and all groups below it. Zero: no limit.
type Limits struct {
	Memory int64   // bytes, of what its processes and their files in memory take; no swap beyond it
	CPU    float64 // processors, at least 0.01
	Pids   int     // processes and threads at once
}

// Usage is what a group uses; -1 where the host does not tell.
type Usage struct {
	Memory     int64         // bytes
	MemoryPeak int64         // bytes, the most so far
	Pids       int64         // processes and threads
	CPU        time.Duration // so far
	Throttled  int64         // periods so far in which it was held back for its CPU limit
}

// Options configures [Open].
type Options struct {
	// MoveSelf lets Open move this program into a group of its own below the
	// one it runs in, where version 2 demands it: a group whose members are to
	// be limited apart must have no processes itself. [Root.Close] moves it back.
	MoveSelf bool
}
