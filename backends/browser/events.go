package browser

import (
	"context"
	"slices"

	"github.com/chromedp/cdproto"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/cdp/jsonv2"
	"github.com/chromedp/cdproto/fetch"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/inspector"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/cdproto/target"
	"github.com/chromedp/chromedp"
)

// event handles what the page tells.
func (t *tab) event(msg *cdproto.Message) { t.on(t.link, msg) }

// on handles what a target of the page tells. It runs on the connection's
// reader, so it must not wait for an answer.
func (t *tab) on(l *link, msg *cdproto.Message) {
	t.s.heard.Add(1)
	domain, size := msg.Method.Domain(), len(msg.Params)
	if msg.Error != nil { // it was too long to be read
		size = maxEventMessage + 1
	}
	if !t.heard(domain, msg.Params, size) {
		return
	}
	switch domain {
	case "Page":
		t.onPage(l, msg)
	case "Runtime", "Log":
		t.onRuntime(l, msg)
	case "Network":
		t.onNetwork(msg)
	case "Target":
		t.onTarget(l, msg)
	case "Fetch":
		if e, ok := decode(fetch.RequestPaused, msg); ok {
			t.mu.Lock()
			hidden := t.hidden
			t.mu.Unlock()
			if hidden {
				t.empty(l, e.RequestID)
				return
			}
			t.s.routes.paused(t.s, l, e)
		}
	case "Inspector":
		if string(msg.Method) == inspector.TargetCrashed.Method {
			t.mu.Lock()
			if l == t.link {
				t.crashed = true
				t.interruptAll(errCrashed)
			}
			t.notify()
			t.mu.Unlock()
		}
	case "Input":
		if string(msg.Method) == input.DragIntercepted.Method {
			var e struct {
				Data jsonv2.Value `json:"data"`
			}
			if jsonv2.Unmarshal(msg.Params, &e, chromedp.DefaultUnmarshalOptions) == nil {
				t.mu.Lock()
				t.drag = jsonDrag(e.Data)
				t.notify()
				t.mu.Unlock()
			}
		}
	}
}

func (t *tab) onPage(l *link, msg *cdproto.Message) {
	switch string(msg.Method) {
	case page.FrameAttached.Method:
		if e, ok := decode(page.FrameAttached, msg); ok {
			t.locked(func() { t.addFrame(e.FrameID, e.ParentFrameID, l) })
		}
	case page.FrameNavigated.Method:
		if e, ok := decode(page.FrameNavigated, msg); ok && e.Frame != nil {
			t.navigated(l, e.Frame)
		}
	case page.FrameDetached.Method:
		if e, ok := decode(page.FrameDetached, msg); ok && e.Reason != page.FrameDetachedReasonSwap {
			t.locked(func() {
				if e.FrameID != t.main {
					t.removeFrame(e.FrameID)
				}
			})
		}
	case page.NavigatedWithinDocument.Method:
		if e, ok := decode(page.NavigatedWithinDocument, msg); ok {
			t.locked(func() {
				if f := t.frames[e.FrameID]; f != nil {
					f.url = clip(e.URL, maxURL)
				}
				if e.FrameID == t.main {
					t.pendingNav = 0
				}
			})
		}
	case page.LifecycleEvent.Method:
		var e struct {
			FrameID  cdp.FrameID  `json:"frameId"`
			LoaderID cdp.LoaderID `json:"loaderId"`
			Name     string       `json:"name"`
		}
		if jsonv2.Unmarshal(msg.Params, &e, chromedp.DefaultUnmarshalOptions) == nil {
			t.locked(func() {
				if f := t.frames[e.FrameID]; f != nil && (f.loader == e.LoaderID || f.loader == "") {
					f.reached[e.Name] = true
				}
			})
		}
	case page.FrameStartedNavigating.Method, page.FrameRequestedNavigation.Method:
		var e struct {
			FrameID        cdp.FrameID `json:"frameId"`
			NavigationType string      `json:"navigationType"`
			Disposition    string      `json:"disposition"`
			URL            string      `json:"url"`
		}
		if jsonv2.Unmarshal(msg.Params, &e, chromedp.DefaultUnmarshalOptions) == nil && e.FrameID == t.main &&
			e.NavigationType != "sameDocument" && e.NavigationType != "historySameDocument" &&
			(e.Disposition == "" || e.Disposition == "currentTab") {
			t.locked(func() { t.starts++; t.pendingNav, t.pendingURL = t.starts, clip(e.URL, maxURL) })
		}
	case page.FrameStoppedLoading.Method:
		if e, ok := decode(page.FrameStoppedLoading, msg); ok && e.FrameID == t.main {
			t.locked(func() { t.pendingNav = 0 })
		}
	case page.JavascriptDialogOpening.Method:
		if e, ok := decode(page.JavascriptDialogOpening, msg); ok {
			t.dialogOpened(l, e)
		}
	case page.JavascriptDialogClosed.Method:
		t.locked(func() { t.dialog = nil })
	case page.FileChooserOpened.Method:
		if e, ok := decode(page.FileChooserOpened, msg); ok {
			t.locked(func() { t.chooser = &e })
		}
	}
}

// locked runs change under the lock and wakes who waits.
func (t *tab) locked(change func()) {
	t.mu.Lock()
	change()
	t.notify()
	t.mu.Unlock()
}

// addFrame makes the frame known. t.mu is held.
func (t *tab) addFrame(id, parent cdp.FrameID, l *link) *frame {
	f := t.frames[id]
	if f == nil {
		if len(t.frames) >= maxFrames {
			return nil
		}
		t.lastFrame++
		f = &frame{id: id, n: t.lastFrame, reached: map[string]bool{}}
		t.frames[id] = f
	}
	if f.parent = parent; f.link != l {
		f.link, f.world, f.mainWorld = l, 0, ""
	}
	return f
}

// removeFrame forgets a frame and those in it. t.mu is held.
func (t *tab) removeFrame(id cdp.FrameID) {
	delete(t.frames, id)
	for child, f := range t.frames {
		if f.parent == id && child != t.main {
			t.removeFrame(child)
		}
	}
}

// navigated notes that a frame has a new document.
func (t *tab) navigated(l *link, to *cdp.Frame) {
	t.mu.Lock()
	defer t.mu.Unlock()
	defer t.notify()
	f := t.frames[to.ID]
	if f == nil {
		if f = t.addFrame(to.ID, to.ParentID, l); f == nil {
			return
		}
	}
	if f.link != l {
		f.link, f.world, f.mainWorld = l, 0, ""
	}
	for child, c := range t.frames {
		if c.parent == to.ID && child != t.main {
			t.removeFrame(child)
		}
	}
	f.url, f.name, f.loader = clip(to.URL+to.URLFragment, maxURL), clip(to.Name, 200), to.LoaderID
	f.reached = map[string]bool{}
	if to.ID != t.main {
		return
	}
	if to.URL != "about:blank" && to.URL != "" {
		t.s.wentAway.Store(true)
	}
	t.crashed, t.pendingNav, t.dialogRun = false, 0, 0
	t.forgetRequests()
	if t.muted {
		t.muted = false
		t.listen()
	}
	d := t.document(to.LoaderID)
	d.url, d.committed = f.url, true
	t.s.visited(to.URL)
	if !allowedNow(to.URL) {
		// Nothing that the checks before let through gets here; if something
		// does, it does not stay.
		t.s.spawn(func() { t.leave(t.s.base) })
	}
}

// document returns what is known of a load of the main frame. t.mu is held.
func (t *tab) document(id cdp.LoaderID) *document {
	for _, d := range t.documents {
		if d.loader == id {
			return d
		}
	}
	d := &document{loader: id}
	if len(t.documents) >= 8 {
		t.documents = slices.Delete(t.documents, 0, 1)
	}
	t.documents = append(t.documents, d)
	return d
}

// onTarget follows frames into processes of their own and back.
func (t *tab) onTarget(l *link, msg *cdproto.Message) {
	switch string(msg.Method) {
	case target.AttachedToTarget.Method:
		e, ok := decode(target.AttachedToTarget, msg)
		if !ok || e.TargetInfo == nil {
			return
		}
		var child *link
		child = l.c.attach(e.SessionID, func(msg *cdproto.Message) { t.on(child, msg) })
		id := cdp.FrameID(e.TargetInfo.TargetID)
		t.locked(func() {
			parent := e.TargetInfo.ParentFrameID
			if f := t.frames[id]; f != nil && parent == "" {
				parent = f.parent
			}
			t.addFrame(id, parent, child)
		})
		t.s.spawn(func() {
			child.all(t.s.base, append(t.setup(), cmd(runtime.RunIfWaitingForDebugger, cdp.Empty{}))...)
		})
	case target.DetachedFromTarget.Method:
		if e, ok := decode(target.DetachedFromTarget, msg); ok {
			l.c.detach(e.SessionID)
			t.locked(func() {})
		}
	}
}

func (t *tab) onRuntime(l *link, msg *cdproto.Message) {
	switch string(msg.Method) {
	case runtime.ExecutionContextCreated.Method:
		var e struct {
			Context struct {
				ID       runtime.ExecutionContextID `json:"id"`
				Name     string                     `json:"name"`
				UniqueID string                     `json:"uniqueId"`
				AuxData  struct {
					FrameID   cdp.FrameID `json:"frameId"`
					IsDefault bool        `json:"isDefault"`
				} `json:"auxData"`
			} `json:"context"`
		}
		if jsonv2.Unmarshal(msg.Params, &e, chromedp.DefaultUnmarshalOptions) != nil {
			return
		}
		t.locked(func() {
			f := t.frames[e.Context.AuxData.FrameID]
			if f == nil || f.link != l {
				return
			}
			switch {
			case e.Context.AuxData.IsDefault:
				f.mainWorld = e.Context.UniqueID
			case e.Context.Name == worldName:
				f.world = e.Context.ID
			}
		})
	case runtime.ExecutionContextDestroyed.Method:
		var e struct {
			ID       runtime.ExecutionContextID `json:"executionContextId"`
			UniqueID string                     `json:"executionContextUniqueId"`
		}
		if jsonv2.Unmarshal(msg.Params, &e, chromedp.DefaultUnmarshalOptions) != nil {
			return
		}
		t.locked(func() {
			for _, f := range t.frames {
				if f.link == l && f.world == e.ID {
					f.world = 0
				}
				if f.link == l && f.mainWorld == e.UniqueID {
					f.mainWorld = ""
				}
			}
		})
	case runtime.ExecutionContextsCleared.Method:
		t.locked(func() {
			for _, f := range t.frames {
				if f.link == l {
					f.world, f.mainWorld = 0, ""
				}
			}
		})
	case runtime.ConsoleAPICalled.Method:
		if e, ok := decode(runtime.ConsoleAPICalled, msg); ok {
			t.s.consoleCalled(e)
		}
	case runtime.ExceptionThrown.Method:
		if e, ok := decode(runtime.ExceptionThrown, msg); ok && e.ExceptionDetails != nil {
			t.s.thrown(e.ExceptionDetails)
		}
	case log.EntryAdded.Method:
		if e, ok := decode(log.EntryAdded, msg); ok && e.Entry != nil {
			t.s.logged(e.Entry)
		}
	}
}

// leave takes the page away from an address that it must not be at.
func (t *tab) leave(ctx context.Context) {
	t.link.Call(ctx, page.Navigate.Method, page.NavigateParams{URL: "about:blank"}, nil)
}
