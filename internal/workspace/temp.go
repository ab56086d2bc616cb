package workspace

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
)

// A temporary data directory is named tempPrefix and something random; its
// program holds a lock on leaseFile in it for as long as it lives.
const (
	tempPrefix = "sandbox-"
	leaseFile  = "lease"
)

// makeTemporary makes a temporary data directory below parent.
func makeTemporary(parent string) (string, *os.File, error) {
	parent, err := filepath.Abs(parent) // TMPDIR need not be
	if err != nil {
		return "", nil, fmt.Errorf("workspace: temporary DataDir: %w", err)
	}
	for {
		dir, err := os.MkdirTemp(parent, tempPrefix)
		if err != nil {
			return "", nil, fmt.Errorf("workspace: temporary DataDir: %w", err)
		}
		if path, err := filepath.EvalSymlinks(dir); err == nil {
			dir = path
		}
		lease, err := lockFile(filepath.Join(dir, leaseFile))
		if err == nil {
			return dir, lease, nil
		}
		if !errors.Is(err, errLocked) { // else another program took it for a left-over
			return "", nil, errors.Join(fmt.Errorf("workspace: temporary DataDir: %w", err), os.RemoveAll(dir))
		}
	}
}

// removeTemporary removes a temporary data directory whose lease we hold.
func removeTemporary(ctx context.Context, dir string) error {
	var errs []error
	trash := filepath.Join(dir, trashDir)
	for _, sub := range []string{slotsDir, stateDir} {
		entries, err := os.ReadDir(filepath.Join(dir, sub))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, err)
		}
		for _, e := range entries {
			errs = append(errs, os.Rename(filepath.Join(dir, sub, e.Name()), filepath.Join(trash, trashName())))
		}
	}
	entries, err := os.ReadDir(trash)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		errs = append(errs, err)
	}
	for _, e := range entries {
		errs = append(errs, removeTree(ctx, trash, e.Name()))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("workspace: temporary DataDir: %w", err)
	}
	return os.RemoveAll(dir)
}

// removeDeadTemporaries removes the temporary data directories of programs
// that died. A directory whose lease nobody holds has no program; one without
// lease is being made.
func removeDeadTemporaries(ctx context.Context, parent string, logger *slog.Logger) {
	dirs, err := filepath.Glob(filepath.Join(parent, tempPrefix+"*"))
	if err != nil {
		return // the parent's name is no pattern of ours to mend
	}
	for _, dir := range dirs {
		if ctx.Err() != nil {
			return
		}
		fi, err := os.Lstat(dir)
		if err != nil || checkPrivate(dir, fi) != nil || fi.Mode().Perm() != 0o700 {
			continue
		}
		if m, err := readMachine(filepath.Join(dir, machineFile)); !errors.Is(err, fs.ErrNotExist) && (err != nil || !thisMachine().same(m)) {
			continue // another machine's, whose lock may not be seen here
		}
		path := filepath.Join(dir, leaseFile)
		if _, err := os.Lstat(path); err != nil {
			continue
		}
		lease, err := lockFile(path)
		if err != nil {
			continue // alive
		}
		if err := errors.Join(removeTemporary(ctx, dir), unlock(lease)); err != nil && ctx.Err() == nil {
			logger.Warn("a dead program's temporary directory could not be removed", "dir", dir, "error", err)
		}
	}
}
