package workspace

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

const (
	// batchFiles is how many files of one directory are copied in a row.
	batchFiles = 32
	// maxCopiers bounds what one copy does at once.
	maxCopiers = 8
)

// copyTree copies what the directory src holds into the empty directory dst
// and gives it to uid and gid (-1: whoever we are). Something hostile may be at
// work in src, but nothing else is in dst.
//
// Links are copied as links, hard links as hard links, holes as holes; modes
// (without set-id bits) and times are kept, extended attributes are not. On
// file systems that can, data is shared until one side writes. Special files
// are left out, and so are files of others that have a further link: it may be
// outside.
//
// It is no snapshot in time: what is written meanwhile is in it or not.
// After an error dst holds a part, for the caller to remove.
func copyTree(ctx context.Context, src, dst *os.File, uid, gid int, limits CopyLimits) (CopyStats, error) {
	g, ctx := errgroup.WithContext(ctx)
	c := &copier{ctx: ctx, uid: uid, gid: gid, limits: limits, umask: umask(), work: make(chan job, 2*maxCopiers)}
	if uid == unix.Geteuid() && gid == unix.Getegid() {
		c.uid, c.gid = -1, -1
	}
	c.links.seen, c.links.dir = map[uint64]int{}, -1
	top := &twin{}
	var err error
	if top.a, err = openSide(int(src.Fd()), "."); err != nil {
		return CopyStats{}, fmt.Errorf("workspace: copy: %w", err)
	}
	if top.b, err = openSide(int(dst.Fd()), "."); err != nil {
		top.a.close()
		return CopyStats{}, fmt.Errorf("workspace: copy: %w", err)
	}
	c.owner, c.dev, c.links.root = top.a.st.Uid, top.a.st.Dev, int(dst.Fd())
	c.walk = twinWalk{visit: c.visit, enter: c.enter, unused: c.unused, lost: func(n int) { c.skipped.Add(int64(n)) }}
	for range min(max(runtime.GOMAXPROCS(0), 1), maxCopiers) {
		g.Go(c.copyFiles)
	}
	g.Go(func() error {
		defer close(c.work)
		return c.walk.run(top)
	})
	err = g.Wait()
	if lerr := c.links.remove(); err == nil {
		err = lerr
	}
	if err == nil { // the last thing that is done to it
		err = finish(int(dst.Fd()), &top.a.st, 0o700)
	}
	if ferr := c.fault.Load(); err == nil && ferr != nil {
		err = *ferr
	}
	stats := CopyStats{Bytes: c.bytes.Load(), Files: c.seen - int(c.skipped.Load()), Skipped: int(c.skipped.Load())}
	if err != nil {
		return stats, fmt.Errorf("workspace: copy: %w", err)
	}
	return stats, nil
}

type copier struct {
	ctx      context.Context // of the one call of copyTree
	uid, gid int
	limits   CopyLimits
	owner    uint32 // of the source
	dev      uint64 // of the source
	umask    uint32
	walk     twinWalk
	work     chan job
	links    links

	// The walk's own:
	seen    int    // entries found
	entries []byte // of directories
	deep    []byte // of files

	noClone, noRange atomic.Bool // the file system does not
	bytes, skipped   atomic.Int64
	fault            atomic.Pointer[error] // the first that no caller heard of
}

// job is some files of one directory, to which it holds a reference.
type job struct {
	t     *twin
	files []entry
}

type entry struct {
	name string
	kind byte
}

// visit copies the files of a directory, or leaves them to copyFiles, and
// returns its directories.
func (c *copier) visit(t *twin) ([]string, error) {
	var dirs []string
	var files []entry
	flush := func() error {
		defer func() { files = nil }()
		if len(files) == 0 {
			return nil
		}
		if t.deep { // its descriptors are about to be closed
			return c.files(t, files, &c.deep)
		}
		t.refs.Add(1)
		select {
		case c.work <- job{t, files}:
			return nil
		case <-c.ctx.Done():
			c.walk.release(t)
			return context.Cause(c.ctx)
		}
	}
	err := readEntries(t.a.fd, &c.entries, func(name string, kind byte) error {
		if c.seen++; c.seen > c.limits.Files {
			return fmt.Errorf("more than %d files: %w", c.limits.Files, ErrLimit)
		}
		switch kind {
		case unix.DT_DIR:
			dirs = append(dirs, name)
		case unix.DT_REG, unix.DT_LNK:
			if files = append(files, entry{name, kind}); len(files) == batchFiles {
				return flush()
			}
		default:
			c.skipped.Add(1)
		}
		return nil
	})
	if err == nil {
		err = flush()
	}
	return dirs, err
}

// enter makes the copy of a directory.
func (c *copier) enter(t *twin, name string) (*twin, error) {
	if c.ctx.Err() != nil {
		return nil, context.Cause(c.ctx)
	}
	a, err := openSide(t.a.fd, name)
	if swapped(err) {
		c.skipped.Add(1)
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%q: %w", name, err)
	}
	child := &twin{a: a}
	if err = made(unix.Mkdirat(t.b.fd, name, 0o700)); err == nil {
		child.b, err = openSide(t.b.fd, name)
	}
	if err == nil && c.uid != -1 {
		err = unix.Fchown(child.b.fd, c.uid, c.gid)
	}
	if err != nil {
		child.a.restore()
		child.a.close()
		if child.b.fd > 0 {
			child.b.close()
		}
		if err == errSwapped {
			c.skipped.Add(1)
			return nil, nil
		}
		return nil, fmt.Errorf("%q: %w", name, err)
	}
	return child, nil
}

// unused gives a copied directory its times and mode.
func (c *copier) unused(t *twin) {
	if !t.left || t.name == "" { // the top is not done yet
		return
	}
	if err := finish(t.b.fd, &t.a.st, 0); err != nil {
		err = fmt.Errorf("%q: %w", t.name, err)
		c.fault.CompareAndSwap(nil, &err)
	}
}

// finish gives a copied directory the times and mode of st, and more modes.
func finish(fd int, st *unix.Stat_t, more uint32) error {
	// In this order: without rights there it has no ".".
	if err := unix.UtimesNanoAt(fd, ".", []unix.Timespec{st.Atim, st.Mtim}, 0); err != nil {
		return made(err)
	}
	return made(unix.Fchmod(fd, st.Mode&0o1777|more))
}

// copyFiles does jobs until there are no more.
func (c *copier) copyFiles() error {
	buf := new([]byte)
	var err error
	for j := range c.work {
		if err == nil {
			err = c.files(j.t, j.files, buf)
		}
		c.walk.release(j.t)
	}
	return err
}

func (c *copier) files(t *twin, files []entry, buf *[]byte) error {
	for _, e := range files {
		if c.ctx.Err() != nil {
			return context.Cause(c.ctx)
		}
		var err error
		if e.kind == unix.DT_LNK {
			err = c.symlink(t, e.name)
		} else {
			err = c.regular(t, e.name, buf)
		}
		switch {
		case swapped(err):
			c.skipped.Add(1)
		case err != nil:
			return fmt.Errorf("%q: %w", e.name, err)
		}
	}
	return nil
}

// swapped reports whether an entry is gone, or is not what it was a moment ago,
// or somebody holds a lease on it (EAGAIN).
func swapped(err error) bool {
	switch err {
	case unix.EAGAIN, unix.ENOENT, unix.ELOOP, unix.ENOTDIR, unix.EXDEV, unix.ENXIO, unix.ENODEV, errSwapped:
		return true
	}
	return false
}

// symlink copies a link as it is. Nothing follows it.
func (c *copier) symlink(t *twin, name string) error {
	var st unix.Stat_t
	if err := unix.Fstatat(t.a.fd, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err
	}
	var target [unix.PathMax]byte
	n, err := unix.Readlinkat(t.a.fd, name, target[:])
	if err == unix.EINVAL { // no link any more
		return errSwapped
	}
	if err != nil {
		return err
	}
	if err := unix.Symlinkat(string(target[:n]), t.b.fd, name); err != nil {
		return made(err)
	}
	if c.uid != -1 {
		if err := unix.Fchownat(t.b.fd, name, c.uid, c.gid, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return made(err)
		}
	}
	return made(unix.UtimesNanoAt(t.b.fd, name, []unix.Timespec{st.Atim, st.Mtim}, unix.AT_SYMLINK_NOFOLLOW))
}

// made tells an error at the copy from one at what is copied, which may be
// anything. A name that is there already was found twice: a directory that is
// changed while it is read can do that.
func made(err error) error {
	switch err {
	case nil:
		return nil
	case unix.EEXIST:
		return errSwapped
	}
	return fmt.Errorf("copying it: %w", err)
}

// umask returns the modes that the program's files do not get.
func umask() uint32 {
	const unknown = 0o777 // then every mode is set
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return unknown
	}
	_, rest, ok := strings.Cut(string(b), "\nUmask:")
	var mask uint32
	if _, err := fmt.Sscanf(rest, "%o", &mask); !ok || err != nil {
		return unknown
	}
	return mask
}
