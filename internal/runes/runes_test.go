package runes_test

import (
	"strings"
	"testing"

	"github.com/agentflow-go/sandbox/internal/runes"
)

func TestWhole(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int{
		"": 0, "a": 1, "aé": 3, "a\xc3": 1, "€": 3, "\xe2\x82": 0, "a\xf0\x9f\x98": 1, "😀": 4,
		"\x80\x80\x80\x80": 4, "a\xff": 2,
	} {
		if got := runes.Whole([]byte(text)); got != want {
			t.Errorf("Whole(%q) = %d, want %d", text, got, want)
		}
	}
}

func FuzzDecoder(f *testing.F) {
	f.Add([]byte("aé€😀"), 2)
	f.Add([]byte("a\xe2\x82\xffb\xf0\x9f"), 1)
	f.Fuzz(func(t *testing.T, p []byte, size int) {
		size = max(1, size%16)
		var d runes.Decoder
		var out strings.Builder
		for rest := p; len(rest) > 0; {
			n := min(size, len(rest))
			text := d.Next(rest[:n])
			if strings.ToValidUTF8(text, "") != text {
				t.Errorf("Next(%q) = %q, which is no UTF-8", rest[:n], text)
			}
			out.WriteString(text)
			rest = rest[n:]
		}
		out.WriteString(d.Rest())
		// However it was cut, what is valid of it comes as it is.
		keep := strings.NewReplacer("\uFFFD", "")
		if got, want := keep.Replace(out.String()), keep.Replace(strings.ToValidUTF8(string(p), "")); got != want {
			t.Errorf("%q in pieces of %d became %q", p, size, out.String())
		}
	})
}
