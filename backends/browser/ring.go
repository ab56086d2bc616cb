package browser

import "sync"

// checkSince refuses numbers that no entry has and none comes after.
func checkSince(n int) error {
	if n < 0 {
		return invalid("/since: %d; give 0 or more", n)
	}
	return nil
}

// ring keeps the last max entries, each with a number that grows by one.
type ring[T any] struct {
	max int

	mu   sync.Mutex // guards the rest
	all  []T        // numbered from last-len(all)+1 to last
	last int
}

// add appends the entry that make returns for its number.
func (r *ring[T]) add(make func(seq int) T) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last++
	if len(r.all) >= r.max {
		// Forget a quarter at once, so that adding is cheap on average.
		r.all = append(r.all[:0:0], r.all[len(r.all)/4+1:]...)
	}
	r.all = append(r.all, make(r.last))
	return r.last
}

// edit changes the entry of that number, if it is still there.
func (r *ring[T]) edit(seq int, change func(*T)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if i := seq - (r.last - len(r.all)) - 1; i >= 0 && i < len(r.all) {
		change(&r.all[i])
	}
}

// since returns the entries with greater numbers that keep says to keep, at
// most limit of them, the oldest first; the number to go on from; and how many
// are lost for good.
func (r *ring[T]) since(seq, limit int, keep func(T) bool) (list []T, next, dropped int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	first, seq := r.last-len(r.all)+1, min(seq, r.last)
	if seq+1 < first {
		dropped = first - seq - 1
	}
	next, list = max(seq, first-1), []T{}
	for i, e := range r.all {
		n := first + i
		if n <= seq {
			continue
		}
		if keep(e) {
			if len(list) >= limit {
				break
			}
			list = append(list, e)
		}
		next = n
	}
	return list, next, dropped
}
