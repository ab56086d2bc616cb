package browser

import (
	"bytes"
	"strconv"
	"time"

	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
)

// All sessions of a browser are told of over one connection, in which what one page
// says holds up the others. A page that is louder in a second than this is no longer
// listened to, until it goes to another document; one that is still heard after
// that many further events, or 16 KiB of them each, because its script never pauses,
// is closed.
const (
	loudConsole = 1000
	loudNetwork = 10000
	loudBytes   = 8 << 20
	tooLoud     = 20000
)

// flood counts what a page tells. It belongs to the connection's reader.
type flood struct {
	console, network gauge // by the times that events bear, each domain's on a clock of its own
	other            gauge // events without a time, by this program's clock
	after            int   // events since the page was muted
}

// gauge counts the events of one second, and those of a time before that are told
// during it, as the end of a request is by a page that was busy.
type gauge struct {
	since    float64   // in seconds
	began    time.Time // when that was, by this program's clock
	n, bytes int
}

func (g *gauge) over(at float64, size, most int) bool {
	// A clock may be set back; a page may have times far apart by turns.
	if at-g.since > 1 || g.since-at > 1 && time.Since(g.began) > time.Second {
		*g = gauge{since: at, began: time.Now()}
	}
	g.n++
	g.bytes += size
	return g.n > most || g.bytes > loudBytes
}

// loud counts an event and reports whether there were too many. What counts is when
// the page told it: on a busy machine it may be read much later, and slower than the
// page tells more.
func (f *flood) loud(domain string, params []byte, size int) bool {
	at, ok := eventTime(params)
	switch {
	case !ok:
		return f.other.over(float64(time.Now().UnixMilli())/1000, size, loudNetwork)
	case domain == "Network": // in seconds since some moment
		return f.network.over(at, size, loudNetwork)
	}
	return f.console.over(at/1000, size, loudConsole) // in milliseconds since 1970
}

// eventTime reads the time from an event of the domains Runtime, Log and Network.
// Where a page's own text has such a key, its quotes are escaped.
func eventTime(params []byte) (float64, bool) {
	_, after, ok := bytes.Cut(params, []byte(`"timestamp":`))
	if !ok {
		return 0, false
	}
	end := bytes.IndexAny(after[:min(len(after), 32)], ",}")
	if end < 0 {
		return 0, false
	}
	at, err := strconv.ParseFloat(string(bytes.TrimSpace(after[:end])), 64)
	return at, err == nil
}

// heard reports whether an event of the page is to be looked at. It is called by
// the connection's reader.
func (t *tab) heard(domain string, params []byte, size int) bool {
	if domain != "Runtime" && domain != "Log" && domain != "Network" {
		return true
	}
	if !t.quieted {
		if !t.flood.loud(domain, params, size) {
			return true
		}
		t.quieted, t.flood = true, flood{}
		t.mute()
		return false
	}
	before := t.flood.after
	if t.flood.after += 1 + size>>14; before < tooLoud && t.flood.after >= tooLoud {
		t.s.say(ConsoleEntry{Type: "warning", Text: "the tab was closed: its page could not be made to be quiet"})
		t.s.spawn(func() { t.close(t.s.base) })
	}
	return false
}

// mute stops listening to the page's console and requests.
func (t *tab) mute() {
	t.mu.Lock()
	t.muted = true
	t.mu.Unlock()
	t.s.say(ConsoleEntry{Type: "warning", Text: "the page says and asks for so much that its console and requests are no longer recorded, until it goes elsewhere"})
	links := t.links()
	t.s.spawn(func() {
		for _, l := range links {
			for _, method := range []string{runtime.CommandDisable, log.CommandDisable, network.CommandDisable} {
				l.send(t.s.base, method, nil)
			}
		}
	})
}

// listen begins again, for a new document. It is called by the connection's
// reader.
func (t *tab) listen() {
	t.quieted, t.flood = false, flood{}
	t.s.spawn(func() { t.link.all(t.s.base, listening()...) })
}
