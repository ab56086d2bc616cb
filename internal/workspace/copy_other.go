//go:build !linux

package workspace

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"
)

var errElsewhere = fmt.Errorf("workspace: snapshots and forks need Linux: %w", errors.ErrUnsupported)

func copyTree(context.Context, *os.File, *os.File, int, int, CopyLimits) (CopyStats, error) {
	return CopyStats{}, errElsewhere
}

func diffTrees(context.Context, *os.File, *os.File, time.Time, DiffLimits) (Changes, error) {
	return Changes{}, errElsewhere
}

// Restore needs Linux.
func (d *Dir) Restore(context.Context, string, DiffLimits) (Changes, error) {
	return Changes{}, errElsewhere
}

// completeRestore has nothing to do: nothing is restored here.
func (d *Dir) completeRestore() error { return nil }

func openTop(path string) (*os.File, error) { return os.Open(path) }
