package workfs

import (
	"errors"
	"io/fs"
	"strings"
)

const (
	maxLinks  = 40      // symbolic links on one way, as the kernel has it
	maxTarget = 1 << 16 // bytes of path that links may unfold to
	maxSteps  = 1 << 12 // elements of one way, those of links included
)

// resolution says how the way to a place is gone.
type resolution struct {
	follow bool // the last element too
	make   bool // make the directories that are missing
}

// resolve walks to a path. The place's directory must be closed.
//
// It looks at one element at a time, from a descriptor that is known to lie in
// the tree, so that nothing which is swapped meanwhile leads elsewhere: at
// worst the walk ends in an error.
func (t *Tree) resolve(rel string, how resolution) (place, error) {
	if rel == "." {
		return t.top()
	}
	parent, name := "", rel
	if i := strings.LastIndexByte(rel, '/'); i >= 0 {
		parent, name = rel[:i], rel[i+1:]
	}
	d, err := t.root.openBelow(parent)
	if err != nil {
		return t.walk(rel, how)
	}
	if how.follow {
		if _, err := d.readlink(name); err == nil {
			d.close()
			return t.walk(rel, how)
		}
	}
	return place{d, name, rel}, nil
}

func (t *Tree) top() (place, error) {
	d, err := t.root.openBelow("")
	return place{d, ".", "."}, err
}

// walk is resolve for paths with links in them.
func (t *Tree) walk(rel string, how resolution) (_ place, err error) {
	d, err := t.root.openBelow("")
	if err != nil {
		return place{}, err
	}
	defer func() {
		if err != nil {
			d.close()
		}
	}()
	var done []string // the elements that lead to d
	todo := strings.Split(rel, "/")
	links := 0
	for steps := 0; len(todo) > 0; steps++ {
		if steps == maxSteps { // links can make a way of any length, up and down
			return place{}, ErrLinks
		}
		name := todo[0]
		todo = todo[1:]
		switch name {
		case "", ".":
			continue
		case "..": // of a link's target
			if len(done) == 0 {
				return place{}, ErrOutside
			}
			done = done[:len(done)-1]
			up, err := t.again(d, done)
			if err != nil {
				return place{}, err
			}
			d = up
			continue
		}
		last := isLast(todo)
		if last && !how.follow {
			return place{d, name, join(done, name)}, nil
		}
		if !last {
			sub, err := d.step(name, how.make)
			if err == nil {
				d, done = sub, append(done, name)
				continue
			}
			if !errors.Is(err, ErrNotDir) {
				return place{}, err
			}
		}
		target, err := d.readlink(name)
		switch {
		case err != nil && last: // no link, or nothing at all
			return place{d, name, join(done, name)}, nil
		case err != nil:
			return place{}, ErrNotDir
		}
		if links++; links > maxLinks {
			return place{}, ErrLinks
		}
		if strings.HasPrefix(target, "/") {
			inner, ok := t.below(target)
			if !ok {
				return place{}, ErrOutside
			}
			target, done = inner, nil
			top, err := t.again(d, done)
			if err != nil {
				return place{}, err
			}
			d = top
		}
		todo = append(strings.Split(target, "/"), todo...)
		if size := len(target); size > maxPath || len(todo) > maxTarget/2 {
			return place{}, ErrLinks
		}
	}
	if len(done) == 0 {
		return place{d, ".", "."}, nil
	}
	return place{d, ".", strings.Join(done, "/")}, nil
}

// isLast reports whether nothing that counts is still to be walked.
func isLast(todo []string) bool {
	for _, name := range todo {
		if name != "" && name != "." {
			return false
		}
	}
	return true
}

func join(done []string, name string) string {
	return strings.Join(append(done[:len(done):len(done)], name), "/")
}

// step opens the directory name of d, made if it is missing and to be, and
// closes d. If that fails d stays open.
func (d *dir) step(name string, create bool) (*dir, error) {
	sub, err := d.openDir(name)
	if create && errors.Is(err, fs.ErrNotExist) {
		if err = d.mkdir(name, 0o755); err == nil || errors.Is(err, fs.ErrExist) {
			sub, err = d.openDir(name)
		}
	}
	if err != nil {
		return nil, err
	}
	d.close()
	return sub, nil
}

// again opens the directory that link-free elements lead to, and closes d. If
// that fails (it was swapped meanwhile) d stays open.
func (t *Tree) again(d *dir, elems []string) (*dir, error) {
	next, err := t.descend(strings.Join(elems, "/"))
	if err != nil {
		return nil, err
	}
	d.close()
	return next, nil
}
