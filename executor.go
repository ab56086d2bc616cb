package sandbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/agentflow-go/sandbox/internal/wire"
)

// Executor is what runs tools for workers: a [*Sandbox] in this process, or a
// client of one elsewhere. The HTTP handler serves any Executor, and a
// [Worker] is a handle on any.
//
// All methods may be called concurrently.
type Executor interface {
	// Execute runs one tool. It never panics and reports every failure in
	// the Response.
	Execute(ctx context.Context, req Request) Response
	// ExecuteBatch runs requests serially or in parallel; results come in
	// request order.
	ExecuteBatch(ctx context.Context, reqs []Request, o BatchOptions) BatchResponse
	// CreateSession opens the worker's explicit session in a backend, or
	// returns the existing one unchanged with Existing set. A Confinement that
	// the existing one is not under is ErrConflict.
	CreateSession(ctx context.Context, worker, backend string, o SessionOptions) (SessionInfo, error)
	// DestroySession cancels what runs in the worker's explicit session and
	// closes it. Without such a session the error is ErrNotInitialized.
	DestroySession(ctx context.Context, worker, backend string) (SessionInfo, error)
	// RefreshSession restarts the session's idle time.
	RefreshSession(ctx context.Context, worker, backend string) (SessionInfo, error)
	// Sessions lists the worker's live sessions in order of creation.
	Sessions(ctx context.Context, worker string) ([]SessionInfo, error)
	// CloseWorker closes the worker's sessions, ends its processes, removes
	// its workspace and forgets it. It returns how many sessions it closed;
	// an unknown worker has none.
	CloseWorker(ctx context.Context, worker string) (int, error)
	// Tools lists the registered tools in order of registration.
	Tools(ctx context.Context, f ToolFilter) ([]ToolInfo, error)
	// Warmup warms the named backends, or all, concurrently. The error joins
	// those of the backends that failed; Status tells them apart.
	Warmup(ctx context.Context, backends ...string) (Status, error)
	// Status describes the sandbox as it is now.
	Status(ctx context.Context) (Status, error)
}

// Request asks for one run of one tool.
type Request struct {
	Worker  string          // who calls, 1 to 256 bytes
	Tool    string          // full name, unique simple name, alias, or a variant such as vm-click
	TraceID string          // "": a random UUID
	Params  json.RawMessage // a JSON object; empty and null mean {}
	Timeout time.Duration   // 0: the tool's and the sandbox's limits only
	OnEvent func(Event)     // called one at a time while the call runs, never after Execute returned; nil: nobody listens
}

// Response is the outcome of one [Request].
type Response struct {
	Data json.RawMessage // the tool's output; on failure the machine-readable detail, or nil
	Err  error           // nil on success, else an *Error
	Meta Meta
}

// Decode stores the output in the value that v points to. It returns r.Err if
// the call failed.
func (r Response) Decode(v any) error {
	if r.Err != nil {
		return r.Err
	}
	return wire.Unmarshal(r.Data, v)
}

// ForModel returns the text to hand to a language model: the output's JSON,
// or {"error":{"code":…,"message":…,"data":…,"did_you_mean":…,"denied":…}}.
func (r Response) ForModel() string {
	if r.Err == nil {
		return string(r.Data)
	}
	type modelError struct {
		Code       Code            `json:"code"`
		Message    string          `json:"message"`
		Data       json.RawMessage `json:"data,omitempty"`
		DidYouMean []string        `json:"did_you_mean,omitempty"`
		Denied     []string        `json:"denied,omitempty"`
	}
	var denied []string
	for _, d := range r.Meta.Denied {
		denied = append(denied, d.Text)
	}
	b, err := wire.Marshal(struct {
		Error modelError `json:"error"`
	}{modelError{CodeOf(r.Err), r.Err.Error(), r.Data, r.Meta.DidYouMean, denied}})
	if err != nil { // only a hand-made Response with Data that is no JSON
		return `{"error":{"code":5013,"message":"the response's data is not JSON"}}`
	}
	return string(b)
}

// Meta is what is known about a call besides its output.
type Meta struct {
	Tool       string        // full name, or the name asked for if none was found
	Backend    string        // backend, or the tool's label; "" if it has neither
	SessionID  string        // session the call ran in; "" if none
	TraceID    string        // the request's, or the random one it got
	Elapsed    time.Duration // from the start of Execute to its end
	Temporary  bool          // the session was made for this call and ended with it
	Ran        bool          // the tool's own code began
	Expired    string        // id of the session this call would have used, had it not expired or been lost; told once
	DidYouMean []string      // for an unknown tool: the nearest names
	// Denied is what policy refused to the worker's programs while the call ran,
	// and since the worker's last call: the first 16 distinct ones, see
	// [Call.Denied]. DeniedTotal counts all.
	Denied      []Denial
	DeniedTotal int
}

// BatchOptions says how a batch runs.
type BatchOptions struct {
	Parallel    bool // all at once, bounded by Limit; false: one after the other
	StopOnError bool // serial only: stop after the first failure
	Limit       int  // how many at once when parallel; 0: 64
}

// BatchResponse is the outcome of a batch.
type BatchResponse struct {
	Results   []Response // in request order; only those that ran when a serial batch stopped
	Total     int        // requests given
	Executed  int        // requests that ran
	Succeeded int
}

// Err returns nil if every request ran and succeeded, an [*Error] with
// [ErrPartialFailure] if some did, and one with [ErrAllFailed] if none did.
func (b BatchResponse) Err() error {
	if b.Succeeded == b.Total {
		return nil
	}
	e := &Error{Code: ErrPartialFailure, Err: b.join()}
	if b.Succeeded == 0 {
		e.Code = ErrAllFailed
	}
	switch {
	case b.Executed == b.Succeeded: // the batch was cancelled
		e.Message = fmt.Sprintf("%d out of %d actions did not run", b.Total-b.Executed, b.Total)
	case b.Succeeded == 0:
		e.Message = "All actions failed"
	default:
		e.Message = fmt.Sprintf("%d out of %d actions failed", b.Executed-b.Succeeded, b.Executed)
	}
	return e
}

func (b BatchResponse) join() error {
	var errs []error
	for _, r := range b.Results {
		errs = append(errs, r.Err)
	}
	return errors.Join(errs...)
}

// SessionOptions configures one session.
type SessionOptions struct {
	// Config is a JSON object laid over the backend's defaults, key by key; nil:
	// the defaults. A session that exists keeps the one it has: as in AgentFlow's
	// protocol, whose clients send it each time, another is accepted and ignored.
	// So are Name and TTL.
	Config json.RawMessage
	// Confinement narrows the sandbox's; nil: the sandbox's, or that of the session
	// that exists. What is left at its zero value is the sandbox's: a nil
	// Egress.Allow is its list, an empty one that is not nil is no network. One
	// that would widen the sandbox's is ErrDenied. One that differs from what the
	// existing session has is ErrConflict, and so is an Egress.Check, since
	// functions cannot be compared: destroy the session first.
	Confinement *Confinement
	Name        string        // custom part of the session's name
	TTL         time.Duration // idle time; 0: Options.SessionTTL; negative: never expires
	// Compatible accepts a backend name that is not registered: the session
	// then holds nothing. Callers of the wire protocol create sessions for
	// groups of stateless tools too.
	Compatible bool
}

// SessionInfo describes a session.
type SessionInfo struct {
	ID, Name, Worker, Backend string
	Status                    SessionStatus
	Created, LastActivity     time.Time
	Expires                   time.Time // zero: never
	Temporary                 bool      // made by a call, ends with it
	Existing                  bool      // CreateSession found it
	Compatible                bool      // see SessionOptions.Compatible
	Level                     string    // confinement in force; "" before the first process started
	Unenforced                []string  // what of its policy this host does not enforce; see Status
	Running                   int       // calls running or queued in it
}

// SessionStatus is a session's state as callers see it.
type SessionStatus string

// The states of a session.
const (
	SessionOpening SessionStatus = "initializing" // Open is running
	SessionActive  SessionStatus = "active"
	SessionEnded   SessionStatus = "ended" // what DestroySession returns
)

// ToolFilter selects tools of a listing.
type ToolFilter struct {
	// Allowed holds names and patterns; nil: all, empty: none. An entry matches a tool's
	// full name or alias, also after exchanging the first separator (vm-click
	// for vm:click); a trailing * after a separator makes it a prefix (vm:*).
	Allowed []string
	Hidden  bool // include hidden tools
}

// ToolInfo describes a registered tool.
type ToolInfo struct {
	Name         string // simple name: what follows the colon
	FullName     string // backend:name, group:name or name
	Backend      string // backend it belongs to; "" if none
	Label        string // meta.resource_type: the backend, else the label or group; "" if none
	Session      bool   // runs in a session of its backend
	Description  string
	Aliases      []string
	InputSchema  json.RawMessage // JSON schema of the params
	OutputSchema json.RawMessage
	ReadOnly     bool
	Idempotent   bool
	Hidden       bool
}

// Status describes a sandbox.
type Status struct {
	Level string // confinement level in force; "" before it was needed
	// Unenforced is what this host does not enforce or keep apart, each with the
	// reason behind a colon: names of limits, "single-uid", "net-per-session" and
	// "unbounded-files".
	Unenforced []string
	Tools      int             // registered tools, hidden ones included
	Workers    int             // known workers
	Sessions   int             // live sessions, temporary ones included
	Denied     int             // times that policy refused something to workers' programs, such as a host
	Abandoned  int             // calls, opens and closes that did not end in time and were left behind
	Backends   []BackendStatus // in order of registration
}

// BackendStatus describes one backend of a [Status].
type BackendStatus struct {
	Name     string
	Warm     bool
	Err      string // why its last warmup failed; "" if it did not
	Sessions int    // live sessions, temporary ones included
	Pooled   int    // blank sessions kept ahead of demand

	Description, Version string // as registered
}
