package browser

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/dom"
	"github.com/chromedp/cdproto/runtime"

	"github.com/agentflow-go/sandbox"
)

func (s *session) evaluate(ctx context.Context, call sandbox.Call, in EvaluateInput) (out EvaluateOutput, err error) {
	defer func() { out.Denied = denials(call) }()
	if in.Expression == "" || len(in.Expression) > 1<<20 {
		return out, invalid("/expression: give 1 to %d bytes", 1<<20)
	}
	var dialog *Dialog
	err = s.looking(ctx, in.Timeout, func(ctx context.Context, t *tab) error {
		raw, err := t.evaluate(ctx, in)
		if de, ok := context.Cause(ctx).(*dialogError); ok && de.during {
			dialog = &de.dialog
			return nil
		}
		if err != nil {
			if isLate(ctx) { // it may run for ever
				t.link.send(context.WithoutCancel(ctx), runtime.CommandTerminateExecution, nil)
			}
			if errors.Is(err, errReplaced) {
				t.after(ctx, -1) // so that the next call finds the new document
			}
			return err
		}
		if len(raw) > maxResult {
			out.Result, out.Truncated = clip(string(raw), maxResult/2), true
			return nil
		}
		if len(raw) > 0 && json.Unmarshal(raw, &out.Result) != nil {
			return sandbox.Errorf(sandbox.ErrBusinessFailure, "the result is no JSON")
		}
		return nil
	})
	if dialog != nil {
		out.Dialog, err = dialog, nil
	}
	return out, err
}

func (t *tab) evaluate(ctx context.Context, in EvaluateInput) ([]byte, error) {
	result := func(r *runtime.RemoteObject, ex *runtime.ExceptionDetails, err error) ([]byte, error) {
		switch {
		case err != nil:
			return nil, evaluateError(changedDocument(err))
		case ex != nil:
			text := exceptionText(ex)
			if strings.Contains(text, "Illegal return statement") {
				text += " (the last value counts, without return)"
			}
			return nil, sandbox.Errorf(sandbox.ErrBusinessFailure, "the script failed: %s", text)
		case r == nil:
			return nil, nil
		case r.UnserializableValue != "":
			return json.Marshal(string(r.UnserializableValue))
		}
		return r.Value, nil
	}
	if !in.given() {
		f, err := t.findFrame(in.Frame)
		if err != nil {
			return nil, err
		}
		l, id, err := t.pageWorld(ctx, f)
		if err != nil {
			return nil, err
		}
		params := runtime.EvaluateParams{
			Expression: in.Expression, UniqueContextID: id, ReturnByValue: ptr(true), AwaitPromise: ptr(true),
			UserGesture: ptr(true), Silent: ptr(true),
		}
		ev, err := cdp.Call(ctx, l, runtime.Evaluate, params)
		if err == nil && t.doesNotCompile(ctx, l, in.Expression, ev.ExceptionDetails) {
			// Nothing ran. As on a console it may await; a promise that is the
			// value would then not be.
			params.ReplMode = ptr(true)
			if again, e := cdp.Call(ctx, l, runtime.Evaluate, params); e != nil || again.ExceptionDetails == nil ||
				!strings.HasPrefix(exceptionText(again.ExceptionDetails), "SyntaxError") {
				ev, err = again, e
			}
		}
		if err == nil && ev.ExceptionDetails == nil && ev.Result != nil && ev.Result.Type == runtime.RemoteObjectTypeFunction {
			params.Expression = "(" + in.Expression + "\n)()" // what is a function is meant to be called
			ev, err = cdp.Call(ctx, l, runtime.Evaluate, params)
		}
		return result(ev.Result, ev.ExceptionDetails, err)
	}
	at, err := t.locate(ctx, in.Element, need{}, "")
	if err != nil {
		return nil, err
	}
	// The element is handed over from the helpers' world to the page's.
	own, err := t.jsOn(ctx, at.frame, "", nil, "element", at.n)
	if err != nil {
		return nil, evaluateError(err)
	}
	l := at.frame.link
	node, err := cdp.Call(ctx, l, dom.DescribeNode, dom.DescribeNodeParams{ObjectID: own})
	if err != nil {
		return nil, evaluateError(changedDocument(err))
	}
	obj, err := cdp.Call(ctx, l, dom.ResolveNode, dom.ResolveNodeParams{BackendNodeID: node.Node.BackendNodeID})
	if err != nil {
		return nil, evaluateError(changedDocument(err))
	}
	ev, err := cdp.Call(ctx, l, runtime.CallFunctionOn, runtime.CallFunctionOnParams{
		FunctionDeclaration: "function() { return (" + in.Expression + "\n)(this); }", ObjectID: obj.Object.ObjectID,
		ReturnByValue: ptr(true), AwaitPromise: ptr(true), UserGesture: ptr(true), Silent: ptr(true),
	})
	return result(ev.Result, ev.ExceptionDetails, err)
}

var errReplaced = sandbox.Errorf(sandbox.ErrBusinessFailure, "the page changed to another document while the script ran, so there is no result")

// doesNotCompile reports whether a script failed before any of it ran.
func (t *tab) doesNotCompile(ctx context.Context, l *link, script string, ex *runtime.ExceptionDetails) bool {
	if ex == nil || !strings.HasPrefix(exceptionText(ex), "SyntaxError") {
		return false // also a script that runs may throw one
	}
	res, err := cdp.Call(ctx, l, runtime.CompileScript, runtime.CompileScriptParams{Expression: script})
	return err == nil && res.ExceptionDetails != nil
}

// evaluateError explains why a script has no result.
func evaluateError(err error) error {
	if errors.Is(err, errContext) {
		return errReplaced
	}
	if e, ok := errors.AsType[*protocolError](err); ok && strings.Contains(e.text, "reference chain is too long") {
		return sandbox.Errorf(sandbox.ErrBusinessFailure, "the result cannot be written as JSON (it is too deep, or refers to itself): return a part of it")
	}
	return err
}

// pageWorld returns the world of the page's own scripts in a frame.
func (t *tab) pageWorld(ctx context.Context, f *frame) (l *link, id string, err error) {
	err = t.until(ctx, func() bool {
		l, id = f.link, f.mainWorld
		// Of a page that is not listened to only the main frame's world is known:
		// it is the target's first.
		return id != "" || t.frames[f.id] != f || t.muted && f.n == 0
	})
	if err == nil && id == "" && f.n == 0 {
		return l, "", nil
	}
	if err == nil && id == "" {
		err = errFrameGone
	}
	return l, id, err
}

func (s *session) waitFor(ctx context.Context, call sandbox.Call, in WaitInput) (out WaitOutput, err error) {
	defer func() { out.Denied = denials(call) }()
	n := 0
	for _, given := range []bool{in.Text != "", in.Selector != "", in.URL != "", in.Gone != "", in.Seconds != 0} {
		if given {
			n++
		}
	}
	if n != 1 {
		return out, invalid("give exactly one of text, selector, url, gone, seconds")
	}
	begin := time.Now()
	if in.Seconds != 0 {
		d, err := seconds("/seconds", in.Seconds, 0)
		if err != nil {
			return out, err
		}
		timer := time.NewTimer(d)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return out, ctx.Err()
		}
	}
	err = s.looking(ctx, in.Timeout, func(ctx context.Context, t *tab) error {
		switch {
		case in.URL != "":
			err = t.until(ctx, func() bool { return strings.Contains(t.frames[t.main].url, in.URL) })
		case in.Text != "":
			err = t.untilShown(ctx, spec{Text: in.Text}, true, in.Frame, in.Frame == "")
		case in.Selector != "":
			err = t.untilShown(ctx, spec{Selector: in.Selector}, true, in.Frame, false)
		case in.Gone != "":
			if err = t.untilShown(ctx, spec{Text: in.Gone}, false, in.Frame, false); err == nil {
				// What is no selector can only be meant as text.
				err = t.untilShown(ctx, spec{Selector: in.Gone}, false, in.Frame, false)
				if sandbox.CodeOf(err) == sandbox.ErrInvalidInput {
					err = nil
				}
			}
		}
		out.URL = t.url()
		if isLate(ctx) {
			at := "is at " + clip(t.url(), 200)
			if to := t.goingTo(); to != "" {
				at += " and on its way to " + clip(to, 200) + ", which has not answered yet"
			}
			return sandbox.Errorf(sandbox.ErrTimeout, "%s (waited %s; the page %s)", in.words(), time.Since(begin).Round(time.Millisecond), at)
		}
		return err
	})
	out.WaitedMS = time.Since(begin).Milliseconds()
	return out, err
}

// words says what did not happen.
func (in WaitInput) words() string {
	switch {
	case in.Text != "":
		return "text " + quoted(in.Text, 200) + " did not appear"
	case in.Selector != "":
		return "nothing visible matches selector " + quoted(in.Selector, 200)
	case in.URL != "":
		return "the address does not contain " + quoted(in.URL, 200)
	}
	return quoted(in.Gone, 200) + " is still there"
}

// untilShown waits until a frame, or any of the page's, shows what sp says, or no
// longer does.
func (t *tab) untilShown(ctx context.Context, sp spec, wanted bool, where string, anywhere bool) error {
	for {
		var frames []*frame
		if anywhere {
			frames = t.allFrames()
		} else {
			f, err := t.findFrame(where)
			if err != nil {
				return err
			}
			frames = append(frames, f)
		}
		for i, f := range frames {
			name, args := "shows", []any{sp}
			if i == len(frames)-1 { // wait in the last one, where waiting costs least
				ms := 1000.0
				if len(frames) > 1 {
					ms = 100
				}
				name, args = "awaitShown", []any{sp, wanted, ms}
			}
			var a answer
			err := t.js(ctx, f, &a, name, args...)
			switch {
			case errors.Is(err, errContext), errors.Is(err, errFrameGone) && anywhere:
				continue
			case err != nil:
				return err
			case a.Error != "":
				return a.problem(Element{Selector: sp.Selector})
			case a.OK == wanted && a.Why == "":
				return nil
			}
		}
		if err := t.settle(ctx, t.mainFrame()); err != nil {
			return err
		}
	}
}

// allFrames returns the page's frames, the main one last.
func (t *tab) allFrames() []*frame {
	t.mu.Lock()
	defer t.mu.Unlock()
	var all []*frame
	for id, f := range t.frames {
		if id != t.main && len(all) < 50 {
			all = append(all, f)
		}
	}
	return append(all, t.frames[t.main])
}
