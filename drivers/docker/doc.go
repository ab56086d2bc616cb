// Package docker confines what workers run in containers of a Docker engine on
// this machine:
//
//	sb, err := sandbox.New(sandbox.Options{
//		Registry: &reg,
//		Drivers:  map[string]sandbox.Driver{"docker": docker.Driver(docker.Config{})},
//		Confine:  sandbox.Confinement{Level: "docker"},
//	})
//
// A session is one container, which runs this very program as its first process;
// everything else (programs, terminals, limits, the network by allow list, the end
// of everything when this program ends) is as under the other levels. It is for
// hosts that forbid user namespaces to programs but have an engine, for a runtime
// of the engine's own (Config.Runtime), and for an image of one's own
// (Config.Image). It is not faster or safer than level bwrap: the kernel is the
// same, and who may talk to the engine is root on this machine.
//
// # The container
//
// No network but a loopback, no capabilities, no_new_privs, the engine's filter of
// system calls and below it this module's, its own namespaces of processes, mounts,
// IPC, host name, network and control groups, a read-only root, sized /tmp and
// /dev/shm, /sys hidden, and the worker's user of the host. It shares the host's
// user namespace: inside, users are the host's numbers (their names are "agent").
//
// Without an image of its own it sees the host's /usr, read-only, and what level
// bwrap sees of /etc. The empty image below that is made on first use, and stays.
//
// # What it needs
//
// An engine of API 1.41 (Docker 20.10) or newer, on this machine, as root or with
// the right to use its socket, that does not map users (no userns-remap, not
// rootless), and sees the same files and processes as this program.
package docker
