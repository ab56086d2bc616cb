package browser

import (
	"strconv"
	"time"
)

// quoted is what a page said, shortened, and safe to print.
func quoted(s string, n int) string { return strconv.QuoteToGraphic(clip(s, n)) }

// now is the time of an entry.
func now() string { return time.Now().UTC().Format("2006-01-02T15:04:05.000Z") }
