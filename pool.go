package sandbox

import (
	"context"
	"slices"
	"sync"
	"time"
)

// pool holds blank workers: each has one parked session of every backend that
// asks for a pool, and so its own directory and host user. A worker id that
// was never seen takes a blank worker as a whole; a used session never comes
// back.
type pool struct {
	mu     sync.Mutex // guards blanks
	blanks []*workerState

	// Set by New.
	size int
	of   []*backendEntry
	// Set by startPool, before anything else looks.
	want chan struct{} // holds a token when a blank worker was taken
	full chan struct{} // closed when nothing fills the pool any more; nil: nothing ever did
}

const poolRetry = time.Second // after a blank worker could not be made

// init finds out what the pool holds.
func (p *pool) init(backends []*backendEntry) {
	for _, b := range backends {
		if b.sessions && b.spec.Pool > 0 {
			p.of = append(p.of, b)
			p.size = max(p.size, b.spec.Pool)
		}
	}
}

// startPool starts to fill the pool, if any backend wants one.
func (sb *Sandbox) startPool() {
	p := &sb.pool
	if p.size == 0 {
		return
	}
	p.want, p.full = make(chan struct{}, 1), make(chan struct{})
	sb.background.Go(func() { sb.fillPool(sb.base) })
}

// fillPool keeps the pool full until ctx ends.
func (sb *Sandbox) fillPool(ctx context.Context) {
	p := &sb.pool
	defer close(p.full)
	for ctx.Err() == nil {
		p.mu.Lock()
		short := len(p.blanks) < p.size
		p.mu.Unlock()
		if short {
			ws, err := sb.newBlank(ctx)
			if err == nil {
				p.mu.Lock()
				p.blanks = append(p.blanks, ws)
				p.mu.Unlock()
				continue
			}
			if ctx.Err() == nil {
				sb.opts.Logger.Warn("filling the pool", "err", err)
			}
			select {
			case <-ctx.Done():
				return
			case <-time.After(poolRetry):
			}
			continue
		}
		select {
		case <-ctx.Done():
			return
		case <-p.want:
		}
	}
}

// newBlank makes a worker without id and opens a session of each pooled
// backend for it.
func (sb *Sandbox) newBlank(ctx context.Context) (*workerState, error) {
	ws := &workerState{sb: sb}
	for _, b := range sb.pool.of {
		if err := sb.park(ctx, ws, b); err != nil {
			_ = sb.discard(ws) // logged by it; the reason is err
			return nil, err
		}
	}
	return ws, nil
}

// park opens a session ahead of demand.
func (sb *Sandbox) park(ctx context.Context, ws *workerState, b *backendEntry) error {
	if err := sb.warmBackend(ctx, b); err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	ws.mu.Lock()
	s := sb.newSession(ws, b, b.spec.Config, nil)
	s.stopOpen, s.ttl = cancel, -1
	ws.parked = append(ws.parked, s)
	ws.mu.Unlock()
	env := Env{Backend: b.spec.Name, Config: s.config, owner: &s.owner}
	var err error
	if b.open != nil {
		err = sb.openBounded(ctx, s, func(ctx context.Context) (any, error) { return b.open(ctx, env) })
	}
	return sb.opened(ctx, s, false, err)
}

// adopt takes a blank worker for the id; nil if there is none.
func (sb *Sandbox) adopt(id string) *workerState {
	p := &sb.pool
	if sb.opts.KeepWorkspaces && sb.host.kept(id) { // it has a workspace already
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.blanks) > 0 {
		ws := p.blanks[0]
		p.blanks = slices.Delete(p.blanks, 0, 1)
		select {
		case p.want <- struct{}{}:
		default:
		}
		if ws.become(id, len(p.of)) {
			return ws
		}
		sb.background.Go(func() { sb.discard(ws) })
	}
	return nil
}

// become makes a blank worker the worker id, unless it is spoilt: a session
// that was lost while it waited left nobody knows what in the directory.
func (ws *workerState) become(id string, sessions int) bool {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if len(ws.parked) != sessions || ws.files.assign(id) != nil {
		return false
	}
	ws.id = id
	return true
}

// discard closes a blank worker.
func (sb *Sandbox) discard(ws *workerState) error {
	ws.mu.Lock()
	sessions := ws.leave(errWorkerClosed())
	ws.mu.Unlock()
	return ws.finish(sessions)
}

// unpark takes the worker's parked session of the backend; nil if there is
// none. ws.mu is held.
func (ws *workerState) unpark(b *backendEntry) *session {
	for i, s := range ws.parked {
		if s.b == b && s.phase == active {
			ws.parked = slices.Delete(ws.parked, i, i+1)
			return s
		}
	}
	return nil
}

// pooled counts the backend's parked sessions in the pool.
func (sb *Sandbox) pooled(b *backendEntry) int {
	if !slices.Contains(sb.pool.of, b) {
		return 0
	}
	sb.pool.mu.Lock()
	defer sb.pool.mu.Unlock()
	return len(sb.pool.blanks)
}

// drainPool closes the blank workers, for Shutdown, once base has ended.
func (sb *Sandbox) drainPool() []error {
	p := &sb.pool
	if p.full != nil {
		<-p.full // bounded, as every Open is
	}
	p.mu.Lock()
	blanks := p.blanks
	p.blanks = nil
	p.mu.Unlock()
	errs := make([]error, len(blanks))
	var wg sync.WaitGroup
	for i, ws := range blanks {
		wg.Go(func() { errs[i] = sb.discard(ws) })
	}
	wg.Wait()
	return errs
}
