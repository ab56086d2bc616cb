package sandbox

import (
	"cmp"
	"context"
	"errors"
	"sync"

	"github.com/agentflow-go/sandbox/internal/workspace"
)

// Forker is an [Executor] that can fork workspaces: a [*Sandbox], or a client of
// one. Forking is for the program that owns the workers, not for agents.
type Forker interface {
	// ForkWorkspace makes the worker to, which must not exist, with a copy of
	// what the workspace of the worker from holds.
	ForkWorkspace(ctx context.Context, from, to string, o ForkOptions) (ForkInfo, error)
}

var _ Forker = (*Sandbox)(nil)

// ForkOptions says what is forked.
type ForkOptions struct {
	Snapshot string // name of a snapshot of the source; "": what its workspace holds now
	MaxBytes int64  // more data is ErrTooLarge; 0: Limits.Workspace of the sandbox's policy where that is set, else DefaultSnapshotBytes
	MaxFiles int    // as well; 0: DefaultSnapshotFiles
}

// ForkInfo describes a fork.
type ForkInfo struct {
	Size    int64 // bytes of data; holes have none, and a file with several names counts once
	Files   int   // files, links and directories
	Skipped int   // entries left out: special files, and what changed its kind or place meanwhile
}

// ForkWorkspace makes the worker to, with a copy of what the workspace of the
// worker from holds, or one of its snapshots; see [Snapshots] for what a copy
// has. The source needs no session, and nothing that runs there is waited for,
// but for a restore; it may be a worker whose workspace was kept. Sessions and
// snapshots are not forked.
//
// A worker to that is known or has a kept workspace is [ErrConflict], and so is
// one that appears while the copy is being made. A source without workspace is
// [ErrNotInitialized], one without that snapshot [ErrNoResults]. After an error
// there is no worker to. Like any worker without session it is forgotten when
// it was idle for Options.WorkerTTL.
func (sb *Sandbox) ForkWorkspace(ctx context.Context, from, to string, o ForkOptions) (ForkInfo, error) {
	for _, id := range []string{from, to} {
		if err := checkWorkerID(id); err != nil {
			return ForkInfo{}, err
		}
	}
	if o.MaxBytes < 0 || o.MaxFiles < 0 {
		return ForkInfo{}, Errorf(ErrInvalidInput, "ForkOptions: MaxBytes and MaxFiles must not be negative; 0 means the default")
	}
	if !sb.gate.enter(false) {
		return ForkInfo{}, errStopping()
	}
	defer sb.gate.leave()
	sb.started()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(sb.base, func() { cancel(errStopping()) })()
	if !sb.forks.begin(to) {
		return ForkInfo{}, errWorkerExists(to)
	}
	defer sb.forks.end(to)
	if err := sb.checkFree(to); err != nil {
		return ForkInfo{}, err
	}
	source, err := sb.forkSource(from)
	if err != nil {
		return ForkInfo{}, err
	}
	ws, stats, err := sb.fork(ctx, source, to, o)
	if err != nil {
		return ForkInfo{}, snapshotError(ctx, err)
	}
	if err := sb.admitFork(ws); err != nil {
		return ForkInfo{}, errors.Join(err, ws.files.release(false))
	}
	return ForkInfo{Size: stats.Bytes, Files: stats.Files, Skipped: stats.Skipped}, nil
}

func errWorkerExists(id string) error {
	return Errorf(ErrConflict, "worker %q exists already: fork to a new one, or close it first", id)
}

// checkFree returns an error if the worker exists.
func (sb *Sandbox) checkFree(id string) error {
	store, err := sb.host.workspaces(sb)
	if err != nil {
		return err
	}
	if sb.workers.get(id) != nil || store.Kept(id) {
		return errWorkerExists(id)
	}
	return nil
}

// forkSource returns a worker's directory, if need be out of those that were
// kept.
func (sb *Sandbox) forkSource(id string) (*workspace.Dir, error) {
	ws := sb.workers.get(id)
	if sb.host.kept(id) {
		ws = sb.lockWorker(NewWorker(sb, id), false)
		ws.touch()
		ws.mu.Unlock()
		if _, err := ws.files.workspace(sb, id); err != nil {
			return nil, err
		}
	}
	if ws != nil {
		if dir := ws.files.held(); dir != nil {
			return dir, nil
		}
	}
	return nil, Errorf(ErrNotInitialized, "worker %q has no workspace to fork", id)
}

// fork makes a worker that nobody knows yet.
func (sb *Sandbox) fork(ctx context.Context, source *workspace.Dir, to string, o ForkOptions) (*workerState, workspace.CopyStats, error) {
	if o.MaxBytes == 0 {
		o.MaxBytes = max(sb.opts.Confine.Limits.Workspace, 0)
	}
	store, err := sb.host.workspaces(sb)
	if err != nil {
		return nil, workspace.CopyStats{}, err
	}
	host, err := sb.host.jails(ctx, sb)
	if err != nil {
		return nil, workspace.CopyStats{}, err
	}
	id, err := host.Identity()
	if err != nil {
		return nil, workspace.CopyStats{}, jailError(err)
	}
	dir, stats, err := store.Fork(ctx, source, o.Snapshot, workspace.DirOptions{UID: id.UID, GID: id.GID, Worker: to, Size: sb.host.size()},
		workspace.CopyLimits{Bytes: cmp.Or(o.MaxBytes, DefaultSnapshotBytes), Files: cmp.Or(o.MaxFiles, DefaultSnapshotFiles)})
	if err != nil {
		return nil, stats, errors.Join(err, id.Release())
	}
	ws := &workerState{sb: sb, id: to}
	ws.files.dir, ws.files.id = dir, id
	return ws, stats, nil
}

// admitFork lets everybody know a worker, unless there is one of its id by now.
func (sb *Sandbox) admitFork(ws *workerState) error {
	if sb.workers.getOrAdd(ws.id, func() *workerState { return ws }) != ws {
		return errWorkerExists(ws.id)
	}
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if sb.base.Err() == nil {
		ws.touch()
		return nil
	}
	if !ws.gone { // else Shutdown has found it
		ws.leave(errStopping())
	}
	return errStopping()
}

// forks are the workers that are being made by forking.
type forks struct {
	mu sync.Mutex // guards to
	to map[string]bool
}

// begin reserves a worker's id; false: it is reserved.
func (f *forks) begin(id string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.to[id] {
		return false
	}
	if f.to == nil {
		f.to = map[string]bool{}
	}
	f.to[id] = true
	return true
}

func (f *forks) end(id string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.to, id)
}
