package browser

import (
	"context"
	"errors"
	"math"
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
	NewTab    *int     `json:"new_tab,omitempty" jsonschema:"index of a tab that was opened; switch to it with tabs"`
	Dialog    *Dialog  `json:"dialog,omitempty" jsonschema:"that the page shows now and waits for: answer it with dialogs"`
	Dialogs   []Dialog `json:"dialogs,omitempty" jsonschema:"that the page showed meanwhile, and how they were answered"`
	Downloads []string `json:"downloads,omitempty" jsonschema:"files that began to be downloaded meanwhile: see downloads"`
	Denied    []string `json:"denied,omitempty" jsonschema:"what policy refused to the page meanwhile"`
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
	err = do(ctx, t, &out)
	if err == nil {
		err = t.after(ctx, starts)
	}
	if de, ok := context.Cause(ctx).(*dialogError); ok && de.during {
		out.Dialog, err = &de.dialog, nil
	}
	if err == errTabClosed || errors.Is(context.Cause(ctx), errTabClosed) {
		err = nil // by what was done: a button that closes its window
	}
	if err != nil {
		return out, problem(ctx, err)
	}
	out.URL = t.url()
	out.NewTab = s.opened(tabs)
	if out.Dialog == nil {
		out.Dialogs, _, _ = s.dialogs.log.since(shown, 20, func(Dialog) bool { return true })
	}
	t.mu.Lock()
	nowhere := t.starts > starts && t.frames[t.main].loader == loader && t.pendingNav == 0
	t.mu.Unlock()
	if nowhere { // it began to load something that is no page, which is told a little later
		s.downloads.started(ctx, given, true)
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

// afterLimit is how long a tool waits for a navigation that its action began.
const afterLimit = 5 * time.Second

// after waits for what an action led to: its events, and a navigation that it
// began, up to the new document being there.
func (t *tab) after(ctx context.Context, starts int) error {
	// An answer of the page comes behind the events of what was done before.
	var title string
	if err := t.js(ctx, t.mainFrame(), &title, "title"); err != nil && !errors.Is(err, errContext) {
		return err
	}
	t.mu.Lock()
	going := t.starts > starts
	t.mu.Unlock()
	if !going {
		return nil
	}
	wait, cancel := context.WithTimeout(ctx, afterLimit)
	defer cancel()
	err := t.until(wait, func() bool {
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
		k, ok := modifierKeys[n]
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

// FillInput is what browser:fill takes.
type FillInput struct {
	Named
	Text    string  `json:"text" jsonschema:"what the field is to hold; dates as 2024-12-31, times as 23:59"`
	Submit  bool    `json:"submit,omitzero" jsonschema:"press Enter afterwards"`
	Timeout float64 `json:"timeout,omitzero" jsonschema:"seconds to wait for the field; default 10"`
}

// ValueOutput is what browser:fill and type return.
type ValueOutput struct {
	ActOutput
	Value string `json:"value" jsonschema:"what the field holds now"`
}

func (s *session) fill(ctx context.Context, call sandbox.Call, in FillInput) (out ValueOutput, err error) {
	out.ActOutput, err = s.acting(ctx, call, in.Timeout, func(ctx context.Context, t *tab, act *ActOutput) error {
		at, err := t.locate(ctx, in.element(), forText, "")
		if err != nil {
			return err
		}
		act.Ref = at.ref
		var a answer
		if err := t.js(ctx, at.frame, &a, "fill", at.n, in.Text); err != nil {
			return err
		}
		if a.Error != "" {
			return a.problem(in.element())
		}
		out.Value = a.Value
		if in.Submit {
			return t.press(ctx, "Enter")
		}
		return nil
	})
	return out, err
}

// TypeInput is what browser:type takes.
type TypeInput struct {
	Named
	Text    string  `json:"text" jsonschema:"typed key by key behind what the field holds; \\n is Enter, \\t is Tab"`
	DelayMS int     `json:"delay_ms,omitzero" jsonschema:"milliseconds between keys"`
	Submit  bool    `json:"submit,omitzero" jsonschema:"press Enter afterwards"`
	Timeout float64 `json:"timeout,omitzero" jsonschema:"seconds to wait for the field, and to type; default 10"`
}

const maxTyped = 10000 // characters; fill takes more at once

func (s *session) typeText(ctx context.Context, call sandbox.Call, in TypeInput) (out ValueOutput, err error) {
	if len(in.Text) > maxTyped {
		return out, invalid("/text: %d bytes are too many to type; use fill, or at most %d", len(in.Text), maxTyped)
	}
	if in.DelayMS < 0 || in.DelayMS > 10000 {
		return out, invalid("/delay_ms: %d; give 0 to 10000", in.DelayMS)
	}
	out.ActOutput, err = s.acting(ctx, call, in.Timeout, func(ctx context.Context, t *tab, act *ActOutput) error {
		frame, n := t.mainFrame(), 0
		if in.element().given() {
			at, err := t.locate(ctx, in.element(), forText, "")
			if err != nil {
				return err
			}
			act.Ref, frame, n = at.ref, at.frame, at.n
			var a answer
			if err := t.js(ctx, frame, &a, "focus", n); err != nil {
				return err
			}
			if a.Error != "" {
				return a.problem(in.element())
			}
		}
		if err := t.typeKeys(ctx, in.Text, time.Duration(in.DelayMS)*time.Millisecond); err != nil {
			return err
		}
		var a answer
		if err := t.js(ctx, frame, &a, "value", n); err != nil && !errors.Is(err, errContext) {
			return err
		}
		out.Value = a.Value
		if in.Submit {
			return t.press(ctx, "Enter")
		}
		return nil
	})
	return out, err
}

// SelectInput is what browser:select takes.
type SelectInput struct {
	Element
	Value   *string  `json:"value,omitempty" jsonschema:"of the option, or its text"`
	Label   *string  `json:"label,omitempty" jsonschema:"the option's text"`
	Values  []string `json:"values,omitempty" jsonschema:"of several options"`
	Timeout float64  `json:"timeout,omitzero" jsonschema:"seconds to wait for the element; default 10"`
}

// SelectOutput is what browser:select returns.
type SelectOutput struct {
	ActOutput
	Value  string   `json:"value"`
	Values []string `json:"values"`
}

func (s *session) selectOption(ctx context.Context, call sandbox.Call, in SelectInput) (out SelectOutput, err error) {
	type choice struct {
		Value *string `json:"value,omitempty"`
		Label *string `json:"label,omitempty"`
	}
	var wanted []choice
	if in.Value != nil || in.Label != nil {
		wanted = append(wanted, choice{in.Value, in.Label})
	}
	for i := range in.Values {
		wanted = append(wanted, choice{Value: &in.Values[i]})
	}
	if len(wanted) == 0 || in.Value != nil && in.Label != nil || len(wanted) > len(in.Values) && len(in.Values) > 0 {
		return out, invalid("/value: give one of value, label or values")
	}
	out.ActOutput, err = s.acting(ctx, call, in.Timeout, func(ctx context.Context, t *tab, act *ActOutput) error {
		at, err := t.locate(ctx, in.Element, forChoice, "")
		if err != nil {
			return err
		}
		act.Ref = at.ref
		var a struct {
			answer
			Values []string `json:"values"`
		}
		if err := t.js(ctx, at.frame, &a, "choose", at.n, wanted); err != nil {
			return err
		}
		if a.Error != "" {
			return a.problem(in.Element)
		}
		out.Value, out.Values = a.Value, a.Values
		return nil
	})
	return out, err
}

// CheckInput is what browser:check takes.
type CheckInput struct {
	Element
	Checked *bool   `json:"checked,omitempty" jsonschema:"default true"`
	Timeout float64 `json:"timeout,omitzero" jsonschema:"seconds to wait for the element; default 10"`
}

// CheckOutput is what browser:check returns.
type CheckOutput struct {
	ActOutput
	Checked bool `json:"checked"`
}

func (s *session) check(ctx context.Context, call sandbox.Call, in CheckInput) (out CheckOutput, err error) {
	want := in.Checked == nil || *in.Checked
	out.ActOutput, err = s.acting(ctx, call, in.Timeout, func(ctx context.Context, t *tab, act *ActOutput) error {
		nd := forChoice
		nd.Visible = false // many pages hide the box and draw a label
		at, err := t.locate(ctx, in.Element, nd, "")
		if err != nil {
			return err
		}
		act.Ref = at.ref
		state := func() (a struct {
			answer
			Checked, Radio bool
		}, err error) {
			err = t.js(ctx, at.frame, &a, "checked", at.n)
			if err == nil && a.Error != "" {
				a.Desc = at.desc
				err = a.problem(in.Element)
			}
			return a, err
		}
		a, err := state()
		if err != nil {
			return err
		}
		if out.Checked = a.Checked; a.Checked == want {
			return nil
		}
		if a.Radio && !want {
			return sandbox.Errorf(sandbox.ErrInvalidInput, "a radio button is unchecked by checking another")
		}
		if err := t.clickElement(ctx, at); err != nil {
			return err
		}
		if a, err = state(); err != nil {
			if errors.Is(err, errContext) {
				out.Checked = want // it was a click that leads elsewhere
				return nil
			}
			return err
		}
		if out.Checked = a.Checked; a.Checked != want {
			return sandbox.Errorf(sandbox.ErrBusinessFailure, "%s was clicked and did not change", at.desc)
		}
		return nil
	})
	return out, err
}

// clickElement clicks an element that was found, or its label if it is hidden.
func (t *tab) clickElement(ctx context.Context, at *found) error {
	el := Element{Ref: at.ref}
	var label struct{ Ref string }
	if err := t.js(ctx, at.frame, &label, "labelOf", at.n); err != nil {
		return err
	}
	if label.Ref != "" {
		el.Ref = at.frame.prefix() + label.Ref
	}
	spot, err := t.locate(ctx, el, forClick, "")
	if err != nil {
		return err
	}
	return t.clickAt(ctx, spot.x, spot.y, input.MouseButtonLeft, 1, 0, 1)
}
