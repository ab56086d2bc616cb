package browser_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/agentflow-go/sandbox"
	"github.com/agentflow-go/sandbox/backends/browser"
)

func init() {
	handlers = append(handlers, func(m *http.ServeMux) {
		m.HandleFunc("/large", func(w http.ResponseWriter, r *http.Request) { // 60,000 elements
			w.Header().Set("Content-Type", "text/html")
			fmt.Fprint(w, "<title>Large</title><input type=submit value='Send it'><table>")
			for i := range 10000 {
				fmt.Fprintf(w, "<tr><td><b>row %d</b><td>text that fills<td>the page<td>with words</tr>", i)
			}
			fmt.Fprint(w, "</table><p>The  <b>very</b> end</p>")
		})
	})
}

func TestTextInLargePages(t *testing.T) {
	t.Parallel()
	u := newUser(t, "")
	u.open("/large")
	for text, want := range map[string]string{"row 9999": "B", "the very END": "P", "send it": "INPUT"} {
		out := do(u, u.bt.Evaluate, browser.EvaluateInput{Element: browser.Element{Text: text}, Expression: "el => el.tagName", Timeout: 50})
		if out.Result != want {
			t.Errorf("text %q is that of %v, want %s", text, out.Result, want)
		}
	}
	refused(u, u.bt.Hover, browser.ClickInput{Element: browser.Element{Text: "nowhere"}, Timeout: 10}, sandbox.ErrTimeout, `text "nowhere": no element matches`)
}

func TestTextsInShadowTreesAreInOrder(t *testing.T) {
	t.Parallel()
	u := newUser(t, "")
	do(u, u.bt.Goto, browser.GotoInput{URL: "data:text/html," + strings.ReplaceAll(`<p id=a>Pay</p><div id=h></div><div><input type=button value=Pay id=c> Pay</div><p id=d>Pay</p>
<script>h.attachShadow({mode: 'open'}).innerHTML = '<section><b id=b>Pay</b></section>'</script>`, "\n", "")})
	for i, want := range []string{"a", "b", "c", "d"} {
		out := do(u, u.bt.Evaluate, browser.EvaluateInput{Element: browser.Element{Text: "Pay", Nth: ptr(i)}, Expression: "el => el.id"})
		if out.Result != want {
			t.Errorf("match %d is %v, want %s", i, out.Result, want)
		}
	}
	refused(u, u.bt.Evaluate, browser.EvaluateInput{Element: browser.Element{Text: "Pay", Nth: ptr(4)}, Expression: "el => el.id", Timeout: 10}, sandbox.ErrTimeout, "only 4 match")
}
