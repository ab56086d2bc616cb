package file_test

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/agentflow-go/sandbox"
)

// swapper swaps directories for links as fast as it can: dir is a directory
// with a file in it, then a link to a directory outside, and so on, by exchange
// of the two names, and the same with a file.
const swapper = `
import ctypes, os, sys
libc = ctypes.CDLL(None)
outside, n = sys.argv[1], 0
def repair(): # what the tools have taken away
    for name, target in (("link", outside), ("up", ".."), ("file-link", outside + "/canary")):
        if not os.path.islink(name):
            if os.path.isdir(name): os.rename(name, "aside%d" % n)
            os.path.lexists(name) and os.unlink(name)
            os.symlink(target, name)
    for name in ("dir", "dir/sub"):
        if os.path.islink(name): os.unlink(name)
        os.makedirs(name, exist_ok=True)
    for name in ("dir/canary", "dir/sub/canary", "canary"):
        if os.path.islink(name): os.unlink(name)
        open(name, "w").write("inside")

while not os.path.exists("stop"):
    try:
        repair()
    except OSError:
        pass
    for a, b in ((b"dir", b"link"), (b"canary", b"file-link"), (b"dir", b"up")) * 1000:
        libc.renameat2(-100, a, -100, b, 2)
        libc.renameat2(-100, a, -100, b, 2)
        n += 2
print(n, flush=True)
`

const canary = "canary: nobody may read or change this"

// A process that swaps directories for links all the time leads no tool out of
// the workspace.
func TestSwapsGainNothing(t *testing.T) {
	t.Parallel()
	least := 4 * time.Second
	if testing.Short() {
		least = time.Second
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
			type result struct {
				out string
				err error
			}
			swapped := make(chan result, 1)
			go func() {
				out, err := h.sh.Call(ctx, h.w, command{"exec python3 swap.py " + outside})
				swapped <- result{out, err}
			}()
			calls, fooled := 0, 0
			began := time.Now()
			for passed := time.Duration(0); passed < least || fooled == 0; passed = time.Since(began) {
				if passed > time.Minute {
					t.Fatal("os.ReadFile was never led outside: the attack does not work")
				}
				calls += attack(t, h)
				// The attack is one: it works against who takes no care.
				for range 20 {
					if b, err := os.ReadFile(filepath.Join(dir, "canary")); err == nil && string(b) == canary {
						fooled++
					}
				}
			}
			h.write("stop", "")
			r := <-swapped
			if r.err != nil {
				t.Fatalf("the swapper: %v\n%s", r.err, r.out)
			}
			t.Logf("%s swaps in %v, %d calls; os.ReadFile was led outside %d times", strings.TrimSpace(r.out), time.Since(began), calls, fooled)
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
