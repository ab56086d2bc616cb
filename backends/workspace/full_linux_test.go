package workspace_test

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/agentflow-go/sandbox"
	"github.com/agentflow-go/sandbox/backends/workspace"
)

// A restore in a workspace of limited size needs room for both; where there is
// none it says so, and nothing has changed.
func TestRestoreWithoutSpace(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("LOUD: needs root: without it no workspace has a size limit that is enforced")
	}
	f := newFixture(t, workspace.Config{}, sandbox.Options{Confine: sandbox.Confinement{Limits: sandbox.Limits{Workspace: 32 << 20}}})
	if err := f.sb.Probe(t.Context()); errors.Is(err, sandbox.ErrCannotEnforce) {
		t.Skipf("LOUD: this host keeps workspaces to no size: %v", err)
	}
	w := f.sb.Worker("a")
	f.run(t, w, "head -c 12M /dev/zero | tr '\\0' x > big; mkdir dir; echo text > dir/file")
	if _, err := f.ws.Snapshot.Call(t.Context(), w, workspace.SnapshotInput{Name: "s"}); err != nil {
		t.Fatal(err)
	}
	f.run(t, w, "head -c 8M /dev/zero | tr '\\0' y > more; echo other > dir/file")
	before := f.run(t, w, "find . | sort; cat dir/file; cksum big more")
	_, err := f.ws.Restore.Call(t.Context(), w, workspace.ChangesInput{Name: "s"})
	if !errors.Is(err, sandbox.ErrTooLarge) || !strings.Contains(err.Error(), "delete something and try again; nothing has changed") || !strings.Contains(err.Error(), "no space left") {
		t.Errorf("Restore = %v (%d), want ErrTooLarge, why, and what to do", err, sandbox.CodeOf(err))
	}
	if after := f.run(t, w, "find . | sort; cat dir/file; cksum big more"); after != before {
		t.Errorf("the workspace holds\n%s\nand did\n%s", after, before)
	}
	f.run(t, w, "rm more big")
	if _, err := f.ws.Restore.Call(t.Context(), w, workspace.ChangesInput{Name: "s"}); err != nil {
		t.Errorf("Restore with space = %v", err)
	}
	if got := f.run(t, w, "cat dir/file; ls -A"); got != "text\nbig\ndir" {
		t.Errorf("restored: %q", got)
	}
}
