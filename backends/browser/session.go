package browser

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/cdproto/target"

	"github.com/agentflow-go/sandbox"
)

// session is a worker's browser context and the pages in it. Its methods are the
// tools; the engine calls those that act on pages one at a time.
type session struct {
	cfg       SessionConfig
	env       atomic.Pointer[sandbox.Env] // replaced once, by Bind
	home      sandbox.Env                 // of the shared browser's jail; zero if there is none
	inside    string                      // the directory of home, or of the worker if own, as the browser sees it
	own       bool                        // the browser is this session's alone and sees the workspace
	chrome    *chrome
	leave     func() // gives the browser back
	proxy     string
	stopProxy func()
	context   cdp.BrowserContextID

	phase    atomic.Int32
	closing  atomic.Bool
	stop     context.CancelFunc // ends base
	base     context.Context    // of what runs beside the calls
	running  sync.WaitGroup     // such things, counted by spawn
	gate     sync.Mutex         // guards ended
	ended    bool               // nothing more is spawned
	lostOnce sync.Once

	unreached unreached
	downloads downloads
	console   ring[ConsoleEntry]
	network   ring[NetworkEntry]
	dialogs   dialogs
	routes    routes
	wentAway  atomic.Bool   // from the blank page, at least once
	heard     atomic.Int64  // events of pages
	files     atomic.Int64  // written by keep, numbered so that their names differ
	patience  time.Duration // for the requests that an action began
	clip      clipboard     // of the calls that act, which come one at a time
	uploads   int           // directories made for them; guarded by downloads.mu

	mu       sync.Mutex // guards the rest
	tabs     []*tab     // in the order of their opening
	active   *tab       // nil: none is open
	refused  int        // windows closed because there were too many
	changed  chan struct{}
	viewport Size
	emulated belief
	origins  map[string]bool // that were visited
}

// Phases of a session. One that is gone before it is open is not lost: it gets
// another browser.
const (
	opening = iota
	open
	gone
)

func newSession(env sandbox.Env, cfg SessionConfig) *session {
	s := &session{
		cfg: cfg, leave: func() {}, stopProxy: func() {}, changed: make(chan struct{}),
		viewport: *cfg.Viewport, origins: map[string]bool{}, patience: followLimit,
	}
	s.env.Store(&env)
	s.base, s.stop = context.WithCancel(context.Background())
	s.dialogs.policy = cfg.Dialogs
	s.emulated = cfg.belief()
	s.console.max, s.network.max, s.dialogs.log.max = 1000, 2000, 1000
	return s
}

// open makes the context and its first page.
func (s *session) open(ctx context.Context) (err error) {
	root := s.chrome.conn.root
	if s.own {
		s.inside, err = s.env.Load().Home(ctx)
	} else if s.hasFiles() {
		s.inside, err = s.home.Home(ctx)
	}
	if err != nil {
		return err
	}
	params := target.CreateBrowserContextParams{DisposeOnDetach: ptr(true)}
	if s.proxy != "" {
		// Without <-loopback> Chromium would go around the proxy for loopback.
		params.ProxyServer, params.ProxyBypassList = "http://"+s.proxy, "<-loopback>"
	}
	res, err := cdp.Call(ctx, root, target.CreateBrowserContext, params)
	if err != nil {
		return err
	}
	s.context = res.BrowserContextID
	if err := s.chrome.add(s); err != nil {
		return err
	}
	behavior, err := root.send(ctx, browser.CommandSetDownloadBehavior, s.downloads.behavior(s))
	if err != nil {
		return err
	}
	if s.cfg.StorageState != nil {
		if err := s.restore(ctx, s.cfg.StorageState); err != nil {
			return err
		}
	}
	if s.hasFiles() {
		s.spawn(s.watchDownloads)
	}
	t, err := s.newTab(ctx)
	if err == nil {
		err = behavior.wait(ctx, nil)
	}
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.active = t
	s.mu.Unlock()
	return nil
}

// spawn runs something beside the calls until the session ends.
func (s *session) spawn(f func()) {
	s.gate.Lock()
	defer s.gate.Unlock()
	if !s.ended {
		s.running.Go(f)
	}
}

// close disposes of the context and waits for what runs beside the calls.
func (s *session) close(ctx context.Context) error {
	s.closing.Store(true)
	s.stop()
	var err error
	if s.context != "" && s.chrome.alive() {
		_, err = cdp.Call(ctx, s.chrome.conn.root, target.DisposeBrowserContext, target.DisposeBrowserContextParams{BrowserContextID: s.context})
		if _, gone := errors.AsType[*lostError](err); gone {
			err = nil
		} else if err != nil && ctx.Err() != nil {
			go s.chrome.check() // its pages may run on
		}
	}
	s.chrome.remove(s)
	s.gate.Lock()
	s.ended = true
	s.gate.Unlock()
	s.running.Wait()
	err = errors.Join(err, s.removeFiles(ctx))
	s.stopProxy()
	s.leave()
	return err
}

// lost tells that the browser is gone, and the session with it.
func (s *session) lost(err error) {
	if s.phase.CompareAndSwap(opening, gone) || s.closing.Load() {
		return
	}
	s.lostOnce.Do(func() { s.env.Load().Lost(err) })
}

// explain returns the error of a call: that the session is lost, if that is why.
func (s *session) explain(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	select {
	case <-s.chrome.conn.done:
	default:
		return err
	}
	// The engine knows first, so that the next call gets another session.
	select {
	case <-s.chrome.told:
		return sandbox.Errorf(sandbox.ErrSessionLost, "%w", s.chrome.why)
	case <-ctx.Done():
		return err
	}
}

// arrived makes a page that was attached one of the session's. It is called by
// the connection's reader.
func (s *session) arrived(t *tab, info *target.Info) {
	t.begin(s, info)
	s.mu.Lock()
	full := len(s.tabs) >= maxTabs
	if full {
		s.refused++
	} else {
		s.tabs = append(s.tabs, t)
	}
	s.notify()
	s.mu.Unlock()
	s.spawn(func() {
		if full {
			t.link.send(s.base, runtime.CommandRunIfWaitingForDebugger, nil) // its opener may wait for it
			t.close(s.base)
			return
		}
		err := t.init(s.base)
		t.mu.Lock()
		t.initErr = err
		close(t.ready)
		t.mu.Unlock()
	})
}

// departed forgets a page that is gone.
func (s *session) departed(t *tab) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, have := range s.tabs {
		if have == t {
			s.tabs = append(s.tabs[:i:i], s.tabs[i+1:]...)
			if s.active == t {
				s.active = nil
				if n := len(s.tabs); n > 0 { // the one that opened it, else its neighbour
					s.active = s.tabs[max(0, i-1)]
					for _, other := range s.tabs {
						if other.id == t.opener {
							s.active = other
						}
					}
				}
			}
			break
		}
	}
	s.notify()
}

// replace puts a tab in the place of another.
func (s *session) replace(old, fresh *tab) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []*tab
	for _, t := range s.tabs {
		switch t {
		case old:
			list = append(list, fresh)
		case fresh:
		default:
			list = append(list, t)
		}
	}
	s.tabs, s.active = list, fresh
	s.notify()
}

// notify wakes those who wait for tabs to come or go. s.mu is held.
func (s *session) notify() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// newTab opens a page, blank and ready.
func (s *session) newTab(ctx context.Context) (*tab, error) {
	s.mu.Lock()
	full, size := len(s.tabs) >= maxTabs, s.viewport
	s.mu.Unlock()
	if full {
		return nil, sandbox.Errorf(sandbox.ErrBusy, "%d tabs are open, which is the limit: close one first", maxTabs)
	}
	res, err := cdp.Call(ctx, s.chrome.conn.root, target.CreateTarget, target.CreateTargetParams{
		URL: "about:blank", BrowserContextID: s.context, Width: int64(size.Width), Height: int64(size.Height),
	})
	if err != nil {
		return nil, err
	}
	for {
		s.mu.Lock()
		var t *tab
		for _, have := range s.tabs {
			if have.id == res.TargetID {
				t = have
			}
		}
		changed := s.changed
		s.mu.Unlock()
		if t != nil {
			return t, t.await(ctx)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-s.chrome.conn.done:
			return nil, s.chrome.conn.lost()
		}
	}
}

// tab returns the active page, opening one if all are closed.
func (s *session) tab(ctx context.Context) (*tab, error) {
	s.mu.Lock()
	t := s.active
	s.mu.Unlock()
	if t != nil {
		return t, t.await(ctx)
	}
	t, err := s.newTab(ctx)
	if err != nil {
		return nil, fmt.Errorf("open a tab: %w", err)
	}
	s.mu.Lock()
	s.active = t
	s.mu.Unlock()
	return t, nil
}

// list returns the open tabs.
func (s *session) list() []*tab {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]*tab(nil), s.tabs...)
}
