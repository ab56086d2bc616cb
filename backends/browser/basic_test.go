package browser_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/agentflow-go/sandbox"
	"github.com/agentflow-go/sandbox/backends/browser"
)

func init() {
	handlers = append(handlers, func(m *http.ServeMux) {
		m.HandleFunc("/ordered", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			w.Write([]byte("<title>Thanks</title><h1>Thanks</h1><pre id=q></pre><script>q.textContent = decodeURIComponent(location.search)</script>"))
		})
	})
}

func TestForm(t *testing.T) {
	t.Parallel()
	u := newUser(t, "")
	out := u.open("/form.html")
	if out.Title != "Order" || out.Status != 200 || !strings.HasSuffix(out.URL, "/form.html") {
		t.Errorf("goto = %+v", out)
	}
	snap := u.snapshot()
	t.Log(snap)
	if got := do(u, u.bt.Fill, browser.FillInput{Named: browser.Named{Ref: ref(t, snap, `textbox "Name"`)}, Text: "Ada & Co"}); got.Value != "Ada & Co" {
		t.Errorf("fill = %+v", got)
	}
	if got := do(u, u.bt.Select, browser.SelectInput{Element: browser.Element{Selector: "#size"}, Label: ptr("Large")}); got.Value != "l" {
		t.Errorf("select = %+v", got)
	}
	do(u, u.bt.Check, browser.CheckInput{Element: browser.Element{Text: "Olives"}})
	do(u, u.bt.Check, browser.CheckInput{Element: browser.Element{Text: "Later"}})
	do(u, u.bt.Fill, browser.FillInput{Named: browser.Named{Label: "Day"}, Text: "2024-12-31"})
	do(u, u.bt.Fill, browser.FillInput{Named: browser.Named{Label: "PIN"}, Text: "1234"})
	do(u, u.bt.Type, browser.TypeInput{Named: browser.Named{Label: "Note"}, Text: "extra\nhot ü"})
	do(u, u.bt.Fill, browser.FillInput{Named: browser.Named{Label: "Rich"}, Text: "new"})
	refused(u, u.bt.Fill, browser.FillInput{Named: browser.Named{Label: "Fixed"}, Text: "x", Timeout: 3}, sandbox.ErrTimeout, "is read-only")
	refused(u, u.bt.Click, browser.ClickInput{Element: browser.Element{Text: "Cannot"}, Timeout: 3}, sandbox.ErrTimeout, "is disabled")
	refused(u, u.bt.Select, browser.SelectInput{Element: browser.Element{Selector: "#size"}, Value: ptr("huge")}, sandbox.ErrInvalidInput, "no option")
	if got := u.eval("rich.textContent"); got != "new" {
		t.Errorf("editable = %v", got)
	}
	got := do(u, u.bt.Click, browser.ClickInput{Element: browser.Element{Text: "Send order"}})
	want := "/ordered?name=Ada+%26+Co&size=l&top=olives&when=later&day=2024-12-31&pin=1234&note=extra%0D%0Ahot+%C3%BC&ro=fixed"
	if !strings.HasSuffix(got.URL, want) {
		t.Errorf("after click at %s, want %s", got.URL, want)
	}
	if got := u.snapshot(); !strings.Contains(got, `heading "Thanks" [level=1]`) {
		t.Errorf("snapshot = %s", got)
	}
}

func ptr[T any](v T) *T { return &v }
