package sandbox

import (
	"context"
	"hash/maphash"
	"slices"
	"sync"
	"time"

	"github.com/agentflow-go/sandbox/internal/reap"
)

// workerState is what a Sandbox knows about one worker. It exists from the
// worker's first session until it is closed, by name or for idleness.
type workerState struct {
	reap.Entry
	sb *Sandbox

	mu       sync.Mutex // guards everything below and the mutable part of each session
	id       string     // "" while it waits in the pool
	gone     bool       // closed: look the id up again
	sessions []*session // live ones, in order of creation
	parked   []*session // opened ahead of demand, see pool.go
	counters []counter
	notes    []note
	held     int         // file transfers under way, which keep it from being forgotten
	idle     time.Time   // since when it has no session
	untold   *denialList // refused while no call ran, for the next one; nil: nothing

	files workerFiles
}

// counter numbers a worker's sessions in one backend.
type counter struct {
	backend string
	n       int
}

// note remembers a session that expired or was lost, until its worker is told.
type note struct {
	backend, id string
	lost        bool
}

// count returns the next number of a session in the backend.
func (ws *workerState) count(backend string) int {
	for i := range ws.counters {
		if ws.counters[i].backend == backend {
			ws.counters[i].n++
			return ws.counters[i].n
		}
	}
	ws.counters = append(ws.counters, counter{backend, 1})
	return 1
}

// explicit returns the worker's explicit session in the backend, live or
// being opened; nil if there is none. ws.mu is held.
func (ws *workerState) explicit(backend string) *session {
	for _, s := range ws.sessions {
		if !s.temporary && s.b.spec.Name == backend {
			return s
		}
	}
	return nil
}

// remember notes that s is gone without its worker's doing.
func (ws *workerState) remember(s *session, lost bool) {
	ws.forget(s.b.spec.Name)
	ws.notes = append(ws.notes, note{s.b.spec.Name, s.id, lost})
}

// forget takes the note about the backend.
func (ws *workerState) forget(backend string) (n note) {
	ws.notes = slices.DeleteFunc(ws.notes, func(o note) bool {
		if o.backend == backend {
			n = o
			return true
		}
		return false
	})
	return n
}

// remove takes s off the lists and starts the worker's idle time if it was the
// last. ws.mu is held.
func (ws *workerState) remove(s *session) {
	same := func(o *session) bool { return o == s }
	ws.sessions = slices.DeleteFunc(ws.sessions, same)
	ws.parked = slices.DeleteFunc(ws.parked, same)
	ws.touch()
}

// release ends one of held: the worker's idle time begins anew.
func (ws *workerState) release() {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	ws.held--
	ws.touch()
}

// touch starts the worker's idle time if nothing holds it. ws.mu is held.
func (ws *workerState) touch() {
	if !ws.gone && len(ws.sessions) == 0 && ws.held == 0 && ws.id != "" && ws.sb.opts.WorkerTTL > 0 {
		ws.idle = time.Now()
		ws.sb.reaper.Add(ws, ws.idle.Add(ws.sb.opts.WorkerTTL))
	}
}

// Due closes the worker if it has been idle for WorkerTTL.
func (ws *workerState) Due(now time.Time) {
	ws.mu.Lock()
	until := ws.idle.Add(ws.sb.opts.WorkerTTL)
	switch {
	case ws.gone || len(ws.sessions) > 0 || ws.held > 0: // the end of the last will add it again
		ws.mu.Unlock()
		return
	case now.Before(until):
		ws.mu.Unlock()
		ws.sb.reaper.Add(ws, until)
		return
	}
	sessions := ws.leave(errWorkerClosed())
	ws.mu.Unlock()
	ws.sb.background.Go(func() { ws.finish(sessions) })
}

func errWorkerClosed() *Error {
	return &Error{Code: ErrCancelled, Message: "the worker was closed"}
}

// leave takes the worker out of the table and ends its sessions, which the
// caller passes to finish; cause is what their calls fail with. ws.mu is held.
func (ws *workerState) leave(cause *Error) []*session {
	ws.gone = true
	if ws.id != "" {
		ws.sb.workers.remove(ws.id, ws)
	}
	ws.sb.reaper.Remove(ws)
	sessions := slices.Concat(ws.sessions, ws.parked)
	for _, s := range sessions {
		s.end(cause)
	}
	return sessions
}

// finish closes sessions that leave ended, all at once so that one that hangs
// holds up no other, then releases what the worker had on disk.
func (ws *workerState) finish(sessions []*session) error {
	errs := make([]error, len(sessions)+1)
	var wg sync.WaitGroup
	for i, s := range sessions {
		wg.Go(func() { errs[i] = ws.sb.finishSession(s) })
	}
	wg.Wait()
	ws.mu.Lock()
	keep := ws.sb.opts.KeepWorkspaces && ws.id != "" // a blank worker's is nobody's
	ws.mu.Unlock()
	errs[len(sessions)] = ws.files.release(keep)
	return joinLogged(ws.sb.opts.Logger, "closing a worker", errs)
}

// workerTable maps ids to workers. It is sharded: creating sessions for many
// workers at once must not queue on one lock.
type workerTable struct {
	seed   maphash.Seed
	shards [64]struct {
		mu sync.RWMutex // guards m
		m  map[string]*workerState
	}
}

func (t *workerTable) init() {
	t.seed = maphash.MakeSeed()
	for i := range t.shards {
		t.shards[i].m = map[string]*workerState{}
	}
}

func (t *workerTable) get(id string) *workerState {
	shard := &t.shards[maphash.String(t.seed, id)%uint64(len(t.shards))]
	shard.mu.RLock()
	defer shard.mu.RUnlock()
	return shard.m[id]
}

// getOrAdd returns the worker id, made by add if it is unknown. add runs under
// the shard's lock.
func (t *workerTable) getOrAdd(id string, add func() *workerState) *workerState {
	shard := &t.shards[maphash.String(t.seed, id)%uint64(len(t.shards))]
	shard.mu.Lock()
	defer shard.mu.Unlock()
	ws := shard.m[id]
	if ws == nil {
		ws = add()
		shard.m[id] = ws
	}
	return ws
}

// remove forgets the worker id if it still is ws.
func (t *workerTable) remove(id string, ws *workerState) {
	shard := &t.shards[maphash.String(t.seed, id)%uint64(len(t.shards))]
	shard.mu.Lock()
	defer shard.mu.Unlock()
	if shard.m[id] == ws {
		delete(shard.m, id)
	}
}

// all returns the known workers.
func (t *workerTable) all() []*workerState {
	var all []*workerState
	for i := range t.shards {
		shard := &t.shards[i]
		shard.mu.RLock()
		for _, ws := range shard.m {
			all = append(all, ws)
		}
		shard.mu.RUnlock()
	}
	return all
}

func (t *workerTable) len() int {
	n := 0
	for i := range t.shards {
		t.shards[i].mu.RLock()
		n += len(t.shards[i].m)
		t.shards[i].mu.RUnlock()
	}
	return n
}

// lockWorker returns the worker's state, locked. It is made if it is unknown;
// fresh says that a blank worker of the pool may be taken for it.
func (sb *Sandbox) lockWorker(w *Worker, fresh bool) *workerState {
	ws := w.state.Load()
	for {
		if ws == nil {
			ws = sb.workers.getOrAdd(w.id, func() *workerState {
				if fresh {
					if blank := sb.adopt(w.id); blank != nil {
						return blank
					}
				}
				return &workerState{sb: sb, id: w.id}
			})
			w.state.Store(ws)
		}
		ws.mu.Lock()
		if !ws.gone {
			return ws
		}
		ws.mu.Unlock()
		ws = nil
	}
}

// CloseWorker closes a worker; see [Executor].
func (sb *Sandbox) CloseWorker(ctx context.Context, worker string) (int, error) {
	if err := checkWorkerID(worker); err != nil {
		return 0, err
	}
	ws := sb.workers.get(worker)
	if ws == nil {
		return 0, nil
	}
	ws.mu.Lock()
	if ws.gone {
		ws.mu.Unlock()
		return 0, nil
	}
	explicit := 0
	for _, s := range ws.sessions {
		if !s.temporary {
			explicit++
		}
	}
	sessions := ws.leave(errWorkerClosed())
	ws.mu.Unlock()
	return explicit, sb.waitFor(ctx, func() error { return ws.finish(sessions) })
}

// closeWorkers closes all workers at once, for Shutdown.
func (sb *Sandbox) closeWorkers() []error {
	all := sb.workers.all()
	errs := make([]error, len(all))
	var wg sync.WaitGroup
	for i, ws := range all {
		ws.mu.Lock()
		if ws.gone {
			ws.mu.Unlock()
			continue
		}
		sessions := ws.leave(errStopping())
		ws.mu.Unlock()
		wg.Go(func() { errs[i] = ws.finish(sessions) })
	}
	wg.Wait()
	return errs
}

// waitFor runs f to its end, but returns early when ctx ends: cleaning up is
// not the caller's to cancel.
func (sb *Sandbox) waitFor(ctx context.Context, f func() error) error {
	if ctx.Done() == nil {
		return f()
	}
	done := make(chan error, 1)
	sb.background.Go(func() { done <- f() })
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ended(ctx, ctx.Err())
	}
}
