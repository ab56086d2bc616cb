package browser

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/agentflow-go/sandbox"
)

// Element names an element of the page, in exactly one way: by Ref, Selector,
// Text, or X and Y.
type Element struct {
	Ref      string   `json:"ref,omitzero" jsonschema:"reference from a snapshot, such as e12 or f1e3"`
	Selector string   `json:"selector,omitzero" jsonschema:"CSS selector; looks into shadow trees; a >> b looks for b inside a"`
	Text     string   `json:"text,omitzero" jsonschema:"what the element shows, or its label: the whole of it, else a part"`
	X        *float64 `json:"x,omitempty" jsonschema:"CSS pixels from the left of the window, with y"`
	Y        *float64 `json:"y,omitempty"`
	Nth      *int     `json:"nth,omitempty" jsonschema:"which of several matches, from 0; -1 is the last"`
	Frame    string   `json:"frame,omitzero" jsonschema:"which frame to look in: its reference from a snapshot (f1), its name, or part of its address; default the main one"`

	labelled bool // Text is what the caller knows as a label
}

// Named is an element that is named without text, for tools to which text is
// something else.
type Named struct {
	Ref      string `json:"ref,omitzero" jsonschema:"reference from a snapshot, such as e12 or f1e3"`
	Selector string `json:"selector,omitzero" jsonschema:"CSS selector; looks into shadow trees; a >> b looks for b inside a"`
	Label    string `json:"label,omitzero" jsonschema:"text of the element's label, or its placeholder"`
	Nth      *int   `json:"nth,omitempty" jsonschema:"which of several matches, from 0; -1 is the last"`
	Frame    string `json:"frame,omitzero" jsonschema:"which frame to look in: its reference from a snapshot (f1), its name, or part of its address; default the main one"`
}

func (n Named) element() Element {
	return Element{Ref: n.Ref, Selector: n.Selector, Text: n.Label, Nth: n.Nth, Frame: n.Frame, labelled: true}
}

// given reports whether any way of naming is used.
func (e Element) given() bool {
	return e.Ref != "" || e.Selector != "" || e.Text != "" || e.X != nil || e.Y != nil
}

// check refuses what names no element, or two. where is the path of the element
// in the parameters.
func (e Element) check(where string) error {
	n := 0
	for _, given := range []bool{e.Ref != "", e.Selector != "", e.Text != "", e.X != nil || e.Y != nil} {
		if given {
			n++
		}
	}
	ways := "ref, selector, text, or x and y"
	if e.labelled {
		ways = "ref, selector or label"
	}
	at := ""
	if where != "" {
		at = where + ": "
	}
	switch {
	case n != 1, (e.X == nil) != (e.Y == nil):
		return invalid("%sname the element in exactly one way: %s", at, ways)
	case len(e.Selector) > 4096 || len(e.Text) > 4096:
		return invalid("%sselector and %s may have 4096 bytes", at, e.textName())
	}
	return nil
}

// textName is what the caller knows Text as.
func (e Element) textName() string {
	if e.labelled {
		return "label"
	}
	return "text"
}

// words names the element as the caller did, for errors.
func (e Element) words() string {
	switch {
	case e.Ref != "":
		return "element " + clip(e.Ref, 40)
	case e.Selector != "":
		return fmt.Sprintf("selector %q", clip(e.Selector, 200))
	case e.Text != "":
		return fmt.Sprintf("%s %q", e.textName(), clip(e.Text, 200))
	case e.X != nil:
		return fmt.Sprintf("point %v,%v", *e.X, *e.Y)
	}
	return "the page"
}

// spec is an element as the helpers know it.
type spec struct {
	Ref      int      `json:"ref,omitzero"`
	Selector string   `json:"selector,omitzero"`
	Text     string   `json:"text,omitzero"`
	X        *float64 `json:"x,omitempty"` // what is at that point of the window
	Y        *float64 `json:"y,omitempty"`
	Nth      *int     `json:"nth,omitempty"`
	Any      bool     `json:"any,omitzero"` // the first of several will do
}

// need is what an element must be before something is done to it.
type need struct {
	Kind     string `json:"kind,omitzero"` // click, input: what it is for
	Visible  bool   `json:"visible,omitzero"`
	Enabled  bool   `json:"enabled,omitzero"`
	Editable bool   `json:"editable,omitzero"`
	Stable   bool   `json:"stable,omitzero"`
	Hit      bool   `json:"hit,omitzero"`
	any      bool
}

var (
	forClick  = need{Kind: "click", Visible: true, Enabled: true, Stable: true, Hit: true}
	forHover  = need{Visible: true, Stable: true, Hit: true}
	forText   = need{Kind: "input", Visible: true, Enabled: true, Editable: true}
	forChoice = need{Kind: "input", Visible: true, Enabled: true}
	forFiles  = need{Enabled: true}
	forSight  = need{Visible: true, any: true}
)

// found is an element that was found, or a point.
type found struct {
	frame *frame
	n     int    // of the element in the frame; 0: a point
	ref   string // as callers write it
	x, y  float64
	desc  string
}

// answer is what helpers return about an element.
type answer struct {
	OK    bool     `json:"ok"`
	Error string   `json:"error"`
	Why   string   `json:"why"`
	Ref   string   `json:"ref"`
	Desc  string   `json:"desc"`
	List  []string `json:"list"`
	Count int      `json:"count"`
	X     float64  `json:"x"`
	Y     float64  `json:"y"`
	Value string   `json:"value"`
	Last  int      `json:"last"` // reference that was given out in the frame
}

// problem turns a helper's refusal into an error.
func (a *answer) problem(e Element) error {
	switch a.Error {
	case "":
		return nil
	case "gone":
		return sandbox.Errorf(sandbox.ErrBusinessFailure, "%s is gone from the page: take a new snapshot", e.words())
	case "selector":
		return invalid("/selector: %s", a.Why)
	case "many":
		return sandbox.Errorf(sandbox.ErrInvalidInput, "%s matches %d elements; give nth, or the ref of one of: %s", e.words(), a.Count, strings.Join(a.List, "; "))
	case "option":
		text := a.Why
		if len(a.List) > 0 {
			text += "; there are " + strings.Join(a.List, ", ")
		}
		return sandbox.Errorf(sandbox.ErrInvalidInput, "%s: %s", e.words(), text)
	case "value":
		return sandbox.Errorf(sandbox.ErrInvalidInput, "%s: %s", e.words(), a.Why)
	}
	return sandbox.Errorf(sandbox.ErrInvalidInput, "%s, %s, %s", e.words(), a.Desc, a.Why)
}

// locate waits until the element is as needed.
func (t *tab) locate(ctx context.Context, e Element, nd need, where string) (*found, error) {
	if err := e.check(where); err != nil {
		return nil, err
	}
	if e.X != nil {
		t.s.mu.Lock()
		view := t.s.viewport
		t.s.mu.Unlock()
		if *e.X < 0 || *e.Y < 0 || *e.X >= float64(view.Width) || *e.Y >= float64(view.Height) {
			return nil, invalid("%s/x: %v,%v is outside of the window, which shows %d by %d pixels; scroll there first", where, *e.X, *e.Y, view.Width, view.Height)
		}
		if nd.Hit { // the mouse goes there, whatever is there
			return &found{frame: t.mainFrame(), x: *e.X, y: *e.Y}, nil
		}
		e.Frame = "" // a point is of the window
	}
	last := "" // why it was not ready
	late := func() error {
		cause := context.Cause(ctx)
		over, ok := cause.(*lateError)
		if !ok {
			return cause
		}
		switch last {
		case "":
			last = "the page did not answer"
		case "no element matches":
			last += t.elsewhere(e)
		}
		if last == "the page did not answer" && t.goingTo() != "" {
			return t.problem(ctx, cause)
		}
		return sandbox.Errorf(sandbox.ErrTimeout, "%s: %s (waited %s)", e.words(), last, over.limit)
	}
	for first := true; ; first = false {
		f, n, err := t.frameOf(e)
		if err != nil {
			return nil, err
		}
		// Why it is not ready is told at once, and then every second: a busy page may
		// have no time for that in the end.
		ms := 1000.0
		if first {
			ms = 0
		} else if d, ok := ctx.Deadline(); ok {
			left := float64(time.Until(d).Milliseconds())
			ms = min(ms, max(0, left-min(250, left/2))) // time to answer
		}
		var a answer
		err = t.jsRetry(ctx, f, &a, "ready", spec{Ref: n, Selector: e.Selector, Text: e.Text, X: e.X, Y: e.Y, Nth: e.Nth, Any: nd.any}, nd, ms, t.refs(f, 0))
		t.refs(f, a.Last)
		switch {
		case ctx.Err() != nil:
			return nil, late()
		case err != nil:
			return nil, err
		case a.Error != "":
			return nil, a.problem(e)
		case !a.OK:
			if last = a.Why; a.Desc != "" {
				last = a.Desc + " " + a.Why
			}
			if err := t.settle(ctx, f); err != nil {
				return nil, late()
			}
			continue
		}
		to := &found{frame: f, ref: f.prefix() + a.Ref, x: a.X, y: a.Y, desc: a.Desc}
		fmt.Sscanf(a.Ref, "e%d", &to.n)
		if nd.Hit && f.n != 0 {
			var why string
			to.x, to.y, why, err = t.toWindow(ctx, f, a.X, a.Y)
			if ctx.Err() != nil {
				return nil, late()
			}
			if err != nil && !errors.Is(err, errContext) {
				return nil, err
			}
			if err != nil || why != "" {
				if last = why; err != nil {
					last = err.Error()
				}
				if err := t.settle(ctx, f); err != nil {
					return nil, late()
				}
				continue
			}
		}
		return to, nil
	}
}

// elsewhere tells of the frames that were not looked in.
func (t *tab) elsewhere(e Element) string {
	if e.Frame != "" {
		return ""
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	var numbers []int
	for _, f := range t.frames {
		if f.n != 0 {
			numbers = append(numbers, f.n)
		}
	}
	if len(numbers) == 0 {
		return ""
	}
	slices.Sort(numbers)
	var names []string
	for _, n := range numbers[:min(len(numbers), 5)] {
		names = append(names, "f"+strconv.Itoa(n))
	}
	if len(numbers) > 5 {
		names = append(names, "…")
	}
	return " in the main frame; others are looked in with frame: " + strings.Join(names, ", ")
}

// frameOf returns the frame to look in, and the number of the element there if
// that is known.
func (t *tab) frameOf(e Element) (*frame, int, error) {
	if e.Ref != "" {
		return t.refFrame(e.Ref)
	}
	f, err := t.findFrame(e.Frame)
	return f, 0, err
}

// lateError is the cause of a context that ended at a tool's own time limit.
type lateError struct{ limit time.Duration }

func (e *lateError) Error() string { return "the time is over (" + e.limit.String() + ")" }

// limited derives a context that ends after d.
func limited(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, d, &lateError{d})
}
