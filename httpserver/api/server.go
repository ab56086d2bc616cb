package api

import (
	"fmt"
	"net/http"
	"net/url"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/agentflow-go/sandbox"
	"github.com/agentflow-go/sandbox/internal/uuid"
)

// server is the handler.
type server struct {
	ex      sandbox.Executor
	o       Options
	auth    *auth
	origins *origins
	routes  routes
	replays *replays
	status  statusProbe

	schemaNames schemaNameCache
	validData   bool // the executor has made sure that results are JSON
}

// request is one request on its way through an endpoint.
type request struct {
	*server
	w       http.ResponseWriter
	r       *http.Request
	who     caller
	body    *fields // nil where the endpoint takes none
	name    string  // the {name} of the path
	shape   shape
	tool    string // meta.tool, unless the reply names another
	started time.Time
	sent    bool // the head of the answer is on its way
}

// ServeHTTP answers one request with one JSON object (or, for a streamed call,
// with events). A panic becomes a 500 whose stack only the log sees.
func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	q := &request{server: s, w: w, r: r, started: time.Now()}
	defer func() {
		p := recover()
		if p == nil {
			return
		}
		if p == http.ErrAbortHandler { // meant for the server
			panic(p)
		}
		s.o.Logger.Error("panic in a request", "path", r.URL.Path, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
		if q.sent { // too late to say anything
			panic(http.ErrAbortHandler)
		}
		q.write(*refusal(sandbox.ErrUnexpected, "internal error; the server's log has the details"))
	}()
	if refused := s.origins.check(r); refused != nil {
		q.write(*refused)
		return
	}
	if s.origins.allow(w.Header(), r) && isPreflight(r) {
		preflight(w.Header(), r)
		q.write(plain(http.StatusOK, struct{}{}))
		return
	}
	q.write(s.route(q))
}

// route finds the endpoint, checks what all endpoints check, and runs it.
func (s *server) route(q *request) reply {
	path := q.r.URL.Path
	rt, name := s.routes.find(path)
	if rt == nil {
		if trimmed := strings.TrimRight(path, "/"); trimmed != path {
			if found, _ := s.routes.find(trimmed); found != nil {
				return q.redirect(trimmed)
			}
		}
		return plainDetail(http.StatusNotFound)
	}
	q.shape, q.name = rt.shape, name
	e, ok := rt.methods[q.r.Method]
	if !ok {
		for method := range rt.methods {
			q.w.Header().Add("Allow", method)
		}
		return plainDetail(http.StatusMethodNotAllowed)
	}
	q.who = s.auth.caller(q.r)
	if refused := admit(q.who, e.access); refused != nil {
		return *refused
	}
	q.tool = e.tool
	if e.body != noBody {
		var refused *reply
		if q.body, refused = s.readBody(q.w, q.r, e.body); refused != nil {
			return *refused
		}
	}
	return e.run(q.r.Context(), q)
}

// redirect answers a trailing slash. The target is a path that we know, never
// what the caller wrote.
func (q *request) redirect(path string) reply {
	target := url.URL{Path: path, RawQuery: q.r.URL.RawQuery}
	q.w.Header().Set("Location", target.String())
	return plainDetail(http.StatusTemporaryRedirect)
}

// plainDetail is an answer in the words of the framework that AgentFlow's
// server is built on.
func plainDetail(status int) reply {
	return plain(status, struct {
		Detail string `json:"detail"`
	}{http.StatusText(status)})
}

// write sends r, unless its handler already did.
func (q *request) write(r reply) {
	if r.sent {
		return
	}
	q.complete(&r)
	body := appendReply(make([]byte, 0, r.size()), &r, q.shape)
	h := q.w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("X-Content-Type-Options", "nosniff")
	switch r.status {
	case http.StatusUnauthorized:
		h.Set("WWW-Authenticate", "Bearer")
	case http.StatusServiceUnavailable:
		h.Set("Retry-After", "1")
	}
	q.sent = true
	q.w.WriteHeader(r.status)
	_, _ = q.w.Write(body) // a caller that is gone needs no answer
}

// complete fills in what an executor's answer brings and others do not.
func (q *request) complete(r *reply) {
	if r.plain != nil {
		return
	}
	if r.meta.trace == "" {
		r.meta.trace = uuid.New()
	}
	if r.meta.tool == "" {
		r.meta.tool = q.tool
	}
	if group, _, _ := strings.Cut(q.tool, ":"); r.meta.resource == "" && (group == "session" || group == "init") {
		r.meta.resource = sessionResource
	}
	if r.meta.elapsed == 0 {
		r.meta.elapsed = time.Since(q.started)
	}
}

// size estimates the length of the body.
func (r *reply) size() int {
	n := 512 + len(r.data) + len(r.plain) + len(r.message) + len(r.detail)
	if r.batch != nil {
		for i := range r.batch.results {
			n += r.batch.results[i].size()
		}
	}
	return n
}

// workerID returns the worker that the body names, else the X-Worker-ID header;
// nil if neither does.
func (q *request) workerID() *string {
	if id := q.body.text("worker_id"); id != nil {
		return id
	}
	if id := q.r.Header.Get("X-Worker-ID"); id != "" && q.body.get("worker_id") == nil {
		return &id
	}
	return nil
}

// typedWorker is workerID for the endpoints that AgentFlow validates first: no
// worker at all is a fault of the body.
func (q *request) typedWorker() string {
	if id := q.workerID(); id != nil {
		return *id
	}
	q.body.missing("worker_id")
	return ""
}

// refused returns why the request goes no further: the faults of its body, an
// empty worker, or one that the token does not cover.
func (q *request) refused(worker string) *reply {
	if r := q.body.refused(); r != nil {
		return r
	}
	if worker == "" {
		return refusal(sandbox.ErrMissingField, "worker_id is required")
	}
	return q.foreign(worker)
}

// foreign returns the refusal for a worker that the token does not cover.
func (q *request) foreign(worker string) *reply {
	if q.who.owns(worker) {
		return nil
	}
	return refusal(sandbox.ErrForbidden, "this token is bound to other workers")
}

// isoTime is a time as the protocol writes it: naive UTC with microseconds,
// without the fraction where it is 0, as Python's isoformat has it.
func isoTime(t time.Time) string {
	t = t.UTC().Truncate(time.Microsecond)
	if t.Nanosecond() == 0 {
		return t.Format("2006-01-02T15:04:05")
	}
	return t.Format("2006-01-02T15:04:05.000000")
}
