package api

import (
	"bytes"
	"context"
	"errors"
	"mime"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/agentflow-go/sandbox"
)

const (
	// keepAlive is how often a stream without events sends a comment, so that
	// proxies do not take it for dead.
	keepAlive = 15 * time.Second
	// stalled is how long a caller may take none of an event before it counts
	// as gone.
	stalled = 15 * time.Second
)

// wantsEvents reports whether the caller asks for a stream.
func wantsEvents(r *http.Request) bool {
	for _, accept := range r.Header.Values("Accept") {
		for part := range strings.SplitSeq(accept, ",") {
			if media, _, err := mime.ParseMediaType(part); err == nil && media == "text/event-stream" {
				return true
			}
		}
	}
	return false
}

// stream runs a call and sends its events while it runs, then its reply as the
// event "result". The status is 200 whatever the outcome, which the envelope
// tells. A slow caller holds up the tool (nothing piles up), and one that is
// gone ends the call.
func (q *request) stream(ctx context.Context, run func(context.Context, func(sandbox.Event)) reply) reply {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	h := q.w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no")
	h.Set("X-Content-Type-Options", "nosniff")
	q.sent = true
	q.w.WriteHeader(http.StatusOK)
	s := &eventStream{w: q.w, rc: http.NewResponseController(q.w), gone: cancel}
	s.write(nil) // the head
	stop := s.keepAlive()
	defer stop()

	r := run(ctx, func(e sandbox.Event) { s.send(eventName(e.Kind), encode(e)) })
	stop()
	q.complete(&r)
	s.send("result", appendReply(make([]byte, 0, r.size()), &r, q.shape))
	_ = s.rc.SetWriteDeadline(time.Time{}) // the connection may serve further requests
	return reply{sent: true}
}

// eventName is the name that an event travels under: one word, and not result,
// which is ours.
func eventName(kind sandbox.EventKind) string {
	name := functionName(string(kind))
	if name == "" || name == "result" {
		return "message"
	}
	return name
}

// eventStream writes server-sent events.
type eventStream struct {
	mu   sync.Mutex // one write at a time
	w    http.ResponseWriter
	rc   *http.ResponseController
	gone func() // called when the caller takes nothing any more
	dead bool   // it was
}

// send writes one event. data is JSON: a line break in it can only be white
// space.
func (s *eventStream) send(name string, data []byte) {
	b := make([]byte, 0, len(name)+len(data)+24)
	b = append(append(append(b, "event: "...), name...), "\ndata: "...)
	if bytes.ContainsAny(data, "\r\n") {
		data = bytes.Map(func(r rune) rune {
			if r == '\r' || r == '\n' {
				return ' '
			}
			return r
		}, data)
	}
	s.write(append(append(b, data...), "\n\n"...))
}

// write sends b at once.
func (s *eventStream) write(b []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dead {
		return
	}
	// A writer without deadlines (a test's recorder) never stalls.
	_ = s.rc.SetWriteDeadline(time.Now().Add(stalled))
	_, err := s.w.Write(b)
	if err == nil {
		err = s.rc.Flush()
	}
	if err != nil && !errors.Is(err, http.ErrNotSupported) { // then the server flushes when it likes
		s.dead = true
		s.gone()
	}
}

// keepAlive sends comments until the returned function is called, which waits
// for the last.
func (s *eventStream) keepAlive() (stop func()) {
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(keepAlive)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				s.write([]byte(": keep-alive\n\n"))
			case <-done:
				return
			}
		}
	}()
	return sync.OnceFunc(func() {
		close(done)
		<-ended
	})
}
