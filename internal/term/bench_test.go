package term_test

import (
	"bytes"
	"testing"

	"github.com/agentflow-go/sandbox/internal/term"
)

func benchShell(b *testing.B) *term.Shell {
	s, err := term.Open(b.Context(), term.Options{Start: startPlain(b), Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { s.Close() })
	return s
}

// BenchmarkEcho is the round trip of a command that does next to nothing.
func BenchmarkEcho(b *testing.B) {
	s := benchShell(b)
	b.ReportAllocs()
	var stdout bytes.Buffer
	for b.Loop() {
		stdout.Reset()
		res, err := s.Run(b.Context(), term.Command{Text: "echo hi", Stdout: &stdout})
		if err != nil || stdout.String() != "hi\n" {
			b.Fatal(res, err)
		}
	}
}

// BenchmarkOpen is a new shell, with its first command.
func BenchmarkOpen(b *testing.B) {
	b.ReportAllocs()
	start := startPlain(b)
	for b.Loop() {
		s, err := term.Open(b.Context(), term.Options{Start: start})
		if err != nil {
			b.Fatal(err)
		}
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

const flood = 100_000_000

// BenchmarkFlood reads 100 MB of output; compare with BenchmarkFloodBare.
func BenchmarkFlood(b *testing.B) {
	s := benchShell(b)
	b.SetBytes(flood)
	b.ReportAllocs()
	for b.Loop() {
		size := 0
		_, err := s.Run(b.Context(), term.Command{Text: "head -c 100000000 /dev/zero", Stdout: writerFunc(func(p []byte) { size += len(p) })})
		if err != nil || size != flood {
			b.Fatal(size, err)
		}
	}
}
