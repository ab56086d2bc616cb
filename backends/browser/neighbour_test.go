package browser_test

import "testing"

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
