package sandbox

import (
	"context"
	"io"
	"sync"
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
// belongs to one goroutine at a time. Its worker is not forgotten for idleness
// until it is closed.
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
	files, release, err := sb.holdFiles(w)
	if err != nil {
		return nil, err
	}
	release()
	return files, nil
}

// holdFiles is Files for a call that has entered. The worker is not forgotten
// until it is released.
func (sb *Sandbox) holdFiles(w *Worker) (_ *Files, release func(), err error) {
	sb.started()
	ws := sb.lockWorker(w, true)
	ws.held++
	ws.mu.Unlock()
	defer func() {
		if err != nil {
			ws.release()
		}
	}()
	if _, err := ws.files.workspace(sb, w.id); err != nil {
		return nil, nil, err
	}
	files, err := ws.files.access(sb)
	return files, ws.release, err
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
	files, release, err := sb.holdFiles(w)
	if err != nil {
		return nil, err
	}
	f, err := files.Open(path)
	if err != nil {
		release()
		return nil, err
	}
	return &heldFile{File: f, release: sync.OnceFunc(release)}, nil
}

// heldFile is a file whose worker is held until it is closed.
type heldFile struct {
	*File
	release func()
}

// Close closes the file.
func (f *heldFile) Close() error {
	f.release()
	return f.File.Close()
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
	files, release, err := sb.holdFiles(w)
	if err != nil {
		return FileInfo{}, err
	}
	defer release()
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
