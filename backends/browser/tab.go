package browser

import (
	"context"
	"errors"
	"strings"
	"sync"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/fetch"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/cdproto/target"

	"github.com/agentflow-go/sandbox"
)

// tab is a page and the frames in it.
type tab struct {
	s      *session
	id     target.ID
	opener target.ID // "": no other page opened it
	link   *link     // of the page itself; frames of other sites have their own
	main   cdp.FrameID

	ready   chan struct{} // closed when init is over
	initErr error         // set before

	mu         sync.Mutex // guards the rest
	frames     map[cdp.FrameID]*frame
	lastFrame  int // number of the last frame
	crashed    bool
	hidden     bool // a page of this package, not of the worker
	closed     bool
	dialog     *openDialog
	changed    chan struct{} // closed, and replaced, whenever something here changes
	interrupts map[*context.CancelCauseFunc]struct{}
	starts     int         // navigations of the main frame that began
	pendingNav int         // began and neither committed nor failed
	pendingURL string      // where it leads
	documents  []*document // of the main frame, the last few
	dialogRun  int         // dialogs answered since the last navigation
	drag       jsonDrag
	chooser    *page.EventFileChooserOpened

	muted bool // it makes too much noise: see flood

	followed followed

	requests requests // of the reader
	flood    flood    // of the reader
	quieted  bool     // as muted, of the reader
}

// document is a load of the main frame.
type document struct {
	loader    cdp.LoaderID
	committed bool
	asked     string // the address, after redirects
	url       string // where it is
	own       bool   // the proxy's answer, not a server's
	status    int
	text      string // of the status line
	mime      string
	failed    string
}

// maxFrames bounds what is remembered of a page's frames.
const maxFrames = 2000

// frame is a document in a page.
type frame struct {
	id, parent cdp.FrameID
	n          int   // 0: the main one; written f1, f2 …
	link       *link // the target that its document is in
	url, name  string
	loader     cdp.LoaderID
	reached    map[string]bool // of the lifecycle of its document
	world      runtime.ExecutionContextID
	lastRef    int    // given to an element
	mainWorld  string // unique id of the page's own
}

// begin prepares a page whose target was attached. It is called by the
// connection's reader.
func (t *tab) begin(s *session, info *target.Info) {
	t.s, t.main = s, cdp.FrameID(info.TargetID)
	t.ready = make(chan struct{})
	t.changed = make(chan struct{})
	t.interrupts = map[*context.CancelCauseFunc]struct{}{}
	t.frames = map[cdp.FrameID]*frame{t.main: {id: t.main, link: t.link, url: clip(info.URL, maxURL), reached: map[string]bool{}}}
	s.spawn(func() {
		select {
		case <-t.link.gone:
		case <-t.link.c.done:
		case <-s.base.Done():
		}
		t.mu.Lock()
		t.closed = true
		t.interruptAll(errTabClosed)
		t.notify()
		t.mu.Unlock()
		s.departed(t)
	})
}

var errTabClosed = errors.New("the tab was closed")

// init sets the page up and lets it run.
func (t *tab) init(ctx context.Context) error {
	err := t.link.all(ctx, append(t.setup(), cmd(runtime.RunIfWaitingForDebugger, cdp.Empty{}))...)
	if err != nil && (ctx.Err() != nil || errors.Is(err, errGone)) {
		return errTabClosed
	}
	if e, ok := errors.AsType[*protocolError](err); ok && strings.HasPrefix(e.method, "Emulation.") {
		return disbelief(err)
	}
	return err
}

// setup are the commands that every target of a page gets before it runs.
func (t *tab) setup() []command {
	s := t.s
	s.mu.Lock()
	emulated, size := s.emulated, s.viewport
	s.mu.Unlock()
	cmds := []command{
		cmd(page.Enable, page.EnableParams{}),
		cmd(page.SetLifecycleEventsEnabled, page.SetLifecycleEventsEnabledParams{Enabled: true}),
		cmd(page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{
			Source: s.source(), WorldName: worldName, RunImmediately: ptr(true),
		}),
		cmd(target.SetAutoAttach, target.SetAutoAttachParams{
			AutoAttach: true, WaitForDebuggerOnStart: true, Flatten: ptr(true), Filter: target.Filter{{Type: "iframe"}},
		}),
		cmd(emulation.SetFocusEmulationEnabled, emulation.SetFocusEmulationEnabledParams{Enabled: true}),
	}
	cmds = append(cmds, listening()...)
	cmds = append(cmds, emulated.commands(size)...)
	if patterns := s.routes.patterns(); len(patterns) > 0 {
		cmds = append(cmds, cmd(fetch.Enable, fetch.EnableParams{Patterns: patterns}))
	}
	return cmds
}

// listening are the commands that make a target tell what pages do.
func listening() []command {
	return []command{
		cmd(runtime.Enable, cdp.Empty{}),
		// Bodies are never asked for, so the browser need not keep them.
		cmd(network.Enable, network.EnableParams{MaxTotalBufferSize: ptr(int64(0)), MaxResourceBufferSize: ptr(int64(0)), MaxPostDataSize: ptr(int64(0))}),
		cmd(log.Enable, cdp.Empty{}),
	}
}

// await waits until the page is set up.
func (t *tab) await(ctx context.Context) error {
	select {
	case <-t.ready:
		return t.initErr
	case <-t.link.gone:
		return errTabClosed
	case <-t.link.c.done:
		return t.link.c.lost()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// close closes the page without asking it.
func (t *tab) close(ctx context.Context) error {
	_, err := cdp.Call(ctx, t.link.c.root, target.CloseTarget, target.CloseTargetParams{TargetID: t.id})
	return err
}

// notify wakes those who wait for something to change. t.mu is held.
func (t *tab) notify() {
	close(t.changed)
	t.changed = make(chan struct{})
}

// until waits until cond, which is called with t.mu held, is true.
func (t *tab) until(ctx context.Context, cond func() bool) error {
	for {
		t.mu.Lock()
		ok, changed := cond(), t.changed
		t.mu.Unlock()
		if ok {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// guard derives a context that ends also when the page can no longer answer:
// when it crashes, closes or shows a dialog that waits for the caller's answer.
func (t *tab) guard(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	key := &cancel
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.closed:
		cancel(errTabClosed)
	case t.crashed:
		cancel(errCrashed)
	case t.dialog != nil:
		cancel(&dialogError{t.dialog.Dialog, false})
	default:
		t.interrupts[key] = struct{}{}
	}
	return ctx, func() {
		cancel(nil)
		t.mu.Lock()
		delete(t.interrupts, key)
		t.mu.Unlock()
	}
}

var errCrashed = sandbox.Errorf(sandbox.ErrDependency, "the tab has crashed: load a page with goto or reload, or close it with tabs")

// interruptAll ends what waits for the page. t.mu is held.
func (t *tab) interruptAll(cause error) {
	for cancel := range t.interrupts {
		(*cancel)(cause)
	}
	clear(t.interrupts)
}

// goingTo returns the address that the page was sent to and that has not answered
// yet, if there is one. Until it does the browser passes nothing on to the page.
func (t *tab) goingTo() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.pendingNav == 0 {
		return ""
	}
	return t.pendingURL
}

// problem is the error of a tool, which says so if the page is between two documents.
func (t *tab) problem(ctx context.Context, err error) error {
	_, told := errors.AsType[*sandbox.Error](err)
	if to := t.goingTo(); err != nil && !told && isLate(ctx) && to != "" {
		return sandbox.Errorf(sandbox.ErrTimeout, "the page is on its way to %s, which has not answered yet (waited %v): try again later, or leave with goto, back or reload", clip(to, 200), context.Cause(ctx).(*lateError).limit)
	}
	return problem(ctx, err)
}

// url returns where the page is.
func (t *tab) url() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.frames[t.main].url
}

// mainFrame returns the frame of the page itself.
func (t *tab) mainFrame() *frame {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.frames[t.main]
}

// title asks the page for its title.
func (t *tab) title(ctx context.Context) string {
	var title string
	if err := t.js(ctx, t.mainFrame(), &title, "title"); err != nil {
		return ""
	}
	return clip(title, 1000)
}
