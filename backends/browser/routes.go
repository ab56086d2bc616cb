package browser

import (
	"context"
	"encoding/base64"
	"maps"
	"sort"
	"strings"
	"sync"

	"github.com/chromedp/cdproto/fetch"
	"github.com/chromedp/cdproto/network"

	"github.com/agentflow-go/sandbox"
)

// BlockInput is what browser:block takes.
type BlockInput struct {
	Patterns []string `json:"patterns" jsonschema:"addresses that pages get nothing from: * stands for anything, ? for one character, such as *.png or *://ads.example.com/*; an empty list ends blocking"`
}

// RouteInput is what browser:route takes.
type RouteInput struct {
	Patterns []string `json:"patterns" jsonschema:"addresses, as for block; an empty list ends all routes"`
	Answer   *Answer  `json:"answer,omitempty" jsonschema:"what pages get instead; without it the routes of these patterns end"`
}

// Answer is what pages get instead of the network's.
type Answer struct {
	Status      int               `json:"status,omitzero" jsonschema:"default 200"`
	Headers     map[string]string `json:"headers,omitempty"`
	ContentType string            `json:"content_type,omitzero" jsonschema:"default text/plain"`
	Body        string            `json:"body,omitzero"`
	Base64      bool              `json:"base64,omitzero" jsonschema:"body is base64"`
	Abort       bool              `json:"abort,omitzero" jsonschema:"fail as without network"`
}

// RoutesOutput is what browser:block and route return.
type RoutesOutput struct {
	Blocked []string `json:"blocked"`
	Routed  []string `json:"routed"`
}

// routes are the requests of a session that do not go to the network.
type routes struct {
	mu      sync.Mutex // guards the rest
	blocked []string
	routed  map[string]*Answer
}

const maxPatterns = 200

func (r *routes) patterns() []*fetch.RequestPattern {
	r.mu.Lock()
	defer r.mu.Unlock()
	var list []*fetch.RequestPattern
	for _, p := range r.blocked {
		list = append(list, &fetch.RequestPattern{URLPattern: p})
	}
	for p := range r.routed {
		list = append(list, &fetch.RequestPattern{URLPattern: p})
	}
	return list
}

// answer returns what a request gets; nil: that of the network.
func (r *routes) answer(url string) *Answer {
	r.mu.Lock()
	defer r.mu.Unlock()
	best := ""
	for p := range r.routed {
		if len(p) > len(best) && matches(p, url) {
			best = p
		}
	}
	if best != "" {
		return r.routed[best]
	}
	for _, p := range r.blocked {
		if matches(p, url) {
			return &Answer{Abort: true}
		}
	}
	return nil
}

// matches reports whether the pattern, with * and ?, matches all of s.
func matches(pattern, s string) bool {
	star, mark, i := -1, 0, 0
	j := 0
	for i < len(s) {
		switch {
		case j < len(pattern) && pattern[j] == '*':
			star, mark = j, i
			j++
		case j < len(pattern) && (pattern[j] == '?' || pattern[j] == s[i]):
			i++
			j++
		case star >= 0:
			mark++
			i, j = mark, star+1
		default:
			return false
		}
	}
	return strings.Trim(pattern[j:], "*") == ""
}

// paused answers a request of a page. It runs on the connection's reader.
func (r *routes) paused(s *session, l *link, e fetch.EventRequestPaused) {
	var c command
	a := (*Answer)(nil)
	if e.Request != nil {
		a = r.answer(e.Request.URL)
	}
	switch {
	case a == nil:
		c = cmd(fetch.ContinueRequest, fetch.ContinueRequestParams{RequestID: e.RequestID})
	case a.Abort:
		c = cmd(fetch.FailRequest, fetch.FailRequestParams{RequestID: e.RequestID, ErrorReason: network.ErrorReasonBlockedByClient})
	default:
		c = cmd(fetch.FulfillRequest, a.fulfil(e.RequestID))
	}
	s.spawn(func() { l.Call(s.base, c.method, c.params, nil) })
}

func (a *Answer) fulfil(id fetch.RequestID) fetch.FulfillRequestParams {
	body := []byte(a.Body)
	if a.Base64 {
		body, _ = base64.StdEncoding.DecodeString(a.Body) // checked when the route was made
	}
	p := fetch.FulfillRequestParams{RequestID: id, ResponseCode: int64(a.Status), Body: body}
	typed := false
	for k, v := range a.Headers {
		typed = typed || strings.EqualFold(k, "Content-Type")
		p.ResponseHeaders = append(p.ResponseHeaders, &fetch.HeaderEntry{Name: k, Value: v})
	}
	if !typed {
		p.ResponseHeaders = append(p.ResponseHeaders, &fetch.HeaderEntry{Name: "Content-Type", Value: a.ContentType})
	}
	return p
}

func checkPatterns(list []string) error {
	if len(list) > maxPatterns {
		return invalid("/patterns: %d; give at most %d", len(list), maxPatterns)
	}
	for i, p := range list {
		if p == "" || len(p) > 1000 || strings.Contains(p, `\`) {
			return invalid("/patterns/%d: %q; give an address of up to 1000 bytes with * and ?, without \\", i, clip(p, 100))
		}
	}
	return nil
}

func (s *session) block(ctx context.Context, in BlockInput) (RoutesOutput, error) {
	if err := checkPatterns(in.Patterns); err != nil {
		return RoutesOutput{}, err
	}
	return s.reroute(ctx, func(r *routes) error {
		if len(in.Patterns) == 0 {
			r.blocked = nil
			return nil
		}
		if len(r.blocked)+len(in.Patterns) > maxPatterns {
			return invalid("/patterns: with those that are there already more than %d", maxPatterns)
		}
		r.blocked = append(r.blocked, in.Patterns...)
		return nil
	})
}

func (s *session) route(ctx context.Context, in RouteInput) (RoutesOutput, error) {
	if err := checkPatterns(in.Patterns); err != nil {
		return RoutesOutput{}, err
	}
	if a := in.Answer; a != nil {
		c := *a
		in.Answer = &c
		if c.Status == 0 {
			in.Answer.Status = 200
		}
		if c.ContentType == "" {
			in.Answer.ContentType = "text/plain; charset=utf-8"
		}
		if in.Answer.Status < 100 || in.Answer.Status > 599 {
			return RoutesOutput{}, invalid("/answer/status: %d; give 100 to 599", c.Status)
		}
		if _, err := base64.StdEncoding.DecodeString(c.Body); c.Base64 && err != nil {
			return RoutesOutput{}, invalid("/answer/body: %w", err)
		}
		if len(c.Body) > 8<<20 {
			return RoutesOutput{}, sandbox.Errorf(sandbox.ErrTooLarge, "/answer/body: %d bytes; at most %d", len(c.Body), 8<<20)
		}
		for k, v := range c.Headers {
			if !sendable(k, v) {
				return RoutesOutput{}, invalid("/answer/headers: %q: %q is no header that can be sent", clip(k, 100), clip(v, 100))
			}
		}
	}
	return s.reroute(ctx, func(r *routes) error {
		if len(in.Patterns) == 0 {
			r.routed = nil
			return nil
		}
		routed := map[string]*Answer{}
		maps.Copy(routed, r.routed)
		for _, p := range in.Patterns {
			delete(routed, p)
			if in.Answer != nil {
				routed[p] = in.Answer
			}
		}
		if len(routed) > maxPatterns {
			return invalid("/patterns: with those that are there already more than %d", maxPatterns)
		}
		r.routed = routed
		return nil
	})
}

// reroute changes the routes and tells all pages. A change that returns an error
// must have changed nothing.
func (s *session) reroute(ctx context.Context, change func(*routes) error) (out RoutesOutput, err error) {
	r := &s.routes
	r.mu.Lock()
	err = change(r)
	out.Blocked, out.Routed = append([]string{}, r.blocked...), []string{}
	for p := range r.routed {
		out.Routed = append(out.Routed, p)
	}
	r.mu.Unlock()
	sort.Strings(out.Routed)
	if err != nil {
		return out, err
	}
	c := command{fetch.CommandDisable, struct{}{}}
	if patterns := r.patterns(); len(patterns) > 0 {
		c = command{fetch.CommandEnable, fetch.EnableParams{Patterns: patterns}}
	}
	return out, s.everywhere(ctx, c)
}

// everywhere sends commands to every page and to its frames elsewhere.
func (s *session) everywhere(ctx context.Context, cmds ...command) error {
	ctx, cancel := limited(ctx, defaultTimeout)
	defer cancel()
	for _, t := range s.list() {
		for _, l := range t.links() {
			if err := l.all(ctx, cmds...); err != nil && ctx.Err() != nil {
				return problem(ctx, err)
			} else if _, refused := err.(*protocolError); refused {
				return disbelief(err)
			}
		}
	}
	return nil
}

// links returns the targets that the page is made of.
func (t *tab) links() []*link {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := []*link{t.link}
	seen := map[*link]bool{t.link: true}
	for _, f := range t.frames {
		if f.link != nil && !seen[f.link] {
			seen[f.link] = true
			all = append(all, f.link)
		}
	}
	return all
}
