package browser

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"path"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/cdp"

	"github.com/agentflow-go/sandbox"
)

// Download is a file that a page gave.
type Download struct {
	Name  string  `json:"name" jsonschema:"as the page calls it"`
	Path  string  `json:"path,omitzero" jsonschema:"workspace file, once it is there"`
	URL   string  `json:"url"`
	State string  `json:"state" jsonschema:"running, done, cancelled or failed"`
	Size  float64 `json:"size"`
	Error string  `json:"error,omitzero"`
}

// downloads are those of a session.
type downloads struct {
	mu   sync.Mutex // guards the rest
	dir  string     // where the browser puts them, as it sees it
	all  []*download
	wake chan struct{} // closed when one changes
	last chan struct{} // closed when the last that is complete was brought out; nil: none
}

type download struct {
	Download
	guid   string
	hidden bool // the browser did not tell of it
}

const (
	maxDownload  = 256 << 20 // bytes of one
	maxTogether  = 1 << 30   // bytes of all of a session, whatever became of them
	maxDownloads = 200       // of a session
)

// behavior tells the browser where to put downloads: into a directory of the
// session's own, under names that pages do not choose.
func (d *downloads) behavior(s *session) browser.SetDownloadBehaviorParams {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.dir, d.wake = path.Join(s.inside, ".browser-"+rand.Text()[:12]), make(chan struct{})
	p := browser.SetDownloadBehaviorParams{
		Behavior: browser.SetDownloadBehaviorBehaviorAllowAndName, BrowserContextID: s.context,
		DownloadPath: d.dir, EventsEnabled: ptr(true),
	}
	if !s.hasFiles() {
		p.Behavior, p.DownloadPath = browser.SetDownloadBehaviorBehaviorDeny, ""
	}
	return p
}

// begin notes a download if the frame that began it is one of the session's. It
// runs on the connection's reader.
func (d *downloads) begin(s *session, e browser.EventDownloadWillBegin) bool {
	if !s.hasFrame(e.FrameID) {
		return false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.all) >= maxDownloads {
		s.spawn(func() { s.cancelDownload(e.GUID) })
		return true
	}
	d.all = append(d.all, &download{guid: e.GUID, Download: Download{
		Name: fileName(e.SuggestedFilename), URL: clip(e.URL, 2000), State: "running",
	}})
	d.changed()
	return true
}

// changed wakes those who wait. d.mu is held.
func (d *downloads) changed() {
	close(d.wake)
	d.wake = make(chan struct{})
}

// progress notes how far a download of the session is.
func (d *downloads) progress(s *session, e browser.EventDownloadProgress) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, have := range d.all {
		if have.guid != e.GUID {
			continue
		}
		if have.State != "running" {
			return true
		}
		have.Size = e.ReceivedBytes
		switch {
		case e.State == browser.DownloadProgressStateCompleted && e.ReceivedBytes <= maxDownload && d.together() <= maxTogether:
			have.State = "copying"
			// One after the other, so that names are given in their order.
			before, done := d.last, make(chan struct{})
			d.last = done
			s.spawn(func() {
				defer close(done)
				if before != nil {
					<-before
				}
				d.fetch(s, have)
			})
		case e.State == browser.DownloadProgressStateCanceled:
			have.State = "cancelled"
		case e.ReceivedBytes > maxDownload || e.TotalBytes > maxDownload:
			have.State, have.Error = "failed", "larger than "+strconv.Itoa(maxDownload>>20)+" MiB"
			s.spawn(func() { s.dropDownload(s.base, e.GUID) })
		case d.together() > maxTogether:
			have.State, have.Error = "failed", "the session's downloads are larger than "+strconv.Itoa(maxTogether>>20)+" MiB together; go on in a new session"
			s.spawn(func() { s.dropDownload(s.base, e.GUID) })
		default:
			return true
		}
		d.changed()
		return true
	}
	return false
}

// together is how much was downloaded. d.mu is held.
func (d *downloads) together() (sum float64) {
	for _, have := range d.all {
		sum += have.Size
	}
	return sum
}

func (s *session) cancelDownload(guid string) {
	s.chrome.conn.root.Call(s.base, browser.CommandCancelDownload, browser.CancelDownloadParams{GUID: guid, BrowserContextID: s.context}, nil)
}

// fetch brings a finished download into the workspace.
func (d *downloads) fetch(s *session, have *download) {
	d.mu.Lock()
	from, name := path.Join(d.dir, have.guid), have.Name
	d.mu.Unlock()
	info, err := s.takeOut(s.base, from, name)
	d.mu.Lock()
	defer d.mu.Unlock()
	if have.State = "done"; err != nil {
		have.State, have.Error = "failed", clip(err.Error(), 300)
	} else {
		have.Path, have.Size = info.Path, float64(info.Size)
	}
	d.changed()
}

// takeOut copies or moves a file of the browser's to downloads/ in the workspace,
// under a name that is free there.
func (s *session) takeOut(ctx context.Context, from, name string) (info sandbox.FileInfo, err error) {
	files, err := s.env.Load().Files()
	if err != nil {
		return info, err
	}
	for n := range 1000 {
		to := "downloads/" + name
		if n > 0 {
			ext := path.Ext(name)
			to = "downloads/" + strings.TrimSuffix(name, ext) + " (" + strconv.Itoa(n) + ")" + ext
		}
		if s.own {
			info, err = files.Rename(from, to, sandbox.MoveOptions{Parents: true})
		} else {
			info, err = s.copyOut(ctx, files, from, to)
		}
		if sandbox.CodeOf(err) != sandbox.ErrConflict {
			return info, err
		}
	}
	return info, err
}

// copyOut writes what a program in the browser's jail reads into a new file.
func (s *session) copyOut(ctx context.Context, files *sandbox.Files, from, to string) (sandbox.FileInfo, error) {
	w, err := files.Create(to, sandbox.CreateOptions{Exclusive: true, Parents: true, MaxBytes: maxDownload})
	if err != nil {
		return sandbox.FileInfo{}, err
	}
	defer w.Close()
	if err := s.inJail(ctx, nil, w, "/bin/cat", "--", from); err != nil {
		return sandbox.FileInfo{}, err
	}
	info, err := w.Commit()
	if err != nil {
		return info, err
	}
	return info, s.inJail(ctx, nil, nil, "/bin/rm", "-f", "--", from)
}

// inJail runs a program in the browser's jail, beside it.
func (s *session) inJail(ctx context.Context, in io.Reader, out io.Writer, program string, args ...string) error {
	stderr := &tail{max: 1000}
	p, err := s.home.Start(ctx, sandbox.Cmd{Path: program, Args: args, Stdin: in, Stdout: out, Stderr: stderr})
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { p.Kill() })
	defer stop()
	if err := p.Wait(); err != nil {
		return errors.Join(err, errors.New(strings.TrimSpace(stderr.String())))
	}
	return nil
}

// hasFiles reports whether files can be brought to the browser and out of it. A
// browser elsewhere has its own disk.
func (s *session) hasFiles() bool { return s.own || s.chrome.proc != nil }

// removeFiles removes what the browser still has of the session.
func (s *session) removeFiles(ctx context.Context) error {
	s.downloads.mu.Lock()
	dir, used := s.downloads.dir, len(s.downloads.all) > 0 || s.uploads > 0
	s.downloads.mu.Unlock()
	// Of a download whose frame or window is gone at once the browser tells nothing.
	if !used && !s.wentAway.Load() || !s.hasFiles() {
		return nil
	}
	if s.own {
		files, err := s.env.Load().Files()
		if err != nil {
			return err
		}
		if err = files.RemoveAll(ctx, dir); sandbox.CodeOf(err) == sandbox.ErrNoResults {
			return nil
		}
		return err
	}
	return s.inJail(ctx, nil, nil, "/bin/rm", "-rf", "--", dir)
}

// fileName makes a name of what a page suggests.
func fileName(name string) string {
	name = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || !unicode.IsPrint(r) || strings.ContainsRune(`/\:*?"<>|`, r) {
			return '_'
		}
		return r
	}, strings.ToValidUTF8(name, "_"))
	name = strings.TrimLeft(strings.TrimSpace(name), ".~")
	if ext := path.Ext(name); len(name) > 120 && len(ext) < 20 {
		name = strings.TrimSuffix(clip(strings.TrimSuffix(name, ext), 100), "…") + ext
	} else if len(name) > 120 {
		name = strings.TrimSuffix(clip(name, 100), "…")
	}
	if name == "" {
		return "download"
	}
	return name
}

func (s *session) hasFrame(id cdp.FrameID) bool {
	for _, t := range s.list() {
		t.mu.Lock()
		_, ok := t.frames[id]
		t.mu.Unlock()
		if ok {
			return true
		}
	}
	return false
}

// count returns how many downloads there have been.
func (d *downloads) count() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.all)
}

// names are those of the downloads after the first before ones.
func (d *downloads) names(before int) (list []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, have := range d.all[min(before, len(d.all)):] {
		list = append(list, have.Name)
	}
	return list
}

// started returns the name of a download after the first before ones. The event
// may come behind the answer that announced it: it is waited for so long.
func (d *downloads) started(ctx context.Context, before int, wait time.Duration) (string, bool) {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	for {
		d.mu.Lock()
		if len(d.all) > before {
			defer d.mu.Unlock()
			return d.all[len(d.all)-1].Name, true
		}
		if len(d.all) >= maxDownloads {
			d.mu.Unlock()
			return "", false // no more is noted
		}
		wake := d.wake
		d.mu.Unlock()
		select {
		case <-wake:
		case <-ctx.Done():
			return "", false
		}
	}
}

// DownloadsInput is what browser:downloads takes.
type DownloadsInput struct {
	Since  int     `json:"since,omitzero" jsonschema:"leave out this many of the first"`
	Filter string  `json:"filter,omitzero" jsonschema:"only those whose name or address contains this"`
	Wait   float64 `json:"wait,omitzero" jsonschema:"seconds to wait for running ones, and for a first one"`
}

// DownloadsOutput is what browser:downloads returns.
type DownloadsOutput struct {
	Downloads []Download `json:"downloads"`
}

func (s *session) downloadsTool(ctx context.Context, in DownloadsInput) (out DownloadsOutput, err error) {
	if err := checkSince(in.Since); err != nil {
		return out, err
	}
	wait, err := seconds("/wait", in.Wait, 0)
	if err != nil {
		return out, err
	}
	limit, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	d := &s.downloads
	for {
		d.mu.Lock()
		out.Downloads = []Download{}
		running := len(d.all) <= in.Since
		for _, have := range d.all[min(in.Since, len(d.all)):] {
			if in.Filter != "" && !strings.Contains(have.Name, in.Filter) && !strings.Contains(have.URL, in.Filter) {
				continue
			}
			e := have.Download
			if e.State == "copying" {
				e.State = "running"
			}
			running = running || e.State == "running"
			out.Downloads = append(out.Downloads, e)
		}
		wake := d.wake
		d.mu.Unlock()
		if !running || wait == 0 {
			return out, nil
		}
		select {
		case <-wake:
		case <-limit.Done():
			return out, ctx.Err()
		}
	}
}
