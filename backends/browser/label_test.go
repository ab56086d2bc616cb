package browser_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/agentflow-go/sandbox"
	"github.com/agentflow-go/sandbox/backends/browser"
)

func TestLabelsNameFieldsWithoutWhatTheyHold(t *testing.T) {
	t.Parallel()
	u := newUser(t, "")
	do(u, u.bt.Goto, browser.GotoInput{URL: "data:text/html," +
		`<label>Tea <select><option>Assam</option><option>Sencha</option></select> <b>kind</b> <i style="display:none">secret</i></label>` +
		"<label>Bio <textarea>old</textarea></label><label><input type=checkbox> Gift</label>"})
	want := `- combobox "Tea kind" [ref=e1]: "Assam" [options: "Assam", "Sencha"]
- textbox "Bio" [ref=e2]: "old"
- checkbox "Gift" [ref=e3]
`
	if diff := cmp.Diff(want, u.snapshot()); diff != "" {
		t.Errorf("snapshot (-want +got):\n%s", diff)
	}
	refused(u, u.bt.Fill, browser.FillInput{Named: browser.Named{Label: "Tee"}, Timeout: 3}, sandbox.ErrTimeout, `label "Tee": no element matches`)
	refused(u, u.bt.Fill, browser.FillInput{}, sandbox.ErrInvalidInput, "name the element in exactly one way: ref, selector or label")
}

func TestServerWithoutTLS(t *testing.T) {
	t.Parallel()
	u := newUser(t, "")
	address := "https" + u.b.site.url[len("http"):]
	refused(u, u.bt.Goto, browser.GotoInput{URL: address}, sandbox.ErrCrawling, "if it has none, give the address with http://")
}
