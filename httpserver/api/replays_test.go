package api

import (
	"crypto/sha256"
	"testing"
)

func TestReplaysAreBoundedInMemory(t *testing.T) {
	t.Parallel()
	p := newReplays()
	p.maxBytes = 10_000
	run := func(worker string, size int) {
		t.Helper()
		e, first, refused := p.begin(replayScope{-1, worker}, "k", [sha256.Size]byte{})
		if !first || refused != nil {
			t.Fatalf("%s: first %v, refused %v", worker, first, refused)
		}
		p.end(e, reply{data: make([]byte, size), meta: replyMeta{ran: true}})
	}
	kept := func(worker string) *replay {
		if own := p.scopes[replayScope{-1, worker}]; own != nil {
			return own.byKey["k"]
		}
		return nil
	}
	run("a", 4000)
	run("b", 4000)
	run("c", 4000)
	if kept("a") != nil || kept("b") == nil || kept("c") == nil {
		t.Error("want the oldest forgotten, and it alone")
	}
	run("huge", 20_000)
	if e := kept("huge"); e == nil || e.reply.status != 409 || !e.reply.meta.ran || len(e.reply.data) > 0 {
		t.Errorf("a result that is too large: %+v", e)
	}
	if p.bytes > p.maxBytes || p.bytes <= 0 {
		t.Errorf("%d bytes kept, limit %d", p.bytes, p.maxBytes)
	}
	for p.order.Len() > 0 {
		p.forget(p.order.Front().Value.(*replay))
	}
	if p.bytes != 0 || len(p.scopes) != 0 {
		t.Errorf("after forgetting all: %d bytes, %d scopes", p.bytes, len(p.scopes))
	}
}
