package browser

import (
	"bytes"
	"context"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/cdp"
)

// The browser tells nothing of a download whose frame or window is gone when its
// first byte comes, but it writes it where all others are. So that place is looked
// at, soon after pages did something and ever more rarely while they do nothing.
const (
	firstLook = time.Second
	lastLook  = 30 * time.Second
	maxLooked = 1000 // files that a look is at
)

const hiddenDownload = "the page took away the frame or window that it came from: begin it where it stays, such as by goto"

// watchDownloads ends downloads of which the browser does not tell, until the
// session ends.
func (s *session) watchDownloads() {
	var seen int64
	for wait := firstLook; ; wait = min(2*wait, lastLook) {
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-s.base.Done():
		case <-s.chrome.conn.done:
		}
		timer.Stop()
		if s.base.Err() != nil || !s.chrome.alive() {
			return
		}
		if !s.wentAway.Load() {
			continue
		}
		if n := s.heard.Load(); n != seen {
			seen, wait = n, firstLook/2
		}
		if s.endHidden(s.base) {
			wait = firstLook / 2
		}
	}
}

// endHidden looks once, and reports whether there was a hidden download.
func (s *session) endHidden(ctx context.Context) bool {
	there := s.filesOfDownloads(ctx)
	if len(there) == 0 {
		return false
	}
	// What the browser told before its answer has been read by then.
	if _, err := cdp.Call(ctx, s.chrome.conn.root, browser.GetVersion, cdp.Empty{}); err != nil {
		return false
	}
	found := false
	for guid := range there {
		if s.downloads.told(guid) {
			continue
		}
		found = true
		s.dropDownload(ctx, guid)
		s.downloads.hidden(guid)
	}
	return found
}

// downloadFile is what the browser calls the file of a download: its number, with
// the suffix unfinished while it comes.
var downloadFile = regexp.MustCompile(`^([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})(` + regexp.QuoteMeta(unfinished) + `)?$`)

const unfinished = ".crdownload"

// filesOfDownloads lists the files of downloads by number. Where a worker's own
// programs could put some, they name none that the browser has.
func (s *session) filesOfDownloads(ctx context.Context) map[string]bool {
	s.downloads.mu.Lock()
	dir := s.downloads.dir
	s.downloads.mu.Unlock()
	var names []string
	if s.own {
		files, err := s.env.Load().Files()
		if err != nil {
			return nil
		}
		list, _, err := files.ReadDir(ctx, dir, maxLooked)
		if err != nil {
			return nil // there is none yet
		}
		for _, info := range list {
			names = append(names, path.Base(info.Path))
		}
	} else {
		var out bytes.Buffer
		if s.inJail(ctx, nil, &out, "/bin/ls", "-A", "--", dir) != nil {
			return nil
		}
		names = strings.Split(out.String(), "\n")
	}
	there := map[string]bool{}
	for _, name := range names {
		if m := downloadFile.FindStringSubmatch(name); m != nil {
			there[m[1]] = true
		}
	}
	return there
}

// told reports whether the browser told of a download.
func (d *downloads) told(guid string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.ContainsFunc(d.all, func(have *download) bool { return have.guid == guid && !have.hidden })
}

// hidden notes a download that the browser did not tell of.
func (d *downloads) hidden(guid string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.all) >= maxDownloads || slices.ContainsFunc(d.all, func(have *download) bool { return have.guid == guid }) {
		return
	}
	d.all = append(d.all, &download{guid: guid, hidden: true, Download: Download{Name: "download", State: "cancelled", Error: hiddenDownload}})
	d.changed()
}

// dropDownload ends a download, if it still runs, and removes what there is of it.
func (s *session) dropDownload(ctx context.Context, guid string) {
	s.cancelDownload(guid)
	s.downloads.mu.Lock()
	file := path.Join(s.downloads.dir, guid)
	s.downloads.mu.Unlock()
	names := []string{file + unfinished, file} // the one becomes the other, perhaps just now
	if !s.own {
		_ = s.inJail(ctx, nil, nil, "/bin/rm", append([]string{"-f", "--"}, names...)...) // what is left goes with the session
		return
	}
	files, err := s.env.Load().Files()
	if err != nil {
		return
	}
	for _, name := range names {
		_ = files.Remove(name) // as above
	}
}
