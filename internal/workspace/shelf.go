package workspace

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/agentflow-go/sandbox/internal/wire"
)

// A snapshot with the unique id <id> is below the slot of its workspace,
//
//	slots/<n>/snapshots/<id>/tree   what it holds, owned by the program
//	slots/<n>/snapshots/<id>/info   what it is; written last
//
// out of reach of the worker's programs, and goes or is kept with the slot.
const (
	shotsDir, shotTree, shotInfo = "snapshots", "tree", "info"
)

var (
	// ErrNoSnapshot says that there is no snapshot of that name.
	ErrNoSnapshot = errors.New("no such snapshot")
	// ErrSnapshotExists says that the name is taken.
	ErrSnapshotExists = errors.New("there is a snapshot of that name")
	// ErrReleased says that the workspace was given back.
	ErrReleased = errors.New("workspace: its worker was closed")
)

// Snapshot describes a snapshot of a workspace.
type Snapshot struct {
	Name    string
	Created time.Time // when its copying began, by the file system's clock
	CopyStats

	id string
}

// shotFile is the info file. The name is bytes: JSON would change what is no
// UTF-8.
type shotFile struct {
	Name    []byte    `json:"name"`
	Created time.Time `json:"created"`
	Bytes   int64     `json:"bytes"`
	Files   int       `json:"files"`
	Skipped int       `json:"skipped"`
}

// shelf holds the snapshots of one workspace. The zero value is ready.
type shelf struct {
	once sync.Once
	// access is held for reading by who reads the workspace or a snapshot, and
	// as a whole by who replaces or removes one.
	access *semaphore.Weighted
	taking *semaphore.Weighted // by who makes a snapshot: limits are totals

	mu      sync.Mutex // guards the rest
	loaded  bool
	shots   []Snapshot // in the order of their making
	ended   bool
	users   map[*use]struct{}
	drained chan struct{} // closed when the last of them is done; nil: nobody waits
}

// use is an operation at work in a slot.
type use struct{ cancel context.CancelCauseFunc }

const wholeAccess = 1 << 30

// shotID returns an id for a snapshot that is made now. Those of snapshots that the
// file system's clock does not tell apart are in the order of their making.
func shotID() string { return fmt.Sprintf("%016x-%s", time.Now().UnixNano(), trashName()) }

func (sh *shelf) init() {
	sh.once.Do(func() {
		sh.access, sh.taking = semaphore.NewWeighted(wholeAccess), semaphore.NewWeighted(1)
		sh.users = map[*use]struct{}{}
	})
}

// enter begins an operation that the end of the slot cancels and waits for.
// whole says that it is to have the workspace for itself.
func (sh *shelf) enter(ctx context.Context, whole bool) (context.Context, func(), error) {
	sh.init()
	ctx, cancel := context.WithCancelCause(ctx)
	u := &use{cancel}
	sh.mu.Lock()
	if sh.ended {
		sh.mu.Unlock()
		cancel(nil)
		return nil, nil, ErrReleased
	}
	sh.users[u] = struct{}{}
	sh.mu.Unlock()
	weight := int64(1)
	if whole {
		weight = wholeAccess
	}
	leave := func() {
		cancel(nil)
		sh.mu.Lock()
		defer sh.mu.Unlock()
		delete(sh.users, u)
		if sh.drained != nil && len(sh.users) == 0 {
			close(sh.drained)
			sh.drained = nil
		}
	}
	if sh.access.Acquire(ctx, weight) != nil {
		err := context.Cause(ctx)
		leave()
		return nil, nil, err
	}
	return ctx, func() { sh.access.Release(weight); leave() }, nil
}

// end cancels what is at work in the slot, waits for it, and lets nothing more
// begin.
func (sh *shelf) end() {
	sh.init()
	sh.mu.Lock()
	sh.ended = true
	for u := range sh.users {
		u.cancel(ErrReleased)
	}
	var drained chan struct{}
	if len(sh.users) > 0 {
		if sh.drained == nil {
			sh.drained = make(chan struct{})
		}
		drained = sh.drained
	}
	sh.mu.Unlock()
	if drained != nil {
		<-drained
	}
}

// loadLocked finds the snapshots that a kept workspace has, once. What was not
// finished is thrown away.
func (d *Dir) loadLocked() error {
	sh := &d.shelf
	if sh.loaded {
		return nil
	}
	entries, err := os.ReadDir(d.shotPath())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("workspace: snapshots: %w", err)
	}
	sh.shots = nil
	for _, e := range entries {
		shot, err := readShot(d.shotPath(e.Name()))
		if err != nil {
			d.store.logger.Warn("an unfinished or damaged snapshot is removed", "slot", d.n, "error", err)
			if err := d.store.discard(d.shotPath(e.Name())); err != nil {
				return err
			}
			continue
		}
		shot.id = e.Name()
		sh.shots = append(sh.shots, shot)
	}
	slices.SortFunc(sh.shots, func(a, b Snapshot) int {
		return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.id, b.id))
	})
	sh.loaded = true
	return nil
}

// shotPath returns a path below the directory of the snapshots.
func (d *Dir) shotPath(elem ...string) string {
	return filepath.Join(append([]string{d.base, shotsDir}, elem...)...)
}

func readShot(dir string) (Snapshot, error) {
	data, err := os.ReadFile(filepath.Join(dir, shotInfo))
	if err != nil {
		return Snapshot{}, err
	}
	var f shotFile
	if err := wire.Unmarshal(data, &f); err != nil {
		return Snapshot{}, fmt.Errorf("%s: %w", filepath.Join(dir, shotInfo), err)
	}
	return Snapshot{Name: string(f.Name), Created: f.Created, CopyStats: CopyStats{Bytes: f.Bytes, Files: f.Files, Skipped: f.Skipped}}, nil
}

// writeShot makes a snapshot complete.
func writeShot(dir string, s Snapshot) error {
	data, err := wire.Marshal(shotFile{[]byte(s.Name), s.Created, s.Bytes, s.Files, s.Skipped})
	if err != nil {
		return err
	}
	part := filepath.Join(dir, "part")
	if err := os.WriteFile(part, data, 0o600); err != nil {
		return err
	}
	return os.Rename(part, filepath.Join(dir, shotInfo))
}

// Snapshots lists the snapshots of a workspace, the oldest first.
func (d *Dir) Snapshots(ctx context.Context) ([]Snapshot, error) {
	_, done, err := d.shelf.enter(ctx, false)
	if err != nil {
		return nil, err
	}
	defer done()
	d.shelf.mu.Lock()
	defer d.shelf.mu.Unlock()
	if err := d.loadLocked(); err != nil {
		return nil, err
	}
	return slices.Clone(d.shelf.shots), nil
}

// known names the youngest snapshots.
func known(shots []Snapshot) string {
	const most = 10
	if len(shots) == 0 {
		return "there is none"
	}
	var names []string
	for _, s := range shots[max(0, len(shots)-most):] {
		names = append(names, s.Name)
	}
	text := "there are " + strings.Join(names, ", ")
	if n := len(shots) - most; n > 0 {
		text += fmt.Sprintf(" and %d older ones", n)
	}
	return text
}

// find returns a snapshot.
func (d *Dir) find(name string) (Snapshot, error) {
	d.shelf.mu.Lock()
	defer d.shelf.mu.Unlock()
	if err := d.loadLocked(); err != nil {
		return Snapshot{}, err
	}
	i := slices.IndexFunc(d.shelf.shots, func(s Snapshot) bool { return s.Name == name })
	if i < 0 {
		return Snapshot{}, fmt.Errorf("%w: %q (%s)", ErrNoSnapshot, name, known(d.shelf.shots))
	}
	return d.shelf.shots[i], nil
}
