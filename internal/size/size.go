// Package size reads and writes numbers of bytes as people do.
package size

import (
	"math"
	"strconv"
	"strings"
)

// Parse reads a number of bytes, such as 4096, with an optional binary unit:
// 64KiB, 1.5 MiB, 1GiB, 2TiB. A negative number, and a part of a byte, are none.
func Parse(text string) (bytes int64, ok bool) {
	factor := 1.0
	for i, unit := range []string{"KiB", "MiB", "GiB", "TiB"} {
		if n := len(text) - len(unit); n > 0 && strings.EqualFold(text[n:], unit) {
			text, factor = strings.TrimSpace(text[:n]), math.Pow(1024, float64(i+1))
			break
		}
	}
	// ParseFloat knows hexadecimal, underscores and infinity; a size does not.
	if text == "" || strings.Trim(text, "0123456789.") != "" {
		return 0, false
	}
	n, err := strconv.ParseFloat(text, 64)
	if err != nil || n*factor >= math.MaxInt64 || n*factor != math.Trunc(n*factor) {
		return 0, false
	}
	return int64(n * factor), true
}

// Format writes a number of bytes in the largest unit that needs no fraction, such
// as 2 GiB, 1536 MiB, 100 bytes.
func Format(bytes int64) string {
	unit := "bytes"
	for _, u := range []string{"KiB", "MiB", "GiB", "TiB"} {
		if bytes == 0 || bytes%1024 != 0 {
			break
		}
		bytes, unit = bytes/1024, u
	}
	return strconv.FormatInt(bytes, 10) + " " + unit
}
