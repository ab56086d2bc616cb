package reap_test

import (
	"context"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/agentflow-go/sandbox/internal/reap"
	"github.com/google/go-cmp/cmp"
)

type item struct {
	reap.Entry
	name string
	due  func(it *item, now time.Time)
}

func (it *item) Due(now time.Time) { it.due(it, now) }

// start runs a Reaper for the length of a test's bubble.
func start(t *testing.T) *reap.Reaper {
	r := reap.New()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); r.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	return r
}

func TestItemsAreDueInOrderAndOnTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t)
		begin := time.Now()
		var got []string
		due := func(it *item, now time.Time) { got = append(got, it.name+"@"+now.Sub(begin).String()) }
		late, soon, moved, gone := &item{name: "late", due: due}, &item{name: "soon", due: due},
			&item{name: "moved", due: due}, &item{name: "gone", due: due}
		r.Add(late, begin.Add(3*time.Second))
		r.Add(gone, begin.Add(time.Second))
		r.Add(moved, begin.Add(time.Second))
		synctest.Wait()
		r.Add(soon, begin.Add(time.Second))
		r.Add(moved, begin.Add(2*time.Second))
		r.Remove(gone)
		r.Remove(gone)
		<-time.After(time.Minute)
		synctest.Wait()
		want := []string{"soon@1s", "moved@2s", "late@3s"}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("due items mismatch (-want +got):\n%s", diff)
		}
	})
}

func TestItemAddsItselfAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t)
		n := 0
		r.Add(&item{due: func(it *item, now time.Time) {
			if n++; n < 5 {
				r.Add(it, now.Add(time.Second))
			}
		}}, time.Now().Add(time.Second))
		<-time.After(time.Minute)
		synctest.Wait()
		if n != 5 || r.Len() != 0 {
			t.Errorf("ran %d times with %d waiting, want 5 and 0", n, r.Len())
		}
	})
}

func TestPastDeadlineIsDueAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t)
		ran := make(chan time.Time, 1)
		r.Add(&item{due: func(_ *item, now time.Time) { ran <- now }}, time.Now().Add(-time.Hour))
		if at := <-ran; !at.Equal(time.Now()) {
			t.Errorf("ran at %v, want now", at)
		}
	})
}

func BenchmarkAddRemove(b *testing.B) {
	for _, n := range []int{1_000, 1_000_000} {
		b.Run(map[int]string{1_000: "1k", 1_000_000: "1M"}[n], func(b *testing.B) {
			r, base := reap.New(), time.Now()
			for range n {
				r.Add(&item{}, base.Add(rand.N(time.Hour)))
			}
			it := &item{}
			b.ReportAllocs()
			for b.Loop() {
				r.Add(it, base.Add(rand.N(time.Hour)))
				r.Remove(it)
			}
		})
	}
}
