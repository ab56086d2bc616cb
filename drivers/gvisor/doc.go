// Package gvisor confines what workers run in gVisor, a kernel in user space:
//
//	sb, err := sandbox.New(sandbox.Options{
//		Registry: &reg,
//		Drivers:  map[string]sandbox.Driver{"gvisor": gvisor.Driver(gvisor.Config{})},
//		Confine:  sandbox.Confinement{Level: "gvisor"},
//	})
//
// A session is one sandbox of runsc, which runs this very program as its first
// process. Programs' system calls are answered by gVisor and not by the host's
// kernel: what must hold is gVisor, a far smaller surface than Linux. It costs
// time: a session starts in several times that of level bwrap, and what makes many
// system calls runs several times slower.
//
// # What is as elsewhere
//
// The view of files, the workspace, users, the filter of system calls (within
// gVisor), totals of memory, processor time and processes by the worker's control
// groups, descriptors of each process, terminals, the end of everything with this
// program.
//
// # What is not there
//
// No network at all: an allow list is refused, as a socket that is made inside
// cannot be passed out. No Cmd.Mounts and no Cmd.NestedUserNS. A worker that
// exceeds its memory or its processes loses the session, for what the kernel then
// ends is gVisor itself. Inside, users are the host's numbers, named "agent".
//
// # Terminals
//
// A program gets a terminal of gVisor's own, and its first process copies between
// it and the caller's (see sandbox.Process.Relayed). What was written before a
// report on a pipe arrives before it. In runsc of 2022, which Debian 12 has, ls -l
// and stat fail (it refuses a flag of theirs), /dev/tty cannot be opened, an
// end-of-file character that is typed does nothing, and a command that runs into
// its time-out is killed with its shell.
//
// # What it needs
//
// runsc and root.
package gvisor
