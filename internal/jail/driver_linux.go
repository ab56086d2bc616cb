package jail

import (
	"cmp"
	"context"
	"log/slog"
	"os"
	"syscall"

	"github.com/agentflow-go/sandbox/internal/cgroup"
	"golang.org/x/sys/unix"
)

// Driver starts the first processes of jails in one way: with bwrap, with the
// program's own means, in containers. All else is the [Host]'s: the socket and
// what is said over it, the checks from inside, the filter of system calls,
// programs, limits, the probe, the end.
//
// A Driver belongs to one Host, which calls Open once, before anything else but
// Name and Traits, and Close once, after the last jail, also if Open failed.
// Launch is called concurrently.
type Driver interface {
	// Name is the level, as users write it.
	Name() string
	// Open prepares what all jails share. An [UnavailableError] says that the
	// driver cannot work here and what to do. What makes a jail in earnest shows
	// in the probe, which follows.
	Open(ctx context.Context, s *Site) error
	// Traits tell what its jails are like; they do not change once Open returned.
	Traits() Traits
	// Launch starts the first process of a jail. It does not wait for the
	// handshake. After an error nothing is left.
	Launch(ctx context.Context, s *Spec) (*First, error)
	Close() error
}

// Traits are what a first process is told to expect, and what the host does
// without. The zero value is the strictest; each field is a relaxation that the
// driver makes up for and its documentation explains. They are the host's word
// over the socket: nothing inside can change them.
type Traits struct {
	// Unconfined jails are none; level none only.
	Unconfined bool
	// HostUser tells that programs see themselves as the identity's user and
	// group, instead of as [UID] and [GID].
	HostUser bool
	// Shared lists the namespaces ("user", "cgroup") that jails share with the
	// host; the driver keeps the two apart in another way. The others must differ.
	Shared []string
	// OtherKernel tells that jails run on a kernel that is not the host's (gVisor,
	// a virtual machine): its namespaces cannot be compared with the host's, and no
	// descriptor of the host's is passed for Landlock.
	OtherKernel bool
	// NoPidfd tells that the first process cannot send a descriptor of itself, or
	// that the host program may not signal by it. Then [Boss] alone ends jails.
	NoPidfd bool
	// NoProxy, unless empty, is why a jail cannot have [Policy.Proxy].
	NoProxy string
	// JoinsNet tells that jails begin in the network namespace of their Spec, where
	// it has one. Else each has one of its own, in which nothing but a first process
	// can listen.
	JoinsNet bool
	// Volumes tells that a jail can have [Policy.Volume].
	Volumes bool
	// NoBounds tells that the driver cannot bound the number of files in /tmp and
	// /dev/shm, nor that of terminals, nor make the settings in /proc read-only; the
	// host does it, where it may, before any program starts.
	NoBounds bool
	// NoMounts and NoNestedUserNS, unless empty, are why a program cannot have
	// [Cmd.Mounts] and [Cmd.NestedUserNS].
	NoMounts, NoNestedUserNS string
	// Tasks is how many processes and threads a jail needs for itself, on top of those
	// of its programs. 0: [JailTasks].
	Tasks int
	// OwnFiles tells that jails have a system of files of their own instead of the
	// host's (an image), so that there may be a /root in it.
	OwnFiles bool
	// Limits tells what the driver itself can enforce of a [Spec]'s limits, for each
	// jail by itself. Nil: the host has control groups of its own for that, which a
	// jail begins its life in, or that it is put into with [Spec.Join].
	Limits func(cgroup.Controller) error
}

// Site is what drivers get of the host program. It outlives them.
type Site struct {
	// Program is a sealed copy of this program, to be the first process: mode 0111,
	// its offset nobody's. What executes it must not be able to read or to write
	// it, nor the file that it may be copied to (see [Driver]).
	Program  *os.File
	ReadOnly []string // Options.ReadOnly, checked
	DataDir  string   // absolute, or ""
	// StateDir is a directory of the driver's own, private to this program, which
	// goes with the Host, and with its lease if the program dies; "" for the
	// drivers of this package.
	StateDir string
	Log      *slog.Logger

	starter *starter
	groups  *cgroup.Root
	users   bool // workers have users of their own
}

// Spec says what a jail is to be like inside.
type Spec struct {
	Identity         *Identity // the host user that programs run as
	Limits           Limits    // as in the policy
	TmpSize, ShmSize int64     // bytes
	NestedUserNS     bool
	Binds            []Bind // the workspace first

	group   *memberGroup // nil: none
	network *network     // nil: the jail makes its own
}

// Bind is a host path that a jail sees, by descriptor: what was checked is what
// must be bound, whatever happens to the path.
type Bind struct {
	File     *os.File // O_PATH, the host's; Name is the path that it was opened by
	Inside   string
	Writable bool
	// Volume tells that File is a mount of no namespace, to be attached as it is,
	// and that its directory [volume.Dir] is to be bound. For a driver with the
	// trait Volumes only.
	Volume bool
}

// First is a first process that was launched.
type First struct {
	// Conn is the host's end of the stream of local sockets to it, non-blocking.
	Conn *os.File
	Boss Boss
	// Explain makes an error of a handshake that failed, after Boss was abandoned.
	Explain func(cause error) error
	// Settled, unless nil, is called once the handshake is over, however it ended.
	Settled func()
}

// Boss is the driver's hold on what it launched.
type Boss interface {
	// Pid is the process on the host that was started for the jail.
	Pid() int
	// Abandon ends what did not become a jail, and waits for it.
	Abandon()
	// Kill makes the jail end with all in it. It does not wait and may be called
	// at any time, also after the end.
	Kill()
	// Wait waits for the end, after which nothing of the jail runs any more. It is
	// called once, after Kill or when the socket ended, and not after Abandon.
	Wait() error
}

// start starts a process for spec on the thread that starts all jails, in the
// control group and the network namespace of spec; see [starter.start] for finish.
func (s *Site) start(spec *Spec, name string, argv []string, attr *os.ProcAttr) (p *os.Process, finish func() error, err error) {
	return s.starter.start(spec.group, spec.network, name, argv, attr)
}

// Start starts a process for spec as a child of this program: as its parent's user,
// in the control group of spec's worker, and dead with this program.
func (s *Site) Start(spec *Spec, name string, argv []string, attr *os.ProcAttr) (*os.Process, error) {
	attr.Sys = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setsid: true}
	p, finish, err := s.start(spec, name, argv, attr)
	if err == nil && finish != nil {
		if err = finish(); err != nil {
			(&childBoss{p}).Abandon()
			return nil, err
		}
	}
	return p, err
}

// Joins tells whether [Spec.Join] can be used: this program has control groups, and
// a process loses nothing by being moved into one. On version 2 it would lose the
// rules for devices that a container engine tied to the group that it made.
func (s *Site) Joins() bool { return s.groups.Any() && !s.groups.Unified() }

// Join moves a process that is not this program's child, and what it starts from
// then on, into the control group of the worker. It must not have started
// anything yet. Without control groups it does nothing.
func (s *Spec) Join(pid int) error {
	if s.group == nil {
		return nil
	}
	return s.group.group.Add(pid)
}

// Effective are the limits of the spec with defaults filled in: 0 is none.
func (s *Spec) Effective() cgroup.Limits {
	return cgroup.Limits{
		Memory: max(0, cmp.Or(s.Limits.Memory, DefaultMemory)),
		CPU:    max(0, s.Limits.CPU),
		Pids:   int(max(0, limitValue(s.Limits.Processes, DefaultProcesses))),
	}
}

// Socket makes a pair of connected sockets: the host's end, and the one that a
// first process inherits as descriptor 3. The caller closes both.
func Socket() (ours, theirs *os.File, err error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	if err := unix.SetNonblock(pair[0], true); err != nil {
		closeAll(pair[:])
		return nil, nil, os.NewSyscallError("fcntl", err)
	}
	return os.NewFile(uintptr(pair[0]), "jail"), os.NewFile(uintptr(pair[1]), "jail"), nil
}

// spaces are the host's namespaces as a first process is told of them.
func (t *Traits) spaces(own []string) []string {
	out := make([]string, len(own))
	for i, ns := range own {
		out[i] = ns
		for _, shared := range t.Shared {
			if nsNames[i] == shared {
				out[i] = anyNamespace
			}
		}
	}
	return out
}

// MaxFiles is how many files a file system in memory of that many bytes is to have
// at most.
func MaxFiles(size int64) int64 { return maxFiles(size) }
