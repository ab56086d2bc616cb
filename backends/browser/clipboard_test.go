package browser_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/agentflow-go/sandbox"
	"github.com/agentflow-go/sandbox/backends/browser"
)

// The page makes its document anew, which takes the listeners of all worlds away,
// and then listens to pastes first.
const reopened = `<body><script>setTimeout(() => {
	document.open(); document.write('<!doctype html><title>Reopened</title><textarea></textarea><p>text</p><pre id=log></pre>'); document.close();
	addEventListener('paste', (e) => { log.textContent += e.clipboardData.getData('text/plain'); }, true);
})</script>`

func (u *user) copyAll(selector string) {
	u.t.Helper()
	do(u, u.bt.Press, browser.PressInput{Element: el(selector), Key: "Control+a"})
	do(u, u.bt.Press, browser.PressInput{Key: "Control+c"})
}

func TestSessionsShareNoClipboard(t *testing.T) {
	t.Parallel()
	a, b := newUserAs(t, "a", ""), newUserAs(t, "b", "")
	a.show(`<textarea>a secret</textarea>`)
	for _, page := range []string{`<textarea></textarea><p>text</p><pre id=log></pre><script>onpaste = (e) => { log.textContent += e.clipboardData.getData('text/plain'); }</script>`, reopened} {
		b.show(page)
		do(b, b.bt.WaitFor, browser.WaitInput{Selector: "textarea"})
		a.copyAll("textarea")
		for _, key := range []string{"Control+v", "Control+Shift+V", "Shift+Insert", "Paste"} {
			do(b, b.bt.Press, browser.PressInput{Element: el("textarea"), Key: key})
		}
		for _, target := range []string{"textarea", "p"} {
			do(b, b.bt.Click, browser.ClickInput{Element: el(target), Button: "middle"})
		}
		if diff := cmp.Diff([]any{"", ""}, b.eval("[document.querySelector('textarea').value, log.textContent]")); diff != "" {
			t.Errorf("what a page of another session gets (-want +got):\n%s", diff)
		}
	}
	refused(b, b.bt.Emulate, browser.EmulateInput{Permissions: []string{"clipboard-read"}}, sandbox.ErrDenied, "clipboard-read is not granted")
}

func TestClipboardOfASession(t *testing.T) {
	t.Parallel()
	u := newUser(t, "")
	u.show(`<input value=first><div contenteditable>second</div><pre>third</pre><textarea></textarea><p id=own tabindex=0>own</p><script>
		own.addEventListener('copy', (e) => { e.preventDefault(); e.clipboardData.setData('text/plain', 'made'); });
		own.addEventListener('paste', (e) => { own.textContent = 'got ' + e.clipboardData.getData('text/plain'); e.preventDefault(); });</script>`)
	into := func(selector, want string) {
		t.Helper()
		do(u, u.bt.Press, browser.PressInput{Element: el(selector), Key: "Control+v"})
		got := u.eval("(() => { const e = document.querySelector('" + selector + "'); return e.value ?? e.textContent })()")
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s after a paste (-want +got):\n%s", selector, diff)
		}
	}
	u.copyAll("input")
	into("textarea", "first")
	u.copyAll("div")
	into("input", "firstsecond")
	do(u, u.bt.Press, browser.PressInput{Element: el("textarea"), Key: "Control+a"})
	do(u, u.bt.Press, browser.PressInput{Key: "Control+x"})
	into("input", "firstsecondfirst")
	do(u, u.bt.Press, browser.PressInput{Element: el("#own"), Key: "Control+c"})
	into("#own", "got made")
	// What was copied outlives its page, and goes to other tabs.
	do(u, u.bt.Tabs, browser.TabsInput{Action: "new"})
	u.show(`<textarea></textarea>`)
	into("textarea", "made")
}
