package workspace

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// claim makes the data directory dir private to us, or says why it cannot be
// used. It returns its path without symbolic links.
func claim(dir string) (string, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("workspace: DataDir %q: %w", dir, err)
	}
	if fi, err := os.Lstat(abs); err == nil && fi.Mode()&os.ModeSymlink != 0 && !trusted(fi) {
		return "", fmt.Errorf("workspace: DataDir %s is a symbolic link that another user made: name the directory itself", dir)
	}
	if err := os.MkdirAll(abs, 0o700); err != nil {
		return "", fmt.Errorf("workspace: DataDir must be a directory: %w", err)
	}
	path, err := filepath.EvalSymlinks(abs)
	if err != nil {
		return "", fmt.Errorf("workspace: DataDir: %w", err)
	}
	fi, err := os.Lstat(path)
	if err != nil {
		return "", fmt.Errorf("workspace: DataDir: %w", err)
	}
	if err := checkPrivate(path, fi); err != nil {
		return "", err
	}
	if posixModes && fi.Mode().Perm() != 0o700 {
		if err := checkUnused(path); err != nil {
			return "", err
		}
		if err := os.Chmod(path, 0o700); err != nil {
			return "", fmt.Errorf("workspace: make DataDir private: %w", err)
		}
	}
	return path, nil
}

// checkPrivate refuses what others could have written to.
func checkPrivate(path string, fi os.FileInfo) error {
	switch {
	case !fi.IsDir():
		return fmt.Errorf("workspace: DataDir: %s is not a directory", path)
	case !ours(fi):
		return fmt.Errorf("workspace: DataDir: %s belongs to another user: use a directory of your own", path)
	case posixModes && fi.Mode().Perm()&0o022 != 0:
		return fmt.Errorf("workspace: DataDir: others can write to %s (mode %04o): use a directory of its own, or chmod 700 it once you trust what is in it",
			path, fi.Mode().Perm())
	}
	return nil
}

// checkUnused refuses a directory that serves something else.
func checkUnused(path string) error {
	if _, err := os.Lstat(filepath.Join(path, slotLocks)); err == nil {
		return nil
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return fmt.Errorf("workspace: DataDir: %w", err)
	}
	if len(entries) > 0 {
		return fmt.Errorf("workspace: DataDir: %s holds other things and others can read it: use an empty directory, or chmod 700 it if it may be private", path)
	}
	return nil
}

// makePrivate makes a directory of mode 0700 or checks the one that is there.
func makePrivate(path string) error {
	err := os.Mkdir(path, 0o700)
	if err != nil && !errors.Is(err, os.ErrExist) {
		return fmt.Errorf("workspace: DataDir: %w", err)
	}
	fi, err := os.Lstat(path)
	if err != nil {
		return fmt.Errorf("workspace: DataDir: %w", err)
	}
	return checkPrivate(path, fi)
}
