package cgroup

import (
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
)

func TestEntranceLeadsIntoTheGroup(t *testing.T) {
	t.Parallel()
	r := openRoot(t, Memory, Pids)
	g := newGroup(t, r, "entrance", Limits{Memory: 64 << 20, Pids: 10, CPU: 1})
	e, err := g.Entrance()
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	}()
	doors := e.Tasks
	if e.Procs != nil {
		doors = append(doors, e.Procs)
	}
	cmd := exec.Command("bash", "-c", `for fd in $(seq 3 $((2 + $1))); do printf 0 >&$fd || exit; done; exec cat /proc/self/cgroup`, "bash", strconv.Itoa(len(doors)))
	cmd.ExtraFiles, cmd.Stderr = doors, os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range g.joins() {
		if name := l.dir[strings.LastIndex(l.dir, "/"):]; !strings.Contains(string(out), name+"\n") {
			t.Errorf("a process that took the entrance is not in %s:\n%s", l.dir, out)
		}
	}
	if len(doors) == 0 {
		t.Error("the group has no entrance")
	}
}
