package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/agentflow-go/sandbox"
	"github.com/agentflow-go/sandbox/internal/nearest"
	"github.com/agentflow-go/sandbox/internal/wire"
)

// sessionResource is meta.resource_type of the endpoints that run no tool.
const sessionResource = "session"

// sessionView is a session in listings and in meta.session. The first eight
// members are the protocol's, the others ours.
type sessionView struct {
	ResourceType string   `json:"resource_type"`
	SessionID    string   `json:"session_id"`
	SessionName  string   `json:"session_name"`
	Status       string   `json:"status"`
	AutoCreated  bool     `json:"auto_created"`
	CreatedAt    *string  `json:"created_at"`
	LastActivity *string  `json:"last_activity"`
	ExpiresAt    *string  `json:"expires_at"` // null: never
	WorkerID     string   `json:"worker_id"`
	Running      int      `json:"running"`
	Compatible   bool     `json:"compatibility_mode,omitempty"`
	Level        string   `json:"level,omitempty"`
	Unenforced   []string `json:"unenforced,omitempty"`
}

func viewSession(s sandbox.SessionInfo) sessionView {
	return sessionView{
		ResourceType: s.Backend, SessionID: s.ID, SessionName: s.Name, Status: string(s.Status),
		AutoCreated: s.Temporary, CreatedAt: optionalTime(s.Created), LastActivity: optionalTime(s.LastActivity),
		ExpiresAt: optionalTime(s.Expires), WorkerID: s.Worker, Running: s.Running, Compatible: s.Compatible,
		Level: s.Level, Unenforced: s.Unenforced,
	}
}

func optionalTime(t time.Time) *string {
	if t.IsZero() {
		return nil
	}
	s := isoTime(t)
	return &s
}

// sessionMeta is the meta of a reply that is about one session.
func sessionMeta(s sandbox.SessionInfo) replyMeta {
	v := viewSession(s)
	return replyMeta{session: s.ID, info: &v, ran: true}
}

// liftSession repeats what clients look for at the top level.
func liftSession(s sandbox.SessionInfo) []member {
	return []member{{"session_id", quoted(s.ID)}, {"session_name", quoted(s.Name)}}
}

// madeView is the data of a session that was made, or was not.
type madeView struct {
	SessionID            *string `json:"session_id"`
	SessionName          *string `json:"session_name"`
	ResourceType         string  `json:"resource_type"`
	SessionStatus        string  `json:"session_status"`
	Error                *string `json:"error"`
	CompatibilityMode    bool    `json:"compatibility_mode,omitempty"`
	CompatibilityMessage string  `json:"compatibility_message,omitempty"`
}

// workerAndType reads the two fields that the session endpoints need. The
// protocol has a message of its own for their absence, and does not tell absent
// from empty.
func (q *request) workerAndType() (worker, backend string, refused *reply) {
	w, b := q.workerID(), q.body.text("resource_type")
	if r := q.body.refused(); r != nil {
		return "", "", r
	}
	if w == nil || *w == "" || b == nil || *b == "" {
		r := refusal(sandbox.ErrInvalidRequest, "worker_id and resource_type required")
		r.data = encode(struct {
			WorkerID     *string `json:"worker_id"`
			ResourceType *string `json:"resource_type"`
		}{w, b})
		return "", "", r
	}
	return *w, *b, q.foreign(*w)
}

// onlyWorker reads the one field that the listing endpoints need.
func (q *request) onlyWorker() (worker string, refused *reply) {
	w := q.workerID()
	if r := q.body.refused(); r != nil {
		return "", r
	}
	if w == nil || *w == "" {
		r := refusal(sandbox.ErrInvalidRequest, "worker_id required")
		r.data = json.RawMessage(`{"worker_id":null}`)
		return "", r
	}
	return *w, q.foreign(*w)
}

// createSession opens the worker's session in a backend, or finds it.
func createSession(ctx context.Context, q *request) reply {
	o := sandbox.SessionOptions{
		Config:     q.body.object("session_config", true),
		TTL:        q.body.ttl(),
		Compatible: q.body.flag("compatible", true),
	}
	if name := q.body.text("custom_name"); name != nil {
		o.Name = *name
	}
	o.Config, o.Confinement = q.body.confinement(o.Config)
	worker, backend, refused := q.workerAndType()
	if refused != nil {
		return *refused
	}
	s, err := q.ex.CreateSession(ctx, worker, backend, o)
	if err != nil {
		r := notMade("Session creation failed", err)
		data := madeView{ResourceType: backend, SessionStatus: "error", Error: sessionFault(err)}
		if r.meta.session != "" {
			data.SessionID = &r.meta.session
		}
		r.data = encode(data)
		return r
	}
	var r reply
	if s.Existing {
		r = success(struct {
			Status        string `json:"status"`
			SessionID     string `json:"session_id"`
			SessionName   string `json:"session_name"`
			ResourceType  string `json:"resource_type"`
			SessionStatus string `json:"session_status"`
		}{"exists", s.ID, s.Name, s.Backend, string(s.Status)})
	} else {
		v := madeView{SessionID: &s.ID, SessionName: &s.Name, ResourceType: s.Backend, SessionStatus: string(s.Status)}
		if s.Compatible {
			v.CompatibilityMode = true
			v.CompatibilityMessage = fmt.Sprintf("Resource type '%s' does not require session initialization. "+
				"This session was created for compatibility but no initialization was performed.", s.Backend)
		}
		r = success(v)
	}
	r.meta, r.lift = sessionMeta(s), liftSession(s)
	if s.Compatible {
		r.meta.didYouMean = q.nearBackends(ctx, s.Backend)
	}
	return r
}

// nearBackends returns the backends whose names a session's type may have
// meant, none if the sandbox does not tell its backends in good time.
func (q *request) nearBackends(ctx context.Context, name string) []string {
	st, _ := q.status.get(ctx, healthWait)
	if st == nil {
		return nil
	}
	var names []string
	for _, b := range st.Backends {
		names = append(names, b.Name)
	}
	return nearest.Names(name, names, 3)
}

// ttl reads the idle time of a session in seconds: -1 means that it never
// expires, 0 and nothing the server's default. ttl_ms, which our own client
// adds, is exact.
func (f *fields) ttl() time.Duration {
	if ms := f.milliseconds("ttl_ms"); ms > 0 {
		return ms
	}
	if raw := f.get("ttl"); raw != nil {
		switch v, ok := asNumber(raw); {
		case ok && v == -1:
			return -1
		case ok && v < 0:
			f.fault(sandbox.ErrInvalidInput, "ensure this value is greater than or equal to 0, or -1 for ever", "value_error.number.not_ge", "ttl")
			return 0
		}
	}
	return f.seconds("ttl")
}

// notMade is the failure of a session that could not be opened. The protocol
// has its own message and status for a backend that failed; any other error
// keeps those of its code. Either way meta.cause tells the executor's words.
func notMade(message string, err error) reply {
	r := failure(err)
	if e, ok := asError(err); ok {
		r.meta.session = e.Session
	}
	r.meta.cause = causeOf(err)
	if r.code == sandbox.ErrNotInitialized {
		r.status, r.message = http.StatusInternalServerError, message
	}
	return r
}

// sessionFault is the text of data.error: what the backend said, where the
// executor passes it on.
func sessionFault(err error) *string {
	text := err.Error()
	var detail struct {
		Details string `json:"details"`
	}
	if raw := errorData(err); raw != nil && wire.Unmarshal(raw, &detail) == nil && detail.Details != "" {
		text = detail.Details
	}
	return &text
}

// noSession is the 404 of an endpoint that needs a session.
func noSession(backend string, err error) reply {
	return reply{
		status: http.StatusNotFound, code: sandbox.ErrNotInitialized,
		message: "No session found for " + backend,
		data: encode(struct {
			ResourceType string `json:"resource_type"`
		}{backend}),
		meta: replyMeta{cause: causeOf(err)},
	}
}

// sessionFailure renders the error of an operation on a session.
func sessionFailure(backend string, err error) reply {
	if errors.Is(err, sandbox.ErrNotInitialized) {
		return noSession(backend, err)
	}
	return failure(err)
}

// destroySession closes the worker's session in a backend.
func destroySession(ctx context.Context, q *request) reply {
	worker, backend, refused := q.workerAndType()
	if refused != nil {
		return *refused
	}
	s, err := q.ex.DestroySession(ctx, worker, backend)
	if err != nil {
		if s.ID == "" {
			return sessionFailure(backend, err)
		}
		// The session is gone all the same: the protocol calls that a success.
		q.o.Logger.Warn("closing a session", "session", s.ID, "error", err)
	}
	r := success(struct {
		Message      string `json:"message"`
		SessionID    string `json:"session_id"`
		SessionName  string `json:"session_name"`
		ResourceType string `json:"resource_type"`
	}{"Session destroyed for " + backend, s.ID, s.Name, s.Backend})
	r.meta, r.lift = sessionMeta(s), liftSession(s)
	if err != nil {
		r.meta.cause, r.meta.ran = causeOf(err), errorRan(err)
	}
	return r
}

// listSessions lists the worker's sessions.
func listSessions(ctx context.Context, q *request) reply {
	worker, refused := q.onlyWorker()
	if refused != nil {
		return *refused
	}
	sessions, err := q.ex.Sessions(ctx, worker)
	if err != nil {
		return failure(err)
	}
	views := make([]sessionView, len(sessions))
	for i, s := range sessions {
		views[i] = viewSession(s)
	}
	r := success(struct {
		WorkerID string        `json:"worker_id"`
		Sessions []sessionView `json:"sessions"`
		Count    int           `json:"count"`
	}{worker, views, len(views)})
	return r
}
