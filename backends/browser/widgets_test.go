package browser_test

import (
	"net/url"
	"regexp"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/agentflow-go/sandbox"
	"github.com/agentflow-go/sandbox/backends/browser"
)

// show opens a page that is written here.
func (u *user) show(html string) {
	u.t.Helper()
	do(u, u.bt.Goto, browser.GotoInput{URL: "data:text/html," + url.PathEscape("<!doctype html><meta charset=utf-8>"+html)})
}

var refMark = regexp.MustCompile(` \[ref=\w+\]`)

func TestTextOfScriptsIsNotShown(t *testing.T) {
	t.Parallel()
	u := newUser(t, "")
	u.show(`<div id=outer>Basket<script>const later = 'Order placed'</script></div><style>/* Order placed */</style>
		<button onclick="outer.append(document.createElement('p')); outer.lastChild.append('Order', ' placed')">Order</button>`)
	refused(u, u.bt.WaitFor, browser.WaitInput{Text: "Order placed", Timeout: 3}, sandbox.ErrTimeout, "did not appear")
	refused(u, u.bt.Click, browser.ClickInput{Element: browser.Element{Text: "Order placed"}, Timeout: 3}, sandbox.ErrTimeout, "no element matches")
	do(u, u.bt.WaitFor, browser.WaitInput{Gone: "Order placed"})
	do(u, u.bt.Hover, browser.ClickInput{Element: browser.Element{Text: "Basket"}})
	do(u, u.bt.Click, browser.ClickInput{Element: browser.Element{Text: "Order"}})
	do(u, u.bt.WaitFor, browser.WaitInput{Text: "Order placed"})
}

func TestSnapshotsOfWidgets(t *testing.T) {
	t.Parallel()
	u := newUser(t, "")
	for _, tt := range []struct{ name, html, want string }{
		{"a button in a shadow tree is named by what its slot is given",
			`<my-button>Send <b>it</b></my-button><script>customElements.define('my-button', class extends HTMLElement {
				constructor() { super(); this.attachShadow({mode: 'open'}).innerHTML = '<button><i aria-hidden=true>*</i><slot></slot></button>' } })</script>`,
			"- button \"Send it\"\n"},
		{"a control without name is told by its row",
			`<ul><li><input type=checkbox> Milk<li><input type=checkbox checked> Bread</ul>`,
			"- checkbox [near \"Milk\"]\n- checkbox [near \"Bread\"] [checked]\n"},
		{"cards can be dragged",
			`<ul><li draggable=true>Task one</ul><div draggable=true>Task two <button>Edit</button></div>`,
			"- listitem \"Task one\" [draggable]\n- draggable \"Task two Edit\"\n  - button \"Edit\"\n"},
		{"a canvas can be clicked", `<canvas aria-label=Chart></canvas>`, "- canvas \"Chart\"\n"},
		{"live regions are messages, once they say something", `<div aria-live=polite>Saved</div><p aria-live=assertive></p><p role=alert></p>`, "- status \"Saved\"\n"},
		{"sliders of scripts have values", `<div role=slider tabindex=0 aria-label=Zoom aria-valuenow=40></div>`, "- slider \"Zoom\": \"40\"\n"},
	} {
		u.show(tt.html)
		if diff := cmp.Diff(tt.want, refMark.ReplaceAllString(u.snapshot(), "")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}

func TestExtractNamesFrames(t *testing.T) {
	t.Parallel()
	u := newUser(t, "")
	u.show(`<p>Above</p><iframe title=Payment src="about:blank" width=200 height=100></iframe><iframe src="about:blank" width=1 height=1></iframe><p>Below</p>`)
	if diff := cmp.Diff("Above\n\n[frame Payment about:blank]\n\nBelow", do(u, u.bt.Extract, browser.ExtractInput{}).Text); diff != "" {
		t.Errorf("markdown (-want +got):\n%s", diff)
	}
	refused(u, u.bt.Click, browser.ClickInput{Element: browser.Element{Text: "Elsewhere"}, Timeout: 3}, sandbox.ErrTimeout, "no element matches in the main frame; others are looked in with frame: f1, f2")
}

func TestClickTakesTheOneControl(t *testing.T) {
	t.Parallel()
	u := newUser(t, "")
	u.show(`<h1>Sign in</h1><button onclick="document.title = 'clicked'">Sign in</button><p>Twice</p><p>Twice</p>`)
	do(u, u.bt.Click, browser.ClickInput{Element: browser.Element{Text: "Sign in"}})
	if got := u.eval("document.title"); got != "clicked" {
		t.Errorf("title = %v", got)
	}
	refused(u, u.bt.Click, browser.ClickInput{Element: browser.Element{Text: "Twice"}}, sandbox.ErrInvalidInput, "matches 2 elements")
	refused(u, u.bt.Click, browser.ClickInput{Element: el("text=Sign in")}, sandbox.ErrInvalidInput, "give text instead")
	for _, p := range [][2]float64{{1280, 10}, {10, 720}, {-1, 10}} {
		refused(u, u.bt.Click, browser.ClickInput{Element: browser.Element{X: &p[0], Y: &p[1]}}, sandbox.ErrInvalidInput, "is outside of the window, which shows 1280 by 720 pixels")
	}
}

func TestFilesAreDroppedWhereNoneAreChosen(t *testing.T) {
	t.Parallel()
	u := newUser(t, "")
	u.show(`<div id=zone style="height:50px">Drop files here</div><p>Nothing</p><pre id=log></pre><script>
		zone.ondragover = (e) => e.preventDefault();
		zone.ondrop = (e) => { e.preventDefault(); log.textContent = [...e.dataTransfer.files].map((f) => f.name + ' ' + f.size).join(', '); };</script>`)
	for _, name := range []string{"a.txt", "b.txt"} {
		do(u, u.bt.Screenshot, browser.ScreenshotInput{Element: el("p"), Path: name}) // any file will do
	}
	do(u, u.bt.Upload, browser.UploadInput{Element: el("#zone"), Paths: []string{"a.txt", "b.txt"}})
	do(u, u.bt.WaitFor, browser.WaitInput{Text: ", b.txt"})
	if got, _ := u.eval("log.textContent").(string); !regexp.MustCompile(`^a\.txt [1-9]\d*, b\.txt [1-9]\d*$`).MatchString(got) {
		t.Errorf("dropped %q", got)
	}
	refused(u, u.bt.Upload, browser.UploadInput{Element: el("p"), Paths: []string{"a.txt"}, Timeout: 5}, sandbox.ErrBusinessFailure, "takes no files that are dropped on it")
}
