package term

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestPaceGrantsHalfTheTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p Pace
		var busy time.Duration
		began := time.Now()
		for time.Since(began) < time.Minute {
			const d = 10 * time.Millisecond
			time.Sleep(d) // the rendering
			busy += d
			time.Sleep(p.spend(d))
		}
		if busy < 29*time.Second || busy > 32*time.Second {
			t.Errorf("busy for %v of a minute", busy)
		}
		time.Sleep(time.Minute)
		if d := p.spend(time.Second); d != 0 {
			t.Errorf("after an idle minute a second costs a rest of %v", d)
		}
	})
}
