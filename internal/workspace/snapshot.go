package workspace

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
)

// ShelfLimits bounds the snapshots of one workspace, all of them together but
// for CopyLimits.Files, which bounds each.
type ShelfLimits struct {
	Count int
	CopyLimits
}

// maxName is the longest name of a snapshot in bytes.
const maxName = 256

// Snapshot copies what the workspace holds; see [CopyStats] for what is left
// out. Programs may be at work in it meanwhile: what they write is in the copy
// or not. The name is 1 to 256 bytes of anything. After an error nothing is left.
func (d *Dir) Snapshot(ctx context.Context, name string, limits ShelfLimits) (Snapshot, error) {
	if name == "" || len(name) > maxName {
		return Snapshot{}, fmt.Errorf("workspace: the name of a snapshot has 1 to %d bytes, this one has %d", maxName, len(name))
	}
	ctx, done, err := d.shelf.enter(ctx, false)
	if err != nil {
		return Snapshot{}, err
	}
	defer done()
	if d.shelf.taking.Acquire(ctx, 1) != nil {
		return Snapshot{}, context.Cause(ctx)
	}
	defer d.shelf.taking.Release(1)
	rest, err := d.room(name, limits)
	if err != nil {
		return Snapshot{}, err
	}
	s := Snapshot{Name: name, id: shotID()}
	dir := d.shotPath(s.id)
	if err := d.copyTo(ctx, &s, rest); err != nil {
		return Snapshot{}, errors.Join(err, d.store.discard(dir))
	}
	d.shelf.mu.Lock()
	defer d.shelf.mu.Unlock()
	d.shelf.shots = append(d.shelf.shots, s)
	return s, nil
}

// room returns what a further snapshot may take.
func (d *Dir) room(name string, limits ShelfLimits) (CopyLimits, error) {
	d.shelf.mu.Lock()
	defer d.shelf.mu.Unlock()
	if err := d.loadLocked(); err != nil {
		return CopyLimits{}, err
	}
	rest := limits.CopyLimits
	for _, s := range d.shelf.shots {
		if s.Name == name {
			return CopyLimits{}, fmt.Errorf("%w: %q", ErrSnapshotExists, name)
		}
		rest.Bytes -= s.Bytes
	}
	if n := len(d.shelf.shots); n >= limits.Count {
		return CopyLimits{}, fmt.Errorf("there are %d snapshots: %w; delete one", n, ErrLimit)
	}
	if rest.Bytes < 0 {
		return CopyLimits{}, fmt.Errorf("the snapshots take %d bytes already: %w; delete one", limits.Bytes-rest.Bytes, ErrLimit)
	}
	return rest, nil
}

// copyTo makes the snapshot s on disk.
func (d *Dir) copyTo(ctx context.Context, s *Snapshot, limits CopyLimits) error {
	for _, path := range []string{d.shotPath(), d.shotPath(s.id), d.shotPath(s.id, shotTree)} {
		if err := makePrivate(path); err != nil {
			return err
		}
	}
	from, err := openTop(d.path)
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := openTop(d.shotPath(s.id, shotTree))
	if err != nil {
		return err
	}
	defer to.Close()
	fi, err := to.Stat()
	if err != nil {
		return fmt.Errorf("workspace: %w", err)
	}
	s.Created = fi.ModTime() // it was just made: the file system's own clock
	copied, err := d.store.turn(ctx)
	if err != nil {
		return err
	}
	defer copied()
	if s.CopyStats, err = copyTree(ctx, from, to, -1, -1, limits); err != nil {
		return err
	}
	return writeShot(d.shotPath(s.id), *s)
}

// DeleteSnapshot removes a snapshot. It waits for those who read it.
func (d *Dir) DeleteSnapshot(ctx context.Context, name string) error {
	_, done, err := d.shelf.enter(ctx, true)
	if err != nil {
		return err
	}
	defer done()
	s, err := d.find(name)
	if err != nil {
		return err
	}
	return d.store.removeNow(d.shotPath(s.id), func() error {
		d.shelf.mu.Lock()
		defer d.shelf.mu.Unlock()
		d.shelf.shots = slices.DeleteFunc(d.shelf.shots, func(o Snapshot) bool { return o.id == s.id })
		return nil
	})
}

// Diff compares a snapshot with what the workspace holds now: what was added,
// changed and removed since. Special files do not count.
func (d *Dir) Diff(ctx context.Context, name string, limits DiffLimits) (Changes, error) {
	ctx, done, err := d.shelf.enter(ctx, false)
	if err != nil {
		return Changes{}, err
	}
	defer done()
	s, err := d.find(name)
	if err != nil {
		return Changes{}, err
	}
	tree, err := openTop(d.shotPath(s.id, shotTree))
	if err != nil {
		return Changes{}, err
	}
	defer tree.Close()
	now, err := openTop(d.path)
	if err != nil {
		return Changes{}, err
	}
	defer now.Close()
	compared, err := d.store.turn(ctx)
	if err != nil {
		return Changes{}, err
	}
	defer compared()
	return diffTrees(ctx, tree, now, s.Created, limits)
}

// Fork makes a workspace for the worker o.Worker, which must have none, with
// what from holds now, or what its named snapshot does. Nothing that runs in
// from is stopped. Like what [Store.New] returns it must be released. After an
// error nothing is left.
func (s *Store) Fork(ctx context.Context, from *Dir, snapshot string, o DirOptions, limits CopyLimits) (*Dir, CopyStats, error) {
	ctx, done, err := from.shelf.enter(ctx, false)
	if err != nil {
		return nil, CopyStats{}, err
	}
	defer done()
	path := from.path
	if snapshot != "" {
		shot, err := from.find(snapshot)
		if err != nil {
			return nil, CopyStats{}, err
		}
		path = from.shotPath(shot.id, shotTree)
	}
	src, err := openTop(path)
	if err != nil {
		return nil, CopyStats{}, err
	}
	defer src.Close()
	// It is nobody's until it is whole: were it kept for its worker earlier, the
	// end of this program would leave half of it.
	worker := o.Worker
	o.Worker = ""
	d, err := s.New(o)
	if err != nil {
		return nil, CopyStats{}, err
	}
	stats, err := d.fill(ctx, src, o, limits)
	if err == nil {
		err = d.Assign(worker)
	}
	if err != nil {
		return nil, stats, errors.Join(err, d.Release(false))
	}
	return d, stats, nil
}

// fill copies src into an empty workspace.
func (d *Dir) fill(ctx context.Context, src *os.File, o DirOptions, limits CopyLimits) (CopyStats, error) {
	dst, err := openTop(d.path)
	if err != nil {
		return CopyStats{}, err
	}
	defer dst.Close()
	copied, err := d.store.turn(ctx)
	if err != nil {
		return CopyStats{}, err
	}
	defer copied()
	return copyTree(ctx, src, dst, o.UID, o.GID, limits)
}
