package file

import (
	"bytes"
	"context"
	"io"
	"strings"

	"github.com/agentflow-go/sandbox"
)

const (
	blockSize = 256 << 10
	maxLine   = 1 << 20  // bytes of a line that are searched
	maxGrep   = 64 << 20 // bytes of a file that are searched
	sniff     = 8 << 10  // bytes in which a NUL makes a file binary
	maxText   = 500      // bytes of a line that are shown
)

// blocks reads a file in blocks of whole lines. It is used for one file after
// the other.
type blocks struct{ buf []byte }

// search returns the lines that match, whether there is more than that, and
// whether the file is text.
func (b *blocks) search(ctx context.Context, g *grep, f *sandbox.File) (_ []Match, cut, text bool) {
	s := scan{ctx: ctx, g: g, path: f.Info().Path, line: 1}
	want := int(min(max(f.Info().Size+1, 512), blockSize))
	if cap(b.buf) < want {
		b.buf = make([]byte, want)
	}
	buf, n, total := b.buf[:cap(b.buf)], 0, 0
	for {
		if ctx.Err() != nil || total > maxGrep {
			return s.matches, true, true
		}
		m, err := f.Read(buf[n:])
		if total == 0 && bytes.IndexByte(buf[:min(m, sniff)], 0) >= 0 {
			return nil, false, false
		}
		n, total = n+m, total+m
		end := n
		if err == nil {
			if end = bytes.LastIndexByte(buf[:n], '\n') + 1; end == 0 {
				switch {
				case n < len(buf):
					continue
				case len(buf) < maxLine:
					buf = append(buf, make([]byte, len(buf))...)
					continue
				}
				end = n // a line too long is searched in pieces
			}
		}
		s.block(buf[:end])
		if s.full() {
			return s.matches, true, true
		}
		n = copy(buf, buf[end:n])
		if err == io.EOF {
			return s.matches, false, true
		}
		if err != nil {
			return s.matches, true, true
		}
	}
}

// scan goes through the lines of one file.
type scan struct {
	ctx     context.Context // of the one search
	g       *grep
	path    string
	line    int // number of the next line
	matches []Match
	size    int      // bytes of the matches
	last    []string // the lines before it, for context
	owed    int      // matches, from the end, that still want lines after them
}

// full reports whether there is enough (those that count have their context), or
// nobody waits for more.
func (s *scan) full() bool {
	if s.ctx.Err() != nil {
		return true
	}
	more := len(s.matches) - s.g.most
	return more > 0 && s.owed <= more || more > maxContext || s.size > s.g.bytes
}

// block searches whole lines.
func (s *scan) block(p []byte) {
	if s.g.around == 0 && s.g.re.skips(p) {
		// From candidate to candidate, without looking at the lines between.
		for len(p) > 0 && !s.full() {
			at := s.g.re.candidate(p)
			if at < 0 {
				break
			}
			start := bytes.LastIndexByte(p[:at], '\n') + 1
			if start == len(p) { // an empty match after the last line end
				break
			}
			end := len(p)
			if i := bytes.IndexByte(p[at:], '\n'); i >= 0 {
				end = at + i + 1
			}
			s.line += bytes.Count(p[:start], newline)
			s.one(p[start:end])
			p = p[end:]
		}
		s.line += bytes.Count(p, newline)
		return
	}
	for len(p) > 0 && !s.full() {
		end := bytes.IndexByte(p, '\n') + 1
		if end == 0 {
			end = len(p)
		}
		s.one(p[:end])
		p = p[end:]
	}
}

var newline = []byte{'\n'}

// one looks at one line.
func (s *scan) one(p []byte) {
	whole := bytes.HasSuffix(p, newline)
	p = bytes.TrimSuffix(bytes.TrimSuffix(p, newline), []byte{'\r'})
	at := s.g.re.find(s.ctx, p)
	if at >= 0 {
		s.match(Match{Path: s.path, Line: s.line, Text: show(p, at)})
	}
	if s.g.around > 0 {
		text := show(p, 0)
		s.after(text, at >= 0)
		if s.last = append(s.last, text); len(s.last) > s.g.around {
			s.last = s.last[1:]
		}
	}
	if whole {
		s.line++
	}
}

func (s *scan) match(m Match) {
	if s.g.around > 0 {
		m.Before = append([]string(nil), s.last...)
		s.owed++
	}
	s.matches = append(s.matches, m)
	s.size += m.size()
}

// after gives a line to the matches before it that want it; own: the last one
// is of this line.
func (s *scan) after(text string, own bool) {
	end := len(s.matches)
	if own {
		end--
	}
	for i := len(s.matches) - s.owed; i < end; i++ {
		m := &s.matches[i]
		s.size += len(text)
		if m.After = append(m.After, text); len(m.After) == s.g.around {
			s.owed--
		}
	}
}

// show returns a line, or the part of a long one around a byte of it.
func show(p []byte, at int) string {
	from, to := 0, len(p)
	if len(p) > maxText {
		from = max(0, min(at-maxText/4, len(p)-maxText))
		to = from + maxText
	}
	text := strings.ToValidUTF8(string(p[from:to]), "\uFFFD")
	if from > 0 {
		text = "…" + text
	}
	if to < len(p) {
		text += "…"
	}
	return text
}
