package size_test

import (
	"testing"

	"github.com/agentflow-go/sandbox/internal/size"
)

func TestParse(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int64{
		"0": 0, "4096": 4096, "64KiB": 64 << 10, "1.5MiB": 3 << 19, "1 gib": 1 << 30, "2TiB": 2 << 40,
		"": -1, "KiB": -1, "-1": -1, "1.5": -1, "1KB": -1, "0x10": -1, "1_000": -1, "1e3": -1, "Inf": -1, "1.2.3": -1,
		"9223372036854775807": -1, "8388608TiB": -1, "1KiBKiB": -1,
	} {
		got, ok := size.Parse(text)
		if !ok {
			got = -1
		}
		if got != want {
			t.Errorf("Parse(%q) = %d, want %d (-1: no size)", text, got, want)
		}
	}
}

func TestFormat(t *testing.T) {
	t.Parallel()
	for bytes, want := range map[int64]string{
		0: "0 bytes", 100: "100 bytes", 1025: "1025 bytes", 64 << 10: "64 KiB", 3 << 19: "1536 KiB", 1 << 30: "1 GiB", 1 << 50: "1024 TiB",
	} {
		if got := size.Format(bytes); got != want {
			t.Errorf("Format(%d) = %q, want %q", bytes, got, want)
		}
	}
}
