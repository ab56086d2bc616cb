package term

import (
	"io"
	"strings"
	"testing"
	"time"
)

func TestFilter(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, in, want string }{
		{"text", "aé\r\n\t\x00\x7f\xff", "aé\r\n\t\x00\x7f\xff"},
		{"control sequence", "\x1b[1;31mx\x1b[m\x1b[?25l\x1b[H", "\x1b[1;31mx\x1b[m\x1b[?25l\x1b[H"},
		{"empty numbers", "\x1b[;5H\x1b[5;H", "\x1b[;5H\x1b[5;H"},
		{"huge number", "\x1b[18446744073709551617;2H", "\x1b[9999;2H"},
		{"huge number of tabs", "\x1b[99999I\x1b[99999Z", "\x1b[500I\x1b[500Z"},
		{"control characters within", "\x1b[9999\n9999\r9I", "\n\r\x1b[500I"},
		{"control character after ESC", "\x1b\n[99999I", "\n\x1b[500I"},
		{"ESC within", "\x1b[99\x1b[99I", "\x1b[99I"},
		{"cancelled", "\x1b[99\x18x\x1b]0;t\x1ay", "xy"},
		{"letters that look like digits to the emulator", "\x1b[\u0139\u0139I", "\u0139\u0139I"},
		{"other parameters", "\x1b[>4;2m\x1b[<u\x1b[38:5:1mx\x1b[2 q\x1b[!p", "x"},
		{"too many parameters", "\x1b[" + strings.Repeat("1;", 40) + "m", ""},
		{"character sets", "\x1b(0q\x1b(B\x1b)0\x1b$(Bx\x1b#8", "\x1b(0q\x1b(Bx\x1b#8"},
		{"reset", "\x1bc", "\x1bc\x1b[2J"},
		{"titles", "\x1b]0;a\a\x1b]2;b\x1b\\\x1bkc\x1b\\", "\x1b]0;a\a\x1b]2;b\a\x1bkc\a"},
		{"a long title", "\x1b]0;" + strings.Repeat("x", 300) + "\ay", "y"},
		{"questions for colours", "\x1b]10;?\a\x1b]11;?\x1b\\", "\x1b]10;?\a\x1b]11;?\a"},
		{"colours defined", "\x1b]4;77;#fff\a\x1b]10;#fff\a\x1b]104;77\ax", "x"},
		{"clipboard", "\x1b]52;c;aGk=\ax", "x"},
		{"other strings", "\x1bP1$q\x1b\\\x1b_a\x1b\\\x1b^b\a\x1bXc\x1b\\x", "x"},
		{"a string broken off", "\x1b]0;t\x1b[31mx", "\x1b[31mx"},
		{"simple ones", "\x1b7\x1b8\x1bM\x1bD\x1bE\x1bH\x1b=\x1b>", "\x1b7\x1b8\x1bM\x1bD\x1bE\x1bH\x1b=\x1b>"},
	} {
		var whole, parts filter
		if got := string(whole.pass([]byte(tt.in))); got != tt.want {
			t.Errorf("%s: pass(%q) = %q, want %q", tt.name, tt.in, got, tt.want)
		}
		var got []byte
		for i := range len(tt.in) {
			got = append(got, parts.pass([]byte{tt.in[i]})...)
		}
		if string(got) != tt.want {
			t.Errorf("%s: %q byte by byte = %q, want %q", tt.name, tt.in, got, tt.want)
		}
	}
}

func TestScreenIsNotKeptBusy(t *testing.T) {
	t.Parallel()
	s := newScreen(100, 400, io.Discard)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for c := '@'; c <= '~'; c++ {
			for _, n := range []string{"2000000000", "999\n999\n999\n999\n999", "\u0139\u0139\u0139\u0139\u0139\u0139\u0139\u0139\u0139\u0139\u0139"} {
				s.write([]byte("x\x1b[" + n + string(c) + "\x1b[?" + n + ";" + n + string(c) + "\x1b\n[" + n + string(c)))
			}
		}
	}()
	select {
	case <-done:
	case <-time.After(time.Minute):
		t.Fatal("huge numbers keep the screen busy")
	}
}
