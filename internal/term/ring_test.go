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

func TestCaptureKeepsBothEnds(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(3, 4))
	for range 300 {
		limit := rnd.IntN(50)
		var spilled bytes.Buffer
		c := newCapture(limit, nil, nil)
		c.spill = spillTo(&spilled)
		var all []byte
		for range rnd.IntN(12) {
			p := make([]byte, rnd.IntN(30))
			for i := range p {
				p[i] = byte('a' + rnd.IntN(26))
			}
			c.write(p)
			all = append(all, p...)
		}
		o := c.result()
		if o.Size != int64(len(all)) {
			t.Fatalf("Size = %d, want %d", o.Size, len(all))
		}
		if len(all) <= limit {
			if !bytes.Equal(o.Bytes(), all) || o.Truncated() || spilled.Len() > 0 {
				t.Fatalf("limit %d: %q, want %q", limit, o.Bytes(), all)
			}
			continue
		}
		if !bytes.HasPrefix(all, o.Head) || !bytes.HasSuffix(all, o.Tail) || len(o.Head)+len(o.Tail) != limit ||
			o.Dropped != int64(len(all)-limit) || len(o.Head) != limit/2 {
			t.Fatalf("limit %d of %d: head %q tail %q dropped %d", limit, len(all), o.Head, o.Tail, o.Dropped)
		}
		if !bytes.Equal(spilled.Bytes(), all) {
			t.Fatalf("spilled %q, want %q", spilled.Bytes(), all)
		}
	}
}
