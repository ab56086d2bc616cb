package file

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/agentflow-go/sandbox"
	"github.com/agentflow-go/sandbox/internal/runes"
)

// ReadInput is what file:read takes.
type ReadInput struct {
	Path      string `json:"path" jsonschema:"the file, relative to the workspace or below /workspace/"`
	StartLine int    `json:"start_line,omitzero" jsonschema:"first line to return, counted from 1; default 1"`
	EndLine   int    `json:"end_line,omitzero" jsonschema:"last line to return; default: the last one"`
	Offset    int64  `json:"offset,omitzero" jsonschema:"byte to begin at instead of a line"`
	Encoding  string `json:"encoding,omitzero" jsonschema:"utf-8 (default) or base64"`
	MaxBytes  int    `json:"max_bytes,omitzero" jsonschema:"bytes of the file to return at most; default 262144"`
}

// ReadOutput is what file:read returns.
type ReadOutput struct {
	Path       string `json:"path"`
	Content    string `json:"content"`
	Encoding   string `json:"encoding"`
	Size       int64  `json:"size" jsonschema:"bytes of the whole file"`
	Lines      int    `json:"lines" jsonschema:"lines of the whole file; -1 if it is too large to count them, or base64"`
	Truncated  bool   `json:"truncated" jsonschema:"there is more after what is returned than was asked to be left out"`
	NextLine   int    `json:"next_line,omitzero" jsonschema:"start_line with which to go on"`
	NextOffset int64  `json:"next_offset,omitzero" jsonschema:"offset with which to go on"`
	Note       string `json:"note,omitzero" jsonschema:"what is unusual about the content"`
}

// maxScan is how much of a file is looked at to find and count lines.
const maxScan = 64 << 20

// Read reads a file or a part of it; see [ReadOutput].
func (s *Session) Read(ctx context.Context, in ReadInput) (ReadOutput, error) {
	most, err := s.limit(in.MaxBytes)
	if err != nil {
		return ReadOutput{}, err
	}
	if err := in.check(); err != nil {
		return ReadOutput{}, err
	}
	files, err := s.env.Files()
	if err != nil {
		return ReadOutput{}, err
	}
	f, err := files.Open(in.Path)
	if err != nil {
		return ReadOutput{}, advise(ctx, files, in.Path, err)
	}
	defer f.Close()
	info := f.Info()
	out := ReadOutput{Path: info.Path, Encoding: "utf-8", Size: info.Size, Lines: -1}
	if in.Encoding == "base64" {
		err = out.bytes(f, in.Offset, most)
	} else {
		err = out.text(ctx, f, in, most)
	}
	return out, err
}

func (in *ReadInput) check() error {
	switch {
	case in.Encoding != "" && in.Encoding != "utf-8" && in.Encoding != "base64":
		return sandbox.Errorf(sandbox.ErrInvalidInput, "/encoding: %q; give utf-8 or base64", in.Encoding)
	case in.StartLine < 0 || in.EndLine < 0 || in.Offset < 0:
		return sandbox.Errorf(sandbox.ErrInvalidInput, "/start_line, /end_line and /offset count from the beginning: none may be negative")
	case in.EndLine > 0 && in.EndLine < in.StartLine:
		return sandbox.Errorf(sandbox.ErrInvalidInput, "/end_line: %d is before start_line %d", in.EndLine, in.StartLine)
	case (in.Offset > 0 || in.Encoding == "base64") && (in.StartLine > 0 || in.EndLine > 0):
		return sandbox.Errorf(sandbox.ErrInvalidInput, "/start_line: lines cannot be combined with offset or base64; give offset and max_bytes, or lines")
	}
	return nil
}

// bytes returns a range of bytes.
func (out *ReadOutput) bytes(f *sandbox.File, offset int64, most int) error {
	p, more, err := readRange(f, offset, most)
	if err != nil {
		return err
	}
	out.Encoding, out.Content = "base64", base64.StdEncoding.EncodeToString(p)
	if more {
		out.Truncated, out.NextOffset = true, offset+int64(len(p))
	}
	return nil
}

// readRange reads up to most bytes and reports whether there are more.
func readRange(f *sandbox.File, offset int64, most int) ([]byte, bool, error) {
	left := max(0, f.Info().Size-offset)
	p := make([]byte, min(int64(most), left)+1)
	n, err := io.ReadFull(io.NewSectionReader(f, offset, int64(len(p))), p)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, false, err
	}
	if n > most {
		return p[:most], true, nil
	}
	return p[:n], false, nil
}

// text returns a range of lines, or of bytes from offset on.
func (out *ReadOutput) text(ctx context.Context, f *sandbox.File, in ReadInput, most int) error {
	if in.Offset > 0 {
		p, more, err := readRange(f, in.Offset, most)
		if err != nil {
			return err
		}
		if more {
			p = p[:wholeRunes(p)]
			out.Truncated, out.NextOffset = true, in.Offset+int64(len(p))
		}
		return out.show(p)
	}
	l := lines{first: max(1, in.StartLine), last: in.EndLine, most: most}
	if err := l.scan(ctx, f); err != nil {
		return err
	}
	if !l.scanned && l.count < l.first {
		return sandbox.Errorf(sandbox.ErrTooLarge, "/start_line: line %d of %q lies behind its first %d bytes, where lines are not counted; use offset (bytes)", l.first, out.Path, maxScan)
	}
	if l.scanned {
		if out.Lines = l.count; l.first > max(1, l.count) {
			return sandbox.Errorf(sandbox.ErrInvalidInput, "/start_line: %d, but %q has %d lines", l.first, out.Path, l.count)
		}
	}
	if l.cut {
		out.Truncated = true
		out.NextLine, out.NextOffset = l.nextLine, l.nextOffset
		if out.NextLine == 0 {
			out.Note = "a line is longer than max_bytes; go on in it with offset"
		}
	}
	return out.show(l.content)
}

// show sets the content, which must be text.
func (out *ReadOutput) show(p []byte) error {
	if i := bytes.IndexByte(p, 0); i >= 0 {
		return sandbox.Errorf(sandbox.ErrInvalidInput, "read %q: it is not text (a NUL byte among what was asked for); read it with encoding base64, or use a program for its format. It has %d bytes", out.Path, out.Size)
	}
	if !utf8.Valid(p) {
		note := "bytes that are not UTF-8 are shown as U+FFFD; for the exact ones read with encoding base64"
		out.Note = strings.TrimPrefix(out.Note+"; "+note, "; ")
		p = bytes.ToValidUTF8(p, []byte("\uFFFD"))
	}
	out.Content = string(p)
	return nil
}

// wholeRunes returns the length of p without an unfinished rune at its end, or
// all of it if it is nothing else.
func wholeRunes(p []byte) int {
	if n := runes.Whole(p); n > 0 {
		return n
	}
	return len(p)
}

// lines finds a range of lines and counts all.
type lines struct {
	first, last int // last 0: to the end
	most        int // bytes to return

	content    []byte
	count      int  // lines seen, a last one without line end included
	scanned    bool // count is that of the whole file
	cut        bool // more was asked for than most allows
	nextLine   int  // where to go on, if that is the beginning of a line
	nextOffset int64
}

func (l *lines) scan(ctx context.Context, f *sandbox.File) error {
	buf := make([]byte, min(max(f.Info().Size+1, 512), 256<<10))
	var pos int64
	line, open := 1, false // open: bytes of the current line were seen
	var start int64 = -1   // where the content begins
	var tail int           // where its last line begins
	for pos < maxScan {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := f.Read(buf)
		for p := buf[:n]; len(p) > 0; {
			end := bytes.IndexByte(p, '\n') + 1
			whole := end > 0
			if !whole {
				end = len(p)
			}
			if line >= l.first && (l.last == 0 || line <= l.last) && !l.cut {
				if start < 0 {
					start = pos
				}
				if !open {
					tail = len(l.content)
				}
				if room := l.most - len(l.content); end > room {
					l.content = append(l.content, p[:room]...)
					l.stop(line, tail, start)
				} else {
					l.content = append(l.content, p[:end]...)
				}
			}
			open = !whole
			if whole {
				line++
			}
			pos += int64(end)
			p = p[end:]
		}
		if err == io.EOF {
			l.scanned = true
			break
		}
		if err != nil {
			return fmt.Errorf("read %q: %w", f.Info().Path, err)
		}
	}
	l.count = line
	if !open {
		l.count--
	}
	if !l.scanned && !l.cut && (l.last == 0 || l.count < l.last) && start >= 0 {
		l.cut, l.nextOffset = true, start+int64(len(l.content))
	}
	return nil
}

// stop cuts the content at the last line end that fits, else within the line.
func (l *lines) stop(line, tail int, start int64) {
	l.cut = true
	if tail > 0 {
		l.content, l.nextLine = l.content[:tail], line
		return
	}
	l.content = l.content[:wholeRunes(l.content)]
	l.nextOffset = start + int64(len(l.content))
}
