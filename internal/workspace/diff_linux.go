package workspace

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// diffTrees compares the tree a, which nobody changes, with b, in which
// something hostile may be at work. A file of b whose inode was not changed
// since the given time counts as the same if kind, mode and size are; of any
// other the data is compared, for times of modification can be set at will.
// Special files are not compared.
func diffTrees(ctx context.Context, a, b *os.File, since time.Time, limits DiffLimits) (Changes, error) {
	d := &differ{ctx: ctx, since: since, limits: limits}
	top := &twin{}
	var err error
	if top.a, err = openSide(int(a.Fd()), "."); err != nil {
		return Changes{}, fmt.Errorf("workspace: compare: %w", err)
	}
	if top.b, err = openSide(int(b.Fd()), "."); err != nil {
		top.a.restore()
		top.a.close()
		return Changes{}, fmt.Errorf("workspace: compare: %w", err)
	}
	d.walk = twinWalk{visit: d.visit, enter: d.enter, unused: func(*twin) {}, lost: func(int) { d.out.Truncated = true }}
	if err := d.walk.run(top); err != nil && err != errEnough {
		return Changes{}, fmt.Errorf("workspace: compare: %w", err)
	}
	slices.Sort(d.out.Added)
	slices.Sort(d.out.Changed)
	slices.Sort(d.out.Removed)
	return d.out, nil
}

type differ struct {
	ctx    context.Context // of the one call of diffTrees
	since  time.Time
	limits DiffLimits
	walk   twinWalk
	seen   int
	length int // of all paths
	out    Changes

	entries []byte    // of directories
	bufs    [2][]byte // of files
}

// errEnough ends a comparison that lists no more.
var errEnough = errors.New("enough")

// visit compares what two directories hold and returns those that both have.
func (d *differ) visit(t *twin) ([]string, error) {
	kinds := map[string]byte{}
	err := readEntries(t.a.fd, &d.entries, func(name string, kind byte) error {
		kinds[name] = kind
		return d.look()
	})
	if err != nil {
		return nil, err
	}
	var dirs []string
	err = readEntries(t.b.fd, &d.entries, func(name string, kind byte) error {
		if err := d.look(); err != nil {
			return err
		}
		if kind != unix.DT_DIR && kind != unix.DT_REG && kind != unix.DT_LNK {
			return nil
		}
		was, common := kinds[name]
		delete(kinds, name)
		if !common {
			return d.list(&d.out.Added, name, kind)
		}
		same, err := was == kind, error(nil)
		if same && kind == unix.DT_DIR {
			dirs = append(dirs, name)
		}
		if same {
			same, err = d.same(t, name, kind)
		}
		if err != nil || same {
			return err
		}
		return d.list(&d.out.Changed, name, kind)
	})
	for name, kind := range kinds {
		if err == nil {
			err = d.list(&d.out.Removed, name, kind)
		}
	}
	return dirs, err
}

// look counts an entry.
func (d *differ) look() error {
	if d.ctx.Err() != nil {
		return context.Cause(d.ctx)
	}
	if d.seen++; d.seen > d.limits.Files {
		d.out.Truncated = true
		return errEnough
	}
	return nil
}

// list names a difference.
func (d *differ) list(to *[]string, name string, kind byte) error {
	if len(*to) >= d.limits.Paths {
		d.out.Truncated = true
		if len(d.out.Added) >= d.limits.Paths && len(d.out.Changed) >= d.limits.Paths && len(d.out.Removed) >= d.limits.Paths {
			return errEnough
		}
		return nil
	}
	path := d.walk.path(name)
	if kind == unix.DT_DIR {
		path += "/"
	}
	if d.length += len(path); d.length > diffBytes {
		d.out.Truncated = true
		return errEnough
	}
	*to = append(*to, path)
	return nil
}

// enter opens a directory of both trees.
func (d *differ) enter(t *twin, name string) (*twin, error) {
	child := &twin{}
	var err error
	if child.a, err = openSide(t.a.fd, name); err == nil {
		if child.b, err = openSide(t.b.fd, name); err == nil {
			return child, nil
		}
		child.a.restore()
		child.a.close()
	}
	if swapped(err) {
		return nil, nil
	}
	return nil, fmt.Errorf("%q: %w", name, err)
}

// same compares two entries of the same kind.
func (d *differ) same(t *twin, name string, kind byte) (bool, error) {
	var a, b unix.Stat_t
	if err := unix.Fstatat(t.a.fd, name, &a, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return false, fmt.Errorf("%q: %w", name, err)
	}
	if unix.Fstatat(t.b.fd, name, &b, unix.AT_SYMLINK_NOFOLLOW) != nil || a.Mode&unix.S_IFMT != b.Mode&unix.S_IFMT {
		return false, nil // it is being changed
	}
	switch kind {
	case unix.DT_DIR:
		return a.Mode&0o1777 == b.Mode&0o1777, nil
	case unix.DT_LNK:
		var p, q [unix.PathMax]byte
		n, err := unix.Readlinkat(t.a.fd, name, p[:])
		if err != nil {
			return false, fmt.Errorf("%q: %w", name, err)
		}
		m, err := unix.Readlinkat(t.b.fd, name, q[:])
		return err == nil && bytes.Equal(p[:n], q[:m]), nil
	}
	if a.Mode&0o777 != b.Mode&0o777 || a.Size != b.Size {
		return false, nil
	}
	if a.Size == 0 || time.Unix(b.Ctim.Unix()).Before(d.since) {
		return true, nil
	}
	same, err := d.sameData(t, name, &a, &b)
	if swapped(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("%q: %w", name, err)
	}
	return same, nil
}

// sameData compares the data of two files of the same size.
func (d *differ) sameData(t *twin, name string, a, b *unix.Stat_t) (bool, error) {
	var fds [2]int
	for i, side := range []*side{&t.a, &t.b} {
		var st unix.Stat_t
		fd, repaired, err := openFile(side.fd, name, &st)
		if err != nil {
			return false, err
		}
		defer unix.Close(fd)
		if repaired {
			defer unix.Fchmod(fd, st.Mode&0o7777)
		}
		if st.Mode&unix.S_IFMT != unix.S_IFREG {
			return false, errSwapped
		}
		fds[i] = fd
		if d.bufs[i] == nil {
			d.bufs[i] = make([]byte, 2*smallFile)
		}
	}
	sparse := a.Blocks*512 < a.Size && b.Blocks*512 < b.Size
	for at := int64(0); at < a.Size; {
		if d.ctx.Err() != nil {
			return false, context.Cause(d.ctx)
		}
		if sparse {
			if at = min(nextData(fds[0], at, a.Size), nextData(fds[1], at, a.Size)); at >= a.Size {
				return true, nil
			}
		}
		var parts [2][]byte
		for i, fd := range fds {
			n, err := preadFull(fd, d.bufs[i][:min(int64(len(d.bufs[i])), a.Size-at)], at)
			if err != nil {
				return false, err
			}
			parts[i] = d.bufs[i][:n]
		}
		if !bytes.Equal(parts[0], parts[1]) {
			return false, nil
		}
		if len(parts[0]) == 0 { // both cut short
			return true, nil
		}
		at += int64(len(parts[0]))
	}
	return true, nil
}

// nextData returns where the next data of a file begins, its end if there is
// none.
func nextData(fd int, at, end int64) int64 {
	begin, err := unix.Seek(fd, at, unix.SEEK_DATA)
	switch err {
	case nil:
		return begin
	case unix.ENXIO:
		return end
	}
	return at // no such thing here: all is data
}

func preadFull(fd int, p []byte, at int64) (n int, err error) {
	for n < len(p) {
		m, err := unix.Pread(fd, p[n:], at+int64(n))
		if err == unix.EINTR {
			continue
		}
		if err != nil || m == 0 {
			return n, err
		}
		n += m
	}
	return n, nil
}
