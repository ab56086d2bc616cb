package sandbox

import (
	"context"
	"encoding/json"
	"sync/atomic"

	"github.com/agentflow-go/sandbox/internal/wire"
)

// Worker is a handle on one worker of an [Executor]: an agent, a rollout. It
// costs nothing until used, may be used concurrently, and any number of
// handles may name the same worker.
type Worker struct {
	ex Executor
	id string

	// state caches the worker's entry in a local Sandbox; it is checked
	// before use, for the worker may have been closed in between.
	state atomic.Pointer[workerState]
	run   callRun // of its typed calls, to which nobody listens
}

// NewWorker returns a handle on the worker id of ex. An id is 1 to 256 bytes
// of anything; calls with any other id fail with [ErrMissingField] or
// [ErrInvalidInput].
func NewWorker(ex Executor, id string) *Worker {
	w := &Worker{ex: ex, id: id}
	w.run.w = w
	return w
}

// ID returns the worker's id.
func (w *Worker) ID() string { return w.id }

// Execute runs a tool by name. params is encoded as JSON; a json.RawMessage
// passes as it is, nil means {}.
func (w *Worker) Execute(ctx context.Context, tool string, params any) Response {
	return w.execute(ctx, tool, params, "")
}

// Do runs a tool as [Executor.Execute] does, with everything that a request
// can say: a time limit, a trace id, who listens to events. The request's
// Worker is w, whatever it says.
func (w *Worker) Do(ctx context.Context, req Request) Response {
	req.Worker = w.id
	return w.ex.Execute(ctx, req)
}

func (w *Worker) execute(ctx context.Context, tool string, params any, trace string) Response {
	raw, ok := params.(json.RawMessage)
	if !ok && params != nil {
		var err error
		if raw, err = wire.Marshal(params); err != nil {
			return Response{Err: Errorf(ErrInvalidInput, "params of %s: %w", tool, err), Meta: Meta{Tool: tool}}
		}
	}
	return w.ex.Execute(ctx, Request{Worker: w.id, Tool: tool, Params: raw, TraceID: trace})
}

// CreateSession opens the worker's explicit session in a backend; see
// [Executor].
func (w *Worker) CreateSession(ctx context.Context, backend string, o SessionOptions) (SessionInfo, error) {
	return w.ex.CreateSession(ctx, w.id, backend, o)
}

// DestroySession closes the worker's explicit session in a backend; see
// [Executor].
func (w *Worker) DestroySession(ctx context.Context, backend string) error {
	_, err := w.ex.DestroySession(ctx, w.id, backend)
	return err
}

// RefreshSession restarts the idle time of the worker's explicit session in a
// backend; see [Executor].
func (w *Worker) RefreshSession(ctx context.Context, backend string) (SessionInfo, error) {
	return w.ex.RefreshSession(ctx, w.id, backend)
}

// Sessions lists the worker's live sessions.
func (w *Worker) Sessions(ctx context.Context) ([]SessionInfo, error) {
	return w.ex.Sessions(ctx, w.id)
}

// Tools lists the tools that the worker may call.
func (w *Worker) Tools(ctx context.Context, f ToolFilter) ([]ToolInfo, error) {
	return w.ex.Tools(ctx, f)
}

// Close closes the worker's sessions, ends its processes and removes its
// workspace. The handle stays usable: the worker then starts anew.
func (w *Worker) Close(ctx context.Context) error {
	_, err := w.ex.CloseWorker(ctx, w.id)
	return err
}
