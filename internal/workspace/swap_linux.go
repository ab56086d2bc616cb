package workspace

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// While a snapshot is being restored, its slot has
//
//	slots/<n>/restore/new     a copy of the snapshot
//	slots/<n>/restore/old     what the workspace held
//	slots/<n>/restore/out     once new is whole: the workspace is being emptied
//	slots/<n>/restore/in      once it is empty: it is being filled
//	slots/<n>/restore/stage   the name of the directory in the workspace that has
//	                          new and old, where it is a file system of its own
//
// A program that dies before there is out leaves the whole old workspace; one
// that dies later leaves all that it takes to go on, see Dir.completeRestore.
const (
	restoreDir                 = "restore"
	freshDir, oldDir           = "new", "old"
	outMark, inMark, stageMark = "out", "in", "stage"
	stagePrefix                = ".restore-"
	maxIntruders               = 16      // how often something that runs may be in the way
	maxMoved                   = 1 << 24 // entries, however fast they are made
)

// Restore replaces what the workspace holds by what a snapshot holds, and tells
// what that changes. The directory itself stays, and programs that run in it go
// on: what they write meanwhile is there afterwards, or not. After an error
// nothing has changed, unless it says otherwise.
func (d *Dir) Restore(ctx context.Context, name string, diff DiffLimits) (Changes, error) {
	ctx, done, err := d.shelf.enter(ctx, true)
	if err != nil {
		return Changes{}, err
	}
	defer done()
	if err := d.completeRestore(); err != nil {
		return Changes{}, err
	}
	s, err := d.find(name)
	if err != nil {
		return Changes{}, err
	}
	tree, err := openTop(d.shotPath(s.id, shotTree))
	if err != nil {
		return Changes{}, err
	}
	defer tree.Close()
	ws, err := openTop(d.path)
	if err != nil {
		return Changes{}, err
	}
	defer ws.Close()
	restored, err := d.store.turn(ctx)
	if err != nil {
		return Changes{}, err
	}
	defer restored()
	changes, err := diffTrees(ctx, tree, ws, s.Created, diff)
	if err != nil {
		return Changes{}, err
	}
	r, err := d.prepare(ws, sameMount)
	if r != nil {
		defer r.close()
	}
	if err == nil {
		err = r.copy(ctx, tree, s)
	}
	if err == nil {
		err = r.swap(tree)
	}
	switch {
	case err == nil:
		if err := d.clear(r); err != nil { // the next restore or start does it
			d.store.logger.Warn("what a restore replaced could not be removed", "slot", d.n, "error", err)
		}
		return changes.reversed(), nil
	case r == nil || r.stuck: // what is left is needed
		return Changes{}, err
	}
	return Changes{}, errors.Join(err, d.clear(r))
}

// restore is a restore at work.
type restore struct {
	dir      string // slots/<n>/restore
	ws       *os.File
	old, new *os.File
	stage    string // name in the workspace; "": in dir
	stuck    bool   // neither the old nor the new workspace is whole
}

func (r *restore) close() {
	for _, f := range []*os.File{r.old, r.new} {
		if f != nil {
			f.Close()
		}
	}
}

// prepare makes the directories, where entries of the workspace can be moved to
// by renaming, which beside reports of two directories.
func (d *Dir) prepare(ws *os.File, beside func(a, b *os.File) (bool, error)) (*restore, error) {
	r := &restore{dir: filepath.Join(d.base, restoreDir), ws: ws}
	if err := os.Mkdir(r.dir, 0o700); err != nil {
		return nil, fmt.Errorf("workspace: restore: %w", err)
	}
	base, err := openTop(r.dir)
	if err != nil {
		return r, err
	}
	defer base.Close()
	same, err := beside(ws, base)
	if err != nil {
		return r, fmt.Errorf("workspace: restore: %w", err)
	}
	if !same {
		r.stage = stagePrefix + trashName()
		if err := os.WriteFile(filepath.Join(r.dir, stageMark), []byte(r.stage), 0o600); err != nil {
			return r, fmt.Errorf("workspace: restore: %w", err)
		}
		if err := unix.Mkdirat(int(ws.Fd()), r.stage, 0o700); err != nil {
			return r, fmt.Errorf("workspace: restore: %w", err)
		}
	}
	return r, r.openDirs(true)
}

// openDirs opens new and old, after making them if that is asked for.
func (r *restore) openDirs(create bool) error {
	at, err := openTop(r.dir)
	if err != nil {
		return err
	}
	defer at.Close()
	if r.stage != "" {
		stage, err := openBeneath(int(r.ws.Fd()), r.stage, unix.O_RDONLY|unix.O_DIRECTORY)
		if err != nil {
			return fmt.Errorf("workspace: restore: %w", err)
		}
		defer stage.Close()
		at = stage
	}
	for name, f := range map[string]**os.File{freshDir: &r.new, oldDir: &r.old} {
		if create {
			if err := unix.Mkdirat(int(at.Fd()), name, 0o700); err != nil {
				return fmt.Errorf("workspace: restore: %w", err)
			}
		}
		if *f, err = openBeneath(int(at.Fd()), name, unix.O_RDONLY|unix.O_DIRECTORY); err != nil {
			return fmt.Errorf("workspace: restore: %w", err)
		}
	}
	return nil
}

// copy copies a snapshot for the workspace's owner.
func (r *restore) copy(ctx context.Context, tree *os.File, s Snapshot) error {
	var st unix.Stat_t
	if err := unix.Fstat(int(r.ws.Fd()), &st); err != nil {
		return fmt.Errorf("workspace: restore: %w", err)
	}
	_, err := copyTree(ctx, tree, r.new, int(st.Uid), int(st.Gid), CopyLimits{Bytes: 1 << 62, Files: s.Files + s.Skipped + 1})
	return err
}

// swap moves what the workspace holds to old and what is in new into the
// workspace. From here on the context does not matter. like has the mode and
// times of the directory itself.
func (r *restore) swap(like *os.File) error {
	if err := r.mark(outMark); err != nil {
		return err
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(r.ws.Fd()), &st); err == nil && st.Mode&0o700 != 0o700 {
		_ = unix.Fchmod(int(r.ws.Fd()), st.Mode&0o7777|0o700) // what needs it says so
	}
	err := r.empty()
	if err == nil {
		err = r.mark(inMark)
	}
	if err == nil {
		err = r.enter()
	}
	if err != nil {
		return r.back(err)
	}
	if like != nil && unix.Fstat(int(like.Fd()), &st) == nil {
		return finish(int(r.ws.Fd()), &st, 0o700)
	}
	return nil
}

func (r *restore) mark(name string) error {
	if err := os.WriteFile(filepath.Join(r.dir, name), nil, 0o600); err != nil {
		return fmt.Errorf("workspace: restore: %w", err)
	}
	return nil
}

// empty moves what the workspace holds to old.
func (r *restore) empty() error {
	for whole, moved := 0, 0; whole < maxIntruders && moved < maxMoved; {
		names, more, err := entryNames(r.ws, r.stage)
		if err != nil {
			return fmt.Errorf("workspace: restore: %w", err)
		}
		if len(names) == 0 {
			return nil
		}
		for _, name := range names {
			if err := r.away(name); err != nil {
				return err
			}
		}
		moved += len(names)
		if !more {
			whole++
		}
	}
	return nil // what is still being made has names of its own, or is moved when it is in the way
}

// away moves an entry of the workspace to old, by another name if its own is
// taken there.
func (r *restore) away(name string) error {
	err := move(r.ws, name, r.old, name)
	if err == unix.EEXIST {
		err = move(r.ws, name, r.old, trashName())
	}
	if err == unix.ENOENT { // gone by itself
		return nil
	}
	if err != nil {
		return fmt.Errorf("workspace: restore: move %q away: %w", name, err)
	}
	return nil
}

// enter moves what is in new into the workspace. Something of the same name that
// a program made meanwhile has to go.
func (r *restore) enter() error {
	for {
		names, _, err := entryNames(r.new, "")
		if err != nil {
			return fmt.Errorf("workspace: restore: %w", err)
		}
		if len(names) == 0 {
			return nil
		}
		for _, name := range names {
			for range maxIntruders {
				if err = move(r.new, name, r.ws, name); err != unix.EEXIST {
					break
				}
				if err := r.away(name); err != nil {
					return err
				}
			}
			if err != nil {
				return fmt.Errorf("workspace: restore: move %q into place: %w", name, err)
			}
		}
	}
}

// back undoes a swap that failed.
func (r *restore) back(cause error) error {
	undo := func() error {
		if err := os.Remove(filepath.Join(r.dir, inMark)); err == nil {
			// What is in the workspace now is new, or was made meanwhile.
			if err := shift(r.ws, r.new, r.stage); err != nil {
				return err
			}
		}
		if err := shift(r.old, r.ws, ""); err != nil {
			return err
		}
		return os.Remove(filepath.Join(r.dir, outMark))
	}
	if err := undo(); err != nil {
		r.stuck = true
		return fmt.Errorf("the workspace is half restored, which the next restore or start completes: %w", errors.Join(cause, err))
	}
	return cause
}

// clear throws away what a restore leaves, nothing of which is needed.
func (d *Dir) clear(r *restore) error {
	if r.stage != "" {
		if err := removeStage(d.path, r.stage); err != nil {
			d.store.logger.Warn("what a restore replaced could not be removed", "slot", d.n, "error", err)
		}
	}
	return d.store.discard(r.dir)
}

// removeStage removes a stage in a workspace, in which something hostile may be
// at work.
func removeStage(ws, stage string) error {
	at := filepath.Join(ws, stage)
	return errors.Join(
		removeTree(context.Background(), at, freshDir),
		removeTree(context.Background(), at, oldDir),
		os.Remove(at))
}

// completeRestore completes a restore that a program began and did not end, or throws it
// away if the workspace was not touched yet. Nothing else may be at work in the
// slot.
func (d *Dir) completeRestore() error {
	r := &restore{dir: filepath.Join(d.base, restoreDir)}
	if _, err := os.Lstat(r.dir); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	stage, err := os.ReadFile(filepath.Join(r.dir, stageMark))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("workspace: restore: %w", err)
	}
	if r.stage = string(stage); r.stage != "" && !strings.HasPrefix(r.stage, stagePrefix) {
		return fmt.Errorf("workspace: %s names %q; remove it", filepath.Join(r.dir, stageMark), r.stage)
	}
	if _, err := os.Lstat(filepath.Join(r.dir, outMark)); errors.Is(err, fs.ErrNotExist) {
		return d.clear(r)
	}
	if r.ws, err = openTop(d.path); err != nil {
		return err
	}
	defer r.ws.Close()
	if err := r.openDirs(false); err != nil {
		r.close()
		d.store.logger.Error("a restore was interrupted and cannot be completed: the workspace may lack files", "slot", d.n, "worker", d.Worker(), "error", err)
		return d.store.discard(r.dir)
	}
	defer r.close()
	_, err = os.Lstat(filepath.Join(r.dir, inMark))
	if errors.Is(err, fs.ErrNotExist) {
		if err = r.empty(); err == nil {
			err = r.mark(inMark)
		}
	}
	if err == nil {
		err = r.enter()
	}
	if err != nil {
		return err
	}
	return d.clear(r)
}

// openTop opens a directory of ours or a workspace.
func openTop(path string) (*os.File, error) {
	f, err := openat(unix.AT_FDCWD, path)
	if err == unix.EACCES {
		if err = unix.Chmod(path, 0o700); err == nil { // its owner closed it, even to us
			f, err = openat(unix.AT_FDCWD, path)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("workspace: %s: %w", path, err)
	}
	return f, nil
}
