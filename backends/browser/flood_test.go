package browser

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestFloodIsCountedByThePagesClock(t *testing.T) {
	t.Parallel()
	const (
		console = `{"type":"log","args":[{"type":"string","value":"a \"timestamp\": 1"}],"executionContextId":1,"timestamp":%f,"stackTrace":{}}`
		entry   = `{"entry":{"source":"network","level":"error","text":"t","timestamp":%f}}`
		finish  = `{"requestId":"1","timestamp":%f}`
	)
	for _, tt := range []struct {
		name, domain, params string
		unit                 float64 // of the time, to the second
		rate                 int     // by the event's own time, in a second
		size                 int
		want                 int // the event that is too much; 0: none of 50,000
	}{
		{"a loud console", "Runtime", console, 1000, 4000, 600, loudConsole + 1},
		{"a quiet one", "Runtime", console, 1000, 900, 600, 0},
		{"loud entries of the log", "Log", entry, 1000, 4000, 600, loudConsole + 1},
		{"many requests", "Network", finish, 1, 9000, 100, 0},
		{"far too many requests", "Network", finish, 1, 40000, 100, loudNetwork + 1},
		{"few but long", "Runtime", console, 1000, 100, 1 << 20, loudBytes>>20 + 1},
		{"no time at all", "Runtime", `{"context":{"id":1}}`, 1, 0, 100, loudNetwork + 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := 0
			synctest.Test(t, func(t *testing.T) { // all is read within one moment
				var f flood
				for i := 0; i < 50_000 && got == 0; i++ {
					params := tt.params
					if strings.Contains(params, "%") {
						params = fmt.Sprintf(params, (1.7e9+float64(i)/float64(tt.rate))*tt.unit)
					}
					if f.loud(tt.domain, []byte(params), tt.size) {
						got = i + 1
					}
				}
			})
			if got != tt.want {
				t.Errorf("event %d was too much, want %d", got, tt.want)
			}
		})
	}
}

func TestFloodCountsWhatIsToldLate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var f flood
		loud := func(at float64) bool {
			return f.loud("Network", fmt.Appendf(nil, `{"requestId":"1","timestamp":%f}`, at), 100)
		}
		for i := range loudNetwork { // a request's answer and its end
			if loud(1000 - 1.5*float64(i%2)) {
				t.Fatalf("event %d was too much", i+1)
			}
		}
		if !loud(998.5) {
			t.Error("a page that tells of two times by turns is not loud")
		}
	})
}

func TestFloodOutlivesAClockThatIsSetBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var f flood
		for i := range 20 * loudConsole {
			at := 1.7e12 + float64(2*i)
			if i > loudConsole/2 {
				at -= 3.6e6
			}
			time.Sleep(2 * time.Millisecond)
			if f.loud("Runtime", fmt.Appendf(nil, `{"type":"log","timestamp":%f}`, at), 100) {
				t.Fatalf("event %d was too much", i+1)
			}
		}
	})
}

func TestEventTime(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		params string
		want   float64
		ok     bool
	}{
		{`{"timestamp":1795337022828.96,"type":"log"}`, 1795337022828.96, true},
		{`{"entry":{"timestamp": 12}}`, 12, true},
		{`{"request":{"headers":{"timestamp":"5"}},"timestamp":6}`, 0, false}, // counted by this program's clock
		{`{"text":"\"timestamp\":7,"}`, 0, false},
		{`{"timestamp":`, 0, false},
		{`{"timestamp":8`, 0, false},
		{``, 0, false},
	} {
		if got, ok := eventTime([]byte(tt.params)); got != tt.want || ok != tt.ok {
			t.Errorf("eventTime(%s) = %v, %v, want %v, %v", tt.params, got, ok, tt.want, tt.ok)
		}
	}
}
