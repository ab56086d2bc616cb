// Package workspace is a backend that lets an agent take snapshots of its
// workspace, compare it with them, and go back to them.
//
// A snapshot is a copy, out of reach of the worker's processes; what it has and
// lacks is told at [sandbox.Snapshots]. It belongs to the worker, not to a
// session: every session sees the same ones, so calls need none that was created.
// Restoring one waits for calls that read the workspace's snapshots, and they for
// it; programs of the worker run on.
//
// Forks, which make another worker, are not an agent's to make: see
// [sandbox.Sandbox.ForkWorkspace].
package workspace
