package api

import (
	"container/list"
	"context"
	"crypto/sha256"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/agentflow-go/sandbox"
)

// What is kept of calls that carry an Idempotency-Key.
const (
	replayKept     = 10 * time.Minute
	replayKeys     = 1000     // per token and worker
	replayBytes    = 64 << 20 // in all
	replayKeyBytes = 255      // length of a key
)

// replays remembers the outcome of calls that carry an Idempotency-Key, so that
// a caller that got no answer may ask again without the work being done again.
// Results are forgotten after replayKept, and earlier, the oldest first, when a
// worker uses more keys or all results take more memory than the limits say.
type replays struct {
	maxBytes int // replayBytes, but for tests

	mu     sync.Mutex // guards everything below; not held while calls run
	scopes map[replayScope]*scopeReplays
	order  list.List // of *replay that ended, oldest first
	bytes  int
}

// replayScope is whose key it is: nobody meets another's.
type replayScope struct {
	token  int
	worker string
}

type scopeReplays struct {
	byKey map[string]*replay
	order list.List // of *replay that ended, oldest first
}

// replay is one call under a key.
type replay struct {
	scope  replayScope
	key    string
	digest [sha256.Size]byte // of what was asked
	done   chan struct{}     // closed when the call ended; the rest is constant then
	reply  reply
	until  time.Time
	inAll  *list.Element // its place in replays.order
	inOwn  *list.Element // its place in scopeReplays.order
}

func newReplays() *replays {
	return &replays{maxBytes: replayBytes, scopes: map[replayScope]*scopeReplays{}}
}

// once runs work, which outlives the caller if the request carries an
// Idempotency-Key. Of several requests with one key the first runs, and the
// others wait for it and get the same reply.
func (q *request) once(ctx context.Context, worker string, work func(context.Context) reply) reply {
	key := q.r.Header.Get("Idempotency-Key")
	if key == "" {
		return work(ctx)
	}
	if len(key) > replayKeyBytes {
		return *refusal(sandbox.ErrInvalidInput, "the Idempotency-Key is longer than 255 bytes")
	}
	h := sha256.New()
	h.Write([]byte(strings.TrimPrefix(q.r.URL.Path, "/api/v1") + "\x00"))
	h.Write(q.body.raw)
	e, first, refused := q.replays.begin(replayScope{q.who.token, worker}, key, [sha256.Size]byte(h.Sum(nil)))
	if refused != nil {
		return *refused
	}
	if !first {
		select {
		case <-e.done:
			q.w.Header().Set("Idempotency-Replayed", "true")
			return e.reply
		case <-ctx.Done():
			return *refusal(sandbox.ErrCancelled, "the caller went away while the first call under its Idempotency-Key was running")
		}
	}
	r := reply{ // what the others get if work panics
		status: http.StatusInternalServerError, code: sandbox.ErrUnexpected,
		message: "internal error; the server's log has the details", meta: replyMeta{ran: true},
	}
	defer func() { q.replays.end(e, r) }()
	r = work(context.WithoutCancel(ctx))
	q.complete(&r)
	return r
}

// begin finds the call under a key, or enters it as running.
func (p *replays) begin(scope replayScope, key string, digest [sha256.Size]byte) (e *replay, first bool, refused *reply) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.expire(time.Now())
	own := p.scopes[scope]
	if own == nil {
		own = &scopeReplays{byKey: map[string]*replay{}}
		p.scopes[scope] = own // holds at least this call from here on
	}
	if e := own.byKey[key]; e != nil {
		if e.digest != digest {
			r := refusal(sandbox.ErrConflict, "this Idempotency-Key was used for another request")
			r.status = http.StatusUnprocessableEntity
			return nil, false, r
		}
		return e, false, nil
	}
	if len(own.byKey) >= replayKeys {
		oldest := own.order.Front()
		if oldest == nil {
			return nil, false, refusal(sandbox.ErrBusy, "too many calls with an Idempotency-Key are running for this worker")
		}
		p.forget(oldest.Value.(*replay))
	}
	e = &replay{scope: scope, key: key, digest: digest, done: make(chan struct{})}
	own.byKey[key] = e
	return e, true, nil
}

// end stores the outcome of a call. One that did not begin to run is not kept:
// to ask again is then to ask for the first time.
func (p *replays) end(e *replay, r reply) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if r.size() > p.maxBytes {
		e.reply = *refusal(sandbox.ErrConflict, "this call has run; its result was too large to be kept")
		e.reply.meta = r.meta
	} else {
		e.reply = r
	}
	e.until = time.Now().Add(replayKept)
	defer close(e.done)
	own := p.scopes[e.scope]
	e.inAll, e.inOwn = p.order.PushBack(e), own.order.PushBack(e)
	p.bytes += e.reply.size()
	if !r.meta.ran {
		p.forget(e)
	}
	for p.bytes > p.maxBytes {
		p.forget(p.order.Front().Value.(*replay))
	}
}

// expire forgets what is older than replayKept.
func (p *replays) expire(now time.Time) {
	for front := p.order.Front(); front != nil && !now.Before(front.Value.(*replay).until); front = p.order.Front() {
		p.forget(front.Value.(*replay))
	}
}

// forget removes a call that ended.
func (p *replays) forget(e *replay) {
	p.order.Remove(e.inAll)
	p.bytes -= e.reply.size()
	own := p.scopes[e.scope]
	own.order.Remove(e.inOwn)
	delete(own.byKey, e.key)
	if len(own.byKey) == 0 {
		delete(p.scopes, e.scope)
	}
}
