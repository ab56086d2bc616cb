package browser

import (
	"context"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp/kb"

	"github.com/agentflow-go/sandbox"
)

// modifierKey is a key that is held.
type modifierKey struct {
	bit kb.Modifier
	key rune
}

var modifierKeys = map[string]modifierKey{
	"Alt":     {kb.ModifierAlt, []rune(kb.Alt)[0]},
	"Control": {kb.ModifierCtrl, []rune(kb.Control)[0]},
	"Ctrl":    {kb.ModifierCtrl, []rune(kb.Control)[0]},
	"Meta":    {kb.ModifierMeta, []rune(kb.Meta)[0]},
	"Shift":   {kb.ModifierShift, []rune(kb.Shift)[0]},
	// ControlOrMeta is what shortcuts are pressed with on this system.
	"ControlOrMeta": {kb.ModifierCtrl, []rune(kb.Control)[0]},
}

// otherNames are what people call keys, in lower case.
var otherNames = map[string]string{
	"space": " ", "return": "Enter", "esc": "Escape", "del": "Delete", "ins": "Insert", "up": "ArrowUp",
	"down": "ArrowDown", "left": "ArrowLeft", "right": "ArrowRight", "pgup": "PageUp", "pgdn": "PageDown", "plus": "+",
}

// modifier finds a key that is held, whatever its name's case.
func modifier(name string) (m modifierKey, ok bool) {
	switch strings.ToLower(name) {
	case "cmd", "command", "super", "win":
		name = "Meta"
	case "option", "opt":
		name = "Alt"
	}
	for known, m := range modifierKeys {
		if strings.EqualFold(known, name) {
			return m, true
		}
	}
	return m, false
}

// PressInput is what browser:press takes.
type PressInput struct {
	Element
	Key     string  `json:"key" jsonschema:"such as Enter, ArrowDown, a, Control+A, Shift+Tab"`
	Timeout float64 `json:"timeout,omitzero" jsonschema:"seconds to wait for the element; default 10"`
}

func (s *session) pressTool(ctx context.Context, call sandbox.Call, in PressInput) (ActOutput, error) {
	if _, _, err := parseKey(in.Key); err != nil {
		return ActOutput{}, err
	}
	return s.acting(ctx, call, in.Timeout, func(ctx context.Context, t *tab, out *ActOutput) error {
		if in.given() {
			at, err := t.locate(ctx, in.Element, need{Visible: true}, "")
			if err != nil {
				return err
			}
			var a answer
			if err := t.js(ctx, at.frame, &a, "focus", at.n); err != nil {
				return err
			}
			if a.Error != "" {
				return a.problem(in.Element)
			}
			out.Ref = at.ref
		}
		return t.press(ctx, in.Key)
	})
}

// parseKey reads Control+Shift+K.
func parseKey(name string) (*kb.Key, kb.Modifier, error) {
	var mods kb.Modifier
	rest := name
	for {
		head, tail, ok := strings.Cut(rest, "+")
		if !ok || head == "" {
			break // the key +
		}
		m, known := modifier(head)
		if !known {
			break
		}
		mods |= m.bit
		rest = tail
	}
	if m, ok := modifier(rest); ok {
		return kb.Keys[m.key], mods, nil
	}
	if other, ok := otherNames[strings.ToLower(rest)]; ok {
		rest = other
	}
	switch { // a letter is its key here: Control+A is pressed without Shift
	case len(rest) != 1:
	case mods&kb.ModifierShift != 0:
		rest = strings.ToUpper(rest)
	case mods != 0:
		rest = strings.ToLower(rest)
	}
	if utf8.RuneCountInString(rest) == 1 {
		r, _ := utf8.DecodeRuneInString(rest)
		if k := kb.Keys[r]; k != nil && (k.Print || r < ' ') {
			return k, mods, nil
		}
	}
	// Several runes may have a key's name: the one without text on a number pad wins.
	var best *kb.Key
	for _, k := range kb.Keys {
		if strings.EqualFold(k.Key, rest) || strings.EqualFold(k.Code, rest) {
			if best == nil || len(k.Code) < len(best.Code) || len(k.Code) == len(best.Code) && k.Native < best.Native {
				best = k
			}
		}
	}
	if best == nil {
		return nil, 0, invalid("/key: %q is no key; give a name such as Enter, Tab, Escape, ArrowDown, PageUp, F5, a character, or a combination such as Control+A", clip(name, 60))
	}
	return best, mods, nil
}

// editing are the commands that a real keyboard's shortcuts stand for.
var editing = map[string]string{"a": "selectAll", "c": "copy", "x": "cut", "v": "paste", "z": "undo", "y": "redo"}

// press presses a key, with others held.
func (t *tab) press(ctx context.Context, name string) error {
	k, mods, err := parseKey(name)
	if err != nil {
		return err
	}
	switch what := shortcut(k, mods); {
	case t.s.own:
	case what == "paste":
		return t.paste(ctx, k, mods)
	case what == "copy":
		err := t.link.all(ctx, strokes(k, mods)...)
		t.s.copied(ctx, t)
		return err
	}
	return t.link.all(ctx, strokes(k, mods)...)
}

func strokes(k *kb.Key, mods kb.Modifier) []command {
	if k.Shift {
		mods |= kb.ModifierShift
	}
	var cmds []command
	event := func(kind input.DispatchKeyEventType, k *kb.Key, mods kb.Modifier) {
		p := input.DispatchKeyEventParams{
			Type: kind, Key: k.Key, Code: k.Code, Modifiers: mods.Int64(),
			WindowsVirtualKeyCode: k.Windows, NativeVirtualKeyCode: k.Native,
		}
		if kind == input.DispatchKeyEventTypeKeyDown {
			if mods&(kb.ModifierCtrl|kb.ModifierAlt|kb.ModifierMeta) == 0 && k.Print {
				p.Text, p.UnmodifiedText = k.Text, k.Unmodified
			} else {
				p.Type = input.DispatchKeyEventTypeRawKeyDown
			}
			if c := editing[strings.ToLower(k.Key)]; c != "" && mods == kb.ModifierCtrl && k.Windows != 0 {
				p.Commands = []string{c}
			}
		}
		cmds = append(cmds, cmd(input.DispatchKeyEvent, p))
	}
	var held kb.Modifier
	var downs []*kb.Key
	for _, n := range []string{"Control", "Alt", "Meta", "Shift"} {
		if m := modifierKeys[n]; mods&m.bit != 0 && (n != "Shift" || !k.Print) {
			held |= m.bit
			downs = append(downs, kb.Keys[m.key])
			event(input.DispatchKeyEventTypeKeyDown, kb.Keys[m.key], held)
		}
	}
	event(input.DispatchKeyEventTypeKeyDown, k, mods)
	event(input.DispatchKeyEventTypeKeyUp, k, mods)
	for i := len(downs) - 1; i >= 0; i-- {
		event(input.DispatchKeyEventTypeKeyUp, downs[i], 0)
	}
	return cmds
}

// typeKeys types text with a pause between keys. A character without key is put in
// as an input method does.
func (t *tab) typeKeys(ctx context.Context, text string, pause time.Duration) error {
	for _, r := range text {
		var err error
		if r == '\n' {
			r = '\r'
		}
		// Keys without a character have one there all the same, such as U+0301.
		if k := kb.Keys[r]; k != nil && (k.Print || r < ' ') {
			err = t.link.all(ctx, strokes(k, 0)...)
		} else {
			err = t.link.Call(ctx, input.CommandInsertText, input.InsertTextParams{Text: string(r)}, nil)
		}
		if err != nil {
			return err
		}
		if pause > 0 {
			select {
			case <-time.After(pause):
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
	return nil
}
