package sandbox

import (
	"context"
	"strings"
	"time"

	"github.com/agentflow-go/sandbox/internal/nearest"
)

// CreateSession opens the worker's explicit session; see [Executor].
func (sb *Sandbox) CreateSession(ctx context.Context, worker, backend string, o SessionOptions) (SessionInfo, error) {
	w := NewWorker(sb, worker)
	done, err := sb.enter(ctx, w)
	if err != nil {
		return SessionInfo{}, err
	}
	defer done.leave()
	sb.started()
	b, err := sb.backend(backend, o.Compatible)
	if err != nil {
		return SessionInfo{}, err
	}
	conf, err := narrow(sb.opts.Confine, o.Confinement)
	if err != nil {
		return SessionInfo{}, err
	}
	if err := sb.warmBackend(ctx, b); err != nil {
		return SessionInfo{}, err
	}
	fresh := len(o.Config) == 0 && o.Confinement == nil
	for {
		ws := sb.lockWorker(w, fresh)
		s := ws.explicit(b.spec.Name)
		switch {
		case s != nil && s.phase == opening:
			if err := s.await(ctx); err != nil {
				return SessionInfo{}, err
			}
			continue
		case s != nil && s.expired(time.Now()):
			s.expire()
		case s != nil:
			info, err := s.info(), s.keeps(o.Confinement, conf)
			ws.mu.Unlock()
			if err != nil {
				return SessionInfo{}, err
			}
			info.Existing = true
			return info, nil
		}
		ws.forget(b.spec.Name) // whoever makes a new session need not be told of the old one
		s, err := sb.openSession(ctx, ws, b, o, false)
		if err != nil {
			return SessionInfo{}, err
		}
		ws.mu.Lock()
		defer ws.mu.Unlock()
		return s.info(), nil
	}
}

// backend finds a registered backend with sessions.
func (sb *Sandbox) backend(name string, compatible bool) (*backendEntry, error) {
	var names []string
	for _, b := range sb.opts.Registry.backends {
		if b.spec.Name == name {
			return b, nil
		}
		names = append(names, b.spec.Name)
	}
	if name == "" {
		return nil, &Error{Code: ErrMissingField, Message: "the backend's name is required"}
	}
	if compatible {
		if !namePattern.MatchString(name) {
			return nil, Errorf(ErrInvalidInput, "%q cannot name a backend: a name is %s", name, nameRule)
		}
		b := &backendEntry{spec: BackendSpec{Name: name}}
		b.warm.Store(true)
		return b, nil
	}
	near := nearest.Names(name, names, 3)
	hint := "there is none"
	switch {
	case len(near) > 0:
		hint = "did you mean " + near[0] + "?"
	case len(names) > 0:
		hint = "there are " + strings.Join(names, ", ")
	}
	e := Errorf(ErrNotInitialized, "no backend %q is registered: %s", name, hint)
	e.Data = map[string]any{"resource_type": name, "did_you_mean": near}
	return nil, e
}

// find returns the worker's live explicit session and its locked worker.
func (sb *Sandbox) find(worker, backend string) (*session, error) {
	if err := checkWorkerID(worker); err != nil {
		return nil, err
	}
	if ws := sb.workers.get(worker); ws != nil {
		ws.mu.Lock()
		if s := ws.explicit(backend); s != nil {
			if !s.expired(time.Now()) {
				return s, nil
			}
			s.expire()
		}
		ws.mu.Unlock()
	}
	return nil, &Error{
		Code:    ErrNotInitialized,
		Message: "No session found for " + backend,
		Data:    map[string]any{"resource_type": backend},
	}
}

// DestroySession ends the worker's explicit session; see [Executor]. An error
// of the backend's Close is returned beside the description of the session,
// which is gone all the same.
func (sb *Sandbox) DestroySession(ctx context.Context, worker, backend string) (SessionInfo, error) {
	s, err := sb.find(worker, backend)
	if err != nil {
		return SessionInfo{}, err
	}
	info := s.info()
	info.Status = SessionEnded
	s.end(&Error{Code: ErrCancelled, Message: "session " + s.id + " was destroyed", Session: s.id})
	s.ws.mu.Unlock()
	if err := sb.waitFor(ctx, func() error { return sb.finishSession(s) }); err != nil {
		e := asError(err, ErrUnexpected)
		e.Session = info.ID
		return info, e
	}
	return info, nil
}

// RefreshSession restarts the idle time of the worker's explicit session; see
// [Executor].
func (sb *Sandbox) RefreshSession(_ context.Context, worker, backend string) (SessionInfo, error) {
	s, err := sb.find(worker, backend)
	if err != nil {
		return SessionInfo{}, err
	}
	defer s.ws.mu.Unlock()
	s.last = time.Now()
	return s.info(), nil
}

// Sessions lists the worker's live sessions; see [Executor].
func (sb *Sandbox) Sessions(_ context.Context, worker string) ([]SessionInfo, error) {
	if err := checkWorkerID(worker); err != nil {
		return nil, err
	}
	ws := sb.workers.get(worker)
	if ws == nil {
		return nil, nil
	}
	ws.mu.Lock()
	defer ws.mu.Unlock()
	var infos []SessionInfo
	now := time.Now()
	for _, s := range ws.sessions {
		if !s.expired(now) {
			infos = append(infos, s.info())
		}
	}
	return infos, nil
}
