package client

import (
	"maps"
	"slices"
	"sync"
	"time"
)

// heartbeat tells the server which workers are alive.
type heartbeat struct {
	running sync.WaitGroup
	start   sync.Once

	mu       sync.Mutex                 // guards the following
	sessions map[string]map[string]bool // backends in which a worker has an explicit session, by worker
}

// keepAlive adds a worker to the heartbeat, which begins with the first.
func (c *Client) keepAlive(worker, backend string) {
	if c.o.Heartbeat <= 0 {
		return
	}
	c.beat.mu.Lock()
	defer c.beat.mu.Unlock()
	if c.ctx.Err() != nil { // closed
		return
	}
	if c.beat.sessions[worker] == nil {
		c.beat.sessions[worker] = map[string]bool{}
	}
	c.beat.sessions[worker][backend] = true
	c.beat.start.Do(func() { c.beat.running.Go(c.beats) })
}

// letDie takes a worker off the heartbeat once it has no session left; "" means
// all of its sessions.
func (c *Client) letDie(worker, backend string) {
	c.beat.mu.Lock()
	defer c.beat.mu.Unlock()
	delete(c.beat.sessions[worker], backend)
	if backend == "" || len(c.beat.sessions[worker]) == 0 {
		delete(c.beat.sessions, worker)
	}
}

// beats sends a heartbeat for each worker until the Client is closed. One that
// fails is made good by the next.
func (c *Client) beats() {
	tick := time.NewTicker(c.o.Heartbeat)
	defer tick.Stop()
	for {
		select {
		case <-c.ctx.Done():
			return
		case <-tick.C:
		}
		c.beat.mu.Lock()
		workers := slices.Collect(maps.Keys(c.beat.sessions))
		c.beat.mu.Unlock()
		for _, worker := range workers {
			_, _ = c.post(c.ctx, "/api/v1/lifecycle/heartbeat", map[string]string{"worker_id": worker})
		}
	}
}
