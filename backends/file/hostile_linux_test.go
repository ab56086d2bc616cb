package file_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/agentflow-go/sandbox"
)

// swapper swaps directories for links as fast as it can: dir is a directory
// with a file in it, then a link to a directory outside, and so on, by exchange
// of the two names, and the same with a file.
const swapper = `
import ctypes, os, sys, time
libc = ctypes.CDLL(None)
outside, end, n = sys.argv[1], time.monotonic() + float(sys.argv[2]), 0
os.makedirs("dir/sub", exist_ok=True)
for name, text in (("dir/canary", "inside"), ("dir/sub/canary", "inside"), ("canary", "inside")):
    open(name, "w").write(text)
os.symlink(outside, "link")
os.symlink(outside + "/canary", "file-link")
os.symlink("..", "up")
print("ready", flush=True)
while time.monotonic() < end:
    for a, b in ((b"dir", b"link"), (b"canary", b"file-link"), (b"dir", b"up")):
        libc.renameat2(-100, a, -100, b, 2)
        libc.renameat2(-100, a, -100, b, 2)
        n += 2
    if not n % 3000 and not os.path.exists("dir/sub"):
        try:
            os.makedirs("dir/sub")
            open("dir/canary", "w").write("inside")
        except OSError:
            pass
print(n, flush=True)
`

const canary = "canary: nobody may read or change this"

// A process that swaps directories for links all the time leads no tool out of
// the workspace.
func TestSwapsGainNothing(t *testing.T) {
	t.Parallel()
	seconds := "4"
	if testing.Short() {
		seconds = "1"
	}
	for _, level := range []string{"auto", "none"} {
		t.Run(level, func(t *testing.T) {
			t.Parallel()
			outside := filepath.Join(t.TempDir(), "outside")
			must(t, os.Mkdir(outside, 0o777))
			must(t, os.Chmod(outside, 0o777))
			must(t, os.WriteFile(filepath.Join(outside, "canary"), []byte(canary), 0o666))
			must(t, os.Chmod(filepath.Join(outside, "canary"), 0o666))
			w, tools, sh, dir := newFixture(t, sandbox.Options{Confine: sandbox.Confinement{Level: level}})
			h := &hands{t, w, tools, sh, dir}
			h.write("swap.py", swapper)

			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			swapped := make(chan string, 1)
			go func() {
				out, err := h.sh.Call(ctx, h.w, command{fmt.Sprintf("exec python3 swap.py %s %s", outside, seconds)})
				swapped <- fmt.Sprint(out, " ", err)
			}()
			calls, fooled, swaps := 0, 0, ""
			for swaps == "" {
				select {
				case swaps = <-swapped:
				default:
				}
				calls += attack(t, h)
				// The attack is one: it works against who takes no care.
				for range 20 {
					if b, err := os.ReadFile(filepath.Join(dir, "canary")); err == nil && string(b) == canary {
						fooled++
					}
				}
			}
			if fooled == 0 {
				t.Error("os.ReadFile was never led outside: the attack does not work")
			}
			n := 0
			if _, err := fmt.Sscanf(strings.TrimPrefix(swaps, "ready\n"), "%d", &n); err != nil || n < 1000 {
				t.Fatalf("the swapper says %q, want some 10,000 swaps a second", swaps)
			}
			t.Logf("%d swaps in %s s, %d calls; os.ReadFile was led outside %d times", n, seconds, calls, fooled)
			if b, err := os.ReadFile(filepath.Join(outside, "canary")); err != nil || string(b) != canary {
				t.Errorf("the canary is %q, %v", b, err)
			}
			list, err := os.ReadDir(outside)
			if err != nil || len(list) != 1 {
				t.Errorf("outside there is %v, %v; want the canary alone", list, err)
			}
		})
	}
}

// attack uses every tool once on what is being swapped, and returns how many
// calls that were.
func attack(t *testing.T, h *hands) int {
	t.Helper()
	calls := []struct{ tool, params string }{
		{"file:read", `{"path":"dir/canary"}`},
		{"file:read", `{"path":"canary"}`},
		{"file:read", `{"path":"dir/sub/canary"}`},
		{"file:write", `{"path":"dir/new","content":"x"}`},
		{"file:write", `{"path":"dir/sub/new/deep","content":"x"}`},
		{"file:append", `{"path":"dir/canary","content":"x"}`},
		{"file:append", `{"path":"canary","content":"x"}`},
		{"file:edit", `{"path":"dir/canary","edits":[{"old":"a","new":"b","all":true}]}`},
		{"file:list", `{"path":"dir","hidden":true}`},
		{"file:tree", `{"path":"dir"}`},
		{"file:stat", `{"path":"dir/canary"}`},
		{"file:mkdir", `{"path":"dir/made/deep"}`},
		{"file:copy", `{"from":"dir/canary","to":"copied","overwrite":true}`},
		{"file:copy", `{"from":"dir","to":"tree"}`},
		{"file:copy", `{"from":"swap.py","to":"dir/put","overwrite":true}`},
		{"file:move", `{"from":"dir/canary","to":"moved","overwrite":true}`},
		{"file:move", `{"from":"moved","to":"dir/canary","overwrite":true}`},
		{"file:glob", `{"pattern":"**/canary"}`},
		{"file:grep", `{"pattern":"canary: nobody may","glob":"canary"}`},
		{"file:grep", `{"pattern":"nobody may","path":"dir"}`},
		{"file:delete", `{"path":"dir/sub","recursive":true}`},
		{"file:delete", `{"path":"dir/canary"}`},
		{"file:delete", `{"path":"tree","recursive":true}`},
		{"file:read", `{"path":"copied"}`},
	}
	for _, c := range calls {
		resp := h.w.Execute(t.Context(), c.tool, json.RawMessage(c.params))
		data, err := json.Marshal(resp.Data)
		if err != nil || strings.Contains(string(data), "nobody may") || resp.Err != nil && strings.Contains(resp.Err.Error(), "nobody may") {
			t.Errorf("%s %s = %s, %v: it has read the canary", c.tool, c.params, data, resp.Err)
		}
		if code := sandbox.CodeOf(resp.Err); code == sandbox.ErrUnexpected || code == sandbox.ErrInternal {
			t.Errorf("%s %s = %v (%d): the error has no code of its own", c.tool, c.params, resp.Err, code)
		}
	}
	return len(calls)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
