package client

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"time"

	"github.com/agentflow-go/sandbox"
)

// asError finds the error that carries code and data.
func asError(err error) (*sandbox.Error, bool) { return errors.AsType[*sandbox.Error](err) }

// sessionView is a session as the server shows it.
type sessionView struct {
	ResourceType string   `json:"resource_type"`
	SessionID    string   `json:"session_id"`
	SessionName  string   `json:"session_name"`
	Status       string   `json:"status"`
	AutoCreated  bool     `json:"auto_created"`
	CreatedAt    string   `json:"created_at"`
	LastActivity string   `json:"last_activity"`
	ExpiresAt    string   `json:"expires_at"`
	WorkerID     string   `json:"worker_id"`
	Running      int      `json:"running"`
	Compatible   bool     `json:"compatibility_mode"`
	Level        string   `json:"level"`
	Unenforced   []string `json:"unenforced"`
}

func (v *sessionView) info() sandbox.SessionInfo {
	return sandbox.SessionInfo{
		ID: v.SessionID, Name: v.SessionName, Worker: v.WorkerID, Backend: v.ResourceType,
		Status: sandbox.SessionStatus(v.Status), Created: parseTime(v.CreatedAt), LastActivity: parseTime(v.LastActivity),
		Expires: parseTime(v.ExpiresAt), Temporary: v.AutoCreated, Compatible: v.Compatible,
		Level: v.Level, Unenforced: v.Unenforced, Running: v.Running,
	}
}

// parseTime reads a time of the protocol: naive UTC; zero if there is none.
func parseTime(s string) time.Time {
	t, _ := time.Parse("2006-01-02T15:04:05.999999999", s)
	return t
}

// createBody is a session to be made, on the wire.
type createBody struct {
	WorkerID     string           `json:"worker_id"`
	ResourceType string           `json:"resource_type"`
	Config       json.RawMessage  `json:"session_config,omitempty"`
	CustomName   string           `json:"custom_name,omitempty"`
	TTL          int64            `json:"ttl,omitempty"`
	TTLMS        int64            `json:"ttl_ms,omitempty"`
	Compatible   bool             `json:"compatible"`
	Confinement  *confinementView `json:"confinement,omitempty"`
}

type confinementView struct {
	Level         string     `json:"level,omitempty"`
	AllowDegraded []string   `json:"allow_degraded,omitzero"` // nil inherits, empty does not
	Egress        egressView `json:"egress"`
	Limits        limitsView `json:"limits"`
}

type egressView struct {
	Allow []string `json:"allow,omitzero"` // nil inherits, empty does not
}

type limitsView struct {
	CPU       float64 `json:"cpu,omitempty"`
	Memory    int64   `json:"memory,omitempty"`
	Workspace int64   `json:"workspace,omitempty"`
	Output    int64   `json:"output,omitempty"`
	Processes int     `json:"processes,omitempty"`
	Files     int     `json:"files,omitempty"`
}

func viewConfinement(c *sandbox.Confinement) (*confinementView, error) {
	if c == nil {
		return nil, nil
	}
	if c.Egress.Check != nil {
		return nil, sandbox.Errorf(sandbox.ErrInvalidInput, "Confinement.Egress.Check is a function and cannot be sent to a server")
	}
	if c.ReadOnly != nil {
		return nil, sandbox.Errorf(sandbox.ErrInvalidInput, "Confinement.ReadOnly is the server's to set; leave it nil")
	}
	return &confinementView{
		Level: c.Level, AllowDegraded: c.AllowDegraded, Egress: egressView{c.Egress.Allow},
		Limits: limitsView(c.Limits),
	}, nil
}

// CreateSession opens the worker's session on the server; see
// [sandbox.Executor].
func (c *Client) CreateSession(ctx context.Context, worker, backend string, o sandbox.SessionOptions) (sandbox.SessionInfo, error) {
	conf, err := viewConfinement(o.Confinement)
	if err != nil {
		return sandbox.SessionInfo{}, err
	}
	body := createBody{
		WorkerID: worker, ResourceType: backend, Config: o.Config, CustomName: o.Name,
		Compatible: o.Compatible, Confinement: conf,
	}
	switch {
	case o.TTL < 0:
		body.TTL = -1
	case o.TTL > 0:
		body.TTL, body.TTLMS = int64(math.Ceil(o.TTL.Seconds())), max(o.TTL.Milliseconds(), 1)
	}
	a, err := c.post(ctx, "/api/v1/session/create", body)
	if err != nil {
		return sandbox.SessionInfo{}, err
	}
	var data struct {
		Status      string `json:"status"`
		SessionID   string `json:"session_id"`
		SessionName string `json:"session_name"`
	}
	if err := a.decodeData(&data); err != nil {
		return sandbox.SessionInfo{}, err
	}
	info := sandbox.SessionInfo{ID: data.SessionID, Name: data.SessionName, Worker: worker, Backend: backend, Status: sandbox.SessionActive}
	if a.Meta.Session != nil {
		info = a.Meta.Session.info()
	}
	info.Existing = data.Status == "exists"
	c.keepAlive(worker, backend)
	return info, nil
}

// about sends a request about one session and returns what the server says of
// it.
func (c *Client) about(ctx context.Context, path, worker, backend string) (*answer, sandbox.SessionInfo, error) {
	a, err := c.post(ctx, path, map[string]string{"worker_id": worker, "resource_type": backend})
	if err == nil {
		err = a.enveloped()
	}
	if err != nil {
		return nil, sandbox.SessionInfo{}, err
	}
	info := sandbox.SessionInfo{ID: a.Meta.SessionID, Worker: worker, Backend: backend, Status: sandbox.SessionActive}
	if a.Meta.Session != nil {
		info = a.Meta.Session.info()
	}
	return a, info, nil
}

// DestroySession closes the worker's session; see [sandbox.Executor].
func (c *Client) DestroySession(ctx context.Context, worker, backend string) (sandbox.SessionInfo, error) {
	a, info, err := c.about(ctx, "/api/v1/session/destroy", worker, backend)
	if err != nil {
		return info, err
	}
	c.letDie(worker, backend)
	if len(a.Meta.Cause) > 0 { // closing it failed, and yet it is gone
		code := sandbox.ErrUnexpected
		a.Code = &code
		return info, a.failure()
	}
	return info, nil
}

// RefreshSession restarts the session's idle time; see [sandbox.Executor].
func (c *Client) RefreshSession(ctx context.Context, worker, backend string) (sandbox.SessionInfo, error) {
	if backend == "" { // which on the wire means all
		return sandbox.SessionInfo{}, &sandbox.Error{Code: sandbox.ErrNotInitialized, Message: "No session found for "}
	}
	_, info, err := c.about(ctx, "/api/v1/session/refresh", worker, backend)
	return info, err
}

// Sessions lists the worker's sessions; see [sandbox.Executor].
func (c *Client) Sessions(ctx context.Context, worker string) ([]sandbox.SessionInfo, error) {
	a, err := c.post(ctx, "/api/v1/session/list", map[string]string{"worker_id": worker})
	if err != nil {
		return nil, err
	}
	var data struct {
		Sessions []sessionView `json:"sessions"`
	}
	if err := a.decodeData(&data); err != nil {
		return nil, err
	}
	var infos []sandbox.SessionInfo
	for i := range data.Sessions {
		infos = append(infos, data.Sessions[i].info())
	}
	return infos, nil
}

// CloseWorker ends all that the worker has; see [sandbox.Executor].
func (c *Client) CloseWorker(ctx context.Context, worker string) (int, error) {
	a, err := c.post(ctx, "/api/v1/worker/disconnect", map[string]string{"worker_id": worker})
	if a == nil {
		return 0, err
	}
	c.letDie(worker, "")
	var data struct {
		SessionsCleaned int `json:"sessions_cleaned"`
	}
	if derr := a.decodeData(&data); err == nil {
		err = derr
	}
	return data.SessionsCleaned, err
}
