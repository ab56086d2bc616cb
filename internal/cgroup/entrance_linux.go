package cgroup

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// Entrance is how a process of one thread gets into a group by itself, while it is
// not yet what it shall be. The caller closes it.
type Entrance struct {
	// Dir is the group's directory of version 2, for clone3 with CLONE_INTO_CGROUP,
	// which spares the process the writing to Procs; both nil: it has none.
	Dir, Procs *os.File
	// Tasks are the group's files of version 1. A process enters by writing 0 to
	// each, which costs little as long as it has one thread.
	Tasks []*os.File
}

// Entrance opens what leads into the group.
func (g *Group) Entrance() (_ *Entrance, err error) {
	e := &Entrance{}
	defer func() {
		if err != nil {
			err = errors.Join(err, e.Close())
		}
	}()
	open := func(l leg, name string) (*os.File, error) {
		return os.OpenFile(l.dir+"/"+name, os.O_WRONLY|unix.O_CLOEXEC, 0)
	}
	for _, l := range g.joins() {
		if !l.h.v2 {
			f, err := open(l, "tasks")
			if err != nil {
				return nil, err
			}
			e.Tasks = append(e.Tasks, f)
			continue
		}
		if e.Dir, err = openDir(l.dir); err != nil {
			return nil, err
		}
		if e.Procs, err = open(l, "cgroup.procs"); err != nil {
			return nil, err
		}
	}
	return e, nil
}

// Close closes the files. A nil Entrance has none.
func (e *Entrance) Close() error {
	if e == nil {
		return nil
	}
	var errs []error
	for _, f := range append([]*os.File{e.Dir, e.Procs}, e.Tasks...) {
		if f != nil {
			errs = append(errs, f.Close())
		}
	}
	return errors.Join(errs...)
}
