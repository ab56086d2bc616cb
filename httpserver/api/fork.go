package api

import (
	"context"
	"net/http"

	"github.com/agentflow-go/sandbox"
)

// forkWorkspace makes a new worker with a copy of another one's workspace. It
// takes an unbound token, whatever the names of the two.
func forkWorkspace(ctx context.Context, q *request) reply {
	from := q.typedWorker()
	to := q.body.required("to")
	snapshot := q.body.text("snapshot")
	if refused := q.refused(from); refused != nil {
		return *refused
	}
	forker, ok := q.ex.(sandbox.Forker)
	if !ok {
		r := refusal(sandbox.ErrInvalidRequest, "what this server serves has no workspaces to fork")
		r.status = http.StatusNotImplemented
		return *r
	}
	var o sandbox.ForkOptions
	if snapshot != nil {
		o.Snapshot = *snapshot
	}
	info, err := forker.ForkWorkspace(ctx, from, to, o)
	if err != nil {
		r := failure(err)
		if r.code == sandbox.ErrNotInitialized || r.code == sandbox.ErrNoResults {
			r.status = http.StatusNotFound // no such worker, or no such snapshot of it
		}
		return r
	}
	return success(struct {
		WorkerID string `json:"worker_id"`
		To       string `json:"to"`
		Size     int64  `json:"size"`
		Files    int    `json:"files"`
		Skipped  int    `json:"skipped"`
	}{from, to, info.Size, info.Files, info.Skipped})
}
