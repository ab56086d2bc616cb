package browser_test

import (
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/agentflow-go/sandbox"
	"github.com/agentflow-go/sandbox/backends/browser"
)

func el(selector string) browser.Element { return browser.Element{Selector: selector} }

func TestElements(t *testing.T) {
	t.Parallel()
	u := newUser(t, "")
	u.open("/elements.html")
	click := func(in browser.ClickInput) { t.Helper(); do(u, u.bt.Click, in) }

	refused(u, u.bt.Click, browser.ClickInput{Element: browser.Element{Text: "Same"}}, sandbox.ErrInvalidInput, "matches 2 elements; give nth")
	click(browser.ClickInput{Element: browser.Element{Text: "Same", Nth: ptr(1)}})
	refused(u, u.bt.Click, browser.ClickInput{Element: browser.Element{Selector: "nope"}, Timeout: 3}, sandbox.ErrTimeout, "no element matches")
	refused(u, u.bt.Click, browser.ClickInput{Element: browser.Element{Selector: "a["}}, sandbox.ErrInvalidInput, "/selector")
	refused(u, u.bt.Click, browser.ClickInput{Element: browser.Element{Selector: "a", Text: "b"}}, sandbox.ErrInvalidInput, "exactly one way")
	refused(u, u.bt.Click, browser.ClickInput{Element: browser.Element{Ref: "e9999"}}, sandbox.ErrBusinessFailure, "take a new snapshot")
	refused(u, u.bt.Click, browser.ClickInput{Element: browser.Element{Ref: "x"}}, sandbox.ErrInvalidInput, "/ref")

	u.eval("modal.className = 'on'")
	refused(u, u.bt.Click, browser.ClickInput{Element: el("#covered"), Timeout: 3}, sandbox.ErrTimeout, "is covered by <div id=modal class=on>")
	u.eval("setTimeout(() => { modal.className = '' }, 200)")
	click(browser.ClickInput{Element: el("#covered"), Modifiers: []string{"Shift"}})
	u.eval("setTimeout(() => { late.disabled = false }, 200)")
	click(browser.ClickInput{Element: el("#late")})
	u.eval("start()")
	refused(u, u.bt.Click, browser.ClickInput{Element: el("#mover"), Timeout: 3}, sandbox.ErrTimeout, "does not stand still")
	u.eval("window.moving = false")
	click(browser.ClickInput{Element: el("#mover"), Button: "right"})
	click(browser.ClickInput{Element: browser.Element{Text: "In the shadow"}})
	click(browser.ClickInput{Element: el("my-card >> #inner")})
	do(u, u.bt.Fill, browser.FillInput{Named: browser.Named{Label: "Deep"}, Text: "down"})
	click(browser.ClickInput{Element: el("#down")})
	do(u, u.bt.DoubleClick, browser.ClickInput{Element: el("#down")})
	do(u, u.bt.Hover, browser.ClickInput{Element: el("#hoverme")})
	if out := do(u, u.bt.Check, browser.CheckInput{Element: browser.Element{Text: "Fancy box"}}); !out.Checked {
		t.Error("the fancy box is not checked")
	}
	if out := do(u, u.bt.Check, browser.CheckInput{Element: browser.Element{Text: "Aria box"}}); !out.Checked {
		t.Error("the aria box is not checked")
	}
	refused(u, u.bt.Check, browser.CheckInput{Element: el("h1")}, sandbox.ErrInvalidInput, "no checkbox")
	do(u, u.bt.Press, browser.PressInput{Element: el("#keys"), Key: "Control+Shift+ArrowLeft"})
	do(u, u.bt.Press, browser.PressInput{Key: "A"})
	do(u, u.bt.Press, browser.PressInput{Key: "Enter"})
	refused(u, u.bt.Press, browser.PressInput{Key: "NoSuchKey"}, sandbox.ErrInvalidInput, "is no key")
	if got := u.eval("keys.value"); got != "A" {
		t.Errorf("the field holds %q, want A", got)
	}
	want := `click same 0 false
click covered 0 true
click late 0 false
menu mover
shadow
click inner 0 false
shadow
click inner 0 false
click down 0 false
click down 0 false
click down 0 false
dblclick down
hover
click box 0 false
click aria 0 false
key ctrl+Control
key ctrl+shift+Shift
key ctrl+shift+ArrowLeft
key shift+A
key Enter
`
	if diff := cmp.Diff(want, u.eval("log.textContent")); diff != "" {
		t.Errorf("what the page saw (-want +got):\n%s", diff)
	}
	if got := u.eval("document.querySelector('my-card').shadowRoot.getElementById('deep').value"); got != "down" {
		t.Errorf("the field in the shadow holds %q", got)
	}
	out := do(u, u.bt.Evaluate, browser.EvaluateInput{Element: el("my-card >> #deep"), Expression: "el => el.value + location.pathname"})
	if out.Result != "down/elements.html" {
		t.Errorf("evaluate with an element = %v", out.Result)
	}
}

func TestReferencesStay(t *testing.T) {
	t.Parallel()
	u := newUser(t, "")
	u.open("/elements.html")
	first := u.snapshot()
	late := ref(t, first, `button "Late"`)
	u.eval("document.body.prepend(document.createElement('button'))")
	second := u.snapshot()
	if got := ref(t, second, `button "Late"`); got != late {
		t.Errorf("Late was %s and is %s", late, got)
	}
	// Nor is a number of one document an element of the next.
	u.open("/elements.html")
	refused(u, u.bt.Click, browser.ClickInput{Element: browser.Element{Ref: late}}, sandbox.ErrBusinessFailure, "is gone")
	late = ref(t, u.snapshot(), `button "Late"`)
	u.eval("late.remove()")
	refused(u, u.bt.Click, browser.ClickInput{Element: browser.Element{Ref: late}}, sandbox.ErrBusinessFailure, "element "+late+" is gone")
	if strings.Contains(u.snapshot(), late+"]") {
		t.Errorf("the reference of an element that is gone was given to another")
	}
}

func TestScrollingLoadsMore(t *testing.T) {
	t.Parallel()
	u := newUser(t, "")
	u.open("/elements.html")
	for u.eval("n") != 40. {
		do(u, u.bt.Scroll, browser.ScrollInput{Element: el("#list"), DY: 400})
	}
	do(u, u.bt.WaitFor, browser.WaitInput{Selector: "#list div:nth-child(40)"})
	if out := do(u, u.bt.Scroll, browser.ScrollInput{DY: 500}); out.Y <= 0 {
		t.Errorf("scroll = %+v", out)
	}
	if out := do(u, u.bt.Scroll, browser.ScrollInput{Element: el("#down")}); out.Y < 2000 {
		t.Errorf("scroll to an element = %+v", out)
	}
}

func TestFrames(t *testing.T) {
	t.Parallel()
	u := newUser(t, "")
	u.open("/frames.html")
	do(u, u.bt.WaitFor, browser.WaitInput{Text: "?far"})
	snap := do(u, u.bt.Snapshot, browser.SnapshotInput{Mode: "full"}).Snapshot
	for _, text := range []string{"I am " + strings.TrimPrefix(u.b.site.url, "http://"), "I am " + strings.TrimPrefix(u.b.site.other, "http://") + "?far"} {
		if !strings.Contains(snap, text) {
			t.Errorf("no %q in\n%s", text, snap)
		}
	}
	near, far := "", ""
	for line := range strings.Lines(snap) {
		if strings.Contains(line, `button "Press me"`) {
			if near == "" {
				near = ref(t, line, "Press me")
			} else {
				far = ref(t, line, "Press me")
			}
		}
	}
	do(u, u.bt.Click, browser.ClickInput{Element: browser.Element{Ref: near}})
	do(u, u.bt.Click, browser.ClickInput{Element: browser.Element{Ref: far}})
	for _, frame := range []string{"near", "?far"} {
		if out := do(u, u.bt.Evaluate, browser.EvaluateInput{Expression: "document.title", Element: browser.Element{Frame: frame}}); out.Result != "pressed" {
			t.Errorf("in %s the button was not pressed: %v", frame, out.Result)
		}
		got := do(u, u.bt.Fill, browser.FillInput{Named: browser.Named{Label: "Inside", Frame: frame}, Text: frame})
		if got.Value != frame {
			t.Errorf("fill in %s = %+v", frame, got)
		}
		typed := do(u, u.bt.Type, browser.TypeInput{Named: browser.Named{Label: "Inside", Frame: frame}, Text: "!"})
		if typed.Value != frame+"!" {
			t.Errorf("type in %s = %+v", frame, typed)
		}
	}
	refused(u, u.bt.Click, browser.ClickInput{Element: browser.Element{Text: "Pressed", Frame: "nowhere"}}, sandbox.ErrBusinessFailure, "no frame")
	u.eval("far.style.pointerEvents = 'none'")
	refused(u, u.bt.Click, browser.ClickInput{Element: browser.Element{Ref: far}, Timeout: 3}, sandbox.ErrTimeout, "its frame is covered")
	// The frame goes back to this site and then away.
	u.eval("far.style.pointerEvents = ''; far.src = '/inner.html?back'")
	do(u, u.bt.WaitFor, browser.WaitInput{Text: "?back"})
	do(u, u.bt.Click, browser.ClickInput{Element: browser.Element{Text: "Press me", Frame: "?back"}})
	u.eval("far.remove()")
	refused(u, u.bt.Click, browser.ClickInput{Element: browser.Element{Ref: far}}, sandbox.ErrBusinessFailure, "gone")
}

func TestSinglePage(t *testing.T) {
	t.Parallel()
	u := newUser(t, "")
	u.open("/spa.html")
	if out := do(u, u.bt.Click, browser.ClickInput{Element: browser.Element{Text: "One"}}); !strings.HasSuffix(out.URL, "/spa/one") {
		t.Errorf("click = %+v", out)
	}
	do(u, u.bt.WaitFor, browser.WaitInput{Text: "View one"})
	do(u, u.bt.Click, browser.ClickInput{Element: browser.Element{Text: "Two"}})
	do(u, u.bt.WaitFor, browser.WaitInput{URL: "/spa/two"})
	do(u, u.bt.WaitFor, browser.WaitInput{Gone: "View one"})
	do(u, u.bt.WaitFor, browser.WaitInput{Text: "View two"})
	if out := do(u, u.bt.Back, browser.TimeoutInput{}); !strings.HasSuffix(out.URL, "/spa/one") {
		t.Errorf("back = %+v", out)
	}
	if out := do(u, u.bt.Forward, browser.TimeoutInput{}); !strings.HasSuffix(out.URL, "/spa/two") {
		t.Errorf("forward = %+v", out)
	}
	refused(u, u.bt.Forward, browser.TimeoutInput{}, sandbox.ErrBusinessFailure, "history ends")
	refused(u, u.bt.WaitFor, browser.WaitInput{Text: "never", Timeout: 3}, sandbox.ErrTimeout, "did not appear")
}

func TestDrag(t *testing.T) {
	t.Parallel()
	u := newUser(t, "")
	u.open("/drag.html")
	do(u, u.bt.Drag, browser.DragInput{From: el("#native"), To: el("#zone")})
	do(u, u.bt.Drag, browser.DragInput{From: el("#own"), To: el("#hole")})
	if diff := cmp.Diff("dropped payload\nput true\n", u.eval("log.textContent")); diff != "" {
		t.Errorf("what the page saw (-want +got):\n%s", diff)
	}
}

func TestSnapshots(t *testing.T) {
	t.Parallel()
	u := newUser(t, "")
	snap := func(html, mode string) string {
		t.Helper()
		do(u, u.bt.Goto, browser.GotoInput{URL: "data:text/html," + url.PathEscape("<!doctype html>"+html)})
		out := do(u, u.bt.Snapshot, browser.SnapshotInput{Mode: mode}).Snapshot
		return regexp.MustCompile(` \[ref=\w+\]`).ReplaceAllString(out, "")
	}
	for _, tt := range []struct{ mode, html, want string }{
		{"", "", "(nothing to act on: use mode full, or extract)\n"},
		{"full", "<p>Some <b>bold</b> text <i>here</i>.</p>and <a href=/x>a link</a> in <b>it", "- paragraph: Some bold text here.\n- text: and\n- link \"a link\" [url=/x]\n- text: in it\n"},
		{"", "<fieldset><legend>Kind</legend><label><input type=radio name=k> A</label></fieldset><fieldset>x</fieldset>", "- group \"Kind\"\n  - radio \"A\"\n"},
		{"", "<label>Tea <select><option>Assam<option>Oolong</select></label>", "- combobox \"Tea\": \"Assam\" [options: \"Assam\", \"Oolong\"]\n"},
		{"", "<div onclick=f()>Go</div><button aria-expanded=false aria-pressed=true>B<button hidden>C</button><a>no link</a>", "- clickable \"Go\"\n- button \"B\" [collapsed] [pressed]\n"},
		{"", "<input type=password value=abc placeholder=PIN><input type=checkbox checked aria-label=On disabled>", "- textbox \"PIN\": \"•••\"\n- checkbox \"On\" [checked] [disabled]\n"},
		{"full", "<ul><li>one<li>two <b>x</b></ul><div aria-hidden=true>no</div><div style=visibility:hidden>no</div>", "- list\n  - listitem: one\n  - listitem: two x\n"},
	} {
		if diff := cmp.Diff(tt.want, snap(tt.html, tt.mode)); diff != "" {
			t.Errorf("snapshot %s of %s (-want +got):\n%s", tt.mode, tt.html, diff)
		}
	}
}

func TestExtract(t *testing.T) {
	t.Parallel()
	u := newUser(t, "")
	u.open("/article.html")
	want := "# A title\n\nFirst **bold** and *slanted* text with [a link](" + u.b.site.url + "/link?a=1), a comma, another comma, and enough words to be read for its own sake.\n\n" +
		"- one\n- two\n  - nested\n\n3. three\n4. four\n\n```\nlet x = 1;\n  let y = 2;\n```\n\n> Quoted\n\n| A | B |\n| --- | --- |\n| 1 | a\\|b |\n\n" +
		"Last paragraph, with an ![picture](" + u.b.site.url + "/p.png) in it and `code`, and some more words so that it is long enough, too."
	if diff := cmp.Diff(want, do(u, u.bt.Extract, browser.ExtractInput{Readable: true}).Text); diff != "" {
		t.Errorf("markdown (-want +got):\n%s", diff)
	}
	if got := do(u, u.bt.Extract, browser.ExtractInput{Format: "text"}).Text; !strings.Contains(got, "Imprint") || strings.Contains(got, "never shown") {
		t.Errorf("text = %s", got)
	}
	if got := do(u, u.bt.Extract, browser.ExtractInput{Format: "html", Element: el("blockquote")}).HTML; got != "<blockquote><p>Quoted</p></blockquote>" {
		t.Errorf("html = %s", got)
	}
	if got := do(u, u.bt.Extract, browser.ExtractInput{Format: "html", Element: browser.Element{Text: "Quoted"}}).HTML; got != "<p>Quoted</p>" {
		t.Errorf("html of what says Quoted = %s", got)
	}
	if got := do(u, u.bt.Evaluate, browser.EvaluateInput{Element: browser.Element{Selector: "li", Nth: new(0)}, Expression: "el => el.textContent"}).Result; got != "one" {
		t.Errorf("text of the first of several = %q, want one", got)
	}
}
