package workspace

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// ownerFile holds a worker's id, as bytes, beside its workspace.
const ownerFile = "worker"

// maxWorker is the longest worker id in bytes.
const maxWorker = 256

func writeOwner(slot, worker string) (err error) {
	f, err := os.OpenFile(filepath.Join(slot, ownerFile), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("workspace: record the worker: %w", err)
	}
	_, err = f.WriteString(worker)
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("workspace: record the worker: %w", errors.Join(err, os.Remove(f.Name())))
	}
	return nil
}

// readOwner returns the worker that a slot is kept for, "" if it is for
// nobody. A file that this package cannot have written is an error: whether
// the workspace beside it may be removed is then not ours to guess.
func readOwner(slot string) (string, error) {
	path := filepath.Join(slot, ownerFile)
	fi, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) || isNotDir(err) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("workspace: %w", err)
	}
	if !fi.Mode().IsRegular() || fi.Size() > maxWorker {
		return "", fmt.Errorf("workspace: %s: expected a file of at most %d bytes; remove it or its directory", path, maxWorker)
	}
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("workspace: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxWorker))
	if err != nil {
		return "", fmt.Errorf("workspace: %w", err)
	}
	return string(b), nil
}
