package browser_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/agentflow-go/sandbox/backends/browser"
)

// endless is told when the download that never ends was given up.
var endless = make(chan struct{}, 1)

func init() {
	handlers = append(handlers, func(m *http.ServeMux) {
		m.HandleFunc("/endless", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Disposition", "attachment; filename=endless.bin")
			for some := make([]byte, 1<<10); r.Context().Err() == nil; {
				if _, err := w.Write(some); err != nil {
					break
				}
				if http.NewResponseController(w).Flush() != nil {
					break
				}
				select {
				case <-r.Context().Done():
				case <-time.After(10 * time.Millisecond):
				}
			}
			endless <- struct{}{}
		})
	})
}

// What one page says may be more than is read of all pages.
func TestPagesThatSayTooMuchDoNotEndTheBrowser(t *testing.T) {
	t.Parallel()
	loud, other := newUserAs(t, "loud", ""), newUserAs(t, "other", "")
	loud.open("/dialogs.html")
	other.open("/form.html")
	was := do(other, other.b.faults.Which, struct{}{})
	loud.eval("console.log('x'.repeat(9 << 20)); prompt('y'.repeat(9 << 20)); 1")
	if got := loud.eval("document.title"); got != "Dialogs" {
		t.Errorf("the loud page says %v", got)
	}
	if got := other.eval("1 + 1"); got != 2. || do(other, other.b.faults.Which, struct{}{}) != was {
		t.Errorf("the other page says %v, in another browser", got)
	}
}

// A window beyond the limit is closed at once; what it began is nobody's.
func TestDownloadOfAWindowThatIsRefused(t *testing.T) {
	t.Parallel()
	u := newUser(t, "")
	u.open("/form.html")
	do(u, u.bt.Evaluate, browser.EvaluateInput{Timeout: 60, Expression: `
		let w;
		for (let i = 0; i < 20; i++) w = open('about:blank');
		const a = w.document.createElement('a');
		a.href = location.origin + '/endless'; a.download = 'x';
		w.document.body.append(a);
		a.click(), 1`})
	select {
	case <-endless:
	case <-time.After(30 * time.Second):
		t.Error("the download goes on")
	}
	if got := do(u, u.bt.Downloads, browser.DownloadsInput{}).Downloads; len(got) != 0 {
		t.Errorf("downloads = %+v", got)
	}
}
