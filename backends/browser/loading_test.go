package browser_test

import (
	"testing"

	"github.com/agentflow-go/sandbox"
	"github.com/agentflow-go/sandbox/backends/browser"
)

func TestPageOnItsWayToAServerThatHangs(t *testing.T) {
	t.Parallel()
	u := newUser(t, "")
	u.open("/form.html")
	u.open("/frame?url=about:blank")
	u.eval(`document.querySelector('#go').href = '/hang'; 1`)
	out := do(u, u.bt.Click, browser.ClickInput{Element: el("#go")})
	if out.Loading != u.b.site.url+"/hang" || out.URL != u.b.site.url+"/frame?url=about:blank" {
		t.Errorf("click = %+v, want it on its way to /hang", out)
	}
	const way = "/hang, which has not answered yet"
	refused(u, u.bt.Snapshot, browser.SnapshotInput{Timeout: 2}, sandbox.ErrTimeout, way)
	refused(u, u.bt.Click, browser.ClickInput{Element: el("#go"), Timeout: 2}, sandbox.ErrTimeout, way)
	refused(u, u.bt.WaitFor, browser.WaitInput{Text: "x", Timeout: 2}, sandbox.ErrTimeout, way)
	// Leaving keeps the tab, and its history.
	if out := do(u, u.bt.Back, browser.TimeoutInput{}); out.URL != u.b.site.url+"/form.html" {
		t.Errorf("back = %+v", out)
	}
	if out := do(u, u.bt.Forward, browser.TimeoutInput{}); out.Title != "Framing" {
		t.Errorf("forward = %+v", out)
	}
}
