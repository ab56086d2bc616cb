package browser

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/chromedp/cdproto"
	"github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/cdproto/target"
	"github.com/chromedp/chromedp/remote"

	"github.com/agentflow-go/sandbox"
)

// programs are what is looked for, in this order. Debian's Chromium is called by
// its real path, since the script in PATH adds arguments of its own.
var programs = [...]string{
	"/usr/lib/chromium/chromium-headless-shell", "chromium-headless-shell", "chrome-headless-shell", "headless_shell",
	"/usr/lib/chromium/chromium", "chromium", "chromium-browser", "google-chrome-stable", "google-chrome",
}

// findProgram returns the path of Chromium.
func findProgram(configured string) (string, error) {
	if configured != "" {
		path, err := exec.LookPath(configured)
		if err != nil {
			return "", fmt.Errorf("executable: %w", err)
		}
		return filepath.Abs(path)
	}
	for _, name := range programs {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", errors.New("no Chromium found: install chromium-headless-shell (Debian's package of that name) or chromium, or set executable")
}

// arguments are those of every Chromium: nothing in the background, nothing
// remembered, nothing asked. Its own sandbox stays on.
var arguments = [...]string{
	"--remote-debugging-pipe",
	"--no-first-run", "--no-default-browser-check", "--no-startup-window", "--no-service-autorun", "--no-pings",
	"--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-quic",
	"--disable-breakpad", "--disable-crash-reporter", "--disable-domain-reliability", "--disable-default-apps",
	"--disable-extensions", "--disable-client-side-phishing-detection", "--disable-field-trial-config",
	"--disable-background-timer-throttling", "--disable-backgrounding-occluded-windows", "--disable-renderer-backgrounding",
	"--disable-hang-monitor", "--disable-back-forward-cache", "--disable-prompt-on-repost", "--disable-popup-blocking", "--disable-ipc-flooding-protection",
	"--disable-features=Translate,OptimizationHints,MediaRouter,DialMediaRouteProvider,AutofillServerCommunication,CertificateTransparencyComponentUpdater,InterestFeedContentSuggestions,AvoidUnnecessaryBeforeUnloadCheckSync,HttpsUpgrades,LensOverlay,PaintHolding",
	"--force-webrtc-ip-handling-policy=disable_non_proxied_udp",
	"--disable-dev-shm-usage", "--disable-gpu", "--disable-smooth-scrolling", "--hide-scrollbars", "--mute-audio",
	"--force-color-profile=srgb", "--metrics-recording-only", "--password-store=basic", "--use-mock-keychain",
	"--blink-settings=middleClickPasteAllowed=false", // sessions may share the browser, and with it what is selected
	"--export-tagged-pdf", "--safebrowsing-disable-auto-update", "--disable-search-engine-choice-screen",
}

// chrome is one running browser, with the contexts of some sessions.
type chrome struct {
	conn  *conn
	proc  *sandbox.Process // nil: somebody else's
	ended chan struct{}    // closed once the process is gone
	told  chan struct{}    // closed once the sessions know that
	why   error            // the browser ended; set before told is closed

	stopping atomic.Bool
	broken   atomic.Pointer[error] // why it was given up

	mu       sync.Mutex                        // guards the rest
	sessions map[cdp.BrowserContextID]*session // by context
	lost     bool                              // the sessions were told
}

// startChrome starts Chromium in the jail of env.
func startChrome(ctx context.Context, env sandbox.Env, cfg Config) (*chrome, error) {
	path, err := findProgram(cfg.Executable)
	if err != nil {
		return nil, sandbox.Errorf(sandbox.ErrDependency, "%w", err)
	}
	c, err := launch(ctx, env, cfg, path, nil)
	if err == nil || ctx.Err() != nil {
		return c, err
	}
	// What it prints is not listened to, since that is where all that pages log
	// goes, and the browser waits for its reader. Once more, to hear why.
	said := &tail{max: 4 << 10}
	if c, again := launch(ctx, env, cfg, path, said); again == nil {
		c.stop()
	}
	if text := strings.TrimSpace(said.String()); text != "" {
		err = fmt.Errorf("%w; it printed %q", err, text)
	}
	return nil, sandbox.Errorf(sandbox.ErrDependency, "start Chromium (%s): %w", path, err)
}

// launch starts Chromium and connects to it.
func launch(ctx context.Context, env sandbox.Env, cfg Config, path string, stderr io.Writer) (*chrome, error) {
	profile, err := profileDir(ctx, env)
	if err != nil {
		return nil, err
	}
	args := append(arguments[:len(arguments):len(arguments)], "--user-data-dir="+profile)
	if !strings.Contains(filepath.Base(path), "headless") {
		args = append(args, "--headless=new")
	}
	args = append(args, cfg.Args...)
	files, err := pipes()
	if err != nil {
		return nil, err
	}
	start := sandbox.Cmd{
		Path: path, Args: args, Dir: "/", Env: []string{"HOME=" + profile, "XDG_CONFIG_HOME=" + profile, "XDG_CACHE_HOME=" + profile},
		Stderr: stderr, Files: []*os.File{files.inside[0], files.inside[1]}, NestedUserNS: true,
	}
	if dir := filepath.Dir(path); !strings.HasPrefix(path, "/usr/") {
		start.Mounts = []sandbox.Mount{{Host: dir, Inside: dir}}
	}
	proc, err := env.Start(ctx, start)
	files.inside[0].Close()
	files.inside[1].Close()
	if err != nil {
		files.close()
		return nil, err
	}
	c := &chrome{proc: proc, ended: make(chan struct{}), told: make(chan struct{}), sessions: map[cdp.BrowserContextID]*session{}}
	c.conn = newConn(newPipe(files.r, files.w), c.event)
	go func() {
		proc.Wait()
		c.conn.close()
		close(c.ended)
	}()
	go c.watch()
	if err := c.begin(ctx); err != nil {
		c.stop()
		return nil, err
	}
	return c, nil
}

// profileDir is where Chromium keeps its files: in the jail's memory; without a
// jail in a directory that ends with the session, or the backend.
func profileDir(ctx context.Context, env sandbox.Env) (string, error) {
	home, err := env.Home(ctx)
	if err != nil || home == "/workspace" {
		return "/tmp/profile", err
	}
	dir, err := env.StateDir()
	return filepath.Join(dir, "profile-"+rand.Text()), err
}

// connectChrome connects to a browser that runs elsewhere.
func connectChrome(ctx context.Context, url string) (*chrome, error) {
	url, err := browserURL(ctx, url)
	if err != nil {
		return nil, sandbox.Errorf(sandbox.ErrDependency, "remote browser: %w", err)
	}
	tr, err := remote.DialContext(ctx, url)
	if err != nil {
		return nil, sandbox.Errorf(sandbox.ErrDependency, "remote browser: %w", err)
	}
	c := &chrome{ended: make(chan struct{}), told: make(chan struct{}), sessions: map[cdp.BrowserContextID]*session{}}
	c.conn = newConn(tr, c.event)
	go func() {
		<-c.conn.done
		close(c.ended)
	}()
	go c.watch()
	if err := c.begin(ctx); err != nil {
		c.stop()
		return nil, sandbox.Errorf(sandbox.ErrDependency, "remote browser: %w", err)
	}
	return c, nil
}

// begin asks to be told of every page before it runs.
func (c *chrome) begin(ctx context.Context) error {
	if _, err := cdp.Call(ctx, c.conn.root, browser.GetVersion, cdp.Empty{}); err != nil {
		return err
	}
	_, err := cdp.Call(ctx, c.conn.root, target.SetAutoAttach, target.SetAutoAttachParams{
		AutoAttach: true, WaitForDebuggerOnStart: true, Flatten: ptr(true), Filter: target.Filter{{Type: "page"}},
	})
	return err
}

// alive reports whether the browser can take further contexts.
func (c *chrome) alive() bool {
	select {
	case <-c.conn.done:
		return false
	default:
		return !c.stopping.Load()
	}
}

// stop ends the browser and waits for it.
func (c *chrome) stop() {
	c.stopping.Store(true)
	c.conn.close()
	if c.proc != nil {
		c.proc.Kill()
	}
	<-c.ended
	<-c.conn.done
}

// giveUp ends a browser that is of no use to any session any more, and has them told
// why.
func (c *chrome) giveUp(why error) {
	if c.broken.CompareAndSwap(nil, &why) {
		c.conn.close()
	}
	<-c.conn.done
}

// check gives the browser up if it does not answer.
func (c *chrome) check() {
	ctx, cancel := context.WithTimeout(context.Background(), answerTimeout)
	defer cancel()
	if _, err := cdp.Call(ctx, c.conn.root, browser.GetVersion, cdp.Empty{}); err != nil && ctx.Err() != nil {
		c.giveUp(errors.New("the browser did not answer and was ended"))
	}
}

// watch tells the sessions when the browser is gone.
func (c *chrome) watch() {
	<-c.conn.done
	err := c.conn.lost()
	if c.proc != nil {
		c.proc.Kill() // a browser that cannot be spoken to is of no use
		<-c.ended
		if end, ok := errors.AsType[*sandbox.ExitError](c.proc.Wait()); ok && !c.stopping.Load() {
			err = fmt.Errorf("the browser ended: %w", end)
		}
	}
	if why := c.broken.Load(); why != nil {
		err = *why
	}
	c.mu.Lock()
	c.lost = true
	sessions := make([]*session, 0, len(c.sessions))
	for _, s := range c.sessions {
		sessions = append(sessions, s)
	}
	c.mu.Unlock()
	for _, s := range sessions {
		s.lost(err)
	}
	c.why = err
	close(c.told)
}

// event handles what the browser itself tells.
func (c *chrome) event(msg *cdproto.Message) {
	switch string(msg.Method) {
	case target.AttachedToTarget.Method:
		if e, ok := decode(target.AttachedToTarget, msg); ok && e.TargetInfo != nil {
			c.attached(e)
		}
	case target.DetachedFromTarget.Method:
		if e, ok := decode(target.DetachedFromTarget, msg); ok {
			c.conn.detach(e.SessionID)
		}
	case browser.DownloadWillBegin.Method:
		if e, ok := decode(browser.DownloadWillBegin, msg); ok {
			c.downloading(e)
		}
	case browser.DownloadProgress.Method:
		if e, ok := decode(browser.DownloadProgress, msg); ok {
			for _, s := range c.all() {
				if s.downloads.progress(s, e) {
					break
				}
			}
		}
	}
}

// downloading gives a download to the session whose frame began it. One of nobody
// is ended: nobody would bound it, or remove what it leaves.
func (c *chrome) downloading(e browser.EventDownloadWillBegin) {
	all := c.all()
	for _, s := range all {
		if s.downloads.begin(s, e) {
			return
		}
	}
	for _, s := range all { // the browser takes it from the one whose it is
		s.spawn(func() { s.cancelDownload(e.GUID) })
	}
}

func (c *chrome) all() []*session {
	c.mu.Lock()
	defer c.mu.Unlock()
	list := make([]*session, 0, len(c.sessions))
	for _, s := range c.sessions {
		list = append(list, s)
	}
	return list
}

// attached gives a page to its session.
func (c *chrome) attached(e target.EventAttachedToTarget) {
	info := e.TargetInfo
	t := &tab{id: info.TargetID, opener: info.OpenerID}
	l := c.conn.attach(e.SessionID, t.event)
	t.link = l
	c.mu.Lock()
	s := c.sessions[info.BrowserContextID]
	c.mu.Unlock()
	if s == nil || info.Type != "page" {
		go func() { // a page of nobody, such as the one a browser elsewhere had open
			l.Call(context.Background(), runtime.CommandRunIfWaitingForDebugger, nil, nil)
			c.conn.root.Call(context.Background(), "Target.detachFromTarget", target.DetachFromTargetParams{SessionID: e.SessionID}, nil)
		}()
		return
	}
	s.arrived(t, info)
}

// add makes a session the owner of a context.
func (c *chrome) add(s *session) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.lost {
		return c.conn.lost()
	}
	c.sessions[s.context] = s
	return nil
}

func (c *chrome) remove(s *session) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.sessions, s.context)
}

// ends are the four ends of two pipes.
type ends struct {
	r, w   *os.File    // ours
	inside [2]*os.File // the browser's: descriptors 3 and 4
}

func pipes() (*ends, error) {
	r3, w3, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	r4, w4, err := os.Pipe()
	if err != nil {
		r3.Close()
		w3.Close()
		return nil, err
	}
	return &ends{r: r4, w: w3, inside: [2]*os.File{r3, w4}}, nil
}

func (e *ends) close() {
	e.r.Close()
	e.w.Close()
}

// tail keeps the end of what is written to it.
type tail struct {
	mu  sync.Mutex
	max int
	buf []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := len(p)
	if len(p) > t.max {
		p = p[len(p)-t.max:]
	}
	if over := len(t.buf) + len(p) - t.max; over > 0 {
		t.buf = append(t.buf[:0], t.buf[over:]...)
	}
	t.buf = append(t.buf, p...)
	return n, nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.buf)
}
