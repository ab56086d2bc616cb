package sandbox

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/agentflow-go/sandbox/internal/uuid"
	"github.com/agentflow-go/sandbox/internal/wire"
)

// Execute runs one tool; see [Executor].
func (sb *Sandbox) Execute(ctx context.Context, req Request) Response {
	begin := time.Now()
	resp := Response{Meta: Meta{Tool: req.Tool, TraceID: req.TraceID}}
	if resp.Meta.TraceID == "" {
		resp.Meta.TraceID = uuid.New()
	}
	resp.Data, resp.Err = sb.execute(ctx, req, &resp.Meta)
	resp.Meta.Elapsed = time.Since(begin)
	return resp
}

func (sb *Sandbox) execute(ctx context.Context, req Request, meta *Meta) (json.RawMessage, error) {
	w := NewWorker(sb, req.Worker)
	done, err := sb.enter(ctx, w)
	if err != nil {
		return failed(err, nil)
	}
	defer done.leave()
	e, err := sb.names.resolve(req.Tool)
	if err != nil {
		meta.DidYouMean = sb.names.suggest(req.Tool)
		return failed(err, nil)
	}
	inv := e.invocation(sb, w, req.Params)
	run := &callRun{w: w}
	if req.OnEvent != nil {
		run.events = &emitter{to: req.OnEvent}
		defer run.events.close()
	}
	inv.Call = Call{TraceID: meta.TraceID, Tool: e.info.FullName, Worker: w.id, run: run}
	meta.Tool, meta.Backend = e.info.FullName, e.info.Label

	// A caller whose context never ends waits for the tool anyway, so that it
	// may as well run here.
	inv.mayLeave = ctx.Done() != nil || req.Timeout > 0 || e.limit != nil
	// What still runs when Shutdown gives up waiting is cancelled by it.
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	defer context.AfterFunc(sb.base, func() { stop(errStopping()) })()
	ctx, cancel := sb.limit(ctx, e, req.Timeout)
	if cancel != nil {
		defer cancel()
	}
	err = sb.handleSafely(ctx, inv)
	inv.meta.Tool, inv.meta.Backend, inv.meta.TraceID = meta.Tool, meta.Backend, meta.TraceID
	*meta = inv.meta
	var out json.RawMessage
	if err == nil {
		out, err = inv.body.outputJSON()
	}
	if err != nil {
		return failed(e.complete(err, meta.SessionID, meta.Ran), inv.body.partialJSON())
	}
	return out, nil
}

// handleSafely runs the middlewares and the tool. Tools recover their own
// panics; this is for the middlewares.
func (sb *Sandbox) handleSafely(ctx context.Context, inv *Invocation) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = sb.panicked("middleware around", inv.Info.FullName, r)
		}
	}()
	return sb.handle(ctx, inv)
}

// failed returns an error with its machine-readable detail as JSON. What the
// tool of a timed-out or cancelled call returned joins the detail.
func failed(err error, partial json.RawMessage) (json.RawMessage, error) {
	e, ok := errors.AsType[*Error](err)
	if !ok {
		e = asError(err, ErrUnexpected)
	}
	data := e.Data
	if partial != nil && (e.Code == ErrTimeout || e.Code == ErrCancelled) {
		detail := map[string]any{"partial": partial}
		if m, ok := data.(map[string]any); ok {
			for k, v := range m {
				detail[k] = v
			}
		}
		data = detail
	}
	if data == nil {
		return nil, e
	}
	raw, merr := wire.Marshal(data)
	if merr != nil {
		return nil, e
	}
	return raw, e
}
