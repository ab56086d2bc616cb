package jail

import (
	"testing"

	"github.com/agentflow-go/sandbox/internal/cgroup"
)

// A worker's identity may be closed before the last of its jails, of which something
// hangs, has ended.
func TestJailsLeaveAGroupThatWasDropped(t *testing.T) {
	t.Parallel()
	w := &workerGroup{} // as drop leaves it
	m := &memberGroup{w: w, jails: 2}
	for range 2 {
		if err := m.leave(); err != nil {
			t.Errorf("leave = %v", err)
		}
	}
	// The next jail of the worker is counted from nothing.
	next := &memberGroup{w: w, limits: cgroup.Limits{Pids: 1}}
	w.members = map[cgroup.Limits]*memberGroup{next.limits: next}
	if err := m.leave(); err != nil || w.jails != 0 || w.members[next.limits] != next {
		t.Errorf("leave = %v, which counts %d jails of %v", err, w.jails, w.members)
	}
}
