// Package runes cuts streams of bytes into pieces of valid UTF-8.
package runes

import (
	"strings"
	"unicode/utf8"
)

// Whole returns the length of p without an unfinished rune at its end.
func Whole(p []byte) int {
	for n := 1; n < utf8.UTFMax && n <= len(p); n++ {
		if utf8.RuneStart(p[len(p)-n]) {
			if !utf8.FullRune(p[len(p)-n:]) {
				return len(p) - n
			}
			break
		}
	}
	return len(p)
}

// Decoder turns pieces of a stream into text. What is no UTF-8 becomes U+FFFD; a
// rune that a piece ends in the middle of comes with the next. The zero value is
// ready. It belongs to one goroutine at a time.
type Decoder struct{ carry []byte }

// Next returns the text of a further piece.
func (d *Decoder) Next(p []byte) string {
	p = append(d.carry, p...)
	n := Whole(p)
	d.carry = append([]byte(nil), p[n:]...)
	return valid(p[:n])
}

// Rest returns what is left at the end of the stream.
func (d *Decoder) Rest() string {
	defer func() { d.carry = nil }()
	return valid(d.carry)
}

func valid(p []byte) string { return strings.ToValidUTF8(string(p), "\uFFFD") }
