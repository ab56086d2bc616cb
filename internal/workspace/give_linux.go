package workspace

import (
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// giveTree gives a workspace, and what its former owner has in it, to uid and
// gid; -1 leaves them. Files of anybody else (links to them, for one) stay as
// they are. Nothing may run in it meanwhile.
func giveTree(path string, uid, gid int) error {
	if uid == -1 && gid == -1 {
		return nil
	}
	top, err := openat(unix.AT_FDCWD, path)
	if err != nil {
		return err
	}
	defer top.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(top.Fd()), &st); err != nil {
		return err
	}
	if (uid == -1 || int(st.Uid) == uid) && (gid == -1 || int(st.Gid) == gid) {
		return nil
	}
	g := giver{from: st.Uid, uid: uid, gid: gid}
	if err := g.tree(top); err != nil {
		return fmt.Errorf("give it to uid %d, gid %d: %w", uid, gid, err)
	}
	// Last, so that an interrupted change is taken up again.
	return unix.Fchown(int(top.Fd()), uid, gid)
}

type giver struct {
	from     uint32
	uid, gid int
}

// level is a directory on the way down.
type level struct {
	dev, ino uint64
	dirs     []string // its directories still to be done
}

// tree walks a tree of any depth with one descriptor beside top: it goes up
// again by "..", and checks that it arrives where it came from.
func (g giver) tree(top *os.File) error {
	first, err := g.entries(top)
	if err != nil {
		return err
	}
	dir, stack := top, []level{first}
	defer func() {
		if dir != top {
			dir.Close()
		}
	}()
	for len(stack) > 0 {
		at := &stack[len(stack)-1]
		if len(at.dirs) == 0 {
			stack = stack[:len(stack)-1]
			if len(stack) == 0 {
				return nil
			}
			up, err := openat(int(dir.Fd()), "..")
			if err != nil {
				return err
			}
			dir.Close() // never top: its level is the last of the stack
			dir = up
			var st unix.Stat_t
			if err := unix.Fstat(int(dir.Fd()), &st); err != nil {
				return err
			}
			if want := stack[len(stack)-1]; st.Dev != want.dev || st.Ino != want.ino {
				return fmt.Errorf("the tree was changed meanwhile")
			}
			continue
		}
		name := at.dirs[len(at.dirs)-1]
		at.dirs = at.dirs[:len(at.dirs)-1]
		child, err := openDir(int(dir.Fd()), name)
		if err == unix.EXDEV {
			continue // a mount: not the worker's
		}
		if err != nil {
			return fmt.Errorf("%q: %w", name, err)
		}
		if dir != top {
			dir.Close()
		}
		dir = child
		next, err := g.entries(dir)
		if err != nil {
			return err
		}
		stack = append(stack, next)
	}
	return nil
}

// entries gives away what a directory holds and returns it as a level.
func (g giver) entries(dir *os.File) (level, error) {
	fd := int(dir.Fd())
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return level{}, err
	}
	l := level{dev: st.Dev, ino: st.Ino}
	for {
		names, err := dir.Readdirnames(batch)
		for _, name := range names {
			if err := unix.Fstatat(fd, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
				return level{}, fmt.Errorf("%q: %w", name, err)
			}
			if st.Mode&unix.S_IFMT == unix.S_IFDIR {
				l.dirs = append(l.dirs, name)
			}
			if st.Uid != g.from {
				continue
			}
			if err := unix.Fchownat(fd, name, g.uid, g.gid, unix.AT_SYMLINK_NOFOLLOW); err != nil {
				return level{}, fmt.Errorf("%q: %w", name, err)
			}
		}
		if err == io.EOF {
			return l, nil
		}
		if err != nil {
			return level{}, err
		}
	}
}
