package workspace

import (
	"context"
	"time"

	"github.com/agentflow-go/sandbox"
)

// Workspace is the state of a session. Its methods are the tools, and may be
// called concurrently.
type Workspace struct {
	env    sandbox.Env
	limits sandbox.SnapshotLimits
}

// SnapshotInput is what workspace:snapshot takes.
type SnapshotInput struct {
	Name string `json:"name" jsonschema:"name of the new snapshot, up to 256 bytes"`
}

// SnapshotOutput is what workspace:snapshot returns: the snapshot.
type SnapshotOutput struct {
	Name    string    `json:"name"`
	Created time.Time `json:"created"`
	Size    int64     `json:"size" jsonschema:"bytes of data"`
	Files   int       `json:"files" jsonschema:"files, links and directories"`
	Skipped int       `json:"skipped,omitzero" jsonschema:"sockets and other special files that were left out"`
}

// Snapshot copies the workspace.
func (w *Workspace) Snapshot(ctx context.Context, in SnapshotInput) (SnapshotOutput, error) {
	s, err := w.env.Snapshots()
	if err != nil {
		return SnapshotOutput{}, err
	}
	info, err := s.Take(ctx, in.Name, w.limits)
	return SnapshotOutput(info), err
}

// ListInput is what workspace:list takes: nothing.
type ListInput struct{}

// ListOutput is what workspace:list and workspace:delete return.
type ListOutput struct {
	Snapshots []SnapshotOutput `json:"snapshots"`
}

// List lists the snapshots, the oldest first.
func (w *Workspace) List(ctx context.Context, _ ListInput) (ListOutput, error) {
	s, err := w.env.Snapshots()
	if err != nil {
		return ListOutput{}, err
	}
	return list(ctx, s)
}

func list(ctx context.Context, s *sandbox.Snapshots) (ListOutput, error) {
	infos, err := s.List(ctx)
	if err != nil {
		return ListOutput{}, err
	}
	out := ListOutput{Snapshots: []SnapshotOutput{}}
	for _, info := range infos {
		out.Snapshots = append(out.Snapshots, SnapshotOutput(info))
	}
	return out, nil
}

// NameInput is what workspace:delete takes.
type NameInput struct {
	Name string `json:"name" jsonschema:"name of the snapshot"`
}

// Delete deletes a snapshot and lists the others.
func (w *Workspace) Delete(ctx context.Context, in NameInput) (ListOutput, error) {
	s, err := w.env.Snapshots()
	if err != nil {
		return ListOutput{}, err
	}
	if err := s.Delete(ctx, in.Name); err != nil {
		return ListOutput{}, err
	}
	return list(ctx, s)
}

// ChangesInput is what workspace:restore and workspace:diff take.
type ChangesInput struct {
	Name string `json:"name" jsonschema:"name of the snapshot"`
	Max  int    `json:"max,omitzero" jsonschema:"paths to return in each list; default 1000"`
}

// ChangesOutput is what workspace:restore and workspace:diff return.
type ChangesOutput struct {
	Added     []string `json:"added"`
	Changed   []string `json:"changed"`
	Removed   []string `json:"removed"`
	Truncated bool     `json:"truncated" jsonschema:"there are more than are listed"`
}

// Restore brings the workspace back to a snapshot.
func (w *Workspace) Restore(ctx context.Context, in ChangesInput) (ChangesOutput, error) {
	return w.changes(ctx, in, (*sandbox.Snapshots).Restore)
}

// Diff compares the workspace with a snapshot.
func (w *Workspace) Diff(ctx context.Context, in ChangesInput) (ChangesOutput, error) {
	return w.changes(ctx, in, (*sandbox.Snapshots).Diff)
}

// maxChanges is how many paths a list may be asked to have.
const maxChanges = 100_000

func (w *Workspace) changes(ctx context.Context, in ChangesInput, do func(*sandbox.Snapshots, context.Context, string, int) (sandbox.Changes, error)) (ChangesOutput, error) {
	if in.Max < 0 || in.Max > maxChanges {
		return ChangesOutput{}, sandbox.Errorf(sandbox.ErrInvalidInput, "/max: %d; give 1 to %d", in.Max, maxChanges)
	}
	s, err := w.env.Snapshots()
	if err != nil {
		return ChangesOutput{}, err
	}
	c, err := do(s, ctx, in.Name, in.Max)
	if err != nil {
		return ChangesOutput{}, err
	}
	out := ChangesOutput{Truncated: c.Truncated}
	room := w.env.Limits().Output
	if room <= 0 {
		room = 1 << 62
	}
	fit := func(paths []string) []string {
		kept := []string{}
		for _, path := range paths {
			if room -= int64(len(path)); room < 0 {
				out.Truncated = true
				break
			}
			kept = append(kept, path)
		}
		return kept
	}
	out.Added, out.Changed, out.Removed = fit(c.Added), fit(c.Changed), fit(c.Removed)
	return out, nil
}
