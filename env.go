package sandbox

import (
	"context"
	"encoding/json"

	"github.com/agentflow-go/sandbox/internal/wire"
)

// Env is what a session, or a backend's warmup, gets from its sandbox. It is a
// value that may be kept for the life of the session and used concurrently. The
// zero value, with or without Config, is for tests: it starts nothing.
type Env struct {
	Worker, SessionID, Backend string          // Worker and SessionID are empty in Warmup and in a pooled Open
	Config                     json.RawMessage // the merged configuration, a JSON object

	owner *owner
}

// Decode stores the configuration in the struct that v points to. Keys that
// the struct does not know are refused, with their name.
func (e Env) Decode(v any) error {
	if err := wire.DecodeStrict(e.Config, v); err != nil {
		return Errorf(ErrInvalidInput, "config of %s: %w", e.Backend, err)
	}
	return nil
}

// Limits returns the limits of the session's policy. Those that bound results
// (Output) are for the backend to keep, the others are the jail's.
func (e Env) Limits() Limits {
	if e.owner == nil {
		return Limits{}
	}
	return e.owner.policyOf().Limits
}

// Workspace returns the worker's directory on the host, made on first use (a
// session that owns no files costs no directory). In Warmup there is none. Under
// [Limits].Workspace the path leads through /proc: open what is below it, but do
// not resolve it to another path. A hostile process may be at work inside: read
// and write through [Env.Files].
func (e Env) Workspace() (string, error) { return e.owner.workspace() }

// Files returns safe access to what is in the workspace, which is made on first
// use. In Warmup there is none. Keep it no longer than the session; after the
// worker is closed its methods fail with [ErrSessionLost].
func (e Env) Files() (*Files, error) { return e.owner.access() }

// Home returns the workspace as the worker's processes see it: /workspace, or
// under level none the host directory.
func (e Env) Home(ctx context.Context) (string, error) { return e.owner.home(ctx) }

// StateDir returns a directory of the session's (in Warmup: the backend's)
// own, outside the workspace and out of reach of the worker's processes, made
// on first use and removed with the session (in Warmup: by Shutdown).
func (e Env) StateDir() (string, error) { return e.owner.stateDir() }

// Start starts a program in the session's jail: everything that runs for a
// worker starts here. Programs of one session see each other's processes and
// share /tmp; all sessions of one worker share the workspace and the loopback, so
// that a server started in one is reached from the others. A session whose
// Egress lets less out than the sandbox's has a loopback of its own. What still
// runs when the session ends is killed.
//
// ctx bounds the start only. In Warmup the jail belongs to the backend, and
// its home directory is a private one; since its programs serve several workers
// they may have 16 times the processes, and 4 times the memory and processor
// time, of a worker.
func (e Env) Start(ctx context.Context, c Cmd) (*Process, error) { return e.owner.start(ctx, c) }

// Proxy serves the network policy of worker, the Env of a session, to the
// programs started through e, the Env of a Warmup: it is how one process that
// serves many workers keeps to the policy of each. addr is "127.0.0.1:PORT" as
// those programs see it, those with NestedUserNS or Mounts included. What the
// proxy refuses is the worker's denial, and where the worker may reach nothing it
// refuses everything, naming the rule; in Go it tells opts what it permits and does not
// reach. It ends with stop, which waits for its
// connections and may be called more than once, with the worker's session, or
// with e. ctx bounds the making only.
//
// Through it localhost and literal addresses of loopback, unless they are in the list
// as the host's, are the worker's own: what one of its sessions serves there, and
// nothing else, needs no listing. That is so for whatever worker may reach, but not
// for a session whose own Egress lets less out than the sandbox's.
//
// Whatever connects to addr is taken for the worker, so a program of e's must let
// nobody choose which proxy is used: a browser needs a context for each worker
// with loopback excepted from no proxy ("<-loopback>"). Through a proxy nobody
// reaches another, since this program connects, outside. Call stop when nothing
// uses addr any more: the port may then be another's.
//
// Other than a Warmup's, e can only be worker itself. Under level none, where
// programs have the network of the host, addr is "".
func (e Env) Proxy(ctx context.Context, worker Env, opts ProxyOptions) (addr string, stop func(), err error) {
	return e.owner.proxyFor(ctx, worker.owner, opts)
}

// SameEgress reports whether e and other have the same network policy: the same
// list, and no Egress.Check of their own beside the sandbox's, as functions cannot
// be compared. A process that serves several workers should serve only workers for
// which it holds, so that a fault that lets one use another's [Env.Proxy] wins no
// more than what the other serves on its loopback.
func (e Env) SameEgress(other Env) bool { return e.owner.sameEgress(other.owner) }

// OOMKills returns how many of the processes that share the session's memory
// limit, those of the worker's other sessions included, the kernel has killed so
// far because that, or the host's memory, was exhausted. A tool compares it before
// and after: a shell tells of a killed command only that it ended with 137. It is
// -1 where nobody counts, as before the first program.
func (e Env) OOMKills() int64 { return e.owner.oomKills() }

// Lost reports that the session's state is gone, for example because its
// process died: running calls end with [ErrSessionLost], the session is
// closed, and its worker's next call is told. It does nothing in Warmup.
func (e Env) Lost(err error) { e.owner.lost(err) }
