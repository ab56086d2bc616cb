package jail_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/agentflow-go/sandbox/internal/jail"
)

// helperEqual tells what a program in a jail has before others, and what it can
// get.
func helperEqual() {
	ctx := context.Background()
	h, err := jail.Open(ctx, jail.Options{Level: os.Getenv("JAIL_TEST_LEVEL")})
	check(err)
	id, err := h.Identity()
	check(err)
	dir, err := os.MkdirTemp("", "helper")
	check(err)
	workspace := filepath.Join(dir, "workspace")
	check(os.Mkdir(workspace, 0o700))
	check(os.Chown(workspace, id.UID, id.GID))
	j, err := h.NewJail(ctx, jail.Policy{Identity: id, Workspace: workspace})
	check(err)
	var out bytes.Buffer
	const look = `nice; chrt -p $$ | cut -d: -f2; cat /proc/self/oom_score_adj; ulimit -e; ulimit -r
		nice -n -3 nice; chrt -f 1 true; chrt -f -p 1 1; echo -200 >/proc/self/oom_score_adj; cat /proc/self/oom_score_adj
		ionice -p $$ | grep -c realtime; ionice -c 1 -p $$; ionice -p $$ | grep -c realtime; true`
	p, err := j.Start(ctx, jail.Cmd{Path: "bash", Args: []string{"-c", "exec 2>/dev/null; " + look}, Stdout: &out})
	check(err)
	check(p.Wait())
	check(j.Close())
	check(id.Release())
	check(h.Close())
	check(os.RemoveAll(dir))
	fmt.Println(strings.Join(strings.Fields(out.String()), " "))
}

// Each host program has something before others, which takes rights to have.
func TestJailsHaveNothingBeforeOthers(t *testing.T) {
	t.Parallel()
	onlyRoot(t)
	for name, how := range map[string]string{
		"nothing":          "true",
		"processors":       "renice -n -5 $$",
		"real time":        "chrt -f -p 1 $$",
		"real time limits": "prlimit --pid $$ --nice=40 --rtprio=50",
		"disks":            "ionice -c 1 -n 0 -p $$",
		"memory":           "echo -500 >/proc/$$/oom_score_adj",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, level := range confined {
				script := "exec 3>&1 >/dev/null 2>&1; " + how + " || { echo not possible >&3; exit 0; }; exec \"$0\" >&3 2>&3 3>&-"
				got := openOn(t, []string{helperVar + "=equal", "JAIL_TEST_LEVEL=" + level}, "sh", "-c", script)
				if got == "not possible" {
					t.Skipf("root has no right here to do: %s", how)
				}
				if want := "0 SCHED_OTHER 0 0 0 0 0 0 0 0"; got != want {
					t.Errorf("under %s a jail's program has nice, policy, priority, score, limits, with more wanted nice, score, and real time of disks, with that wanted: %q, want %q", level, got, want)
				}
			}
		})
	}
}
