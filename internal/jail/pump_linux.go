package jail

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// pumps are the goroutines that copy between a program's pipes and the readers
// and writers of its caller, and the descriptors around them.
type pumps struct {
	theirs [3]*os.File // the program's standard streams; nil: nothing
	close  []*os.File  // those of theirs, and others, that were made here

	stdin io.Reader // copied to in
	in    *os.File
	outs  []output

	wg   sync.WaitGroup // the outputs
	mu   sync.Mutex     // guards errs
	errs []error
}

type output struct {
	r *os.File
	w io.Writer
}

// open makes the pipes for c. They are given to the user owner, unless -1 or everybody.
func (p *pumps) open(c *Cmd, owner int) (err error) {
	defer func() {
		if err != nil {
			p.sent()
			p.abort()
		}
	}()
	if c.TTY != nil {
		if owner >= 0 {
			if err := giveTTY(c.TTY, owner); err != nil {
				return err
			}
		}
		p.theirs = [3]*os.File{c.TTY, c.TTY, c.TTY}
		return nil
	}
	switch in := c.Stdin.(type) {
	case nil:
	case *os.File:
		p.theirs[0] = in
	default:
		r, w, err := pipe(owner, true)
		if err != nil {
			return err
		}
		p.theirs[0], p.in, p.stdin = r, w, in
		p.close = append(p.close, r)
	}
	for i, out := range []io.Writer{c.Stdout, c.Stderr} {
		switch out := out.(type) {
		case nil:
		case *os.File:
			p.theirs[i+1] = out
		default:
			if i == 1 && c.Stdout != nil && same(c.Stdout, out) {
				p.theirs[2] = p.theirs[1]
				continue
			}
			r, w, err := pipe(owner, false)
			if err != nil {
				return err
			}
			p.theirs[i+1] = w
			p.close = append(p.close, w)
			p.outs = append(p.outs, output{r, out})
		}
	}
	return nil
}

// giveTTY makes owner the owner of a pty's slave, and of nothing else: a device
// of the host that was passed by mistake must not change hands.
func giveTTY(f *os.File, owner int) error {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return fmt.Errorf("jail: TTY: %w", err)
	}
	// Major numbers 136 to 143 are Unix98 slaves.
	if major := unix.Major(st.Rdev); st.Mode&unix.S_IFMT != unix.S_IFCHR || major < 136 || major > 143 {
		return fmt.Errorf("jail: TTY %s: want a pty's slave", f.Name())
	}
	if err := unix.Fchown(int(f.Fd()), owner, -1); err != nil {
		return fmt.Errorf("jail: give the TTY to the jail's user: %w", err)
	}
	return nil
}

// same tells whether two writers are one. Those that cannot be compared are not.
func same(a, b io.Writer) bool {
	defer func() { _ = recover() }() // a comparison of, say, two slices
	return a == b
}

// everybody, as an owner, lets all users open a pipe again who can reach it, which
// are those who look into the processes that have it. Another kernel does not know
// the users of this one.
const everybody = -2

// pipe makes a pipe between the host (in its poller) and a program (blocking).
func pipe(owner int, hostWrites bool) (r, w *os.File, err error) {
	var fd [2]int
	if err := unix.Pipe2(fd[:], unix.O_CLOEXEC); err != nil {
		return nil, nil, fmt.Errorf("jail: pipe: %w", err)
	}
	host := fd[0]
	if hostWrites {
		host = fd[1]
	}
	err = unix.SetNonblock(host, true)
	switch {
	case err != nil:
	case owner >= 0:
		err = unix.Fchown(fd[0], owner, -1)
	case owner == everybody:
		err = unix.Fchmod(fd[0], 0o666)
	}
	if err != nil {
		closeAll(fd[:])
		return nil, nil, fmt.Errorf("jail: pipe: %w", err)
	}
	return os.NewFile(uintptr(fd[0]), "pipe"), os.NewFile(uintptr(fd[1]), "pipe"), nil
}

// sent closes what the program has by now.
func (p *pumps) sent() {
	for _, f := range p.close {
		f.Close()
	}
	p.close = nil
}

// abort closes what run would have used.
func (p *pumps) abort() {
	if p.in != nil {
		p.in.Close()
	}
	for _, o := range p.outs {
		o.r.Close()
	}
}

// run starts the goroutines.
func (p *pumps) run() {
	if p.in != nil {
		go func() { // ends when the reader does, or at the first write after the program's end
			_, err := io.Copy(p.in, p.stdin)
			if err != nil && !errors.Is(err, unix.EPIPE) && !errors.Is(err, os.ErrClosed) {
				p.fail(fmt.Errorf("jail: stdin: %w", err))
			}
			p.in.Close()
		}()
	}
	for _, o := range p.outs {
		p.wg.Go(func() {
			defer o.r.Close()
			if err := o.copy(); err != nil {
				p.fail(err)
			}
		})
	}
}

func (p *pumps) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.errs = append(p.errs, err)
}

// wait waits for the end of the outputs, which comes soon after deadline at the
// latest.
func (p *pumps) wait(deadline time.Time) error {
	if p.in != nil {
		p.in.Close()
	}
	for _, o := range p.outs {
		_ = o.r.SetReadDeadline(deadline) // it may be closed already: that is the end
	}
	p.wg.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	return errors.Join(p.errs...)
}

// pipeSize is the most that a pipe holds unless root made it larger.
const pipeSize = 1 << 20

// copy copies until the end of the pipe. When the deadline strikes first it
// still takes what is in the pipe, so that a slow writer loses nothing that the
// program wrote before its end.
func (o output) copy() error {
	buf := make([]byte, 32<<10)
	var werr error
	for {
		n, err := o.r.Read(buf)
		werr = o.write(buf[:n], werr)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return errors.Join(werr, o.drain(buf, werr))
		}
		if err != nil { // io.EOF: a pipe has no other
			return werr
		}
	}
}

// write hands b on. After an error it only swallows, so that the program does
// not hang on a full pipe.
func (o output) write(b []byte, failed error) error {
	if failed != nil || len(b) == 0 {
		return failed
	}
	n, err := o.w.Write(b)
	if err == nil && n < len(b) {
		err = io.ErrShortWrite
	}
	if err != nil {
		return fmt.Errorf("jail: output: %w", err)
	}
	return nil
}

func (o output) drain(buf []byte, werr error) error {
	rc, err := o.r.SyscallConn()
	if err != nil {
		return err
	}
	for total := 0; total < pipeSize; {
		var n int
		if cerr := rc.Control(func(fd uintptr) { n, err = unix.Read(int(fd), buf) }); cerr != nil {
			return cerr
		}
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			break // EAGAIN: it is empty
		}
		if n == 0 {
			return nil // the end, after all
		}
		total += n
		if werr = o.write(buf[:n], werr); werr != nil {
			return werr
		}
	}
	return ErrWaitDelay
}
