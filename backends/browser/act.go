package browser

import (
	"context"
	"errors"
	"math"
	"sync"
	"time"

	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp/kb"

	"github.com/agentflow-go/sandbox"
)

// ClickInput is what browser:click, double_click and hover take.
type ClickInput struct {
	Element
	Button    string   `json:"button,omitzero" jsonschema:"left (default), right or middle"`
	Modifiers []string `json:"modifiers,omitempty" jsonschema:"keys held meanwhile: Alt, Control, Meta, Shift"`
	Timeout   float64  `json:"timeout,omitzero" jsonschema:"seconds to wait for the element; default 10"`
}

// ActOutput is what happened to the page.
type ActOutput struct {
	Ref       string   `json:"ref,omitzero" jsonschema:"reference of the element"`
	URL       string   `json:"url" jsonschema:"where the page is now"`
	Loading   string   `json:"loading,omitzero" jsonschema:"where the page was sent to, which has not answered yet"`
	NewTab    *int     `json:"new_tab,omitempty" jsonschema:"index of a tab that was opened; switch to it with tabs"`
	Dialog    *Dialog  `json:"dialog,omitempty" jsonschema:"that the page shows now and waits for: answer it with dialogs"`
	Dialogs   []Dialog `json:"dialogs,omitempty" jsonschema:"that the page showed meanwhile, and how they were answered"`
	Downloads []string `json:"downloads,omitempty" jsonschema:"files that began to be downloaded meanwhile: see downloads"`
	Denied    []string `json:"denied,omitempty" jsonschema:"what policy refused to the page meanwhile"`
	LoadError string   `json:"load_error,omitzero" jsonschema:"why the page that this led to could not be loaded"`
}

// acting is the frame of a tool that acts on the page: it finds the page, limits
// the time, waits for what the action leads to, and tells of it.
func (s *session) acting(ctx context.Context, call sandbox.Call, timeout float64, do func(context.Context, *tab, *ActOutput) error) (out ActOutput, err error) {
	limit, err := s.limit(timeout)
	if err != nil {
		return out, err
	}
	ctx, cancel := limited(ctx, limit)
	defer cancel()
	t, err := s.tab(ctx)
	if err != nil {
		return out, problem(ctx, err)
	}
	ctx, done := t.guard(ctx)
	defer done()
	t.mu.Lock()
	starts, loader := t.starts, t.frames[t.main].loader
	t.mu.Unlock()
	tabs := s.list()
	_, shown, _ := s.dialogs.log.since(math.MaxInt, 0, func(Dialog) bool { return false })
	given := s.downloads.count()
	t.follow()
	defer t.unfollow()
	err = do(ctx, t, &out)
	if err == nil {
		err = t.after(ctx, starts)
	}
	if err == nil {
		err = t.followUp(ctx)
	}
	if de, ok := context.Cause(ctx).(*dialogError); ok && de.during {
		out.Dialog, err = &de.dialog, nil
	}
	if err == errTabClosed || errors.Is(context.Cause(ctx), errTabClosed) {
		err = nil // by what was done: a button that closes its window
	}
	if err != nil {
		return out, t.problem(ctx, err)
	}
	out.URL, out.Loading = t.url(), t.goingTo()
	out.NewTab = s.opened(tabs)
	if out.Dialog == nil {
		out.Dialogs, _, _ = s.dialogs.log.since(shown, 20, func(Dialog) bool { return true })
	}
	t.mu.Lock()
	moved := t.frames[t.main].loader != loader
	nowhere := t.starts > starts && !moved && t.pendingNav == 0
	t.mu.Unlock()
	if moved {
		out.LoadError = t.loadErrorText(call)
	}
	if nowhere { // it began to load something that is no page, which is told a little later
		s.downloads.started(ctx, given, downloadLimit)
	}
	out.Downloads = s.downloads.names(given)
	out.Denied = denials(call)
	return out, nil
}

// denials are the texts of what policy refused.
func denials(call sandbox.Call) (texts []string) {
	for _, d := range call.Denied() {
		texts = append(texts, d.Text)
	}
	return texts
}

// limit is the time limit of an action.
func (s *session) limit(timeout float64) (time.Duration, error) {
	def := defaultTimeout
	if s.cfg.Timeout > 0 {
		def = time.Duration(s.cfg.Timeout * float64(time.Second))
	}
	return seconds("/timeout", timeout, def)
}

// opened returns the index of the first tab that is not among old.
func (s *session) opened(old []*tab) *int {
	had := map[*tab]bool{}
	for _, t := range old {
		had[t] = true
	}
	for i, t := range s.list() {
		if !had[t] {
			return &i
		}
	}
	return nil
}

// downloadLimit is how long a tool waits for a download where its action began to
// load something and no page came of it.
const downloadLimit = time.Second

// afterLimit is how long a tool waits for a navigation that its action began.
const afterLimit = 5 * time.Second

// after waits for what an action led to: its events, and a navigation that it
// began, up to the new document being there.
func (t *tab) after(ctx context.Context, starts int) error {
	// An answer of the page comes behind the events of what was done before. While
	// a server is waited for there is none.
	asking, begun := context.WithCancel(ctx)
	defer begun()
	var watch sync.WaitGroup
	going := false
	watch.Go(func() {
		if t.until(asking, func() bool { return t.starts > starts }) == nil {
			going = true
			begun()
		}
	})
	var title string
	err := t.js(asking, t.mainFrame(), &title, "title")
	begun()
	watch.Wait()
	t.mu.Lock()
	going = going || t.starts > starts
	t.mu.Unlock()
	switch {
	case going && ctx.Err() == nil:
	case err != nil && !errors.Is(err, errContext):
		return err
	default:
		return nil
	}
	wait, cancel := context.WithTimeout(ctx, afterLimit)
	defer cancel()
	err = t.until(wait, func() bool {
		f := t.frames[t.main]
		return t.pendingNav == 0 && (f.reached["DOMContentLoaded"] || f.reached["load"] || f.loader == "")
	})
	if ctx.Err() == nil {
		return nil // it goes on, and the caller looks again
	}
	return err
}

func button(name string) (input.MouseButton, int64, error) {
	switch name {
	case "", "left":
		return input.MouseButtonLeft, 1, nil
	case "right":
		return input.MouseButtonRight, 2, nil
	case "middle":
		return input.MouseButtonMiddle, 4, nil
	}
	return "", 0, invalid("/button: %q; give left, right or middle", clip(name, 40))
}

func modifiers(names []string) (kb.Modifier, error) {
	var m kb.Modifier
	for _, n := range names {
		k, ok := modifier(n)
		if !ok {
			return 0, invalid("/modifiers: %q; give Alt, Control, Meta or Shift", clip(n, 40))
		}
		m |= k.bit
	}
	return m, nil
}

func (s *session) click(ctx context.Context, call sandbox.Call, in ClickInput, times int64) (ActOutput, error) {
	btn, bits, err := button(in.Button)
	if err != nil {
		return ActOutput{}, err
	}
	mods, err := modifiers(in.Modifiers)
	if err != nil {
		return ActOutput{}, err
	}
	return s.acting(ctx, call, in.Timeout, func(ctx context.Context, t *tab, out *ActOutput) error {
		at, err := t.locate(ctx, in.Element, forClick, "")
		if err != nil {
			return err
		}
		out.Ref = at.ref
		return t.clickAt(ctx, at.x, at.y, btn, bits, mods, times)
	})
}

// clickAt moves the mouse to a point and clicks.
func (t *tab) clickAt(ctx context.Context, x, y float64, btn input.MouseButton, bits int64, mods kb.Modifier, times int64) error {
	event := func(kind input.DispatchMouseEventType, btn input.MouseButton, bits, count int64) command {
		return cmd(input.DispatchMouseEvent, input.DispatchMouseEventParams{Type: kind, X: x, Y: y, Button: btn, Buttons: bits, ClickCount: count, Modifiers: mods.Int64()})
	}
	cmds := []command{event(input.DispatchMouseEventTypeMouseMoved, input.MouseButtonNone, 0, 0)}
	for n := int64(1); n <= times; n++ {
		cmds = append(cmds, event(input.DispatchMouseEventTypeMousePressed, btn, bits, n), event(input.DispatchMouseEventTypeMouseReleased, btn, 0, n))
	}
	return t.link.all(ctx, cmds...)
}

func (s *session) hover(ctx context.Context, call sandbox.Call, in ClickInput) (ActOutput, error) {
	mods, err := modifiers(in.Modifiers)
	if err != nil {
		return ActOutput{}, err
	}
	return s.acting(ctx, call, in.Timeout, func(ctx context.Context, t *tab, out *ActOutput) error {
		at, err := t.locate(ctx, in.Element, forHover, "")
		if err != nil {
			return err
		}
		out.Ref = at.ref
		return t.moveTo(ctx, at.x, at.y, mods)
	})
}

func (t *tab) moveTo(ctx context.Context, x, y float64, mods kb.Modifier) error {
	return t.link.Call(ctx, input.CommandDispatchMouseEvent, input.DispatchMouseEventParams{
		Type: input.DispatchMouseEventTypeMouseMoved, X: x, Y: y, Button: input.MouseButtonNone, Modifiers: mods.Int64(),
	}, nil)
}
