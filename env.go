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
// session that owns no files costs no directory). In Warmup there is none. A
// hostile process may be at work inside: read and write through [Env.Files].
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
// worker starts here. Programs of one session see each other's processes; all
// sessions of one worker share the workspace. What still runs when the session
// ends is killed.
//
// ctx bounds the start only. In Warmup the jail belongs to the backend, and
// its home directory is a private one.
func (e Env) Start(ctx context.Context, c Cmd) (*Process, error) { return e.owner.start(ctx, c) }

// Lost reports that the session's state is gone, for example because its
// process died: running calls end with [ErrSessionLost], the session is
// closed, and its worker's next call is told. It does nothing in Warmup.
func (e Env) Lost(err error) { e.owner.lost(err) }
