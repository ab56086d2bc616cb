package browser

import (
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
	since                   time.Time
	console, network, bytes int
	after                   int // events since it was muted
}

// loud counts an event and reports whether there were too many.
func (f *flood) loud(domain string, bytes int) bool {
	if n := f.console + f.network; n%64 == 0 {
		if now := time.Now(); now.Sub(f.since) > time.Second {
			f.since, f.console, f.network, f.bytes = now, 0, 0, 0
		}
	}
	if f.bytes += bytes; domain == "Network" {
		f.network++
	} else {
		f.console++
	}
	return f.console > loudConsole || f.network > loudNetwork || f.bytes > loudBytes
}

// heard reports whether an event of the page is to be looked at. It is called by
// the connection's reader.
func (t *tab) heard(domain string, bytes int) bool {
	if domain != "Runtime" && domain != "Log" && domain != "Network" {
		return true
	}
	if !t.quieted {
		if !t.flood.loud(domain, bytes) {
			return true
		}
		t.quieted, t.flood = true, flood{}
		t.mute()
		return false
	}
	before := t.flood.after
	if t.flood.after += 1 + bytes>>14; before < tooLoud && t.flood.after >= tooLoud {
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
