package workspace

import (
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// keptOpen is how many levels of a walk keep their descriptors. Deeper ones are
// closed on the way down and opened again by ".." on the way up.
const keptOpen = 32

// twin is a directory of two trees that are walked at once. b is not looked
// at while a differs from it in kind.
type twin struct {
	a, b side
	name string
	deep bool     // closed while the walk is below it: nobody else may use it
	dirs []string // still to be walked

	refs atomic.Int32 // the walk's, and those of others that use its descriptors
	left bool         // all below it is done; set before the walk gives its reference up
}

// side is one of the two directories.
type side struct {
	fd       int         // -1: closed, or lost because the tree was changed meanwhile
	st       unix.Stat_t // as it was found
	repaired bool        // its mode was changed so that we may read it
}

// twinWalk walks two trees of any depth with a bounded number of descriptors.
// It follows no link, crosses no mount, and goes on where a tree is changed
// under its hands.
type twinWalk struct {
	// visit looks at what t holds and returns the names to enter.
	visit func(t *twin) ([]string, error)
	// enter opens a directory of both trees below t; nil: there is none.
	enter func(t *twin, name string) (*twin, error)
	// unused is called when nobody uses t any more, with its descriptors still
	// open. t.left says whether all below it was done.
	unused func(t *twin)
	// lost is told how many directories were left out because the one that
	// holds them was moved.
	lost func(dirs int)

	stack []*twin
}

// run walks from top on, whose descriptors it closes.
func (w *twinWalk) run(top *twin) error {
	err := w.push(top)
	for {
		t := w.stack[len(w.stack)-1]
		if err == nil && len(t.dirs) > 0 {
			name := t.dirs[len(t.dirs)-1]
			t.dirs = t.dirs[:len(t.dirs)-1]
			var child *twin
			if child, err = w.enter(t, name); child != nil {
				child.name = name
				if t.deep {
					t.a.close()
					t.b.close()
				}
				err = w.push(child)
			}
			continue
		}
		w.stack = w.stack[:len(w.stack)-1]
		if len(w.stack) > 0 {
			w.reopen(w.stack[len(w.stack)-1], t)
		}
		t.left = err == nil
		w.release(t)
		if len(w.stack) == 0 {
			return err
		}
	}
}

func (w *twinWalk) push(t *twin) (err error) {
	t.refs.Store(1)
	t.deep = len(w.stack) >= keptOpen
	w.stack = append(w.stack, t)
	t.dirs, err = w.visit(t)
	return err
}

// reopen opens a directory that was closed, from the one below it.
func (w *twinWalk) reopen(up, from *twin) {
	if !up.deep {
		return
	}
	up.a.reopen(from.a.fd)
	up.b.reopen(from.b.fd)
	if up.a.fd < 0 || up.b.fd < 0 {
		w.lost(len(up.dirs))
		up.dirs = nil
	}
}

// release gives a reference to t up.
func (w *twinWalk) release(t *twin) {
	if t.refs.Add(-1) == 0 {
		w.unused(t)
		t.a.restore()
		t.b.restore()
		t.a.close()
		t.b.close()
	}
}

// path returns the path of an entry of the directory that is being visited.
func (w *twinWalk) path(name string) string {
	n := len(name)
	for _, t := range w.stack[1:] {
		n += len(t.name) + 1
	}
	b := make([]byte, 0, n)
	for _, t := range w.stack[1:] {
		b = append(append(b, t.name...), '/')
	}
	return string(append(b, name...))
}

func (s *side) close() {
	if s.fd >= 0 {
		unix.Close(s.fd)
		s.fd = -1
	}
}

// restore puts a repaired mode back.
func (s *side) restore() {
	if s.repaired && s.fd >= 0 {
		_ = unix.Fchmod(s.fd, s.st.Mode&0o7777) // else its owner has a directory that is readable
	}
}

// reopen opens s as the parent of below, if that is still what it is.
func (s *side) reopen(below int) {
	if below < 0 {
		return
	}
	fd, err := openAgain(below, "..", unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Dev != s.st.Dev || st.Ino != s.st.Ino {
		unix.Close(fd)
		return
	}
	s.fd = fd
}

// openSide opens a directory for reading. One that we own and may not read is
// made readable until side.restore.
func openSide(parent int, name string) (s side, err error) {
	const flags = unix.O_RDONLY | unix.O_DIRECTORY
	s.fd, err = openEntry(parent, name, flags)
	if err == unix.EACCES {
		if s.fd, err = openRepaired(parent, name, unix.S_IFDIR, 0o700, &s.st); err != nil {
			return side{fd: -1}, err
		}
		s.repaired = true
		return s, nil
	}
	if err != nil {
		return side{fd: -1}, err
	}
	if err := unix.Fstat(s.fd, &s.st); err != nil {
		s.close()
		return s, err
	}
	if s.st.Mode&0o500 != 0o500 && !privileged {
		s.repaired = unix.Fchmod(s.fd, s.st.Mode&0o7777|0o700) == nil
	}
	return s, nil
}

// privileged reports whether modes do not bind us.
var privileged = unix.Geteuid() == 0

// openRepaired opens for reading what we own and may not read. Its mode is
// changed to do so; *st is what it was.
func openRepaired(parent int, name string, kind, mode uint32, st *unix.Stat_t) (int, error) {
	at, err := openEntry(parent, name, unix.O_PATH)
	if err != nil {
		return -1, err
	}
	defer unix.Close(at)
	if err := unix.Fstat(at, st); err != nil {
		return -1, err
	}
	if st.Mode&unix.S_IFMT != kind || int(st.Uid) != unix.Geteuid() {
		return -1, unix.EACCES
	}
	// A descriptor opened with O_PATH takes no fchmod and opens nothing; its name
	// in /proc leads to the file itself and to nothing else.
	path := procPath(at)
	if err := unix.Chmod(path, st.Mode&0o7777|mode); err != nil {
		return -1, err
	}
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		_ = unix.Chmod(path, st.Mode&0o7777)
	}
	return fd, err
}
