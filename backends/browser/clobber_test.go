package browser_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/agentflow-go/sandbox/backends/browser"
)

// taken are names of what forms and documents have.
const taken = "parentElement children childNodes getAttribute matches checkVisibility nodeType localName getRootNode shadowRoot assignedSlot " +
	"querySelector querySelectorAll hidden attributes getClientRects getBoundingClientRect textContent innerText isConnected labels host " +
	"body title documentElement activeElement createTreeWalker scrollingElement elementFromPoint execCommand"

func init() {
	handlers = append(handlers, func(m *http.ServeMux) {
		m.HandleFunc("/clobber", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			fmt.Fprint(w, `<title>Taken</title><h1>Travel</h1><div><form id=f aria-label=Trip>`)
			for name := range strings.FieldsSeq(taken) {
				fmt.Fprintf(w, `<label>Field %s <input name=%[1]s></label>`, name)
			}
			fmt.Fprint(w, `<button type=button onclick="this.textContent = 'Booked'">Book now</button></form></div>`)
			for name := range strings.FieldsSeq(taken) {
				fmt.Fprintf(w, `<img name=%s alt="">`, name)
			}
		})
	})
}

// Names of fields and pictures come before the properties of their form and of the
// document, for scripts of all worlds.
func TestNamesOfFieldsHideNothing(t *testing.T) {
	t.Parallel()
	u := newUser(t, "")
	if out := u.open("/clobber"); out.Title != "Taken" {
		t.Errorf("goto = %+v", out)
	}
	for _, mode := range []string{"interactive", "full"} {
		got := do(u, u.bt.Snapshot, browser.SnapshotInput{Mode: mode}).Snapshot
		for _, want := range []string{`heading "Travel"`, `form "Trip"`, `textbox "Field children"`, `textbox "Field parentElement"`, `button "Book now"`} {
			if !strings.Contains(got, want) {
				t.Errorf("%s snapshot lacks %s:\n%s", mode, want, got)
			}
		}
	}
	do(u, u.bt.Fill, browser.FillInput{Named: browser.Named{Label: "Field children"}, Text: "2"})
	do(u, u.bt.Hover, browser.ClickInput{Element: el("#f")})
	do(u, u.bt.Click, browser.ClickInput{Element: browser.Element{Text: "Book now"}})
	do(u, u.bt.WaitFor, browser.WaitInput{Text: "Booked"})
	if got := do(u, u.bt.Extract, browser.ExtractInput{}).Text; !strings.Contains(got, "Field children `2`") || !strings.Contains(got, "[Booked]") {
		t.Errorf("extract = %s", got)
	}
	if got := do(u, u.bt.Screenshot, browser.ScreenshotInput{FullPage: true}); got.Size[1] < 720 {
		t.Errorf("screenshot is %v", got.Size)
	}
	do(u, u.bt.Scroll, browser.ScrollInput{DY: 100})
}
