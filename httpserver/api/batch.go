package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/agentflow-go/sandbox"
	"github.com/agentflow-go/sandbox/internal/uuid"
)

// maxParallel bounds what a caller may ask for as limit.
const maxParallel = 1024

// batchItem is one action of a batch. An item that cannot be run fails by
// itself and leaves the others alone.
type batchItem struct {
	req sandbox.Request
	bad *sandbox.Error // why it cannot be run; nil: it can
}

// executeBatch runs a list of tools, serially or in parallel.
func executeBatch(ctx context.Context, q *request) reply {
	f := q.body
	worker := q.typedWorker()
	raws := f.list("actions")
	o := sandbox.BatchOptions{
		Parallel:    f.flag("parallel", false),
		StopOnError: f.flag("stop_on_error", true),
		Limit:       min(int(f.seconds("limit").Seconds()), maxParallel),
	}
	if len(raws) > q.o.MaxBatch {
		return *refusal(sandbox.ErrTooLarge, fmt.Sprintf("a batch holds at most %d actions, this one has %d", q.o.MaxBatch, len(raws)))
	}
	trace := f.traceID()
	items := make([]batchItem, len(raws))
	for i, raw := range raws {
		if raw[0] != '{' {
			f.fault(sandbox.ErrInvalidType, "value is not a valid dict", "type_error.dict", "actions", i)
			continue
		}
		items[i] = parseItem(raw, worker, trace)
	}
	if refused := q.refused(worker); refused != nil {
		return *refused
	}
	for _, it := range items {
		if refused := q.foreign(it.req.Worker); refused != nil {
			return *refused
		}
	}
	return q.once(ctx, worker, func(ctx context.Context) reply {
		r := q.batched(q.runBatch(ctx, items, o))
		r.meta.trace = trace
		return r
	})
}

// parseItem reads one action. Beyond the protocol an item may name a worker, a
// trace_id and timeout_ms of its own.
func parseItem(raw json.RawMessage, worker, trace string) batchItem {
	f := &fields{members: split(raw)}
	it := batchItem{req: sandbox.Request{Worker: worker, TraceID: f.traceID(), Timeout: f.timeout()}}
	if id := f.text("worker_id"); id != nil {
		it.req.Worker = *id
	}
	if action := f.text("action"); action != nil {
		it.req.Tool = *action
	}
	if it.req.TraceID == "" {
		it.req.TraceID = trace
	}
	if params, there := f.member("params"); there && string(params) == "null" {
		it.bad = sandbox.Errorf(sandbox.ErrUnexpected, "params must be an object, not null") // the protocol's code
		return it
	}
	it.req.Params = f.object("params", false)
	if refused := f.refused(); refused != nil {
		it.bad = &sandbox.Error{Code: refused.code, Message: refused.message}
	}
	return it
}

// runBatch runs the items. Those that cannot be run take part as failures: a
// serial batch that stops on errors stops there.
func (q *request) runBatch(ctx context.Context, items []batchItem, o sandbox.BatchOptions) sandbox.BatchResponse {
	reqs := make([]sandbox.Request, len(items))
	bad := map[string]batchItem{} // by an id that stands in for the item's own
	for i, it := range items {
		reqs[i] = it.req
		reqs[i].Tool = q.toolName(ctx, it.req.Tool)
		if it.bad != nil {
			reqs[i].TraceID = uuid.New()
			bad[reqs[i].TraceID] = it
		}
	}
	if len(bad) == 0 {
		return q.ex.ExecuteBatch(ctx, reqs, o)
	}
	return sandbox.RunBatch(ctx, reqs, o, func(ctx context.Context, req sandbox.Request) sandbox.Response {
		if it, ok := bad[req.TraceID]; ok {
			return sandbox.Response{Err: it.bad, Meta: sandbox.Meta{Tool: req.Tool, TraceID: it.req.TraceID}}
		}
		return q.ex.Execute(ctx, req)
	})
}

// batched turns the outcome of a batch into a reply. The message counts what
// ran, not what was asked for.
func (s *server) batched(b sandbox.BatchResponse) reply {
	batch := &batchReply{total: b.Total, executed: b.Executed, succs: b.Succeeded}
	r := reply{status: http.StatusOK, batch: batch}
	for _, resp := range b.Results {
		item := s.executed(resp)
		if item.meta.trace == "" {
			item.meta.trace = uuid.New()
		}
		if item.code != 0 && resp.Err == nil { // a result that cannot be sent
			b.Succeeded, batch.succs = b.Succeeded-1, batch.succs-1
		}
		r.meta.ran = r.meta.ran || item.meta.ran
		batch.results = append(batch.results, item)
	}
	switch {
	case b.Succeeded == b.Total:
	case b.Succeeded == 0:
		r.status, r.code, r.message = http.StatusInternalServerError, sandbox.ErrAllFailed, "All actions failed"
	default:
		r.status, r.code = http.StatusMultiStatus, sandbox.ErrPartialFailure
		r.message = fmt.Sprintf("%d out of %d actions failed", b.Executed-b.Succeeded, b.Executed)
	}
	return r
}
