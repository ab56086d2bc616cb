package term

import (
	"io"
	"os/exec"
	"testing"
)

// BenchmarkFloodBare reads 100 MB from a bare pseudo-terminal.
func BenchmarkFloodBare(b *testing.B) {
	const flood = 100_000_000
	b.SetBytes(flood)
	for b.Loop() {
		t, err := openTTY(24, 80, true)
		if err != nil {
			b.Fatal(err)
		}
		c := exec.Command("head", "-c", "100000000", "/dev/zero")
		if c.Stdout, err = t.peer(); err != nil {
			b.Fatal(err)
		}
		if err := c.Start(); err != nil {
			b.Fatal(err)
		}
		if _, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, io.LimitReader(t.master, flood), make([]byte, 64<<10)); err != nil {
			b.Fatal(err)
		}
		c.Wait()
		t.close()
	}
}
