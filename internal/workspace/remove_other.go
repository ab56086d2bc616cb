//go:build !linux

package workspace

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// removeTree removes the directory or file name from the trash directory.
// Workers are not confined here, so their trees are those of an ordinary
// program: only modes are repaired.
func removeTree(ctx context.Context, trash, name string) error {
	path := filepath.Join(trash, name)
	if os.RemoveAll(path) == nil {
		return nil
	}
	root, err := os.OpenRoot(path)
	if err == nil {
		err = fs.WalkDir(root.FS(), ".", func(at string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				err = root.Chmod(at, 0o700)
			}
			return errors.Join(err, ctx.Err())
		})
		err = errors.Join(err, root.Close())
	}
	if again := os.RemoveAll(path); again != nil {
		return fmt.Errorf("workspace: remove from %s: %w", trash, errors.Join(again, err))
	}
	return nil
}
