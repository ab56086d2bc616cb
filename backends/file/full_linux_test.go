package file_test

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/agentflow-go/sandbox"
	"github.com/agentflow-go/sandbox/backends/file"
)

// The limit on the workspace holds for what the tools write, and is told as
// what it is.
func TestFullWorkspaces(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("needs root: without it no workspace has a size limit that is enforced")
	}
	o := sandbox.Options{Confine: sandbox.Confinement{Limits: sandbox.Limits{Workspace: 16 << 20}}}
	probe, err := sandbox.New(sandbox.Options{Registry: new(sandbox.Registry), Confine: o.Confine})
	must(t, err)
	defer probe.Shutdown(t.Context())
	if err := probe.Probe(t.Context()); errors.Is(err, sandbox.ErrCannotEnforce) {
		t.Skipf("this host cannot limit the size of workspaces: %v", err)
	}
	w, tools, sh, dir := newFixture(t, o)
	h := &hands{t, w, tools, sh, dir}
	h.write("keep.txt", "old")
	text := strings.Repeat("x", 4<<20)
	for n := 0; n < 10 && err == nil; n++ {
		_, err = h.f.Append.Call(t.Context(), h.w, file.WriteInput{Path: "big", Content: text})
	}
	wantError(t, err, sandbox.ErrTooLarge, `"big"`, "no space left")
	if _, err := h.f.Write.Call(t.Context(), h.w, file.WriteInput{Path: "keep.txt", Content: text}); !errors.Is(err, sandbox.ErrTooLarge) {
		t.Errorf("Write = %v, want ErrTooLarge", err)
	}
	if got := h.read("keep.txt"); got != "old" {
		t.Errorf("a failed write leaves %d bytes", len(got))
	}
	if got := h.run("ls -A | grep -F '.~' || true"); got != "" {
		t.Errorf("a failed write leaves %q", got)
	}
	if _, err := h.f.Delete.Call(t.Context(), h.w, file.DeleteInput{Path: "big"}); err != nil {
		t.Error(err)
	}
	h.write("keep.txt", "new")
}
