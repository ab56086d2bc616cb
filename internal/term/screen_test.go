package term

import (
	"io"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

func TestScreen(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, in string
		want     Screen
	}{
		{"empty", "", Screen{Text: "\n\n"}},
		{"lines", "a\r\nb", Screen{Text: "a\nb\n", Row: 1, Col: 1}},
		{"colours and movement", "\x1b[2;3H\x1b[31mred\x1b[0m", Screen{Text: "\n  red\n", Row: 1, Col: 5}},
		{"cleared", "junk\x1b[2J\x1b[Hx", Screen{Text: "x\n\n", Col: 1}},
		{"title", "\x1b]0;the title\a", Screen{Text: "\n\n", Title: "the title"}},
		{"scrolled", "1\r\n2\r\n3\r\n4", Screen{Text: "2\n3\n4", Row: 2, Col: 1}},
		{"reset", "\x1b[31mjunk junk\r\njunk\x1bc", Screen{Text: "\n\n"}},
		{"letters beyond ASCII", "hé→", Screen{Text: "hé→\n\n", Col: 3}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newScreen(3, 10, io.Discard)
			for i := range len(tt.in) { // byte by byte: runes arrive in parts
				s.write([]byte{tt.in[i]})
			}
			if diff := cmp.Diff(tt.want, s.view()); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func FuzzScreen(f *testing.F) {
	f.Add([]byte("\x1b[31mhi\x1b[0m\r\n\x1b]0;t\a\x1bP1$q\x1b\\\xff\xf0\x9f"), 24, 80)
	f.Add([]byte("\x1b[?1049h\x1b[5;10r\x1b[999;999H\x1bM\x1b[99L\x1b[99M\x1b[99@\x1b[99P\x1b(0qqq"), 1, 1)
	f.Fuzz(func(t *testing.T, p []byte, rows, cols int) {
		rows, cols = 1+(rows&0x3f), 1+(cols&0x7f)
		s := newScreen(rows, cols, io.Discard)
		s.write(p)
		s.resize(cols, rows)
		s.write(p)
		if s.fault != "" {
			t.Logf("the emulator panicked: %s", s.fault)
		}
		v := s.view()
		if !utf8.ValidString(v.Text) || strings.Count(v.Text, "\n") != cols-1 {
			t.Errorf("%d lines, want %d: %q", strings.Count(v.Text, "\n")+1, cols, v.Text)
		}
	})
}

func TestKeys(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		keys string
		app  bool
		want string
	}{
		{"enter", false, "\r"}, {"Enter", false, "\r"}, {"a", false, "a"}, {"A", false, "A"}, {"é", false, "é"}, {"^", false, "^"},
		{"ctrl-c", false, "\x03"}, {"Ctrl+C", false, "\x03"}, {"ctrl-space", false, "\x00"}, {"ctrl-[", false, "\x1b"}, {"ctrl-_", false, "\x1f"},
		{"alt-x", false, "\x1bx"}, {"alt-X", false, "\x1bX"}, {"alt-enter", false, "\x1b\r"},
		{"up", false, "\x1b[A"}, {"up", true, "\x1bOA"}, {"page-up", true, "\x1b[5~"}, {"f12", false, "\x1b[24~"},
	} {
		got, err := encodeKeys([]string{tt.keys}, tt.app)
		if err != nil || string(got) != tt.want {
			t.Errorf("encodeKeys(%q, %v) = %q, %v, want %q", tt.keys, tt.app, got, err, tt.want)
		}
	}
	for _, k := range []string{"", "nokey", "ctrl-", "ctrl-é", "ctrl-10", "alt-nokey", "ctrl-alt-x"} {
		if got, err := encodeKeys([]string{k}, false); err == nil {
			t.Errorf("encodeKeys(%q) = %q, want an error", k, got)
		}
	}
}
