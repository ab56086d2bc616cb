package sandboxtest

import (
	"slices"

	"github.com/agentflow-go/sandbox"
)

// Escape is one attempt to get out. The values of [Escapes] are to be read, and
// to be chosen from.
type Escape struct {
	Name  string // theme/what, unique
	Tries string // what it attempts, to follow "it tries to"
	Seen  string // how success would be seen
	Known string // why this version does not stop it under any policy; "": it should

	code   string         // the Python program, after the prelude
	alone  bool           // in a worker of its own
	nested bool           // by a program that may make user namespaces
	egress bool           // under the suite's allow list instead of the policy's
	worker string         // part of that worker's id
	limits sandbox.Limits // of that worker, where tighter than the policy's
	needs  []need
	// after looks from outside, once the program has ended, and in a worker of
	// its own once that is closed. It returns what it found of an escape.
	after func(w *world, tried *attempt) string
}

// need is something that only some cases have made for them.
type need string

const (
	needVictim  need = "victim"   // a process of the suite's
	needSetuid  need = "setuid"   // a set-user-id root program in the workspace
	needRoot    need = "root"     // the suite runs as root
	needMounts  need = "mounts"   // a directory of the suite's at /mnt/given, to read
	needMemory  need = "memory"   // a limit of memory that is enforced
	needHostEnv need = "host-env" // something in the suite's environment to be told by
)

// Outcome is how an attempt ended.
type Outcome string

// The outcomes.
const (
	Stopped Outcome = "stopped" // something stopped it
	Escaped Outcome = "escaped" // it got what it wanted
	Skipped Outcome = "skipped" // it could not be tried here
	Broken  Outcome = "broken"  // it ended without saying which: the case or the jail is at fault
)

// Result is what came of one attempt.
type Result struct {
	Escape  Escape
	Outcome Outcome
	Detail  string // what stopped it, what it got, or why it was not tried
}

// Escapes returns all cases, by theme. The slice is the caller's.
func Escapes() []Escape {
	all := slices.Concat(fileEscapes(), procEscapes(), processEscapes(), networkEscapes(), egressEscapes(), nestedEscapes(),
		kernelEscapes(), privilegeEscapes(), deviceEscapes(), resourceEscapes(), lifetimeEscapes(), workerEscapes())
	for i, e := range all {
		switch e.Name {
		case "files/mount-paths":
			all[i].Known = "the kernel tells in mountinfo what a bind mount shows; it is a path, not a way there"
		case "resources/netlink-buffers":
			all[i].Known = "the kernel counts them in no control group; a descriptor has up to net.core.rmem_default bytes (208 KiB) of them, " +
				"so that the limits of descriptors and processes together bound them"
		case "lifetime/slow-first":
			all[i].Known = "the first process has the user of what it starts, and setpriority(2) and sched_setscheduler(2) ask for no more; " +
				"the jail that is slowed is its own"
		}
	}
	return all
}
