package workspace

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"

	"github.com/agentflow-go/sandbox/internal/volume"
)

// imageFile holds the file system of a workspace that has one of its own.
const imageFile = "image"

// ErrClosed is returned by the methods of a closed [Store].
var ErrClosed = errors.New("workspace: the store is closed")

// Dir is a directory in use. Its methods may be called concurrently.
type Dir struct {
	store *Store
	nums  numbers
	vol   *volume.Volume // nil: its files lie on the data directory's file system
	base  string         // what is renamed to the trash
	path  string         // what its user sees
	n     int

	adopted bool
	shelf   shelf // its snapshots

	mu       sync.Mutex // guards what follows
	worker   string
	owned    bool // the owner file is written
	released bool
}

// DirOptions says whose a workspace is.
type DirOptions struct {
	UID, GID int // owner of the directory; -1: the program's own
	// Worker is the id of the worker that it is for; "": not known yet, see
	// Dir.Assign. A workspace kept under this id is taken up again, and its
	// files then belong to UID and GID.
	Worker string
	// Size is how many bytes fit into the workspace, which then has a file system
	// of its own (package volume); see Store.Bounded. 0: the data directory's. One
	// that was kept is brought to this size, if what is in it fits.
	Size int64
}

// New returns a workspace of mode 0700 in the free slot with the smallest
// number, or the one that was kept for o.Worker. It must be released.
func (s *Store) New(o DirOptions) (*Dir, error) {
	if len(o.Worker) > maxWorker {
		return nil, fmt.Errorf("workspace: a worker id has at most %d bytes, this one has %d", maxWorker, len(o.Worker))
	}
	d, err := s.adopt(o)
	if d != nil || err != nil {
		return d, err
	}
	n, err := s.take(s.slots, slotsDir)
	if err != nil {
		return nil, err
	}
	base := s.path(slotsDir, strconv.Itoa(n))
	d = &Dir{store: s, nums: s.slots, base: base, path: base + string(os.PathSeparator) + "workspace", n: n}
	if err := d.make(o); err != nil {
		return nil, errors.Join(err, d.unmount(volume.Discard), s.removeNow(base, func() error { return s.slots.release(n) }))
	}
	return d, s.admit(d)
}

func (d *Dir) make(o DirOptions) error {
	dirs := []string{d.base, d.path}
	if o.Size > 0 {
		dirs = dirs[:1]
	}
	for _, path := range dirs {
		if err := os.Mkdir(path, 0o700); err != nil {
			return fmt.Errorf("workspace: %w", err)
		}
		if err := os.Chmod(path, 0o700); err != nil { // the umask may have taken more
			return fmt.Errorf("workspace: %w", err)
		}
	}
	if o.Size > 0 {
		image := filepath.Join(d.base, imageFile)
		err := volume.Create(context.Background(), image, o.Size, volume.Options{UID: o.UID, GID: o.GID, Keep: d.store.keep})
		if err == nil {
			err = d.open(image)
		}
		if err != nil {
			return fmt.Errorf("workspace: %w", err)
		}
	} else if o.UID != -1 || o.GID != -1 {
		if err := os.Lchown(d.path, o.UID, o.GID); err != nil {
			return fmt.Errorf("workspace: give it to uid %d, gid %d: %w", o.UID, o.GID, err)
		}
	}
	if o.Worker == "" {
		return nil
	}
	return d.Assign(o.Worker)
}

// open mounts the workspace's own file system.
func (d *Dir) open(image string) (err error) {
	if d.vol, err = volume.Open(image); err == nil {
		d.path = d.vol.Path()
	}
	return err
}

// State returns a private directory, of mode 0700 and owned by the program, in
// the free state slot with the smallest number. It must be released.
func (s *Store) State() (*Dir, error) {
	n, err := s.take(s.states, stateDir)
	if err != nil {
		return nil, err
	}
	path := s.path(stateDir, strconv.Itoa(n))
	if err := os.Mkdir(path, 0o700); err != nil {
		return nil, errors.Join(fmt.Errorf("workspace: %w", err), s.states.release(n))
	}
	d := &Dir{store: s, nums: s.states, base: path, path: path, n: n}
	return d, s.admit(d)
}

// take reserves the smallest number whose directory is not one to be kept and
// clears away what a dead program left under it.
func (s *Store) take(nums numbers, dir string) (int, error) {
	for {
		s.mu.Lock()
		closed := s.closed
		s.mu.Unlock()
		if closed {
			return 0, ErrClosed
		}
		n, err := nums.take()
		if err != nil {
			return 0, fmt.Errorf("workspace: reserve a slot in DataDir %s: %w", s.root, err)
		}
		if _, err := os.Lstat(s.path(dir, strconv.Itoa(n))); errors.Is(err, fs.ErrNotExist) {
			return n, nil
		}
		held, err := s.reuse(dir, n)
		if err != nil {
			return 0, errors.Join(err, nums.release(n))
		}
		if !held {
			return n, nil
		}
	}
}

// admit enters d among the directories in use. If the store was closed
// meanwhile d is released again.
func (s *Store) admit(d *Dir) error {
	s.mu.Lock()
	closed := s.closed
	if !closed {
		s.live[d] = true
	}
	s.mu.Unlock()
	if closed {
		return errors.Join(ErrClosed, d.Release(d.adopted))
	}
	return nil
}

// Kept reports whether a workspace of the worker is kept, so that New with
// this id returns it instead of an empty one.
func (s *Store) Kept(worker string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.kept[worker]) > 0
}

// adopt takes up the workspace that is kept for o.Worker, nil if there is
// none.
func (s *Store) adopt(o DirOptions) (*Dir, error) {
	s.mu.Lock()
	slots := s.kept[o.Worker]
	if o.Worker == "" || len(slots) == 0 || s.closed {
		s.mu.Unlock()
		return nil, nil
	}
	n := slots[0]
	if len(slots) == 1 {
		delete(s.kept, o.Worker)
	} else {
		s.kept[o.Worker] = slots[1:]
	}
	s.mu.Unlock()

	base := s.path(slotsDir, strconv.Itoa(n))
	d := &Dir{
		store: s, nums: s.slots, base: base, path: base + string(os.PathSeparator) + "workspace", n: n,
		adopted: true, worker: o.Worker, owned: true,
	}
	err := d.reopen(o.Size)
	if err == nil {
		if err = d.completeRestore(); err == nil {
			err = giveTree(d.path, o.UID, o.GID)
		}
		if err != nil {
			err = errors.Join(err, d.unmount(volume.Sync))
		}
	}
	if err != nil {
		s.mu.Lock()
		s.kept[o.Worker] = slices.Insert(s.kept[o.Worker], 0, n)
		s.mu.Unlock()
		return nil, fmt.Errorf("workspace: take up the kept workspace of slot %d: %w", n, err)
	}
	return d, s.admit(d)
}

// reopen mounts a kept workspace that has a file system of its own.
func (d *Dir) reopen(size int64) error {
	image := filepath.Join(d.base, imageFile)
	_, err := os.Lstat(image)
	switch {
	case errors.Is(err, fs.ErrNotExist) && size > 0:
		return fmt.Errorf("it was kept without a limit on its size, and now there is one of %d bytes: copy what is to stay from %s and remove %s, or set no limit", size, d.path, d.base)
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	}
	if size > 0 {
		if err := volume.Resize(context.Background(), image, size); err != nil {
			return fmt.Errorf("bring it to %d bytes: %w", size, err)
		}
	}
	return d.open(image)
}

// unmount ends the use of the workspace's own file system, if it has one.
func (d *Dir) unmount(c volume.Closing) error {
	if d.vol == nil {
		return nil
	}
	return d.vol.Close(c)
}

// Mount makes a mount of the workspace's own file system that belongs to no
// namespace and is the caller's to close. Its directory [volume.Dir] is the
// workspace.
func (d *Dir) Mount() (*os.File, error) { return d.vol.Mount() }

// Bounded tells that the workspace has a file system of its own.
func (d *Dir) Bounded() bool { return d.vol != nil }

// Path returns the directory: of a workspace the worker's own, below its slot. If
// it has a file system of its own, the path leads through /proc: it can be opened,
// but not resolved to another.
func (d *Dir) Path() string { return d.path }

// Worker returns the id of the worker that the workspace is for; "" if it is
// not known.
func (d *Dir) Worker() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.worker
}

// Assign says which worker a workspace is for, once.
func (d *Dir) Assign(worker string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case worker == "" || len(worker) > maxWorker:
		return fmt.Errorf("workspace: a worker id has 1 to %d bytes, this one has %d", maxWorker, len(worker))
	case d.worker != "" && d.worker != worker:
		return fmt.Errorf("workspace: slot %d belongs to another worker already", d.n)
	case d.base == d.path:
		return errors.New("workspace: a state directory belongs to no worker")
	}
	d.worker = worker
	if d.store.keep {
		return d.writeOwnerLocked()
	}
	return nil
}

func (d *Dir) writeOwnerLocked() error {
	if d.owned {
		return nil
	}
	if err := writeOwner(d.base, d.worker); err != nil {
		return err
	}
	d.owned = true
	return nil
}

// Release ends the use of the directory. It is removed, with what it holds,
// before Release returns; its number is free for others even earlier. With
// keep a workspace stays instead, for the next New with the same worker id,
// here or in a later program. Later calls do nothing.
//
// What cannot be removed lies in the trash, and every later Open tries again.
func (d *Dir) Release(keep bool) error {
	d.mu.Lock()
	if d.released {
		d.mu.Unlock()
		return nil
	}
	if keep {
		if d.worker == "" {
			d.mu.Unlock()
			return fmt.Errorf("workspace: slot %d cannot be kept: it belongs to no worker", d.n)
		}
		if err := d.writeOwnerLocked(); err != nil {
			d.mu.Unlock()
			return err
		}
	}
	d.released = true
	worker := d.worker
	d.mu.Unlock()
	d.shelf.end()

	s := d.store
	if keep {
		if err := d.unmount(volume.Sync); err != nil {
			return fmt.Errorf("workspace: slot %d: %w", d.n, err)
		}
	}
	s.mu.Lock()
	delete(s.live, d)
	if keep {
		s.kept[worker] = append(s.kept[worker], d.n)
	}
	s.mu.Unlock()
	if keep {
		return nil // the number stays taken: see Store.kept
	}
	// If it cannot even be moved its number stays taken: it is still there.
	return errors.Join(d.unmount(volume.Discard), s.removeNow(d.base, func() error { return d.nums.release(d.n) }))
}
