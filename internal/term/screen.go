package term

import (
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/hinshun/vt10x"

	"github.com/agentflow-go/sandbox/internal/runes"
)

// Screen is what a person would see.
type Screen struct {
	Text     string // one line per row, without trailing blanks
	Row, Col int    // of the cursor, from 0
	Title    string
}

// screen renders a program's output. The emulator is a small, frozen library;
// what programs may feed it is hostile, so it sees only what a filter lets
// through, and a panic costs only the picture.
type screen struct {
	reply io.Writer // answers to the program's questions about the terminal

	mu     sync.Mutex // guards what follows
	vt     vt10x.Terminal
	rows   int
	cols   int
	filter filter
	carry  []byte // the beginning of a rune
	fault  string // a panic's text, shown until the next one is cleared
}

func newScreen(rows, cols int, reply io.Writer) *screen {
	s := &screen{rows: rows, cols: cols, reply: reply}
	s.clear()
	return s
}

func (s *screen) clear() {
	s.vt = vt10x.New(vt10x.WithSize(s.cols, s.rows), vt10x.WithWriter(s.reply))
}

func (s *screen) write(p []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.render(p)
}

// render is write for who holds mu.
func (s *screen) render(p []byte) {
	if len(s.carry) > 0 {
		p = append(s.carry, p...)
		s.carry = nil
	}
	if n := runes.Whole(p); n < len(p) {
		s.carry = append([]byte(nil), p[n:]...)
		p = p[:n]
	}
	p = s.filter.pass(p)
	s.guard(func() { s.vt.Write(p) })
}

// guard starts over with an empty picture when the emulator panics.
func (s *screen) guard(fn func()) {
	defer func() {
		if v := recover(); v != nil {
			s.fault = fmt.Sprint(v)
			s.clear()
		}
	}()
	fn()
}

func (s *screen) resize(rows, cols int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rows, s.cols = rows, cols
	s.guard(func() { s.vt.Resize(cols, rows) })
}

func (s *screen) view() (v Screen) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.guard(func() {
		lines := strings.Split(strings.TrimSuffix(s.vt.String(), "\n"), "\n")
		for i, l := range lines {
			lines[i] = strings.TrimRight(strings.ReplaceAll(l, "\x00", " "), " ")
		}
		c := s.vt.Cursor()
		v = Screen{Text: strings.Join(lines, "\n"), Row: c.Y, Col: c.X, Title: s.vt.Title()}
	})
	return v
}

// applicationKeys reports whether the program asked for the other codes of the
// arrow keys.
func (s *screen) applicationKeys() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.vt.Mode()&vt10x.ModeAppCursor != 0
}
