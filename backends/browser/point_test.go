package browser_test

import (
	"testing"

	"github.com/agentflow-go/sandbox"
	"github.com/agentflow-go/sandbox/backends/browser"
)

func TestElementsAtAPoint(t *testing.T) {
	t.Parallel()
	u := newUser(t, "")
	u.open("/form.html")
	middle := func(selector string) browser.Element {
		t.Helper()
		at, ok := u.eval("(() => { const r = document.querySelector('" + selector + "').getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2]; })()").([]any)
		if !ok || len(at) != 2 {
			t.Fatalf("%s is at %v", selector, at)
		}
		x, y := at[0].(float64), at[1].(float64)
		return browser.Element{X: &x, Y: &y}
	}
	if out := do(u, u.bt.Evaluate, browser.EvaluateInput{Element: middle("#size"), Expression: "el => el.id"}); out.Result != "size" {
		t.Errorf("evaluate at a point = %v, want the select's id", out.Result)
	}
	if out := do(u, u.bt.Extract, browser.ExtractInput{Element: middle("h1"), Format: "text"}); out.Text != "Order a pizza" && out.Text != "Order a pizza\n" {
		t.Errorf("extract at a point = %q, want the heading", out.Text)
	}
	do(u, u.bt.Press, browser.PressInput{Element: middle("textarea"), Key: "Shift+Q"})
	if got := u.eval("document.querySelector('textarea').value"); got != "Q" {
		t.Errorf("press at a point typed %q", got)
	}
	whole, part := do(u, u.bt.Screenshot, browser.ScreenshotInput{}), do(u, u.bt.Screenshot, browser.ScreenshotInput{Element: middle("textarea")})
	if part.Size[0] == 0 || part.Size[0] >= whole.Size[0] || part.Size[1] >= whole.Size[1] {
		t.Errorf("a picture at a point has %v pixels, the window %v", part.Size, whole.Size)
	}
	if out := do(u, u.bt.Select, browser.SelectInput{Element: middle("#size"), Label: new("Large")}); out.Value != "l" {
		t.Errorf("select at a point = %+v", out)
	}
	if out := do(u, u.bt.Check, browser.CheckInput{Element: middle("[value=cheese]")}); !out.Checked {
		t.Errorf("check at a point = %+v", out)
	}
	refused(u, u.bt.Evaluate, browser.EvaluateInput{Element: browser.Element{X: new(9000.0), Y: new(1.0)}, Expression: "el => el"}, sandbox.ErrInvalidInput, "outside of the window")
	refused(u, u.bt.Evaluate, browser.EvaluateInput{Element: browser.Element{X: new(1.0)}, Expression: "el => el"}, sandbox.ErrInvalidInput, "exactly one way: ref, selector, text, or x and y")
}
