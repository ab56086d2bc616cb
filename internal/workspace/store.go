// Package workspace is the host side of workers' directories: it makes, keeps,
// finds again and removes them.
//
// Everything lives below one data directory, private to the user that runs the
// program and shared by any number of its programs:
//
//	slots/<n>/workspace   a worker's directory, owned by the worker's uid
//	slots/<n>/image       instead, its file system, where it has one of its own
//	slots/<n>/worker      its worker's id, where the workspace is to be kept
//	machine               which machine uses it
//	state/<n>             a private directory of a session or backend
//	trash/<name>          what is being removed
//
// Slot numbers are reserved between programs by locks that the kernel drops
// when a program dies, so whatever bears a number that can be locked is a
// left-over and is removed, unless it is to be kept.
//
// Workspaces are hostile: whoever fills them is free to make trees of any
// depth, modes of any kind and links to anywhere. Nothing here follows a link,
// crosses a mount or recurses without bound.
package workspace

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"sync"

	"github.com/agentflow-go/sandbox/internal/reserve"
)

// Options configures a [Store].
type Options struct {
	// Keep records whose a workspace is as soon as that is known, so that it
	// survives the death of the program too. Without it only
	// Dir.Release(true) records it.
	Keep bool
	// Logger hears of left-overs that could not be removed; nil: nobody does.
	Logger *slog.Logger
}

// Store hands out directories below one data directory. Its methods may be
// called concurrently.
type Store struct {
	root   string
	keep   bool
	logger *slog.Logger
	lease  *os.File // of a temporary data directory, else nil

	slots, states numbers
	removals      chan struct{} // a token for each removal that may run at once
	copies        chan struct{} // the same for copies and comparisons

	bounds   sync.Mutex // guards what Bounded found out
	tried    int64
	boundErr error

	wake  chan struct{} // tells the sweeper that there is trash; never blocks
	stop  context.CancelFunc
	swept chan struct{} // closed when the sweeper has ended

	mu     sync.Mutex // guards what follows
	closed bool
	live   map[*Dir]bool
	kept   map[string][]int // slots held for the worker ids that they belong to
	// removing holds the names of the trees in the trash that removeNow is at.
	removing map[string]bool
}

// The names below a data directory. slotLocks marks it as one.
const (
	slotsDir, stateDir, trashDir = "slots", "state", "trash"
	slotLocks, stateLocks        = "slots.lock", "state.lock"
)

// concurrentRemovals bounds the trees that are removed at once, and with it
// the descriptors and threads that removal takes.
const concurrentRemovals = 8

// concurrentCopies does so for copies and comparisons of trees.
const concurrentCopies = 8

// Open opens the data directory dir, making it if need be. "" stands for a
// fresh temporary directory that Close removes. What earlier programs left
// behind is moved aside at once and removed in the background until Close.
//
// A directory that another user owns or could have written to is refused, and
// so is one that is open to others' eyes and holds other things: making it
// private could break what they are for.
func Open(dir string, o Options) (*Store, error) {
	s := &Store{
		keep:     o.Keep,
		logger:   o.Logger,
		removals: make(chan struct{}, concurrentRemovals),
		copies:   make(chan struct{}, concurrentCopies),
		wake:     make(chan struct{}, 1),
		swept:    make(chan struct{}),
		live:     map[*Dir]bool{},
		kept:     map[string][]int{},
		removing: map[string]bool{},
	}
	if s.logger == nil {
		s.logger = slog.New(slog.DiscardHandler)
	}
	var err error
	if dir == "" {
		s.root, s.lease, err = makeTemporary(os.TempDir())
	} else {
		s.root, err = claim(dir)
	}
	if err != nil {
		return nil, err
	}
	if err := s.open(); err != nil {
		return nil, errors.Join(err, s.abandon())
	}
	ctx, cancel := context.WithCancel(context.Background())
	s.stop = cancel
	go s.sweep(ctx)
	s.wake <- struct{}{}
	return s, nil
}

// open makes the layout, takes the number files and sets left-overs aside.
func (s *Store) open() error {
	if err := thisMachine().mark(s.root, sharedFS(s.root)); err != nil {
		return err
	}
	for _, name := range []string{slotsDir, stateDir, trashDir} {
		if err := makePrivate(s.path(name)); err != nil {
			return err
		}
	}
	var err error
	if s.slots, err = openNumbers(s.path(slotLocks)); err != nil {
		return fmt.Errorf("workspace: lock file of DataDir %s: %w", s.root, err)
	}
	if s.states, err = openNumbers(s.path(stateLocks)); err != nil {
		return fmt.Errorf("workspace: lock file of DataDir %s: %w", s.root, err)
	}
	return errors.Join(s.collect(s.slots, slotsDir), s.collect(s.states, stateDir))
}

// abandon undoes a failed Open.
func (s *Store) abandon() error {
	var errs []error
	for _, n := range []numbers{s.slots, s.states} {
		if n != nil {
			errs = append(errs, n.close())
		}
	}
	if s.lease != nil {
		errs = append(errs, os.RemoveAll(s.root), unlock(s.lease))
	}
	return errors.Join(errs...)
}

// collect goes through the numbered directories of dead programs: those to be
// kept stay reserved for their workers, the others go to the trash.
func (s *Store) collect(nums numbers, dir string) error {
	entries, err := os.ReadDir(s.path(dir))
	if err != nil {
		return fmt.Errorf("workspace: %w", err)
	}
	for _, e := range entries {
		n, ok := number(e.Name())
		if !ok {
			continue
		}
		free, err := nums.takeN(n)
		if err != nil {
			return fmt.Errorf("workspace: slot %d of DataDir %s: %w", n, s.root, err)
		}
		if !free {
			continue
		}
		if held, err := s.reuse(dir, n); err != nil || !held {
			if err := errors.Join(err, nums.release(n)); err != nil {
				return err
			}
		}
	}
	return nil
}

// number reads a slot's number; only the one spelling that this package
// writes counts.
func number(name string) (int, bool) {
	n, err := strconv.Atoi(name)
	return n, err == nil && n >= 0 && n < reserve.Max && strconv.Itoa(n) == name
}

// reuse looks at what bears a number that we hold. If it is to be kept its
// number stays taken; anything else is moved to the trash.
func (s *Store) reuse(dir string, n int) (held bool, err error) {
	path := s.path(dir, strconv.Itoa(n))
	if dir == slotsDir {
		worker, err := readOwner(path)
		if err != nil {
			return false, err
		}
		if worker != "" {
			s.mu.Lock()
			s.kept[worker] = append(s.kept[worker], n)
			s.mu.Unlock()
			return true, nil
		}
	}
	return false, s.discard(path)
}

// discard moves a path to the trash, for the sweeper.
func (s *Store) discard(path string) error {
	if _, err := s.toTrash(path, trashName()); err != nil {
		return err
	}
	select {
	case s.wake <- struct{}{}:
	default:
	}
	return nil
}

// toTrash moves a path to the trash, under the given name, and reports whether
// there was anything.
func (s *Store) toTrash(path, name string) (bool, error) {
	err := os.Rename(path, s.path(trashDir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("workspace: move aside for removal: %w", err)
	}
	return true, nil
}

// removeNow moves a path to the trash, calls freed once it is there, and
// removes it, with no help from the sweeper: all is gone when it returns.
func (s *Store) removeNow(path string, freed func() error) error {
	name := trashName()
	s.mu.Lock()
	s.removing[name] = true
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.removing, name)
		s.mu.Unlock()
	}()
	found, err := s.toTrash(path, name)
	if err != nil {
		return err
	}
	err = freed()
	if found {
		err = errors.Join(err, s.remove(context.Background(), name))
	}
	return err
}

// sweep empties the trash whenever there is some, until ctx ends.
func (s *Store) sweep(ctx context.Context) {
	defer close(s.swept)
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.wake:
		}
		if err := s.emptyTrash(ctx); err != nil && ctx.Err() == nil {
			s.logger.Warn("left-over directories could not be removed", "dir", s.path(trashDir), "error", err)
		}
		if s.lease != nil {
			removeDeadTemporaries(ctx, filepath.Dir(s.root), s.logger)
		}
	}
}

func (s *Store) emptyTrash(ctx context.Context) error {
	entries, err := os.ReadDir(s.path(trashDir))
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		tree := trashTree(e.Name())
		s.mu.Lock()
		skip := tree == "" || s.removing[tree]
		s.mu.Unlock()
		if !skip {
			errs = append(errs, s.remove(ctx, e.Name()))
		}
	}
	return errors.Join(errs...)
}

// remove removes a tree of the trash, when its turn comes.
func (s *Store) remove(ctx context.Context, name string) error {
	s.removals <- struct{}{}
	defer func() { <-s.removals }()
	return removeTree(ctx, s.path(trashDir), name)
}

// Path returns the data directory, without symbolic links.
func (s *Store) Path() string { return s.root }

func (s *Store) path(elem ...string) string {
	return filepath.Join(append([]string{s.root}, elem...)...)
}

// Close releases every directory that is still in use, keeping those that are
// to be kept under Options.Keep, and gives the numbers free. A temporary data
// directory is removed. Later calls do nothing.
func (s *Store) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	live := make([]*Dir, 0, len(s.live))
	for d := range s.live {
		live = append(live, d)
	}
	s.mu.Unlock()

	s.stop()
	<-s.swept
	var errs []error
	for _, d := range live {
		errs = append(errs, d.Release(s.keep && d.Worker() != ""))
	}
	errs = append(errs, s.slots.close(), s.states.close())
	if s.lease != nil {
		errs = append(errs, removeTemporary(context.Background(), s.root), unlock(s.lease))
	}
	return errors.Join(errs...)
}
