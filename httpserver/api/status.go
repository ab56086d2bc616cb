package api

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/agentflow-go/sandbox"
)

// How long /health waits for the sandbox's state, and how long one look at it
// may take in the background.
const (
	healthWait = 200 * time.Millisecond
	probeLimit = 10 * time.Second
)

// statusProbe looks at an executor's status without ever being held up by it:
// one look at a time, and whoever cannot wait for it gets the last one.
type statusProbe struct {
	ex sandbox.Executor

	mu      sync.Mutex // guards the following
	running chan struct{}
	last    *sandbox.Status
	err     error
}

// get returns the status as it is now or, if that takes longer than wait, as it
// was at the last look; nil if there was none yet. The look goes on by itself
// for up to probeLimit.
func (p *statusProbe) get(ctx context.Context, wait time.Duration) (*sandbox.Status, error) {
	p.mu.Lock()
	done := p.running
	if done == nil {
		done = make(chan struct{})
		p.running = done
		go p.look(context.WithoutCancel(ctx), done)
	}
	p.mu.Unlock()

	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
	case <-ctx.Done():
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.last, p.err
}

func (p *statusProbe) look(ctx context.Context, done chan struct{}) {
	ctx, cancel := context.WithTimeout(ctx, probeLimit)
	defer cancel()
	st, err := sandbox.Status{}, errors.New("the status could not be had")
	defer func() {
		_ = recover() // an executor that panics must not end the program from here
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.err = err; err == nil {
			p.last = &st
		}
		p.running = nil
		close(done)
	}()
	st, err = p.ex.Status(ctx)
}

// health says that the server runs. Callers with a token also learn what it is.
func health(ctx context.Context, q *request) reply {
	view := struct {
		Status     string   `json:"status"`
		Timestamp  string   `json:"timestamp"`
		Title      string   `json:"title,omitempty"`
		Version    string   `json:"version,omitempty"`
		Level      string   `json:"level,omitempty"`
		Unenforced []string `json:"unenforced,omitempty"`
		Denied     int      `json:"denied,omitempty"`
	}{Status: "healthy", Timestamp: isoTime(time.Now())}
	if q.who.known {
		view.Title, view.Version = q.o.Title, q.o.Version
		if st, _ := q.status.get(ctx, healthWait); st != nil {
			view.Level, view.Unenforced, view.Denied = st.Level, st.Unenforced, st.Denied
		}
	}
	return plain(http.StatusOK, view)
}

// ready counts what there is. Without an answer from the sandbox in good time
// it is not ready.
func ready(ctx context.Context, q *request) reply {
	const wait = 2 * time.Second
	st, err := q.status.get(ctx, wait)
	view := struct {
		Status        string `json:"status"`
		ToolsCount    int    `json:"tools_count"`
		ActiveWorkers int    `json:"active_workers"`
		TotalSessions int    `json:"total_sessions"`
	}{Status: "ready"}
	if err != nil || st == nil {
		view.Status = "not ready"
		return plain(http.StatusServiceUnavailable, view)
	}
	view.ToolsCount, view.ActiveWorkers, view.TotalSessions = st.Tools, st.Workers, st.Sessions
	return plain(http.StatusOK, view)
}

// backendStatusView is a backend of the server's status.
type backendStatusView struct {
	Name     string `json:"name"`
	Warm     bool   `json:"warm"`
	Error    string `json:"error"`
	Sessions int    `json:"sessions"`
	Pooled   int    `json:"pooled"`

	Description string `json:"description"`
	Version     string `json:"version"`
}

// serverStatus is all of sandbox.Status. The protocol has no counterpart: our
// own client needs it.
func serverStatus(ctx context.Context, q *request) reply {
	st, err := q.ex.Status(ctx)
	if err != nil {
		return failure(err)
	}
	backends := []backendStatusView{}
	for _, b := range st.Backends {
		backends = append(backends, backendStatusView{b.Name, b.Warm, b.Err, b.Sessions, b.Pooled, b.Description, b.Version})
	}
	r := success(struct {
		Level      string              `json:"level"`
		Unenforced []string            `json:"unenforced"`
		Tools      int                 `json:"tools"`
		Workers    int                 `json:"workers"`
		Sessions   int                 `json:"sessions"`
		Denied     int                 `json:"denied"`
		Abandoned  int                 `json:"abandoned"`
		Backends   []backendStatusView `json:"backends"`
	}{st.Level, append([]string{}, st.Unenforced...), st.Tools, st.Workers, st.Sessions, st.Denied, st.Abandoned, backends})
	return r
}

// shutdown ends the server. Options.Shutdown closes the sessions and begins to
// stop; the http.Server waits for this answer.
func shutdown(ctx context.Context, q *request) reply {
	q.body.flag("force", false) // accepted; the end is always orderly
	cleanup := q.body.flag("cleanup_sessions", true)
	if refused := q.body.refused(); refused != nil {
		return *refused
	}
	if q.o.Shutdown == nil {
		return *refusal(sandbox.ErrForbidden, "this server cannot be shut down by request")
	}
	view := struct {
		Status          string `json:"status"`
		Message         string `json:"message"`
		SessionsCleaned int    `json:"sessions_cleaned"`
	}{"success", "Server shutdown initiated", 0}
	// A caller that hangs up has still asked for the end.
	n, err := q.o.Shutdown(context.WithoutCancel(ctx), cleanup)
	view.SessionsCleaned = n
	if err != nil {
		view.Status, view.Message = "error", err.Error()
		return plain(http.StatusInternalServerError, view)
	}
	q.w.Header().Set("Connection", "close")
	return plain(http.StatusOK, view)
}
