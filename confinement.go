package sandbox

import (
	"context"
	"net/netip"
)

// Confinement says what the processes started for a worker may reach. The
// zero value is the strictest useful policy: the best driver of the host, no
// network, default limits.
type Confinement struct {
	// Level names the driver: "bwrap" (bubblewrap 0.8 or newer makes the jails),
	// "native" (this program does, with Linux 5.12 or newer and nothing to
	// install), "auto" or "" (bwrap where it works, else native where that works,
	// else an error with both remedies), "none" (no confinement at all; must be
	// asked for by name and is logged), or the name of an entry of Options.Drivers.
	Level  string
	Egress Egress
	Limits Limits
	// ReadOnly lists further directories and files of the host that programs may read,
	// such as "/opt/conda": absolute paths without links or dots, seen inside as they
	// are. It is the sandbox's to set; sessions have the same. What jails must never
	// see is ErrInvalidInput once the first program starts, or by [Sandbox.Probe]: the
	// root, /proc, /sys, /dev, /run, /tmp, /boot, /var/spool, /var/tmp and /etc/ssh,
	// what is above or below those or DataDir, homes, and trees that hold sockets or
	// FIFOs, which answer there too, or where /proc or the like is mounted; and what
	// programs have anyway, such as /usr. It is looked at once, at the start. What
	// everybody may read there programs may read: see that it holds no secrets.
	ReadOnly []string
	// AllowDegraded names limits that are set in Limits and may go unenforced
	// on a host that cannot enforce them: "cpu", "memory", "workspace",
	// "processes", "files". Without it such a limit is ErrCannotEnforce.
	AllowDegraded []string
}

// Egress says which hosts a worker's processes may connect to. The only way out
// of a jail is a proxy in this program, for HTTP and for TCP through CONNECT or
// SOCKS5, which the programs' environment names (HTTP_PROXY and its kin).
// Programs that know of no proxy have no network.
type Egress struct {
	// Allow lists what may be reached; empty: nothing. In a session's confinement
	// nil is the sandbox's list, and []string{} nothing. A pattern is
	//
	//	example.com, example.com:443, example.com:80,443   a name, its ports
	//	*.example.com                the names below it, not itself
	//	192.0.2.7, [2001:db8::7]:80  a literal address
	//	10.0.0.0/8:5432              the literal addresses of a range
	//	db.example.com=10.0.0.0/8    a name that may resolve into the range
	//	*                            everything public
	//
	// Addresses that are not public (private, loopback, link-local and the like)
	// stay locked behind a listed name that does not unlock them with "=". A
	// literal or range unlocks itself where it lies wholly within such a block; the
	// metadata services' addresses and this machine's own must be listed one by one.
	// What is in no such form is ErrInvalidInput.
	Allow []string
	// Check is asked last, for each connection, once the address is resolved and
	// permitted; nil: yes. An error, or a panic, denies. It is called from any
	// number of goroutines at once and must return when ctx ends, as it does with
	// the session.
	Check func(context.Context, Dial) error
}

// Dial is a connection that a worker's process asks for.
type Dial struct {
	Worker string         // "" for a backend's warmup
	Host   string         // as asked for: a name, or a literal address
	Addr   netip.AddrPort // what it resolved to
}

// Limits bounds what a worker may use. For each: 0 means the default, best
// effort; -1 means no limit; any other value is required, and a host that
// cannot enforce it refuses with [ErrCannotEnforce].
//
// A limit of Workspace gives each worker a file system of its own, of that size
// with its own tables, in an image below DataDir: it needs root, loop devices and
// mkfs.ext4. It is the sandbox's to set; sessions cannot narrow it.
type Limits struct {
	CPU       float64 // processors, all processes of the worker together; default none
	Memory    int64   // bytes, all processes of the worker together; at least 16 MiB; default 2 GiB
	Workspace int64   // bytes in the worker's directory; default none; see below
	Output    int64   // bytes of output that a result carries
	Processes int     // and threads, all of the worker at once; default 256
	Files     int     // descriptors a process; default 1024
}
