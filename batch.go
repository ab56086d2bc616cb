package sandbox

import (
	"context"

	"golang.org/x/sync/errgroup"
)

// DefaultBatchLimit is how many calls of a parallel batch run at once.
const DefaultBatchLimit = 64

// ExecuteBatch runs requests serially or in parallel; see [Executor]. When ctx
// ends, a serial batch stops; in a parallel one the requests that had not begun
// fail with the reason, without running.
func (sb *Sandbox) ExecuteBatch(ctx context.Context, reqs []Request, o BatchOptions) BatchResponse {
	return RunBatch(ctx, reqs, o, sb.Execute)
}

// RunBatch is ExecuteBatch over any function that executes one request, for
// those who implement an [Executor].
func RunBatch(ctx context.Context, reqs []Request, o BatchOptions, execute func(context.Context, Request) Response) BatchResponse {
	out := BatchResponse{Results: make([]Response, 0, len(reqs)), Total: len(reqs)}
	if !o.Parallel {
		for _, req := range reqs {
			if ctx.Err() != nil {
				break
			}
			r := execute(ctx, req)
			out.Results = append(out.Results, r)
			if r.Err != nil && o.StopOnError {
				break
			}
		}
		out.count()
		return out
	}
	out.Results = out.Results[:len(reqs)]
	limit := o.Limit
	if limit <= 0 {
		limit = DefaultBatchLimit
	}
	var g errgroup.Group
	g.SetLimit(limit)
	for i, req := range reqs {
		g.Go(func() error {
			if ctx.Err() != nil {
				out.Results[i] = notBegun(ctx, req)
			} else {
				out.Results[i] = execute(ctx, req)
			}
			return nil
		})
	}
	g.Wait() // no function returns an error
	out.count()
	return out
}

func notBegun(ctx context.Context, req Request) Response {
	return Response{
		Err:  ended(ctx, ctx.Err()),
		Meta: Meta{Tool: req.Tool, TraceID: req.TraceID},
	}
}

func (b *BatchResponse) count() {
	b.Executed = len(b.Results)
	for _, r := range b.Results {
		if r.Err == nil {
			b.Succeeded++
		}
	}
}
