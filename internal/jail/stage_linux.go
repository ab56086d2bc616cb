package jail

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync/atomic"

	"github.com/agentflow-go/sandbox/internal/volume"
	"golang.org/x/sys/unix"
)

// staging shows bwrap the directories that it is to bind where a worker's user
// can reach them. bwrap runs as that user, and however it is told of a directory
// (by descriptor too, which it resolves to a path again) it cannot bind one whose
// parents are closed to the user; and a data directory is closed to everybody.
//
// The stage is a small tmpfs in a mount namespace of the starting thread's own:
// nothing is ever mounted where another thread or program of the host sees it,
// and all of it is gone with the thread.
type staging struct {
	s    *starter
	last atomic.Int64
}

// newStaging moves the starting thread into a mount namespace of its own. It
// needs root's rights over mounts.
func newStaging(s *starter) (*staging, error) {
	err := s.do(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNS | unix.CLONE_FS); err != nil {
			return err
		}
		// The host's later mounts are to be seen here, and ours nowhere else.
		if err := unix.Mount("", "/", "", unix.MS_SLAVE|unix.MS_REC, ""); err != nil {
			return err
		}
		return unix.Mount("jail", uidDir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "mode=0711,size=1m")
	})
	if err != nil {
		return nil, err
	}
	return &staging{s: s}, nil
}

// noStage says why there is none.
func noStage(level string, err error) error {
	return &UnavailableError{
		Level: level, Err: err,
		Reason: "root may not make a mount namespace here: " + err.Error(),
		Remedy: "run the program as an ordinary user, or with CAP_SYS_ADMIN; " + containerRemedy,
	}
}

// put binds what f is on the stage and returns the path there. With what is
// mounted below it, unless alone.
func (st *staging) put(f *os.File, alone bool) (path string, err error) {
	// A mount that belongs to no namespace yet: made from what f is, whatever
	// has its path by now. It needs Linux 5.2.
	flags := uint(unix.OPEN_TREE_CLONE | unix.OPEN_TREE_CLOEXEC | unix.AT_EMPTY_PATH)
	if !alone {
		flags |= unix.AT_RECURSIVE
	}
	tree, err := unix.OpenTree(int(f.Fd()), "", flags)
	if err != nil {
		return "", fmt.Errorf("jail: stage %s: %w", f.Name(), err)
	}
	defer unix.Close(tree)
	return st.move(f.Name(), tree)
}

// move attaches a mount of no namespace to the stage and returns the path there.
func (st *staging) move(name string, tree int) (path string, err error) {
	path = uidDir + "/" + strconv.FormatInt(st.last.Add(1), 10)
	err = st.s.do(func() (err error) {
		var info unix.Stat_t
		if err := unix.Fstat(tree, &info); err != nil {
			return err
		}
		if info.Mode&unix.S_IFMT == unix.S_IFDIR {
			err = os.Mkdir(path, 0o700)
		} else {
			err = os.WriteFile(path, nil, 0o600)
		}
		if err != nil {
			return err
		}
		if err = unix.MoveMount(tree, "", unix.AT_FDCWD, path, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
			_ = os.Remove(path) // the namespace takes it along if this fails
		}
		return err
	})
	if err != nil {
		return "", fmt.Errorf("jail: stage %s: %w", name, err)
	}
	return path, nil
}

// all puts binds on the stage, the workspace, which is the first, without what is
// mounted below it. A nil stage leaves them to their descriptors. clear takes them
// off again.
func (st *staging) all(in []Bind) (out []bind, clear func(), err error) {
	var spots []string
	clear = func() {
		for _, path := range spots {
			st.drop(path)
		}
	}
	for i, b := range in {
		staged := ""
		if st != nil {
			if b.Volume {
				staged, err = st.move(b.File.Name(), int(b.File.Fd()))
			} else {
				staged, err = st.put(b.File, i == 0)
			}
			if err != nil {
				clear()
				return nil, nil, err
			}
			spots = append(spots, staged)
			if b.Volume {
				staged += "/" + volume.Dir
			}
		}
		out = append(out, bind{f: b.File, staged: staged, inside: b.Inside, writable: b.Writable})
	}
	return out, clear, nil
}

// launch starts a first process with binds on the stage, until it is settled.
func (st *staging) launch(in []Bind, start func([]bind) (*First, error)) (*First, error) {
	binds, clear, err := st.all(in)
	if err != nil {
		return nil, err
	}
	first, err := start(binds)
	if err != nil {
		clear()
		return nil, err
	}
	settled := first.Settled
	first.Settled = func() { settled(); clear() }
	return first, nil
}

// drop takes a path off the stage. The jails that bound it keep it.
func (st *staging) drop(path string) {
	// All of it fails only if the path is not there, or is stuck, or the thread has
	// ended; it stays until then, seen by nobody.
	_ = st.s.do(func() error {
		return errors.Join(unix.Unmount(path, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW), os.Remove(path))
	})
}
