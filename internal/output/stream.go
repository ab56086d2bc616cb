// Package output keeps what a call prints: both ends of it for the result, the
// whole in a file of the workspace, and all of it as it comes for who listens.
package output

import (
	"fmt"
	"strings"

	"github.com/agentflow-go/sandbox/internal/runes"
)

// Stream takes what one call prints to one stream. It keeps all of it, or once
// that is longer than the limit, the first and the last half of the limit: how
// it began and how it ended. The whole then goes to a file. It belongs to one
// goroutine at a time.
type Stream struct {
	limit int
	file  File
	live  func(text string) // nil: nobody listens

	runes runes.Decoder // for live
	size  int64
	head  []byte
	tail  []byte // once head is full; a ring once it is full itself
	at    int    // where tail begins
}

// New returns a stream that keeps limit bytes; without File.Create the whole is
// not saved. live is called with each piece as valid UTF-8, and may be nil.
func New(limit int, file File, live func(text string)) *Stream {
	return &Stream{limit: limit, file: file, live: live}
}

// Write takes a further piece. It never fails, so that what prints goes on.
func (s *Stream) Write(p []byte) (int, error) {
	if s.live != nil {
		s.say(s.runes.Next(p))
	}
	s.size += int64(len(p))
	if s.cut() {
		if s.file.empty() {
			s.file.Write(s.head)
			s.file.Write(s.tail)
		}
		s.file.Write(p)
	}
	n := min(s.limit/2-len(s.head), len(p))
	s.head = append(s.head, p[:n]...)
	s.keepLast(p[n:])
	return len(p), nil
}

func (s *Stream) say(text string) {
	if text != "" {
		s.live(text)
	}
}

func (s *Stream) cut() bool { return s.size > int64(s.limit) }

func (s *Stream) keepLast(p []byte) {
	half := s.limit - s.limit/2
	n := min(half-len(s.tail), len(p))
	s.tail = append(s.tail, p[:n]...)
	p = p[n:]
	for p = p[max(0, len(p)-half):]; len(p) > 0; p = p[n:] {
		n = copy(s.tail[s.at:], p)
		s.at = (s.at + n) % half
	}
}

// Ends returns what was kept: everything, or if that is longer than the limit,
// its first and last bytes.
func (s *Stream) Ends() (head, tail []byte) {
	tail = append(s.tail[s.at:len(s.tail):len(s.tail)], s.tail[:s.at]...)
	if !s.cut() {
		return append(s.head, tail...), nil
	}
	return s.head, tail
}

// Text ends the stream, and is called once. It returns what was kept as valid
// UTF-8, with a note in the place of what was cut, and the file that has the
// whole: "" if nothing was cut, or if it could not be saved, as the note says.
func (s *Stream) Text() (text, path string, cut bool) {
	if s.live != nil {
		s.say(s.runes.Rest())
	}
	head, tail := s.Ends()
	if !s.cut() {
		return valid(head), "", false
	}
	note := fmt.Sprintf("[… %d of %d bytes left out", s.size-int64(len(head)+len(tail)), s.size)
	path, err := s.file.Close()
	switch {
	case path != "" && err == nil:
		note += "; the whole output is in " + path
	case path != "":
		note += fmt.Sprintf("; the output up to a fault (%v) is in %s", err, path)
	case err != nil:
		note += fmt.Sprintf("; it could not be saved: %v", err)
	}
	return valid(head) + "\n" + note + " …]\n" + valid(tail), path, true
}

func valid(p []byte) string { return strings.ToValidUTF8(string(p), "\uFFFD") }
