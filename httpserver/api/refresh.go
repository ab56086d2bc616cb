package api

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/agentflow-go/sandbox"
)

// refreshSession restarts the idle time of one of the worker's sessions, or of
// all.
func refreshSession(ctx context.Context, q *request) reply {
	backend := q.body.text("resource_type")
	worker, refused := q.onlyWorker()
	if refused != nil {
		return *refused
	}
	if backend == nil || *backend == "" {
		return refreshAll(ctx, q, worker)
	}
	s, err := q.ex.RefreshSession(ctx, worker, *backend)
	if err != nil {
		return sessionFailure(*backend, err)
	}
	r := success(struct {
		Message      string  `json:"message"`
		ResourceType string  `json:"resource_type"`
		SessionID    string  `json:"session_id"`
		ExpiresAt    *string `json:"expires_at"`
	}{"Session refreshed for " + *backend, s.Backend, s.ID, optionalTime(s.Expires)})
	r.meta = sessionMeta(s)
	r.lift = append(liftSession(s), member{"expires_at", encode(optionalTime(s.Expires))})
	return r
}

// refreshedView is what the refresh of all sessions tells about one.
type refreshedView struct {
	Status    string  `json:"status"`
	ExpiresAt *string `json:"expires_at"`
}

func refreshAll(ctx context.Context, q *request, worker string) reply {
	refreshed, err := q.refreshEach(ctx, worker)
	if err != nil {
		return failure(err)
	}
	details := map[string]refreshedView{}
	for _, s := range refreshed {
		details[s.Backend] = refreshedView{"refreshed", optionalTime(s.Expires)}
	}
	r := success(struct {
		Message        string                   `json:"message"`
		WorkerID       string                   `json:"worker_id"`
		RefreshedCount int                      `json:"refreshed_count"`
		Details        map[string]refreshedView `json:"details"`
	}{fmt.Sprintf("Refreshed %d sessions", len(details)), worker, len(details), details})
	r.lift = []member{{"refreshed_count", strconv.AppendInt(nil, int64(len(details)), 10)}}
	return r
}

// refreshEach refreshes the worker's explicit sessions. Those that end meanwhile
// are left out; temporary ones belong to their calls.
func (q *request) refreshEach(ctx context.Context, worker string) ([]sandbox.SessionInfo, error) {
	sessions, err := q.ex.Sessions(ctx, worker)
	if err != nil {
		return nil, err
	}
	var refreshed []sandbox.SessionInfo
	for _, s := range sessions {
		if s.Temporary {
			continue
		}
		got, err := q.ex.RefreshSession(ctx, worker, s.Backend)
		switch {
		case errors.Is(err, sandbox.ErrNotInitialized):
			continue
		case err != nil:
			return nil, err
		}
		refreshed = append(refreshed, got)
	}
	return refreshed, nil
}
