//go:build unix

package gate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// The names in a [Door], which a container sees below the place where it is bound.
const (
	ProgramName = "init"
	SocketName  = "host"
)

// Gate is a directory of doors and the one copy of the program that all have a
// link to. Its methods may be called concurrently.
type Gate struct {
	dir  string
	last atomic.Int64
}

// Open puts a copy of the program of mode mode into dir, which must be private to
// this program and empty, and is the caller's to remove.
func Open(dir string, program io.ReaderAt, mode os.FileMode) (*Gate, error) {
	// A child that this program has forked and that has not executed its own program
	// yet has a copy of every descriptor. With one that writes to the file nobody
	// could execute it.
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	f, err := os.OpenFile(filepath.Join(dir, ProgramName), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, fmt.Errorf("gate: %w", err)
	}
	_, err = io.Copy(f, io.NewSectionReader(program, 0, 1<<62))
	err = errors.Join(err, f.Chmod(mode), f.Close())
	if err != nil {
		return nil, fmt.Errorf("gate: copy the program: %w", err)
	}
	return &Gate{dir: dir}, nil
}

// Door is the directory of one container. Whoever made it closes it, also after a
// failed [Door.Listen] or [Door.Accept]. Only Shut and Close may be called
// concurrently.
type Door struct {
	Dir  string // on the host
	ln   *net.UnixListener
	once sync.Once // empties the directory
}

// New makes a door with the program in it.
func (g *Gate) New() (*Door, error) {
	d := &Door{Dir: filepath.Join(g.dir, strconv.FormatInt(g.last.Add(1), 10))}
	err := os.Mkdir(d.Dir, 0o711)
	if err == nil {
		// What the umask took away; and others than its user may not list it.
		err = errors.Join(os.Chmod(d.Dir, 0o711), os.Link(filepath.Join(g.dir, ProgramName), filepath.Join(d.Dir, ProgramName)))
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("gate: %w", err), os.RemoveAll(d.Dir))
	}
	return d, nil
}

// Listen adds the socket, which only that user may connect to.
func (d *Door) Listen(uid, gid int) error {
	dir, err := os.Open(d.Dir)
	if err != nil {
		return fmt.Errorf("gate: %w", err)
	}
	defer dir.Close()
	// By descriptor, for a socket's path has 107 bytes at most.
	name := fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), SocketName)
	if d.ln, err = net.ListenUnix("unix", &net.UnixAddr{Name: name, Net: "unix"}); err != nil {
		return fmt.Errorf("gate: %w", err)
	}
	d.ln.SetUnlinkOnClose(false) // the name will mean something else by then
	path := filepath.Join(d.Dir, SocketName)
	if err := errors.Join(os.Chmod(path, 0o600), os.Lchown(path, uid, gid)); err != nil {
		return fmt.Errorf("gate: socket: %w", err)
	}
	return nil
}

// pollTime is how often [Door.Accept] asks whether there is somebody to wait for.
const pollTime = 100 * time.Millisecond

// Accept waits for the first process to connect, as long as alive returns nil, and
// lets nobody else in after it. The caller closes the connection.
func (d *Door) Accept(ctx context.Context, alive func() error) (*os.File, error) {
	defer d.ln.Close()
	for {
		if err := d.ln.SetDeadline(time.Now().Add(pollTime)); err != nil {
			return nil, fmt.Errorf("gate: %w", err)
		}
		c, err := d.ln.AcceptUnix()
		if err == nil {
			f, err := c.File()
			return f, errors.Join(err, c.Close())
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return nil, fmt.Errorf("gate: %w", err)
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if err := alive(); err != nil {
			return nil, err
		}
	}
}

// Shut takes everything out of the directory; once is enough, and more do nothing.
func (d *Door) Shut() {
	d.once.Do(func() {
		if d.ln != nil {
			d.ln.Close()
		}
		left, _ := os.ReadDir(d.Dir) // Close would tell
		for _, e := range left {
			_ = os.Remove(filepath.Join(d.Dir, e.Name()))
		}
	})
}

// Close removes the directory.
func (d *Door) Close() error {
	d.Shut()
	return os.RemoveAll(d.Dir)
}
