package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"
	"unicode/utf8"

	"github.com/agentflow-go/sandbox"
)

// execute runs one tool.
func execute(ctx context.Context, q *request) reply {
	f := q.body
	req := sandbox.Request{
		Worker:  q.typedWorker(),
		Tool:    f.required("action"),
		Params:  f.object("params", false),
		Timeout: f.timeout(),
		TraceID: f.traceID(),
	}
	q.tool = req.Tool
	if refused := q.refused(req.Worker); refused != nil {
		return *refused
	}
	run := func(ctx context.Context, onEvent func(sandbox.Event)) reply {
		return q.once(ctx, req.Worker, func(ctx context.Context) reply {
			req.Tool, req.OnEvent = q.toolName(ctx, req.Tool), onEvent
			return q.executed(q.ex.Execute(ctx, req))
		})
	}
	if wantsEvents(q.r) {
		return q.stream(ctx, run)
	}
	return run(ctx, nil)
}

// timeout reads the time limit: whole seconds as timeout, or, as our own client
// adds, exact ones as timeout_ms.
func (f *fields) timeout() (limit time.Duration) {
	limit = f.seconds("timeout")
	if ms := f.milliseconds("timeout_ms"); ms > 0 {
		limit = ms
	}
	return limit
}

// traceID reads the caller's id of the call; what is none is ignored.
func (f *fields) traceID() string {
	raw := f.get("trace_id")
	if raw == nil {
		return ""
	}
	if id, ok := asText(raw); ok && len(id) <= 256 {
		return id
	}
	return ""
}

// executed turns an executor's response into a reply.
func (s *server) executed(resp sandbox.Response) reply {
	r := reply{status: http.StatusOK, data: resp.Data, meta: metaOf(resp.Meta)}
	if resp.Err != nil {
		failed := failure(resp.Err)
		r.status, r.code, r.message = failed.status, failed.code, failed.message
		// The response's own data may tell more than the error's: what a tool
		// that ran out of time had so far.
		if r.data = resp.Data; r.data == nil {
			r.data = failed.data
		}
		r.meta.ran = r.meta.ran || failed.meta.ran
	}
	if len(r.data) > 0 && !(utf8.Valid(r.data) && (s.validData || json.Valid(r.data))) {
		// One result that is no JSON must not spoil the answer around it.
		r.data = nil
		if r.code == 0 {
			r.status, r.code = http.StatusInternalServerError, sandbox.ErrUnexpected
			r.message = "the tool's result is not JSON"
		}
	}
	return r
}

func metaOf(m sandbox.Meta) replyMeta {
	return replyMeta{
		tool: m.Tool, resource: m.Backend, session: m.SessionID, trace: m.TraceID, elapsed: m.Elapsed,
		temporary: m.Temporary, ran: m.Ran, expired: m.Expired, didYouMean: m.DidYouMean,
		denied: m.Denied, deniedTotal: m.DeniedTotal,
	}
}

// asError finds the error that carries code and data.
func asError(err error) (*sandbox.Error, bool) { return errors.AsType[*sandbox.Error](err) }
