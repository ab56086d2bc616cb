package sandbox

import (
	"context"
	"io"
)

// FileStore is an [Executor] that also moves whole files into and out of
// workspaces, as streams. Paths are those of [Files]. *Sandbox is one, and so is
// a client of a server whose executor is one.
type FileStore interface {
	// OpenFile opens a regular file for reading. A worker without a workspace
	// has none: the error is ErrNoResults. The caller closes the file.
	OpenFile(ctx context.Context, worker, path string) (StoredFile, error)
	// StoreFile makes a file of what src has, replacing what was there at once
	// or, after an error, not at all. The worker's workspace is made if it has
	// none.
	StoreFile(ctx context.Context, worker, path string, src io.Reader, o CreateOptions) (FileInfo, error)
}

// StoredFile is a file of a [FileStore], open for reading; see [File]. It
// belongs to one goroutine at a time.
type StoredFile interface {
	io.ReadSeekCloser
	Info() FileInfo
	Version() (string, error)
}

var (
	_ FileStore  = (*Sandbox)(nil)
	_ StoredFile = (*File)(nil)
)

// Files returns access to a worker's workspace, which is made on first use; for
// putting in what a worker is to start with, and taking out what it has made.
// Like everything of a worker's it is gone when the worker is closed or, without
// sessions, forgotten after Options.WorkerTTL; the time begins anew with each
// call of Files.
func (sb *Sandbox) Files(ctx context.Context, worker string) (*Files, error) {
	w := sb.Worker(worker)
	in, err := sb.enter(ctx, w)
	if err != nil {
		return nil, err
	}
	defer in.leave()
	return sb.filesOf(w)
}

// filesOf is Files for a call that has entered.
func (sb *Sandbox) filesOf(w *Worker) (*Files, error) {
	sb.started()
	ws := sb.lockWorker(w, true)
	ws.touch()
	ws.mu.Unlock()
	if _, err := ws.files.workspace(sb, w.id); err != nil {
		return nil, err
	}
	return ws.files.access(sb)
}

// OpenFile opens a file of a worker's; see [FileStore].
func (sb *Sandbox) OpenFile(ctx context.Context, worker, path string) (StoredFile, error) {
	w := sb.Worker(worker)
	in, err := sb.enter(ctx, w)
	if err != nil {
		return nil, err
	}
	defer in.leave()
	if !sb.hasFiles(worker) { // or asking would make directories
		return nil, Errorf(ErrNoResults, "open %q: the worker has no files", path)
	}
	files, err := sb.filesOf(w)
	if err != nil {
		return nil, err
	}
	f, err := files.Open(path)
	if err != nil {
		return nil, err
	}
	return f, nil
}

// hasFiles reports whether the worker has a workspace, or one was kept for it.
func (sb *Sandbox) hasFiles(worker string) bool {
	if ws := sb.workers.get(worker); ws != nil {
		ws.files.mu.Lock()
		defer ws.files.mu.Unlock()
		if ws.files.dir != nil {
			return true
		}
	}
	if sb.opts.KeepWorkspaces {
		_, _ = sb.host.workspaces(sb) // finds those of earlier programs
	}
	return sb.host.kept(worker)
}

// StoreFile makes a file of a worker's; see [FileStore].
func (sb *Sandbox) StoreFile(ctx context.Context, worker, path string, src io.Reader, o CreateOptions) (FileInfo, error) {
	w := sb.Worker(worker)
	in, err := sb.enter(ctx, w)
	if err != nil {
		return FileInfo{}, err
	}
	defer in.leave()
	files, err := sb.filesOf(w)
	if err != nil {
		return FileInfo{}, err
	}
	return files.WriteFile(path, ctxReader{ctx, src}, o)
}

// ctxReader reads until a context ends.
type ctxReader struct {
	ctx context.Context // of the one call that reads
	r   io.Reader
}

func (r ctxReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, ended(r.ctx, err)
	}
	return r.r.Read(p)
}
