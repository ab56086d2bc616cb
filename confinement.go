package sandbox

import (
	"context"
	"net/netip"
)

// Confinement says what the processes started for a worker may reach. The
// zero value is the strictest useful policy: the best driver of the host, no
// network, default limits.
type Confinement struct {
	// Level names the driver: "auto" or "" (bwrap, else an error with the
	// remedy), "bwrap", or "none" (no confinement at all; must be asked for by
	// name and is logged).
	Level  string
	Egress Egress
	Limits Limits
	// AllowDegraded names limits that are set in Limits and may go unenforced
	// on a host that cannot enforce them: "cpu", "memory", "workspace",
	// "processes", "files". Without it such a limit is ErrCannotEnforce.
	AllowDegraded []string
}

// Egress says which hosts a worker's processes may connect to.
type Egress struct {
	Allow []string                          // host[:port] patterns; empty: no network
	Check func(context.Context, Dial) error // asked last; nil: yes
}

// Dial is a connection that a worker's process asks for.
type Dial struct {
	Worker, Host string
	Addr         netip.AddrPort
}

// Limits bounds what a worker may use. For each: 0 means the default, best
// effort; -1 means no limit; any other value is required, and a host that
// cannot enforce it refuses with [ErrCannotEnforce].
type Limits struct {
	CPU       float64 // processors, all processes of the worker together; default none
	Memory    int64   // bytes, all processes of the worker together; default 2 GiB
	Workspace int64   // bytes in the worker's directory
	Output    int64   // bytes of output that a result carries
	Processes int     // and threads, all of the worker at once; default 256
	Files     int     // descriptors a process; default 1024
}
