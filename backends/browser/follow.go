package browser

import (
	"context"
	"errors"
	"strings"
	"time"
)

// followLimit is how long a tool waits for the requests that its action began.
const followLimit = time.Second

// restShare is the part of that for the rest of answers that have begun.
const restShare = 5

// followed are the requests of a page by which it gets what it is to show: those of
// its scripts, and the documents of its frames. It is guarded by the tab's mutex.
type followed struct {
	open   map[string]string   // address without query, by id
	action map[string]bool     // of open, those that began during the running action: whether the answer has begun; nil: there is none
	before map[string]struct{} // addresses that were open when it began: a page that asks them again waits for news
}

// follow begins to note what requests begin.
func (t *tab) follow() {
	t.mu.Lock()
	defer t.mu.Unlock()
	f := &t.followed
	f.action, f.before = map[string]bool{}, map[string]struct{}{}
	for _, address := range f.open {
		f.before[address] = struct{}{}
	}
}

// unfollow ends that: nothing will be waited for.
func (t *tab) unfollow() {
	t.mu.Lock()
	t.followed.action, t.followed.before = nil, nil
	t.mu.Unlock()
}

// asked notes a request that began.
func (t *tab) asked(id, kind, address string, main bool) {
	if kind != "XHR" && kind != "Fetch" && (kind != "Document" || main) {
		return
	}
	address, _, _ = strings.Cut(address, "?")
	t.mu.Lock()
	defer t.mu.Unlock()
	f := &t.followed
	if f.open == nil || len(f.open) >= maxOpen {
		f.open = map[string]string{}
	}
	f.open[id] = clip(address, 2000)
	if _, again := f.before[f.open[id]]; f.action != nil && !again && len(f.action) < maxOpen {
		f.action[id] = false
	}
}

// answering notes that the answer to a request has begun.
func (t *tab) answering(id string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if begun, waited := t.followed.action[id]; waited && !begun {
		t.followed.action[id] = true
		t.notify()
	}
}

// answered notes the end of a request.
func (t *tab) answered(id string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f := &t.followed
	delete(f.open, id)
	if _, waited := f.action[id]; waited {
		delete(f.action, id)
		t.notify()
	}
}

// forgetRequests is for a page whose document is replaced. t.mu is held.
func (t *tab) forgetRequests() {
	clear(t.followed.open)
	clear(t.followed.action)
}

// followUp waits for the requests that began since follow, for those that their
// answers lead to, and until the page has shown them. It does not fail for want of
// time: what the action did is done.
func (t *tab) followUp(ctx context.Context) error {
	done := func() bool { return len(t.followed.action) == 0 || t.pendingNav != 0 }
	begun := func() bool {
		for _, answering := range t.followed.action {
			if !answering {
				return false
			}
		}
		return true
	}
	t.mu.Lock()
	none := done()
	t.mu.Unlock()
	if none {
		return nil
	}
	wait, cancel := context.WithTimeout(ctx, t.s.patience)
	defer cancel()
	for {
		err := t.until(wait, func() bool { return done() || begun() })
		if err == nil { // of an answer that a page does not read, or that streams, the end is not told
			rest, cancel := context.WithTimeout(wait, t.s.patience/restShare)
			err = t.until(rest, done)
			cancel()
			if err != nil && wait.Err() == nil {
				return nil
			}
		}
		if err == nil { // the page gets an answer after this program is told of its end
			err = t.js(wait, t.mainFrame(), nil, "drawn")
		}
		t.mu.Lock()
		over := done()
		t.mu.Unlock()
		switch {
		case wait.Err() != nil && (ctx.Err() == nil || isLate(ctx)):
			return nil
		case err != nil && !errors.Is(err, errContext):
			return err
		case over:
			return nil
		}
	}
}
