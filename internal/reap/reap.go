// Package reap runs what is due, when it is due: one goroutine over a heap of
// deadlines that sleeps until the earliest. Adding, moving and removing cost
// O(log n), and a million waiting items cost no CPU.
package reap

import (
	"container/heap"
	"context"
	"sync"
	"time"
)

// Item is something with a deadline. It embeds an [Entry], through which one
// [Reaper] keeps track of it.
type Item interface {
	// Due is called, without any lock of the Reaper held and with the item no
	// longer waiting, once its deadline has passed. It may add the item again.
	Due(now time.Time)

	// Deadline is the embedded Entry.
	Deadline() *Entry
}

// Entry is embedded by an [Item]. The zero value is ready.
type Entry struct {
	at    time.Duration // since Reaper.base, so that setting the clock changes nothing
	index int           // in the heap, from 1; 0: not in it
}

// Deadline returns e, which makes what embeds it an [Item] but for Due.
func (e *Entry) Deadline() *Entry { return e }

// Reaper holds items until they are due. Its methods may be called
// concurrently; make one with [New].
type Reaper struct {
	base time.Time
	wake chan struct{} // holds a token when the earliest deadline moved forward

	mu    sync.Mutex // guards items and their entries
	items items
}

// New returns an empty Reaper. Nothing happens until [Reaper.Run].
func New() *Reaper { return &Reaper{base: time.Now(), wake: make(chan struct{}, 1)} }

// Add makes it due at the given time, instead of any time given before.
func (r *Reaper) Add(it Item, at time.Time) {
	e := it.Deadline()
	r.mu.Lock()
	e.at = at.Sub(r.base)
	if e.index > 0 {
		heap.Fix(&r.items, e.index-1)
	} else {
		heap.Push(&r.items, it)
	}
	first := e.index == 1
	r.mu.Unlock()
	if first {
		select {
		case r.wake <- struct{}{}:
		default: // a token is there already
		}
	}
}

// Remove makes it no longer due; an item that is not waiting stays so.
func (r *Reaper) Remove(it Item) {
	r.mu.Lock()
	if e := it.Deadline(); e.index > 0 {
		heap.Remove(&r.items, e.index-1)
	}
	r.mu.Unlock()
}

// Len returns the number of waiting items.
func (r *Reaper) Len() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.items)
}

// Run calls Due for each item whose time has come, until ctx ends.
func (r *Reaper) Run(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		if wait, any := r.runDue(ctx); any {
			timer.Reset(wait)
		} else {
			timer.Stop()
		}
		select {
		case <-ctx.Done():
			return
		case <-r.wake:
		case <-timer.C:
		}
	}
}

// runDue runs what is due and returns how long to sleep, if anything waits.
func (r *Reaper) runDue(ctx context.Context) (wait time.Duration, any bool) {
	for ctx.Err() == nil {
		now := time.Now()
		r.mu.Lock()
		if len(r.items) == 0 {
			r.mu.Unlock()
			return 0, false
		}
		if wait := r.items[0].Deadline().at - now.Sub(r.base); wait > 0 {
			r.mu.Unlock()
			return wait, true
		}
		it := heap.Pop(&r.items).(Item)
		r.mu.Unlock()
		it.Due(now)
	}
	return 0, false
}

// items is the heap. Each item's entry knows its place in it.
type items []Item

func (h items) Len() int           { return len(h) }
func (h items) Less(i, j int) bool { return h[i].Deadline().at < h[j].Deadline().at }
func (h items) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].Deadline().index, h[j].Deadline().index = i+1, j+1
}

func (h *items) Push(x any) {
	it := x.(Item)
	*h = append(*h, it)
	it.Deadline().index = len(*h)
}

func (h *items) Pop() any {
	last := len(*h) - 1
	it := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	it.Deadline().index = 0
	return it
}
