package term

import "strconv"

// filter passes on the part of a program's output that the emulator is to see.
// Text and control characters go through; a sequence is held until it is
// whole, then written anew with numbers the emulator takes no time over, or
// left out if the emulator does not know it or would keep it for good. So the
// emulator never sees a sequence that is broken off, and cannot be brought to
// read one otherwise than here.
//
// The zero value is ready.
type filter struct {
	state   filterState
	held    []byte // of the sequence, from its second character on
	tooLong bool   // more was there than held takes
	kind    byte   // of a string: ], P, X, ^, _ or k
}

type filterState uint8

const (
	inText      filterState = iota
	inEscape                // after ESC
	inCharset               // after ESC and one of its intermediate characters
	inSequence              // after ESC [
	inString                // after ESC and what begins a string
	inStringEnd             // after ESC in a string
)

const (
	esc       = 0x1b
	maxHeld   = 256  // bytes of a string
	maxParams = 64   // bytes of a control sequence
	maxNumber = 9999 // in a sequence: more than any terminal has rows
	maxTabs   = 500
)

func (f *filter) pass(p []byte) []byte {
	out := make([]byte, 0, len(p)+16)
	for _, b := range p {
		out = f.next(out, b)
	}
	return out
}

func (f *filter) next(out []byte, b byte) []byte {
	if f.state == inText {
		if b == esc {
			f.enter(inEscape)
			return out
		}
		return append(out, b)
	}
	if f.state == inString {
		switch {
		case b == '\a':
			return f.endString(out)
		case b == esc:
			f.state = inStringEnd
		case b == 0x18 || b == 0x1a: // CAN, SUB
			f.enter(inText)
		default:
			f.hold(b)
		}
		return out
	}
	if f.state == inStringEnd {
		if b == '\\' {
			return f.endString(out)
		}
		f.enter(inEscape) // the string is broken off
	}
	switch {
	case b == esc:
		f.enter(inEscape)
		return out
	case b == 0x18 || b == 0x1a:
		f.enter(inText)
		return out
	case b < 0x20 || b == 0x7f: // acts at once, in the middle of a sequence
		return append(out, b)
	case b >= 0x80: // no sequence
		f.enter(inText)
		return append(out, b)
	}
	switch f.state {
	case inEscape:
		return f.escape(out, b)
	case inCharset:
		if b < '0' { // one more: not known
			f.kind = 0
			return out
		}
		if f.kind == '(' || f.kind == '#' && b == '8' {
			out = append(out, esc, f.kind, b)
		}
		f.enter(inText)
	default: // inSequence
		if b < '@' {
			f.hold(b)
			return out
		}
		out = f.endSequence(out, b)
	}
	return out
}

func (f *filter) enter(s filterState) {
	f.state, f.held, f.tooLong = s, f.held[:0], false
}

func (f *filter) hold(b byte) {
	if len(f.held) == maxHeld {
		f.tooLong = true
		return
	}
	f.held = append(f.held, b)
}

func (f *filter) escape(out []byte, b byte) []byte {
	switch b {
	case '[':
		f.enter(inSequence)
	case ']', 'P', 'X', '^', '_', 'k':
		f.enter(inString)
		f.kind = b
	case 'c': // the emulator's reset leaves most of the screen
		f.enter(inText)
		out = append(out, "\x1bc\x1b[2J"...)
	default:
		if b < '0' { // an intermediate character
			f.enter(inCharset)
			f.kind = b
			break
		}
		f.enter(inText)
		out = append(out, esc, b)
	}
	return out
}

// endSequence passes on a control sequence: digits and semicolons, perhaps
// after a question mark. What else there is means something that the emulator
// takes for something else.
func (f *filter) endSequence(out []byte, final byte) []byte {
	held, long := f.held, f.tooLong
	f.enter(inText)
	if long || len(held) > maxParams {
		return out
	}
	start := len(out)
	out = append(out, esc, '[')
	if len(held) > 0 && held[0] == '?' {
		out, held = append(out, '?'), held[1:]
	}
	most := maxNumber
	if final == 'I' || final == 'Z' { // the emulator counts up to it
		most = maxTabs
	}
	n, digits := 0, false
	for _, b := range append(held, ';') {
		switch {
		case b >= '0' && b <= '9':
			n, digits = min(n*10+int(b-'0'), most), true
		case b == ';':
			if digits {
				out = strconv.AppendInt(out, int64(n), 10)
			}
			out = append(out, ';')
			n, digits = 0, false
		default:
			return out[:start]
		}
	}
	out[len(out)-1] = final // for the last semicolon
	return out
}

// endString passes on titles and the questions for the two colours. The
// emulator would keep each of the sixteen million colours that a program may
// define.
func (f *filter) endString(out []byte) []byte {
	held, kind, long := f.held, f.kind, f.tooLong
	f.enter(inText)
	text := string(held)
	switch {
	case long:
	case kind == 'k':
		out = append(append(append(out, "\x1bk"...), text...), '\a')
	case kind == ']' && (text == "10;?" || text == "11;?" || len(text) > 2 && text[0] <= '2' && text[0] >= '0' && text[1] == ';'):
		out = append(append(append(out, "\x1b]"...), text...), '\a')
	}
	return out
}
