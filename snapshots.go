package sandbox

import (
	"cmp"
	"context"
	"errors"
	"syscall"
	"time"

	"github.com/agentflow-go/sandbox/internal/workspace"
)

// The defaults of [SnapshotLimits] and of the lists in [Changes].
const (
	DefaultSnapshots     = 16
	DefaultSnapshotBytes = 8 << 30
	DefaultSnapshotFiles = 1_000_000
	DefaultChanges       = 1000
)

// Snapshots is access to the snapshots of one worker's workspace: copies of it,
// out of reach of the worker's processes, that go with the worker and are kept
// with its workspace. Its methods may be called concurrently; those that replace
// or remove something wait for those that read it. When ctx ends, they end too,
// and nothing has changed; so they do, with [ErrSessionLost], when the worker is
// closed.
//
// A copy has files, directories and links as they are: links are not followed,
// hard links stay such, holes stay holes, modes (without set-id bits) and times
// are kept, extended attributes are not. It has no sockets, FIFOs and devices.
// Programs may be at work in the workspace meanwhile: what they write is in the
// copy or not.
type Snapshots struct {
	dir   *workspace.Dir
	quota int64 // of the workspace; 0: none
}

// SnapshotLimits bounds the snapshots of a worker.
type SnapshotLimits struct {
	Count int   // snapshots; 0: DefaultSnapshots
	Bytes int64 // of all of them; 0: twice Limits.Workspace where that is set, else DefaultSnapshotBytes
	Files int   // entries of each; 0: DefaultSnapshotFiles
}

// SnapshotInfo describes a snapshot.
type SnapshotInfo struct {
	Name    string
	Created time.Time
	Size    int64 // bytes of data; holes have none, and a file with several names counts once
	Files   int   // files, links and directories
	Skipped int   // entries left out: special files, and what changed its kind or place meanwhile
}

// Changes are the differences between two states of a workspace: sorted paths
// relative to it, those of directories with a slash at their end. Of a directory
// that only one of them has nothing below it is named. Special files do not count.
type Changes struct {
	Added, Changed, Removed []string
	Truncated               bool // there are more than are listed
}

// Snapshots returns access to the snapshots of the workspace, which is made on
// first use. In Warmup there is none.
func (e Env) Snapshots() (*Snapshots, error) {
	if _, err := e.owner.workspace(); err != nil {
		return nil, err
	}
	dir := e.owner.files().held()
	if dir == nil {
		return nil, errOwnerGone()
	}
	return &Snapshots{dir: dir, quota: max(e.owner.policyOf().Limits.Workspace, 0)}, nil
}

// held returns the worker's directory, nil if there is none.
func (f *workerFiles) held() *workspace.Dir {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.dir
}

// Take makes a snapshot. Its name is 1 to 256 bytes of anything; one that is
// taken is [ErrConflict], and going over a limit [ErrTooLarge].
func (s *Snapshots) Take(ctx context.Context, name string, l SnapshotLimits) (SnapshotInfo, error) {
	if err := checkSnapshotName(name); err != nil {
		return SnapshotInfo{}, err
	}
	if l.Count < 0 || l.Bytes < 0 || l.Files < 0 {
		return SnapshotInfo{}, Errorf(ErrInvalidInput, "SnapshotLimits: Count, Bytes and Files must not be negative; 0 means the default")
	}
	if l.Bytes == 0 && s.quota > 0 {
		l.Bytes = 2 * s.quota
	}
	shot, err := s.dir.Snapshot(ctx, name, workspace.ShelfLimits{
		Count: cmp.Or(l.Count, DefaultSnapshots),
		CopyLimits: workspace.CopyLimits{
			Bytes: cmp.Or(l.Bytes, DefaultSnapshotBytes), Files: cmp.Or(l.Files, DefaultSnapshotFiles),
		},
	})
	return snapshotInfo(shot), snapshotError(ctx, err)
}

// List lists the snapshots, the oldest first.
func (s *Snapshots) List(ctx context.Context) ([]SnapshotInfo, error) {
	shots, err := s.dir.Snapshots(ctx)
	if err != nil {
		return nil, snapshotError(ctx, err)
	}
	infos := make([]SnapshotInfo, len(shots))
	for i, shot := range shots {
		infos[i] = snapshotInfo(shot)
	}
	return infos, nil
}

// Delete removes a snapshot; one that is not there is [ErrNoResults].
func (s *Snapshots) Delete(ctx context.Context, name string) error {
	return snapshotError(ctx, s.dir.DeleteSnapshot(ctx, name))
}

// Restore replaces what the workspace holds by what a snapshot holds, and
// returns what that changed, at most max paths in each list (0: DefaultChanges).
// A snapshot that is not there is [ErrNoResults]. A workspace of limited size
// needs room for the copy beside what it holds; without it the error is
// [ErrTooLarge], and nothing has changed.
//
// The workspace itself stays the same directory, so programs that run in it go
// on; those that were at work in a directory below it are in one that is gone.
// What they write meanwhile is there afterwards, or not. Should this program die
// in the middle and the workspace be kept, its next user finds the old content
// or the new, each whole.
func (s *Snapshots) Restore(ctx context.Context, name string, max int) (Changes, error) {
	c, err := s.dir.Restore(ctx, name, diffLimits(max))
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		err = Errorf(ErrTooLarge, "the workspace has no room for the snapshot beside what it holds: delete something and try again; nothing has changed (%w)", err)
	}
	return Changes(c), snapshotError(ctx, err)
}

// Diff returns what was added, changed and removed in the workspace since a
// snapshot, at most max paths in each list (0: DefaultChanges). A file counts as
// changed if its mode, size or data is another; times alone do not count. A
// snapshot that is not there is [ErrNoResults].
func (s *Snapshots) Diff(ctx context.Context, name string, max int) (Changes, error) {
	c, err := s.dir.Diff(ctx, name, diffLimits(max))
	return Changes(c), snapshotError(ctx, err)
}

func diffLimits(paths int) workspace.DiffLimits {
	if paths <= 0 {
		paths = DefaultChanges
	}
	return workspace.DiffLimits{Paths: paths, Files: 4 * DefaultSnapshotFiles}
}

func snapshotInfo(s workspace.Snapshot) SnapshotInfo {
	return SnapshotInfo{Name: s.Name, Created: s.Created, Size: s.Bytes, Files: s.Files, Skipped: s.Skipped}
}

const maxSnapshotName = 256

func checkSnapshotName(name string) error {
	if name == "" {
		return &Error{Code: ErrMissingField, Message: "the snapshot's name is required"}
	}
	if len(name) > maxSnapshotName {
		return Errorf(ErrInvalidInput, "the snapshot's name is %d bytes long; at most %d are allowed", len(name), maxSnapshotName)
	}
	return nil
}

// snapshotError gives errors of copies and snapshots their code.
func snapshotError(ctx context.Context, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, workspace.ErrReleased), errors.Is(err, workspace.ErrClosed):
		return &Error{Code: ErrSessionLost, Message: "the worker was closed", Err: err}
	case ctx.Err() != nil && errors.Is(err, context.Cause(ctx)):
		return ended(ctx, err)
	case errors.Is(err, workspace.ErrNoSnapshot):
		return &Error{Code: ErrNoResults, Err: err}
	case errors.Is(err, workspace.ErrSnapshotExists):
		return &Error{Code: ErrConflict, Err: err}
	case CodeOf(err) == ErrTooLarge:
		return err
	case errors.Is(err, workspace.ErrLimit), errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return &Error{Code: ErrTooLarge, Err: err}
	}
	return err
}
