package cgroup

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// prefix begins the names of all programs' own directories.
const prefix = "agentflow-sandbox-"

// sweepTime bounds the clearing up of one dead program's directory.
const sweepTime = 2 * time.Second

// lease is a directory of this program's own, locked while it is open.
type lease struct {
	dir string
	f   *os.File
}

// newLease makes a directory below parent and locks it.
func (k *kernel) newLease(parent, suffix string) (*lease, error) {
	for n := range 10_000 {
		dir := fmt.Sprintf("%s/%s%d-%s-%d", parent, prefix, os.Getpid(), suffix, n)
		err := k.mkdir(dir)
		if errors.Is(err, unix.EEXIST) {
			continue // another sandbox of this program, or what a sweep could not remove
		}
		if err != nil {
			return nil, err
		}
		l, err := lock(dir)
		if err != nil || l != nil {
			return l, err
		}
		// A sweep had it between the making and the locking.
	}
	return nil, fmt.Errorf("every name below %s is taken: %w", parent, unix.EEXIST)
}

// lock locks a directory; nil if another program has it, or it is gone.
func lock(dir string) (*lease, error) {
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ENOENT) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), dir)
	for {
		err = unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB)
		if err != unix.EINTR {
			break
		}
	}
	var have, want unix.Stat_t
	if err == nil {
		err = unix.Fstat(fd, &have)
	}
	if err == nil {
		err = unix.Lstat(dir, &want)
	}
	if err == nil && have.Ino == want.Ino {
		return &lease{dir: dir, f: f}, nil
	}
	f.Close()
	if err == nil || errors.Is(err, unix.EWOULDBLOCK) || errors.Is(err, unix.ENOENT) {
		return nil, nil
	}
	return nil, err
}

// release removes the directory, which must have no groups left, and unlocks it.
func (l *lease) release(k *kernel) error {
	err := k.rmdir(l.dir)
	if errors.Is(err, unix.ENOENT) {
		err = nil
	}
	if err != nil {
		err = fmt.Errorf("cgroup: remove %s: %w", l.dir, err)
	}
	return errors.Join(err, l.unlock())
}

// own reports whether this program's user made the directory.
func (l *lease) own() bool {
	var st unix.Stat_t
	return unix.Fstat(int(l.f.Fd()), &st) == nil && int64(st.Uid) == int64(os.Geteuid())
}

// unlock gives the lock back, also where a child that has not executed its own
// program yet has the descriptor too.
func (l *lease) unlock() error {
	return errors.Join(unix.Flock(int(l.f.Fd()), unix.LOCK_UN), l.f.Close())
}

// besideMost bounds how many groups beside a program's own are looked into.
const besideMost = 1000

// sweep removes what dead programs of this namespace left below parent and below
// the groups beside it: who starts a program anew, from another login or as
// another service, may start it in another group.
func (k *kernel) sweep(h *hierarchy, parent, suffix string) {
	k.sweepBelow(h, parent, suffix)
	if parent == h.mount {
		return
	}
	up := filepath.Dir(parent)
	k.sweepBelow(h, up, suffix)
	entries, err := os.ReadDir(up)
	if err != nil {
		return
	}
	for _, e := range entries[:min(len(entries), besideMost)] {
		if dir := filepath.Join(up, e.Name()); e.IsDir() && dir != parent {
			k.sweepBelow(h, dir, suffix)
		}
	}
}

// sweepBelow removes what dead programs of this namespace and user left below parent.
// What cannot be removed is left for the next one. Another user may have made a
// directory of such a name for root to kill what is in it, or to be kept busy.
func (k *kernel) sweepBelow(h *hierarchy, parent, suffix string) {
	entries, err := os.ReadDir(parent)
	if err != nil {
		return
	}
	for _, e := range entries {
		rest, ours := strings.CutPrefix(e.Name(), prefix)
		parts := strings.Split(rest, "-")
		if !ours || !e.IsDir() || len(parts) != 3 || parts[1] != suffix {
			continue
		}
		l, err := lock(filepath.Join(parent, e.Name()))
		if err != nil || l == nil {
			continue
		}
		if l.own() {
			ctx, cancel := context.WithTimeout(context.Background(), sweepTime)
			if err := k.kill(ctx, []leg{{h: h, dir: l.dir}}); err == nil {
				_ = k.remove(ctx, l.dir) // see above
			}
			cancel()
		}
		_ = l.unlock() // closed anyway
	}
}

// suffix names this program's cgroup namespace, the only one in which its locks
// are seen.
func (k *kernel) suffix() (string, error) {
	link, err := os.Readlink(k.proc + "/self/ns/cgroup")
	if err != nil {
		return "", fmt.Errorf("cgroup: %w", err)
	}
	number := strings.TrimSuffix(strings.TrimPrefix(link, "cgroup:["), "]")
	if number == "" || strings.Trim(number, "0123456789") != "" {
		return "", fmt.Errorf("cgroup: namespace %q, want cgroup:[number]", link)
	}
	return number, nil
}
