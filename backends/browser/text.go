package browser

import (
	"strconv"
	"strings"
	"time"
)

// quoted is what a page said, shortened, and safe to print.
func quoted(s string, n int) string { return strconv.QuoteToGraphic(clip(s, n)) }

// clip shortens s to n bytes of valid UTF-8.
func clip(s string, n int) string {
	if len(s) > n {
		s = s[:n]
		for len(s) > 0 && s[len(s)-1]&0xC0 == 0x80 { // an unfinished character
			s = s[:len(s)-1]
		}
		if len(s) > 0 && s[len(s)-1] >= 0xC0 {
			s = s[:len(s)-1]
		}
		s += "…"
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}

// now is the time of an entry.
func now() string { return time.Now().UTC().Format("2006-01-02T15:04:05.000Z") }
