package browser

import (
	"context"
	"slices"
	"strings"

	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp/kb"
)

// clipboard is a session's own, of text: that of a browser is common to the sessions
// that share it. A browser of one session uses its own.
type clipboard struct {
	text string
	at   float64 // milliseconds since 1970, by the page's clock
}

// shortcut says what a key means to the clipboard: copy, paste or nothing.
func shortcut(k *kb.Key, mods kb.Modifier) string {
	held := mods &^ kb.ModifierShift
	switch key := strings.ToLower(k.Key); {
	case held == kb.ModifierCtrl && (key == "c" || key == "x"), held == kb.ModifierCtrl && key == "insert", mods == kb.ModifierShift && key == "delete":
		return "copy"
	case held == kb.ModifierCtrl && key == "v", key == "paste", mods == kb.ModifierShift && key == "insert":
		return "paste"
	}
	return ""
}

// copied notes what was copied last in the tabs.
func (s *session) copied(ctx context.Context, tabs ...*tab) {
	for _, t := range tabs {
		for _, f := range t.allFrames() {
			var c struct {
				Text string
				At   float64
			}
			if t.js(ctx, f, &c, "copied") == nil && c.At > s.clip.at {
				s.clip = clipboard{c.Text, c.At}
			}
		}
	}
}

// paste presses the keys that paste, but for what the browser would do on them, and
// puts the session's own text in.
func (t *tab) paste(ctx context.Context, k *kb.Key, mods kb.Modifier) error {
	others := t.s.list()
	others = slices.DeleteFunc(others, func(o *tab) bool { return o == t })
	look, cancel := context.WithTimeout(ctx, titleTimeout) // a tab that hangs is not waited for
	t.s.copied(look, append([]*tab{t}, others...)...)
	cancel()
	if k.Key == "Paste" { // a key that is nothing else
		k, mods = kb.Keys['v'], kb.ModifierCtrl
	}
	keys := *k
	keys.Windows, keys.Native = 0, 0 // so that it is no shortcut
	if err := t.link.all(ctx, strokes(&keys, mods)...); err != nil {
		return err
	}
	text := t.s.clip.text
	if text == "" {
		return nil
	}
	var a answer
	if err := t.js(ctx, t.mainFrame(), &a, "paste", text); err != nil || !a.OK {
		return err
	}
	return t.link.Call(ctx, input.CommandInsertText, input.InsertTextParams{Text: text}, nil)
}
