package browser

import (
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/cdp/jsonv2"
	"github.com/chromedp/cdproto/dom"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/agentflow-go/sandbox"
)

//go:embed js
var sources embed.FS

// helpers is what runs in every frame, in a world of its own.
var helpers = func() string {
	var b strings.Builder
	b.WriteString("if (!globalThis.__tools) (() => {\n'use strict';\n")
	for _, name := range []string{"js/own.js", "js/find.js", "js/clipboard.js", "js/act.js", "js/read.js"} {
		text, err := sources.ReadFile(name)
		if err != nil {
			panic(err) // embedded: it is there
		}
		b.Write(text)
	}
	b.WriteString("})();")
	return b.String()
}()

// source is what runs in the frames of the session.
func (s *session) source() string {
	if s.own {
		return "globalThis.__alone = true;" + helpers
	}
	return helpers
}

const worldName = "tools"

// maxAnswer bounds what a helper returns, in bytes of JSON.
const maxAnswer = 16 << 20

// errContext says that a frame's document was replaced while it was asked.
var errContext = errors.New("the page changed to another document meanwhile")

// world returns the world of the helpers in a frame's document.
func (t *tab) world(ctx context.Context, f *frame) (*link, runtime.ExecutionContextID, error) {
	t.mu.Lock()
	l, id := f.link, f.world
	known := t.frames[f.id] == f
	t.mu.Unlock()
	switch {
	case !known || l == nil:
		return nil, 0, errFrameGone
	case id != 0:
		return l, id, nil
	}
	res, err := cdp.Call(ctx, l, page.CreateIsolatedWorld, page.CreateIsolatedWorldParams{FrameID: f.id, WorldName: worldName})
	if err != nil {
		return nil, 0, changedDocument(err)
	}
	ev, err := cdp.Call(ctx, l, runtime.Evaluate, runtime.EvaluateParams{Expression: t.s.source(), ContextID: res.ExecutionContextID, Silent: ptr(true)})
	if err != nil {
		return nil, 0, changedDocument(err)
	}
	if ev.ExceptionDetails != nil {
		return nil, 0, fmt.Errorf("prepare the frame: %s", exceptionText(ev.ExceptionDetails))
	}
	t.mu.Lock()
	if f.link == l {
		f.world = res.ExecutionContextID
	}
	t.mu.Unlock()
	return l, res.ExecutionContextID, nil
}

var errFrameGone = sandbox.Errorf(sandbox.ErrBusinessFailure, "the frame is gone: take a new snapshot")

// changedDocument recognises the browser's errors of a document that was
// replaced.
func changedDocument(err error) error {
	if errors.Is(err, errGone) {
		return errContext
	}
	if e, ok := errors.AsType[*protocolError](err); ok {
		for _, s := range []string{"Cannot find context", "context was destroyed", "Inspected target navigated", "No frame", "Frame with the given id", "Could not find object", "Promise was collected", "uniqueContextId not found", "Argument should belong to the same"} {
			if strings.Contains(e.text, s) {
				return errContext
			}
		}
	}
	return err
}

// js calls a helper in a frame and stores what it returns in res. It returns
// errContext if the document was replaced meanwhile.
func (t *tab) js(ctx context.Context, f *frame, res any, name string, args ...any) error {
	_, err := t.jsOn(ctx, f, "", res, name, args...)
	return err
}

// jsRetry is js for what may be asked again of the next document.
func (t *tab) jsRetry(ctx context.Context, f *frame, res any, name string, args ...any) error {
	for {
		err := t.js(ctx, f, res, name, args...)
		if !errors.Is(err, errContext) {
			return err
		}
		if err := t.settle(ctx, f); err != nil {
			return err
		}
	}
}

// settle waits for a moment, or for something to change in the page.
func (t *tab) settle(ctx context.Context, f *frame) error {
	t.mu.Lock()
	changed, known := t.changed, t.frames[f.id] == f
	t.mu.Unlock()
	if !known {
		return errFrameGone
	}
	select {
	case <-changed:
	case <-time.After(20 * time.Millisecond):
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

// jsOn is js with an object, if one is given, as first argument. If res is nil
// the result stays in the page and its handle is returned.
func (t *tab) jsOn(ctx context.Context, f *frame, on runtime.RemoteObjectID, res any, name string, args ...any) (runtime.RemoteObjectID, error) {
	l, world, err := t.world(ctx, f)
	if err != nil {
		return "", err
	}
	call := runtime.CallFunctionOnParams{
		FunctionDeclaration: "function(n, a, ...on) { return globalThis.__tools[n](...on, ...a ?? []); }",
		ExecutionContextID:  world, ReturnByValue: ptr(res != nil), AwaitPromise: ptr(true), Silent: ptr(true),
		// The arguments travel as one: an empty string by itself would be left out.
		Arguments: []*runtime.CallArgument{argument(name), argument(append([]any{}, args...))},
	}
	if on != "" {
		call.Arguments = append(call.Arguments, &runtime.CallArgument{ObjectID: on})
	}
	out, err := cdp.Call(ctx, l, runtime.CallFunctionOn, call)
	if err != nil {
		err = changedDocument(err)
		if errors.Is(err, errContext) {
			t.mu.Lock()
			if f.world == world {
				f.world = 0
			}
			t.mu.Unlock()
		}
		return "", err
	}
	if out.ExceptionDetails != nil {
		return "", fmt.Errorf("in the page: %s", exceptionText(out.ExceptionDetails))
	}
	if res == nil {
		return out.Result.ObjectID, nil
	}
	switch n := len(out.Result.Value); {
	case n == 0:
		return "", nil
	case n > maxAnswer: // the helpers bound what they return: this is not theirs
		return "", fmt.Errorf("the page answers with %d bytes; at most %d are read", n, maxAnswer)
	}
	return "", json.Unmarshal(out.Result.Value, res)
}

func argument(v any) *runtime.CallArgument {
	raw, err := jsonv2.Marshal(v, chromedp.DefaultMarshalOptions)
	if err != nil {
		panic("browser: encode an argument: " + err.Error()) // strings, numbers and plain structs: cannot happen
	}
	return &runtime.CallArgument{Value: raw}
}

// exceptionText says what a script threw.
func exceptionText(e *runtime.ExceptionDetails) string {
	if e.Exception != nil && e.Exception.Description != "" {
		return clip(e.Exception.Description, 1000)
	}
	if e.Exception != nil && len(e.Exception.Value) > 0 {
		return clip(e.Text+" "+string(e.Exception.Value), 1000)
	}
	return clip(e.Text, 1000)
}

// findFrame returns the frame that a caller names: "" is the main one; else a
// reference (f1), a name, or an address or part of one.
func (t *tab) findFrame(name string) (*frame, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if name == "" {
		return t.frames[t.main], nil
	}
	if n, ok := frameNumber(name); ok {
		for _, f := range t.frames {
			if f.n == n {
				return f, nil
			}
		}
	}
	var found []*frame
	for _, same := range []func(*frame) bool{
		func(f *frame) bool { return f.name == name },
		func(f *frame) bool { return f.url == name },
		func(f *frame) bool { return strings.Contains(f.url, name) },
	} {
		for _, f := range t.frames {
			if f.n != 0 && same(f) {
				found = append(found, f)
			}
		}
		if len(found) > 0 {
			break
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return nil, sandbox.Errorf(sandbox.ErrBusinessFailure, "/frame: no frame %q; give its reference from a snapshot (f1), its name, or part of its address", clip(name, 100))
	}
	return nil, sandbox.Errorf(sandbox.ErrInvalidInput, "/frame: %d frames match %q; give the reference from a snapshot (f1)", len(found), clip(name, 100))
}

// frameNumber reads f12.
func frameNumber(s string) (int, bool) {
	digits, ok := strings.CutPrefix(s, "f")
	if !ok {
		return 0, false
	}
	n, err := strconv.Atoi(digits)
	return n, err == nil && n > 0
}

// refFrame splits a reference into the frame and the number of the element in
// it.
func (t *tab) refFrame(ref string) (*frame, int, error) {
	name, digits, ok := strings.Cut(ref, "e")
	n, err := strconv.Atoi(digits)
	if !ok || err != nil || n < 1 {
		return nil, 0, invalid("/ref: %q is no reference; take one from a snapshot, such as e12 or f1e3", clip(ref, 40))
	}
	if name == "" {
		return t.mainFrame(), n, nil
	}
	k, ok := frameNumber(name)
	if !ok {
		return nil, 0, invalid("/ref: %q is no reference; take one from a snapshot, such as e12 or f1e3", clip(ref, 40))
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, f := range t.frames {
		if f.n == k {
			return f, n, nil
		}
	}
	return nil, 0, sandbox.Errorf(sandbox.ErrBusinessFailure, "element %s is gone with its frame: take a new snapshot", ref)
}

// refs returns the last number that was given to an element of the frame, in this
// document or one before it, so that no number is given twice. last, if it is
// greater, becomes it.
func (t *tab) refs(f *frame, last int) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	f.lastRef = max(f.lastRef, last)
	return f.lastRef
}

// prefix is what references of the frame begin with.
func (f *frame) prefix() string {
	if f.n == 0 {
		return ""
	}
	return "f" + strconv.Itoa(f.n)
}

// toWindow turns a point of a frame into one of the window, bringing it into view.
// why says what covers the frame there.
func (t *tab) toWindow(ctx context.Context, f *frame, x, y float64) (wx, wy float64, why string, err error) {
	for range maxNesting {
		t.mu.Lock()
		parent := t.frames[f.parent]
		t.mu.Unlock()
		if f.n == 0 || parent == nil {
			return x, y, "", nil
		}
		owner, err := t.ownerElement(ctx, parent, f)
		if err != nil {
			return 0, 0, "", err
		}
		var p struct {
			X, Y float64
			Why  string
		}
		if _, err := t.jsOn(ctx, parent, owner, &p, "framePoint", x, y); err != nil {
			return 0, 0, "", err
		}
		if p.Why != "" {
			return 0, 0, "its frame " + p.Why, nil
		}
		f, x, y = parent, p.X, p.Y
	}
	return 0, 0, "", errFrameGone
}

// maxNesting bounds how deep frames lie in each other.
const maxNesting = 100

// ownerElement returns the element of parent that holds the frame f.
func (t *tab) ownerElement(ctx context.Context, parent, f *frame) (runtime.RemoteObjectID, error) {
	l, world, err := t.world(ctx, parent)
	if err != nil {
		return "", err
	}
	owner, err := cdp.Call(ctx, l, dom.GetFrameOwner, dom.GetFrameOwnerParams{FrameID: f.id})
	if err != nil {
		return "", changedDocument(err)
	}
	node, err := cdp.Call(ctx, l, dom.ResolveNode, dom.ResolveNodeParams{BackendNodeID: owner.BackendNodeID, ExecutionContextID: world})
	if err != nil {
		return "", changedDocument(err)
	}
	return node.Object.ObjectID, nil
}
