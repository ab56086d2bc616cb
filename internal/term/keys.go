package term

import (
	"fmt"
	"strings"
)

// keyNames are the keys with a name; the arrow keys' codes depend on the mode.
func keyNames() map[string]string {
	return map[string]string{
		"enter": "\r", "return": "\r", "tab": "\t", "shift-tab": "\x1b[Z", "space": " ",
		"esc": "\x1b", "escape": "\x1b", "backspace": "\x7f", "delete": "\x1b[3~", "insert": "\x1b[2~",
		"up": "\x1b[A", "down": "\x1b[B", "right": "\x1b[C", "left": "\x1b[D",
		"home": "\x1b[H", "end": "\x1b[F",
		"page-up": "\x1b[5~", "pageup": "\x1b[5~", "page-down": "\x1b[6~", "pagedown": "\x1b[6~",
		"f1": "\x1bOP", "f2": "\x1bOQ", "f3": "\x1bOR", "f4": "\x1bOS", "f5": "\x1b[15~", "f6": "\x1b[17~",
		"f7": "\x1b[18~", "f8": "\x1b[19~", "f9": "\x1b[20~", "f10": "\x1b[21~", "f11": "\x1b[23~", "f12": "\x1b[24~",
	}
}

// encodeKeys turns names of keys into what a terminal sends for them: names as
// in keyNames, ctrl-a to ctrl-z, ctrl-space and ctrl with [ \ ] ^ _, alt- before
// any other key, and single characters.
func encodeKeys(keys []string, application bool) ([]byte, error) {
	var b []byte
	for _, k := range keys {
		code, err := encodeKey(k, application)
		if err != nil {
			return nil, err
		}
		b = append(b, code...)
	}
	return b, nil
}

func encodeKey(key string, application bool) (string, error) {
	if len([]rune(key)) == 1 {
		return key, nil
	}
	k := strings.ToLower(key)
	for _, p := range []string{"ctrl-", "ctrl+", "c-", "^"} {
		if rest, ok := strings.CutPrefix(k, p); ok {
			switch {
			case rest == "space":
				return "\x00", nil
			case len(rest) == 1 && (rest[0] >= 'a' && rest[0] <= 'z' || strings.Contains(`[\]^_@`, rest)):
				return string([]byte{strings.ToUpper(rest)[0] & 0x1f}), nil
			}
			return "", unknownKey(key)
		}
	}
	for _, p := range []string{"alt-", "alt+", "meta-"} {
		if strings.HasPrefix(k, p) {
			code, err := encodeKey(key[len(p):], application)
			return "\x1b" + code, err
		}
	}
	code, ok := keyNames()[k]
	if !ok {
		return "", unknownKey(key)
	}
	if application && len(code) == 3 && code[1] == '[' && strings.IndexByte("ABCDHF", code[2]) >= 0 {
		code = "\x1bO" + code[2:]
	}
	return code, nil
}

func unknownKey(key string) error {
	return fmt.Errorf("unknown key %q: use a character, enter, tab, esc, backspace, delete, up, down, left, right, home, end, page-up, page-down, f1 to f12, or ctrl- or alt- before a key", key)
}
