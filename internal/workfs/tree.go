// Package workfs reads and writes a worker's workspace from the host, while a
// hostile process may be at work inside.
//
// Every operation acts with the worker's file-system uid and gid (as root),
// walks paths one step at a time from a directory descriptor, follows no link
// but those that stay inside, never blocks on what it opens, and opens regular
// files only. Elsewhere than on Linux it works through os.Root, with the rights
// of the program.
package workfs

import (
	"fmt"
	"strings"
)

// Options says whose a tree is.
type Options struct {
	// UID and GID are the user that operations act as, when the program is
	// root; -1, or the program's own: they act as the program.
	UID, GID int
	// Inside lists the absolute paths under which the worker's processes know
	// the tree: paths and link targets below them are taken as relative ones.
	Inside []string
}

// Tree is a directory tree in the hands of somebody else. Its methods may be
// called concurrently. They take paths relative to the tree, with slashes, or
// absolute ones below one of Options.Inside; errors are an [*Error].
type Tree struct {
	root   *dir
	id     identity
	inside []string
}

// Open opens the directory path as a tree. Nothing of the path may be in the
// worker's hands.
func Open(path string, o Options) (*Tree, error) {
	root, err := openRoot(path)
	if err != nil {
		return nil, err
	}
	t := &Tree{root: root}
	for _, p := range o.Inside {
		p = strings.TrimRight(p, "/")
		if !strings.HasPrefix(p, "/") {
			root.close()
			return nil, fmt.Errorf("workfs: %q is not an absolute path", p)
		}
		t.inside = append(t.inside, p)
	}
	if t.id, err = newIdentity(o.UID, o.GID); err != nil {
		root.close()
		return nil, err
	}
	return t, nil
}

// Close gives the directory back, once what is at work in it has ended; it does
// not wait for that. Open files stay usable.
func (t *Tree) Close() error {
	return t.root.shut()
}

// place is where a path leads: an entry, there or not, of an open directory.
type place struct {
	d    *dir
	name string // one element, "." for the tree itself
	path string // of the entry, without links
}

// at runs fn, as the worker, on the place that a path leads to.
func (t *Tree) at(op, path string, how resolution, fn func(place) error) error {
	rel, err := t.Clean(path)
	if err != nil {
		return err
	}
	return explain(op, path, t.id.do(func() error {
		pl, err := t.resolve(rel, how)
		if err != nil {
			return err
		}
		defer pl.d.close()
		return fn(pl)
	}))
}
