package sandbox

import "sync"

// tasks counts goroutines that somebody waits for. Unlike a sync.WaitGroup it
// may be waited for while new ones start.
type tasks struct {
	mu   sync.Mutex // guards n and zero
	n    int
	zero chan struct{} // closed when n reaches 0; made by who waits
}

// Go runs f on a goroutine of its own.
func (t *tasks) Go(f func()) {
	t.mu.Lock()
	t.n++
	t.mu.Unlock()
	go func() {
		defer t.done()
		f()
	}()
}

func (t *tasks) done() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.n--; t.n == 0 && t.zero != nil {
		close(t.zero)
		t.zero = nil
	}
}

// Wait returns when none is running.
func (t *tasks) Wait() {
	t.mu.Lock()
	if t.n == 0 {
		t.mu.Unlock()
		return
	}
	if t.zero == nil {
		t.zero = make(chan struct{})
	}
	zero := t.zero
	t.mu.Unlock()
	<-zero
}
