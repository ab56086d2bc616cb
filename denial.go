package sandbox

import (
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/agentflow-go/sandbox/internal/egress"
	"github.com/agentflow-go/sandbox/internal/wire"
)

// Denial is something that policy refused to a worker's programs.
type Denial struct {
	Host  string `json:"host,omitzero"` // as asked for, quoted if it is no host; "": the request named none
	Port  int    `json:"port,omitzero"`
	Rule  string `json:"rule"`  // which rule refused, such as "allow list"
	Text  string `json:"text"`  // for people and models: network denied: example.com:443 is not in the allow list
	Count int    `json:"count"` // how often, with this host, port and rule
}

const (
	maxCallDenials = 16  // distinct ones that a call is told of
	maxDenialText  = 512 // bytes: programs choose what they ask for
)

// newDenial describes a refusal of the proxy.
func newDenial(d *egress.Denied) Denial {
	host := d.Host
	if h, err := egress.ParseHost(host); err == nil {
		host = h.String()
	} else if host != "" {
		host = strconv.QuoteToASCII(cut(host, maxHost))
	}
	return Denial{Host: host, Port: int(d.Port), Rule: d.Rule, Text: strings.ToValidUTF8(cut(d.Error(), maxDenialText), ""), Count: 1}
}

// event is what a listener hears of d.
func (d Denial) event() Event {
	data, _ := wire.Marshal(struct { // strings and a number: it cannot fail
		Host string `json:"host,omitzero"`
		Port int    `json:"port,omitzero"`
		Rule string `json:"rule"`
	}{d.Host, d.Port, d.Rule})
	return Event{Kind: EventDenial, Text: d.Text, Data: data}
}

// denialList counts refusals and remembers the first distinct ones.
type denialList struct {
	first []Denial // at most maxCallDenials
	total int
}

// add counts d and reports whether it is remembered as a new one.
func (l *denialList) add(d Denial) bool {
	l.total += d.Count
	for i := range l.first {
		if o := &l.first[i]; o.Host == d.Host && o.Port == d.Port && o.Rule == d.Rule {
			o.Count += d.Count
			return false
		}
	}
	if len(l.first) == maxCallDenials {
		return false
	}
	l.first = append(l.first, d)
	return true
}

// callDenials are those of one running call, and how far its listener has
// heard of them. It is guarded by the worker's mu.
type callDenials struct {
	denialList
	events  *emitter // nil: nobody listens
	sent    int      // of first
	sending bool
	senders sync.WaitGroup
}

// denied tells of a refusal to a program of the worker's: to the log, and to
// the calls that run, else to the one that comes next. Which of a worker's
// programs it was that asked is not known. It does not wait for anybody.
func (ws *workerState) denied(d Denial) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	told := false
	for _, s := range ws.sessions {
		for c := s.calls; c != nil; c = c.next {
			if c.began.Load() {
				c.deny(d)
				told = true
			}
		}
	}
	if !told {
		if ws.untold == nil {
			ws.untold = &denialList{}
		}
		ws.untold.add(d)
	}
}

// deny adds d to the call's. ws.mu is held.
func (c *callCtx) deny(d Denial) {
	if c.denied == nil {
		c.denied = &callDenials{}
	}
	if c.denied.add(d) {
		c.send()
	}
}

// inherit gives the call what no call was there to hear of. ws.mu is held.
func (c *callCtx) inherit(l *denialList) {
	c.denied = &callDenials{denialList: *l}
}

// listen makes the call's denials events.
func (c *callCtx) listen(m *emitter) {
	c.s.ws.mu.Lock()
	defer c.s.ws.mu.Unlock()
	if c.denied == nil {
		c.denied = &callDenials{}
	}
	c.denied.events = m
	c.send()
}

// send starts what emits the denials that the listener has not heard of: at
// most maxCallDenials in all, and apart, since a listener may take its time and
// the proxy must not wait. ws.mu is held.
func (c *callCtx) send() {
	d := c.denied
	if d.events == nil || d.sending || d.sent == len(d.first) {
		return
	}
	d.sending = true
	d.senders.Go(func() {
		for {
			c.s.ws.mu.Lock()
			if d.sent == len(d.first) {
				d.sending = false
				c.s.ws.mu.Unlock()
				return
			}
			e := d.first[d.sent]
			d.sent++
			c.s.ws.mu.Unlock()
			d.events.emit(e.event())
		}
	})
}

// denials returns what was refused so far.
func (c *callCtx) denials() ([]Denial, int) {
	c.s.ws.mu.Lock()
	defer c.s.ws.mu.Unlock()
	if c.denied == nil {
		return nil, 0
	}
	return append([]Denial(nil), c.denied.first...), c.denied.total
}

// finish waits, once the call is in no list any more, until its listener has
// heard of everything, and returns what was refused.
func (c *callCtx) finish() ([]Denial, int) {
	c.s.ws.mu.Lock()
	d := c.denied
	c.s.ws.mu.Unlock()
	if d == nil {
		return nil, 0
	}
	d.senders.Wait()
	return d.first, d.total
}

// denied is told by the proxy of what it refused to the owner's programs.
func (o *owner) denied(d *egress.Denied) {
	o.sb.denials.add(o.sb.opts.Logger, o.workerID(), d)
	if o.ws != nil {
		o.ws.denied(newDenial(d))
	}
}

// Denials are logged once each. A process that asks for ever new hosts gets
// maxDenials lines in denialSpan, and the rest counted.
const (
	maxDenials = 256
	denialSpan = time.Minute
	maxHost    = 253 // bytes: no host has more; what is asked for may
)

// denials remembers which refusals of the proxy were logged. The zero value
// remembers none.
type denials struct {
	mu    sync.Mutex
	seen  map[denial]struct{} // at most maxDenials
	since time.Time           // when seen was empty
	total int64               // all there were
}

type denial struct{ worker, rule, host string }

// add counts d and logs it if it is new. What a process sent is quoted in d's text.
func (ds *denials) add(log *slog.Logger, worker string, d *egress.Denied) {
	key := denial{worker, d.Rule, d.Host}
	if len(key.host) > maxHost {
		key.host = strings.Clone(key.host[:maxHost])
	}
	ds.mu.Lock()
	ds.total++
	total := ds.total
	if now := time.Now(); len(ds.seen) == 0 || len(ds.seen) >= maxDenials && now.Sub(ds.since) >= denialSpan {
		ds.seen, ds.since = map[denial]struct{}{}, now
	}
	_, known := ds.seen[key]
	fresh := !known && len(ds.seen) < maxDenials
	if fresh {
		ds.seen[key] = struct{}{}
	}
	ds.mu.Unlock()
	if fresh {
		log.Warn("network denied", "worker", worker, "rule", d.Rule, "denial", d.Error(), "total", total)
	}
}

// count returns how many refusals there were.
func (ds *denials) count() int64 {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	return ds.total
}
