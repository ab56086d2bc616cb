package browser_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/agentflow-go/sandbox"
	"github.com/agentflow-go/sandbox/backends/browser"
)

// Editors that keep a document of their own change it on beforeinput alone.
func TestFillIsToldAsTyping(t *testing.T) {
	t.Parallel()
	u := newUser(t, "")
	u.show(`<div contenteditable=true role=textbox aria-label=Body>old</div><textarea aria-label=Notes>old</textarea><input aria-label=Jumpy onfocus="notes.focus()" value=old><pre id=log></pre><script>
		const body = document.querySelector('div'), notes = document.querySelector('textarea');
		body.addEventListener('beforeinput', (e) => { e.preventDefault(); body.textContent = (e.inputType + ' ' + (e.data ?? '')).trim(); });
		notes.addEventListener('beforeinput', (e) => { log.textContent += e.inputType + ' '; });</script>`)
	for _, tt := range []struct{ label, text, want string }{
		{"Body", "new", "insertText new"},
		{"Body", "", "deleteContentForward"},
		{"Notes", "one\ntwo", "one\ntwo"},
		{"Notes", "", ""},
		{"Jumpy", "new", "new"},
	} {
		out := do(u, u.bt.Fill, browser.FillInput{Named: browser.Named{Label: tt.label}, Text: tt.text})
		if out.Value != tt.want {
			t.Errorf("fill %s with %q: value %q, want %q", tt.label, tt.text, out.Value, tt.want)
		}
	}
	if diff := cmp.Diff("insertText deleteContentForward ", u.eval("log.textContent")); diff != "" {
		t.Errorf("what the text area was told (-want +got):\n%s", diff)
	}
}

func TestDatesSayHowTheyAreWritten(t *testing.T) {
	t.Parallel()
	u := newUser(t, "")
	u.show(`<input type=date aria-label=Born>`)
	refused(u, u.bt.Fill, browser.FillInput{Named: browser.Named{Label: "Born"}, Text: "28/02/2000"}, sandbox.ErrInvalidInput, `does not take "28/02/2000"; give it as 2024-12-31`)
}

func TestKeysByTheNamesThatPeopleUse(t *testing.T) {
	t.Parallel()
	u := newUser(t, "")
	u.show(`<input value=abc autofocus><pre id=log></pre><script>document.querySelector('input').addEventListener('keydown', (e) => { if (e.key.length > 1 || e.ctrlKey) log.textContent += e.key + ' '; })</script>`)
	for _, key := range []string{"Control+A", "x", "Shift+y", "shift+Left", "ctrl+c", "End", "ctrl+V", "Return", "esc"} {
		do(u, u.bt.Press, browser.PressInput{Element: el("input"), Key: key})
	}
	if diff := cmp.Diff("Control a Shift ArrowLeft Control c End Control v Enter Escape ", u.eval("log.textContent")); diff != "" {
		t.Errorf("keys (-want +got):\n%s", diff)
	}
	refused(u, u.bt.Press, browser.PressInput{Key: "Foo+A"}, sandbox.ErrInvalidInput, `"Foo+A" is no key`)
}

func TestTypedAccentsAreNoKeys(t *testing.T) {
	t.Parallel()
	u := newUser(t, "")
	u.show(`<input aria-label=Name>`)
	const name = "Ame\u0301lie\u0302"
	if out := do(u, u.bt.Type, browser.TypeInput{Named: browser.Named{Label: "Name"}, Text: name}); out.Value != name {
		t.Errorf("typed %q, the field holds %q", name, out.Value)
	}
}
