package term

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

func TestRingKeepsTheEnd(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		limit := 1 + rnd.IntN(40)
		r := newRing(limit)
		var all []byte
		for range rnd.IntN(20) {
			p := make([]byte, rnd.IntN(60))
			for i := range p {
				p[i] = byte(rnd.Uint32())
			}
			r.write(p)
			all = append(all, p...)

			since := int64(rnd.IntN(len(all)+3)) - 1
			got, from, _ := r.read(since, 1000)
			oldest := int64(max(0, len(all)-limit))
			want := min(max(since, oldest, 0), int64(len(all)))
			if from != want || !bytes.Equal(got, all[from:]) {
				t.Fatalf("limit %d, %d written: read(%d) = %d bytes from %d, want %d from %d", limit, len(all), since, len(got), from, len(all)-int(want), want)
			}
			if got, from, _ := r.read(oldest, 3); from != oldest || !bytes.Equal(got, all[oldest:min(int(oldest)+3, len(all))]) {
				t.Fatalf("read of 3 bytes = %q from %d", got, from)
			}
		}
	}
}

func TestRingTakesWhatComesAfterItsEnd(t *testing.T) {
	t.Parallel()
	r := newRing(10)
	r.end()
	r.write([]byte("late"))
	got, _, more := r.read(0, 10)
	if string(got) != "late" {
		t.Errorf("read = %q", got)
	}
	select {
	case <-more:
	default:
		t.Error("who reads waits for more after the end")
	}
}
