package browser

import (
	"context"
	"errors"
	"time"

	"github.com/chromedp/cdproto/input"

	"github.com/agentflow-go/sandbox"
)

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
		a, err := t.fill(ctx, at, in.Text)
		if err != nil {
			return err
		}
		if a.Error != "" {
			return a.problem(in.element())
		}
		out.Value = a.Value
		if in.Submit {
			return t.press(ctx, "Enter")
		}
		t.unfollow() // what fields suggest is not what was asked for
		return nil
	})
	return out, err
}

// fill puts text in the place of what a field holds.
func (t *tab) fill(ctx context.Context, at *found, text string) (a answer, err error) {
	var begun struct {
		answer
		Done bool
	}
	if err := t.js(ctx, at.frame, &begun, "fill", at.n, text); err != nil || begun.Error != "" || begun.Done {
		return begun.answer, err
	}
	if text == "" {
		err = t.press(ctx, "Delete")
	} else {
		err = t.link.Call(ctx, input.CommandInsertText, input.InsertTextParams{Text: text}, nil)
	}
	if err == nil {
		err = t.js(ctx, at.frame, &a, "filled", at.n, text)
	}
	return a, err
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
		t.unfollow() // what fields suggest is not what was asked for
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
