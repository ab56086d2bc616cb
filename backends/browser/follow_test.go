package browser_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/agentflow-go/sandbox/backends/browser"
)

func init() {
	handlers = append(handlers, func(m *http.ServeMux) {
		m.HandleFunc("/asking", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			fmt.Fprint(w, `<title>Asking</title><button id=load>Load</button><button id=fetch>Fetch</button><button id=hang>Hang</button><button id=poll>Poll</button>
<input id=field aria-label=Field><p id=out>Idle</p><iframe name=part></iframe><a id=frame href=/form.html target=part>Frame</a><script>
const out = document.querySelector('#out');
const load = (left) => {
  out.textContent = 'Loading';
  const x = new XMLHttpRequest();
  x.onload = () => { if (left) load(left - 1); else out.textContent = 'Done'; };
  x.open('GET', '/asked?' + left);
  x.send();
};
document.querySelector('#load').onclick = () => load(4);
document.querySelector('#fetch').onclick = () => { fetch('/asked').then(() => { out.textContent = 'Done'; }); };
document.querySelector('#hang').onclick = () => { fetch('/hang?first').catch(() => 0); };
document.querySelector('#poll').onclick = () => { new EventSource('/stream'); fetch('/hang?again').catch(() => 0); };
document.querySelector('#field').onkeydown = (e) => { if (e.key === 'Enter') load(4); };
document.querySelector('#field').oninput = () => { fetch('/hang-hints').catch(() => 0); };
</script>`)
		})
		m.HandleFunc("/asked", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "answer") })
		m.HandleFunc("/hang-hints", func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
		m.HandleFunc("/stream", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		})
	})
}

func TestActionsWaitForTheRequestsThatTheyBegin(t *testing.T) {
	t.Parallel()
	u := newUser(t, "")
	do(u, u.b.faults.Wait, struct{}{})
	u.open("/asking")
	shown := func(how string) {
		t.Helper()
		if got := u.eval("document.querySelector('#out').textContent"); got != "Done" {
			t.Errorf("after %s the page shows %q, want Done", how, got)
		}
		u.eval("out.textContent = 'Idle'; 1")
	}
	do(u, u.bt.Click, browser.ClickInput{Element: el("#load"), Timeout: 50})
	shown("a click")
	do(u, u.bt.Press, browser.PressInput{Element: el("#field"), Key: "Enter", Timeout: 50})
	shown("a key")
	do(u, u.bt.Click, browser.ClickInput{Element: el("#frame"), Timeout: 50})
	if got := u.eval("document.querySelector('iframe').contentDocument.title"); got != "Order" {
		t.Errorf("after a click on a link into a frame that has the title %q", got)
	}
	do(u, u.bt.Click, browser.ClickInput{Element: el("#fetch"), Timeout: 50})
	shown("a click that fetches")
	const much = 40 * time.Second // of the minute for which it would wait, and the tool's own 50 s
	begin := time.Now()
	do(u, u.bt.Fill, browser.FillInput{Named: browser.Named{Label: "Field"}, Text: "tea", Timeout: 50})
	if took := time.Since(begin); took > much {
		t.Errorf("fill took %v: it waited for the hints that the page asked for", took)
	}
	u.eval("fetch('/hang?page').catch(() => 0); 1")
	begin = time.Now()
	do(u, u.bt.Click, browser.ClickInput{Element: el("#poll"), Timeout: 50})
	if took := time.Since(begin); took > much {
		t.Errorf("a click took %v: it waited for an event source, or for what the page was asking already", took)
	}
}

func TestActionsDoNotWaitForLong(t *testing.T) {
	t.Parallel()
	u := newUser(t, "")
	u.open("/asking")
	// The server never answers: an action that waited for it would take its whole time, or fail.
	begin := time.Now()
	do(u, u.bt.Click, browser.ClickInput{Element: el("#hang"), Timeout: 55})
	if took := time.Since(begin); took > 40*time.Second {
		t.Errorf("a click took %v, want it not to wait for a server that hangs", took)
	}
	do(u, u.b.faults.Wait, struct{}{})
	u.open("/asking")
	if out := do(u, u.bt.Click, browser.ClickInput{Element: el("#hang"), Timeout: 10}); out.Ref == "" { // its own limit is shorter, and no error
		t.Errorf("click = %+v", out)
	}
}
