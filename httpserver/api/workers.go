package api

import (
	"context"
	"slices"
	"time"

	"github.com/agentflow-go/sandbox"
)

// heartbeat reports which sessions the worker has. It refreshes them only where
// Options.HeartbeatRefreshes says so.
func heartbeat(ctx context.Context, q *request) reply {
	worker, refused := q.onlyWorker()
	if refused != nil {
		return *refused
	}
	if q.o.HeartbeatRefreshes {
		if _, err := q.refreshEach(ctx, worker); err != nil {
			return failure(err)
		}
	}
	sessions, err := q.ex.Sessions(ctx, worker)
	if err != nil {
		return failure(err)
	}
	r := success(struct {
		WorkerID       string   `json:"worker_id"`
		ActiveSessions []string `json:"active_sessions"`
		Timestamp      string   `json:"timestamp"`
	}{worker, backendsOf(sessions), isoTime(time.Now())})
	return r
}

// backendsOf lists the backends that sessions belong to, each once.
func backendsOf(sessions []sandbox.SessionInfo) []string {
	names := []string{}
	for _, s := range sessions {
		if !slices.Contains(names, s.Backend) {
			names = append(names, s.Backend)
		}
	}
	return names
}

// workerSessionView is a session as the status of a worker shows it.
type workerSessionView struct {
	SessionID    string  `json:"session_id"`
	Status       string  `json:"status"`
	CreatedAt    *string `json:"created_at"`
	LastActivity *string `json:"last_activity"`
}

// workerStatus describes what the worker has.
func workerStatus(ctx context.Context, q *request) reply {
	worker, refused := q.onlyWorker()
	if refused != nil {
		return *refused
	}
	sessions, err := q.ex.Sessions(ctx, worker)
	if err != nil {
		return failure(err)
	}
	tools, err := q.ex.Tools(ctx, sandbox.ToolFilter{Hidden: true})
	if err != nil {
		return failure(err)
	}
	views := map[string]workerSessionView{}
	for _, s := range sessions {
		if _, there := views[s.Backend]; there && s.Temporary {
			continue // the explicit session is what the caller knows
		}
		views[s.Backend] = workerSessionView{s.ID, string(s.Status), optionalTime(s.Created), optionalTime(s.LastActivity)}
	}
	r := success(struct {
		WorkerID        string                       `json:"worker_id"`
		ActiveResources []string                     `json:"active_resources"`
		Sessions        map[string]workerSessionView `json:"sessions"`
		ToolsAvailable  int                          `json:"tools_available"`
	}{worker, backendsOf(sessions), views, len(tools)})
	return r
}

// disconnect closes all that the worker has. A worker that nobody knows has
// nothing, which is no error.
func disconnect(ctx context.Context, q *request) reply {
	worker := q.typedWorker()
	if refused := q.refused(worker); refused != nil {
		return *refused
	}
	cleaned, err := q.ex.CloseWorker(ctx, worker)
	view := struct {
		WorkerID        string `json:"worker_id"`
		SessionsCleaned int    `json:"sessions_cleaned"`
	}{worker, cleaned}
	if err != nil {
		r := failure(err)
		r.data = encode(view)
		return r
	}
	r := success(view)
	return r
}
