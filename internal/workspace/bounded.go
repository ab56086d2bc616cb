package workspace

import (
	"context"
	"errors"

	"github.com/agentflow-go/sandbox/internal/volume"
)

// Bounded tells whether workspaces can be kept to size bytes here. It tries, the
// first time that a size is asked for; a failure wraps [volume.ErrUnsupported]
// where this host is to blame.
func (s *Store) Bounded(size int64) error {
	s.bounds.Lock()
	defer s.bounds.Unlock()
	if s.tried != size {
		s.tried, s.boundErr = size, s.tryVolume(size)
	}
	return s.boundErr
}

// tryVolume makes a volume in the trash, from where the next program removes it
// if this one dies meanwhile.
func (s *Store) tryVolume(size int64) error {
	name := trashName()
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return ErrClosed
	}
	s.removing[name] = true
	s.mu.Unlock()
	err := volume.Probe(context.Background(), s.path(trashDir, name), size)
	s.mu.Lock()
	delete(s.removing, name)
	s.mu.Unlock()
	if errors.Is(err, volume.ErrUnsupported) {
		err = &volumeError{err}
	}
	return err
}

// volumeError adds what to do.
type volumeError struct{ err error }

func (e *volumeError) Error() string {
	return e.err.Error() + "; it takes root's rights in the machine's own user namespace, loop devices, ext4 and mkfs.ext4"
}

func (e *volumeError) Unwrap() error { return e.err }
