package jail

import (
	"io"
	"log/slog"
	"net"
	"os"
	"time"
)

// Options configures a [Host]. The zero value is useful.
type Options struct {
	// Level is "auto" (also when empty), "bwrap", "native" or "none".
	Level string
	// Driver, unless nil, takes the place of Level: one from outside this package.
	Driver Driver
	// StateDir is a directory for Driver, empty and private to this program, which
	// the caller removes once the Host is closed.
	StateDir string
	// ReadOnly lists further absolute host paths that programs may read, seen
	// inside under the same path. Refused are the root, /proc, /sys, /dev, /run,
	// homes, anything above or below DataDir, and trees that hold sockets.
	ReadOnly []string
	// AllowDegraded names the limits ("cpu", "memory", "workspace",
	// "processes", "files") that a Policy may set although this host cannot
	// enforce them.
	AllowDegraded []string
	// Quota tells whether a workspace can be kept to so many bytes, which the
	// caller then does by [Policy.Volume]. Nil: it cannot.
	Quota func(bytes int64) error
	// MoveCgroup lets Open move the program into a control group of its own below
	// the one it is alone in, if that is what limits need; see
	// internal/cgroup.Options. Close moves it back.
	MoveCgroup bool
	// DataDir is where the program keeps its data; no ReadOnly path may touch
	// it, and what every jail sees must not hold it. Empty: nothing is checked
	// against it.
	DataDir string
	// Bwrap is the path of bwrap. Empty: it is looked up in PATH.
	Bwrap string
	// Logger is told about what is unusual. Nil: nobody is.
	Logger *slog.Logger
}

// The inside of a confined jail.
const (
	// Workspace is where a confined program sees its worker's directory. It is
	// its home and its working directory.
	Workspace = "/workspace"
	// ProxyAddr is where a jail with [Policy.Proxy] has it, on its own loopback.
	ProxyAddr = "127.0.0.1:3128"
	// UID and GID are the user and group that every confined program sees
	// itself as, whatever it is on the host.
	UID, GID = 1000, 1000

	// DefaultMemory in bytes, DefaultProcesses and DefaultFiles stand for a zero
	// [Limits] field.
	DefaultMemory                  = 2 << 30
	DefaultProcesses, DefaultFiles = 256, 1024
	// SharedProcesses and SharedMemory are what [Policy.Shared] multiplies by. A
	// session more of a shared program means processes of its own, but less memory
	// than those of a worker alone.
	SharedProcesses, SharedMemory = 16, 4
	// DefaultTmpSize and DefaultShmSize, in bytes, stand for a zero [Policy] field.
	DefaultTmpSize, DefaultShmSize = 256 << 20, 64 << 20
)

// WaitDelay is how long [Process.Wait] still reads the output of a program that
// has ended. A program's output ends when every process that holds its pipe has
// closed it, and a background process that the program left behind may hold it
// forever; what such a process writes after WaitDelay is lost.
const WaitDelay = 250 * time.Millisecond

// Limits bounds what a worker may use. For each: 0 is the default, enforced as
// well as this host can; -1 is none; anything else is required, and [Host.Check]
// refuses what cannot be enforced.
//
// CPU, Memory and Processes are totals over all jails of one [Identity], kept by
// control groups. When its jails have different ones, each jail has its own, and
// the loosest is that of all of them together.
type Limits struct {
	CPU    float64 // processors; default none
	Memory int64   // bytes of all its processes, their files in /tmp and /dev/shm included; default [DefaultMemory]
	// Workspace is in bytes in its directory, kept by [Policy.Volume]. There is no
	// default: most hosts have no means that costs nothing.
	Workspace int64
	Output    int64 // bytes of a result; not this package's to enforce
	// Processes and threads at once; default [DefaultProcesses]. One confined
	// jail is held to it by a resource limit as well, which is all that is left
	// where this host has no control groups.
	Processes int
	Files     int // descriptors of one process; default [DefaultFiles]
}

// Policy is what the programs of one jail may reach and use.
type Policy struct {
	// Identity is the host user that programs run as, from [Host.Identity].
	Identity *Identity
	// Workspace is the worker's directory on the host. It must exist and belong
	// to the identity; directories above it may be closed to the identity.
	Workspace string
	// Volume, unless nil, says that Workspace is the directory [volume.Dir] of a
	// file system of its own, and makes a mount of it that belongs to no namespace
	// and is the jail's to close.
	Volume func() (*os.File, error)
	Limits Limits
	// Proxy serves the only way out of the jail: what its programs connect to at
	// [ProxyAddr], named by HTTP_PROXY and its kin in their clean environment. It
	// runs in a goroutine of the network's; the last of the jails that share it
	// closes ln when it ends and then waits for Proxy to return. What the first of
	// them brought serves them all, so it must mean the same for each. Nil: there
	// is no network inside but a loopback. Level none, which cannot keep programs to
	// it, refuses it.
	Proxy func(ln net.Listener)
	// PrivateNet keeps the jail out of the network namespace that the jails of one
	// identity share: it, with its jails of single programs, has one of its own.
	// It is for a Proxy that lets less pass than that of the others.
	PrivateNet bool
	// TmpSize and ShmSize are the sizes of /tmp and /dev/shm in bytes. 0:
	// [DefaultTmpSize], [DefaultShmSize], but half and a quarter of the memory
	// limit at most, for it bounds them as well.
	TmpSize, ShmSize int64
	// Ptrace lets programs trace others of the same jail, as debuggers do. Level
	// none forbids it never.
	Ptrace bool

	// Shared says that the programs serve several workers, as a browser with a
	// context for each does: they may have [SharedProcesses] times the processes
	// and [SharedMemory] times the memory and processor time that Limits and its
	// defaults give to one.
	Shared bool

	// probing leaves a confined jail without the filter of system calls until it
	// is probed, and without programs.
	probing bool
	// within is the network to begin in, of the jail that this one is made for.
	within *network
}

// Cmd is a program to start with [Jail.Start].
type Cmd struct {
	// Path is the program: a path inside, relative to Dir unless absolute, or a
	// name without a slash, which is looked up in the PATH that Env gives, else
	// in the jail's.
	Path string
	// Args are its arguments, without its name.
	Args []string
	// Dir is its working directory inside, relative to the workspace. Empty:
	// the workspace.
	Dir string
	// Env is added to the clean environment (PATH, LANG, TERM, HOME, USER);
	// later entries win. It exists only inside.
	Env []string
	// Stdin is what it reads. Nil: nothing. An *os.File is passed as it is;
	// anything else is copied through a pipe by a goroutine, which keeps
	// reading until Stdin returns or the program's end makes a write fail.
	Stdin io.Reader
	// Stdout and Stderr get what it writes. Nil: it is discarded. An *os.File is
	// passed as it is; anything else is written by one goroutine at a time, also
	// when both are the same writer.
	Stdout, Stderr io.Writer
	// Files are its descriptors 3, 4, … and nothing else is passed. The caller
	// keeps and closes its own; a nil entry leaves a gap.
	Files []*os.File
	// TTY is the slave side of a pty of its own, its standard streams and
	// controlling terminal; then Stdin, Stdout and Stderr must be nil. The
	// device is given to the jail's user, so that programs can open it again.
	TTY *os.File
	// Mounts makes further host paths visible, to this program only: it then
	// runs in a jail of its own with the same workspace and network, sharing
	// neither processes nor /tmp with the others.
	Mounts []Mount
	// NestedUserNS lets the program make user namespaces, as Chromium's own
	// sandbox needs. It then runs in a jail of its own, as with Mounts.
	NestedUserNS bool
}

// Mount makes a host path visible to one program.
type Mount struct {
	Host     string // absolute path of a file or directory
	Inside   string // absolute; not in the way of anything that a jail has of its own
	Writable bool
}
