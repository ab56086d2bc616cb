package browser

import (
	"context"
	"sync"

	"github.com/chromedp/cdproto/page"

	"github.com/agentflow-go/sandbox"
)

// TabsInput is what browser:tabs takes.
type TabsInput struct {
	Action string `json:"action,omitzero" jsonschema:"list (default), new, switch or close"`
	Index  *int   `json:"index,omitempty" jsonschema:"of the tab to switch to or close; default for close: the current one"`
	URL    string `json:"url,omitzero" jsonschema:"to load in a new tab"`
}

// Tab is an open page.
type Tab struct {
	Index   int    `json:"index"`
	URL     string `json:"url"`
	Title   string `json:"title"`
	Active  bool   `json:"active" jsonschema:"the one that other tools act on"`
	Crashed bool   `json:"crashed,omitzero"`

	LoadError string `json:"load_error,omitzero" jsonschema:"why the page could not be loaded"`
}

// TabsOutput is what browser:tabs returns.
type TabsOutput struct {
	Tabs    []Tab `json:"tabs"`
	Refused int   `json:"refused,omitzero" jsonschema:"windows that pages opened beyond the limit of 20, which were closed at once"`
}

func (s *session) tabsTool(ctx context.Context, call sandbox.Call, in TabsInput) (out TabsOutput, err error) {
	at := func() (*tab, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		switch {
		case in.Index == nil && in.Action == "close" && s.active != nil:
			return s.active, nil
		case in.Index == nil:
			return nil, invalid("/index: which tab to %s is missing", in.Action)
		case *in.Index < 0 || *in.Index >= len(s.tabs):
			return nil, invalid("/index: %d; there are %d tabs, counted from 0", *in.Index, len(s.tabs))
		}
		return s.tabs[*in.Index], nil
	}
	ctx, cancel := limited(ctx, gotoTimeout)
	defer cancel()
	switch in.Action {
	case "", "list":
	case "new":
		if in.URL != "" {
			if _, err := checkAddress(in.URL); err != nil {
				return out, err
			}
		}
		t, err := s.newTab(ctx)
		if err != nil {
			return out, problem(ctx, err)
		}
		s.mu.Lock()
		s.active = t
		s.mu.Unlock()
		if in.URL != "" {
			if _, err := s.goTo(ctx, call, GotoInput{URL: in.URL}); err != nil {
				return out, err
			}
		}
	case "switch":
		t, err := at()
		if err != nil {
			return out, err
		}
		if err := t.await(ctx); err != nil {
			return out, problem(ctx, err)
		}
		s.mu.Lock()
		s.active = t
		s.mu.Unlock()
		t.link.send(ctx, page.CommandBringToFront, nil)
	case "close":
		t, err := at()
		if err != nil {
			return out, err
		}
		if err := t.close(ctx); err != nil {
			return out, problem(ctx, err)
		}
		select {
		case <-t.link.gone:
		case <-ctx.Done():
			return out, problem(ctx, ctx.Err())
		}
		s.departed(t) // now, not when its goroutine gets to it
	default:
		return out, invalid("/action: %q; give list, new, switch or close", clip(in.Action, 40))
	}
	return s.listTabs(ctx, call), nil
}

// listTabs describes the open tabs. A page that does not answer has no title.
func (s *session) listTabs(ctx context.Context, call sandbox.Call) (out TabsOutput) {
	s.mu.Lock()
	tabs, active := append([]*tab(nil), s.tabs...), s.active
	out.Refused = s.refused
	s.mu.Unlock()
	out.Tabs = make([]Tab, len(tabs))
	var titles sync.WaitGroup
	for i, t := range tabs {
		t.mu.Lock()
		out.Tabs[i] = Tab{Index: i, Active: t == active, Crashed: t.crashed}
		t.mu.Unlock()
		out.Tabs[i].LoadError = t.loadErrorText(call)
		titles.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, titleTimeout)
			defer cancel()
			if t.await(ctx) == nil {
				ctx, done := t.guard(ctx)
				out.Tabs[i].Title = t.title(ctx)
				done()
			}
			out.Tabs[i].URL = t.url() // of a new window it is known a little later
		})
	}
	titles.Wait()
	return out
}
