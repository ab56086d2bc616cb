package workspace

import (
	"context"
	"errors"
)

// CopyLimits bounds a copy of a tree. What exceeds them fails with [ErrLimit].
type CopyLimits struct {
	Bytes int64 // of data; holes in files are none, and hard links are counted once
	Files int   // entries of any kind
}

// CopyStats tells what a copy holds.
type CopyStats struct {
	Bytes int64 // of data
	Files int   // files, links and directories
	// Skipped counts what was left out: special files, mounts, what was changed
	// in kind or place while it was being copied, and files with a lease.
	Skipped int
}

// ErrLimit is what an error wraps that tells of a limit on size or number.
var ErrLimit = errors.New("limit")

// turn waits until a further tree may be copied or compared. The caller calls
// done.
func (s *Store) turn(ctx context.Context) (done func(), err error) {
	select {
	case s.copies <- struct{}{}:
		return func() { <-s.copies }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}
