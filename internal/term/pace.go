package term

import (
	"sync"
	"time"
)

// Pace bounds what the rendering of programs' screens costs the host: half a
// processor for all programs that share it, and a second more at once. Output
// that takes longer to render is read more slowly, and the programs wait for
// their terminal. The zero value is ready; its methods may be called
// concurrently.
type Pace struct {
	mu   sync.Mutex // guards what follows
	debt time.Duration
	at   time.Time // when debt was right
}

const paceBurst = time.Second

// spend notes that rendering took d, and returns how long to rest.
func (p *Pace) spend(d time.Duration) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	p.debt = max(0, p.debt-now.Sub(p.at)/2) + d
	p.at = now
	return max(0, p.debt-paceBurst) * 2
}
