// Package jail starts the programs of a worker where they can reach nothing but
// that worker's own directory: no file, process, network or privilege of the
// host.
//
// # Words
//
// A [Host] is the program's hold on confinement: the driver that was picked and
// probed, the thread that starts everything, the copy of the program that jails
// execute. A [Policy] says what one worker may reach and use. A [Jail] is one
// session's set of namespaces; all programs started in it see each other, share
// /tmp, and die with it. A [Process] is one program in a jail.
//
// # The first process
//
// Process 1 of a jail is not the command, nor a program that bwrap brings: it is
// this program itself, executed again from a sealed copy in memory, and turned
// by this package's init function into a small resident server. Over an
// inherited socket pair it receives the programs to start, with their
// descriptors, starts them, reaps everything, reports exits, delivers signals and
// kills trees. It has no environment, no privilege and no descriptor of the host
// but that socket; it cannot be traced, and its executable, environment, memory
// map and descriptors cannot be read by what it starts. When the socket ends,
// because the host program closed it or died, the jail ends.
//
// Because of that init function, a program that links this package must be able
// to be executed again: nothing that runs before main may depend on the
// environment or arguments, or print.
//
// # Levels
//
// "bwrap" builds the jail with bubblewrap 0.8 or newer. "native" builds the same one
// with system calls that a child of a broker makes, which is this program as well,
// before it becomes the first process (see script), on Linux 5.12 or newer. "none" confines nothing:
// programs run as the host program's user and see its files; only the clean
// environment, the reaping and killing of trees, and the limits of control groups
// are the same. "auto" is bwrap where its probe passes, else native where its probe
// passes, else an error with both reasons and remedies. Nothing ever falls back to
// "none".
//
// # Drivers
//
// What starts a first process is a [Driver]: bwrap's and none's are here, others
// may be handed to [Open]. All else is the same under each: the handshake, the
// checks from inside, the filter, the programs, the probe. What a driver's jails
// lack of that is said by its [Traits], on the host's side only.
//
// # System calls
//
// The first process of a confined jail, and so every program in it, runs under
// the filter of internal/seccomp, put there before the first program starts and
// looked at from inside: no program runs where it cannot be installed. It is a
// second line. The probe tries what a jail must forbid twice, once without the
// filter, so that it never hides that the first line is broken, and once with it.
// [Cmd.NestedUserNS] leaves a program what Chromium's own sandbox needs, and
// [Policy.Ptrace] what debuggers need. Under level none there is no filter.
//
// # Network
//
// The jails of one [Identity] share a network namespace with nothing but a
// loopback: what listens on it in one is reached from the others, and from nowhere
// else. The host program makes it when the first of them does, in a short-lived
// child, and keeps it by descriptors alone; it is gone with the last of them, or
// with the host program. As root it belongs to the host's user namespace, so that
// no jail has a right over it; else to a user namespace of its own, in which the
// host program's user alone exists and in which the jails are made. The first
// process checks that it is where it should be. Where this program may not make
// user namespaces though bwrap may (an AppArmor profile), and with drivers that
// cannot join, each jail has a network namespace of its own ([Host.Degraded]).
//
// [Policy.Proxy] adds one way out: a listener at [ProxyAddr] in there, made before
// any program starts, whose connections the host program accepts. What may pass is
// for the proxy to decide. Whatever is on the loopback can use it; a jail that is to
// have less of a network than its worker's others has [Policy.PrivateNet].
// [Jail.Listen] makes further listeners. The filter and Landlock know nothing of
// all this.
//
// # Landlock
//
// Where the kernel has Landlock (5.19 or newer), programs write to the workspace,
// /tmp, /dev/shm, writable mounts, and to what devices and /proc let them, and
// nowhere else, even if a mount were writable by mistake. A descriptor of a host's
// file or directory that was passed for reading cannot be opened again for
// writing; for the same reason a regular file of the host's that was passed as
// output can be written to, but not opened again as /dev/stdout. Where the kernel
// has no Landlock nothing else changes.
//
// # Limits
//
// Memory, processor time and the number of processes are bounded for all jails of
// an [Identity] together, by control groups, where this program may make some
// (internal/cgroup says where). Each worker has one while it has jails, and below
// it one for each set of limits; processes begin life in there. When memory runs
// out the kernel kills the largest process, and [ExitError] says so. What is in a
// group when its last jail closes is killed, daemons that left their jail under
// level none included. A jail's own first process is not counted among its
// worker's processes, but its memory (a few MiB) is.
//
// # What is not confined yet
//
// The size of a worker's directory is limited only if it is a file system of its
// own ([Policy.Volume]). /proc/self/mountinfo shows where on its file system the
// workspace lies.
//
// When the host program is killed in the fraction of a millisecond in which a
// bwrap has made its child but not yet told it to go on, that child stays, as an
// idle process that runs nothing of anybody. As root it is killed before its
// user is used again.
package jail
