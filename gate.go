package sandbox

import (
	"context"
	"sync/atomic"
)

// gate counts running calls and closes for good.
type gate struct {
	calls  atomic.Int64
	closed atomic.Bool
	idle   chan struct{} // holds a token after the last call left a closed gate
}

// enter counts a call in. A closed gate lets only through what must pass.
func (g *gate) enter(must bool) bool {
	g.calls.Add(1)
	if g.closed.Load() && !must {
		g.leave()
		return false
	}
	return true
}

func (g *gate) leave() {
	if g.calls.Add(-1) == 0 && g.closed.Load() {
		select {
		case g.idle <- struct{}{}:
		default:
		}
	}
}

func (g *gate) close() { g.closed.Store(true) }

// wait returns when no call is running or ctx ends.
func (g *gate) wait(ctx context.Context) {
	for g.calls.Load() > 0 {
		select {
		case <-g.idle:
		case <-ctx.Done():
			return
		}
	}
}

// entered is a call that passed the gate.
type entered struct {
	sb   *Sandbox
	slot bool // it holds one of MaxCalls
}

// enter admits a call: the sandbox is running, the worker's id is one, and
// fewer than MaxCalls others run. Calls made by tools pass a closed gate, for
// they are part of a call that is allowed to finish, and need no slot of their
// own, for waiting for one could wait for themselves.
func (sb *Sandbox) enter(ctx context.Context, w *Worker) (entered, error) {
	if err := checkWorkerID(w.id); err != nil {
		return entered{}, err
	}
	nested := nested(ctx)
	if !sb.gate.enter(nested && sb.base.Err() == nil) {
		return entered{}, errStopping()
	}
	if sb.slots == nil || nested {
		return entered{sb: sb}, nil
	}
	if err := sb.slots.Acquire(ctx, 1); err != nil {
		sb.gate.leave()
		return entered{}, ended(ctx, err)
	}
	if sb.base.Err() != nil { // Shutdown did not wait for it
		entered{sb: sb, slot: true}.leave()
		return entered{}, errStopping()
	}
	return entered{sb: sb, slot: true}, nil
}

func (d entered) leave() {
	if d.slot {
		d.sb.slots.Release(1)
	}
	d.sb.gate.leave()
}

const maxWorkerID = 256

func checkWorkerID(id string) error {
	switch {
	case id == "":
		return &Error{Code: ErrMissingField, Message: "worker_id is required"}
	case len(id) > maxWorkerID:
		return Errorf(ErrInvalidInput, "worker_id is %d bytes long; at most %d are allowed", len(id), maxWorkerID)
	}
	return nil
}
