package jail

import (
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// relay gives a program a terminal where the host's cannot be one: a descriptor of
// another kernel's terminal is a stream of bytes and no more. The program gets a
// terminal of the jail's own kernel, and the relay copies between the two, which
// the host has made raw.
//
// What a program writes to its terminal before it writes to a pipe has to arrive
// in that order too, for the host takes a report on a pipe as the end of the
// output. Therefore the pipes that a program writes to are relayed as well, and
// move sees to the order.
type relay struct {
	master int
	host   int       // the host's slave
	outs   []outPipe // in the order of the program's descriptors
	wake   [2]int    // closing the writing end ends the goroutines
	theirs []int     // closed once the program has them

	mu   sync.Mutex // guards the reading of master and of outs, and gone
	gone bool

	end  sync.Once
	done sync.WaitGroup
}

// outPipe is a pipe that the program writes to, and the host's that it stands for.
type outPipe struct {
	r, host int // -1: ended
}

// terminal is how a terminal is set up.
type terminal struct {
	iflag, oflag, cflag, lflag uint32
	rows, cols                 uint16
}

const terminalNums = 6

func (t *terminal) nums() []int64 {
	return []int64{int64(t.iflag), int64(t.oflag), int64(t.cflag), int64(t.lflag), int64(t.rows), int64(t.cols)}
}

func parseTerminal(n []int64) *terminal {
	return &terminal{uint32(n[0]), uint32(n[1]), uint32(n[2]), uint32(n[3]), uint16(n[4]), uint16(n[5])}
}

// lend returns how f, a pty's slave on this host, is set up, and makes it raw: what
// it was to do with bytes is done inside.
func lend(f *os.File) (*terminal, error) {
	rc, err := f.SyscallConn()
	if err != nil {
		return nil, fmt.Errorf("jail: TTY: %w", err)
	}
	var t *terminal
	var ierr error
	err = rc.Control(func(n uintptr) {
		fd := int(n)
		var tio *unix.Termios
		var size *unix.Winsize
		if tio, ierr = unix.IoctlGetTermios(fd, unix.TCGETS); ierr != nil {
			return
		}
		if size, ierr = unix.IoctlGetWinsize(fd, unix.TIOCGWINSZ); ierr != nil {
			return
		}
		t = &terminal{tio.Iflag, tio.Oflag, tio.Cflag, tio.Lflag, size.Row, size.Col}
		tio.Iflag &^= unix.BRKINT | unix.ICRNL | unix.IGNCR | unix.INLCR | unix.ISTRIP | unix.IXON | unix.IXOFF
		tio.Oflag &^= unix.OPOST
		tio.Lflag &^= unix.ECHO | unix.ECHONL | unix.ICANON | unix.ISIG | unix.IEXTEN
		tio.Cc[unix.VMIN], tio.Cc[unix.VTIME] = 1, 0
		ierr = unix.IoctlSetTermios(fd, unix.TCSETS, tio)
	})
	if err == nil {
		err = ierr
	}
	if err != nil {
		return nil, fmt.Errorf("jail: TTY: %w", err)
	}
	return t, nil
}

// newRelay puts a terminal of this kernel, and pipes, in the place of what sp has
// of the host's. After an error nothing is left.
func newRelay(sp *spawn, t *terminal) (_ *relay, err error) {
	r := &relay{master: -1, host: -1, wake: [2]int{-1, -1}}
	defer func() {
		if err != nil {
			r.abort()
		}
	}()
	if err := unix.Pipe2(r.wake[:], unix.O_CLOEXEC); err != nil {
		return nil, err
	}
	if r.host, err = unix.FcntlInt(uintptr(sp.fds[0]), unix.F_DUPFD_CLOEXEC, 0); err != nil {
		return nil, err
	}
	if r.master, err = unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0); err != nil {
		return nil, err
	}
	if err := unix.IoctlSetPointerInt(r.master, unix.TIOCSPTLCK, 0); err != nil {
		return nil, err
	}
	n, err := unix.IoctlGetInt(r.master, unix.TIOCGPTN)
	if err != nil {
		return nil, err
	}
	slave, err := unix.Open(fmt.Sprintf("/dev/pts/%d", n), unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	r.theirs = append(r.theirs, slave)
	tio, err := unix.IoctlGetTermios(slave, unix.TCGETS)
	if err != nil {
		return nil, err
	}
	tio.Iflag, tio.Oflag, tio.Cflag, tio.Lflag = t.iflag, t.oflag, t.cflag, t.lflag
	if err := unix.IoctlSetTermios(slave, unix.TCSETS, tio); err != nil {
		return nil, err
	}
	if err := r.resize(t.rows, t.cols); err != nil {
		return nil, err
	}
	for i := range sp.fds {
		if i < 3 {
			sp.fds[i] = slave
			continue
		}
		if !isOutPipe(sp.fds[i]) {
			continue
		}
		var p [2]int
		if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
			return nil, err
		}
		r.theirs = append(r.theirs, p[1])
		r.outs = append(r.outs, outPipe{r: p[0], host: -1})
		if r.outs[len(r.outs)-1].host, err = unix.FcntlInt(uintptr(sp.fds[i]), unix.F_DUPFD_CLOEXEC, 0); err != nil {
			return nil, err
		}
		sp.fds[i] = p[1]
	}
	return r, nil
}

// isOutPipe tells whether fd is a pipe's writing end.
func isOutPipe(fd int) bool {
	if fd < 0 {
		return false
	}
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	var st unix.Stat_t
	return err == nil && flags&unix.O_ACCMODE == unix.O_WRONLY && unix.Fstat(fd, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFIFO
}

// start begins to copy, once the program has its descriptors.
func (r *relay) start() {
	r.closeTheirs()
	r.done.Go(r.copyOut)
	r.done.Go(r.copyIn)
}

func (r *relay) closeTheirs() {
	closeAll(r.theirs)
	r.theirs = nil
}

// abort undoes newRelay.
func (r *relay) abort() {
	r.closeTheirs()
	for _, fd := range append([]int{r.master, r.host}, r.wake[:]...) {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
	for i := range r.outs {
		r.outs[i].close()
	}
}

// stop ends the copying; what was written by then has to be moved before. Nothing
// waits for it: a write to the host may take as long as the host likes.
func (r *relay) stop() {
	r.end.Do(func() {
		unix.Close(r.wake[1])
		r.wake[1] = -1
		go func() { // ends with the goroutines that it waits for
			r.done.Wait()
			r.mu.Lock()
			defer r.mu.Unlock()
			r.gone = true
			r.abort()
		}()
	})
}

// copyOut moves whatever there is, until the end.
func (r *relay) copyOut() {
	for {
		fds := []unix.PollFd{{Fd: int32(r.wake[0]), Events: unix.POLLIN}}
		r.mu.Lock()
		if r.master >= 0 {
			fds = append(fds, unix.PollFd{Fd: int32(r.master), Events: unix.POLLIN})
		}
		for _, o := range r.outs {
			if o.r >= 0 {
				fds = append(fds, unix.PollFd{Fd: int32(o.r), Events: unix.POLLIN})
			}
		}
		r.mu.Unlock()
		if _, err := unix.Poll(fds, -1); err != nil && err != unix.EINTR {
			return
		}
		if fds[0].Revents != 0 {
			return
		}
		if !r.move() {
			// The terminal has hung up: nobody inside has it any more.
			r.mu.Lock()
			open := false
			for _, o := range r.outs {
				open = open || o.r >= 0
			}
			r.mu.Unlock()
			if !open {
				return
			}
			if _, err := unix.Poll(fds[:1], 50); err != nil && err != unix.EINTR {
				return
			}
		}
	}
}

// move copies what was written so far. Reports (pipes of lower numbers) are read
// first and passed on last: what was written before them, anywhere, is there by
// the time that they are read. It returns false once the terminal has hung up.
func (r *relay) move() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.gone {
		return false
	}
	held := make([][]byte, len(r.outs))
	ended := make([]bool, len(r.outs))
	for i, o := range r.outs {
		if o.r >= 0 {
			held[i], ended[i] = readReady(o.r, pipeSize)
		}
	}
	b, hungUp := readReady(r.master, pipeSize)
	_ = writeAll(r.host, b) // the host has gone away, if anything
	for i := len(r.outs) - 1; i >= 0; i-- {
		o := &r.outs[i]
		if len(held[i]) > 0 && writeAll(o.host, held[i]) != nil || ended[i] {
			o.close() // the program sees it as it would see the host's
		}
	}
	return !hungUp
}

// flush moves what an ended program has written.
func (r *relay) flush() {
	for range 4 { // more than one only if there is more than a pipe holds
		r.move()
	}
}

// copyIn copies what the host types.
func (r *relay) copyIn() {
	fds := []unix.PollFd{{Fd: int32(r.wake[0]), Events: unix.POLLIN}, {Fd: int32(r.host), Events: unix.POLLIN}}
	buf := make([]byte, 4096)
	for {
		if _, err := unix.Poll(fds, -1); err != nil && err != unix.EINTR {
			return
		}
		if fds[0].Revents != 0 {
			return
		}
		n, err := unix.Read(r.host, buf)
		switch {
		case err == unix.EINTR || err == unix.EAGAIN:
		case err != nil:
			return
		case n == 0: // an end of file was typed while the host's terminal read lines
			if writeAll(r.master, []byte{4}) != nil {
				return
			}
		default:
			if writeAll(r.master, buf[:n]) != nil {
				return
			}
		}
	}
}

// resize sets the size of the program's terminal.
func (r *relay) resize(rows, cols uint16) error {
	return unix.IoctlSetWinsize(r.master, unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: cols})
}

// signal sends a signal to the foreground group of the terminal, which is not to be
// that of its own program where the signal kills.
func (r *relay) signal(sig unix.Signal, own int) error {
	group, err := unix.IoctlGetInt(r.master, unix.TIOCGPGRP)
	if err != nil {
		return err
	}
	if group <= 1 || group == own && sig == unix.SIGKILL {
		return unix.ESRCH
	}
	return unix.Kill(-group, sig)
}

func (o *outPipe) close() {
	for _, fd := range []*int{&o.r, &o.host} {
		if *fd >= 0 {
			unix.Close(*fd)
			*fd = -1
		}
	}
}

// readReady reads what can be read without waiting, up to about most bytes, and
// tells whether that was the end.
func readReady(fd, most int) (got []byte, ended bool) {
	buf := make([]byte, 32<<10)
	for len(got) < most {
		p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		if n, err := unix.Poll(p, 0); err == unix.EINTR {
			continue
		} else if err != nil || n == 0 {
			return got, err != nil
		}
		n, err := unix.Read(fd, buf)
		if err == unix.EINTR {
			continue
		}
		if err == unix.EAGAIN {
			return got, false
		}
		if err != nil || n == 0 { // EIO: a terminal that nobody has
			return got, true
		}
		got = append(got, buf[:n]...)
	}
	return got, false
}

func writeAll(fd int, b []byte) error {
	for len(b) > 0 {
		n, err := unix.Write(fd, b)
		switch {
		case err == unix.EINTR:
		case err == unix.EAGAIN:
			_, _ = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}, -1)
		case err != nil:
			return err
		default:
			b = b[n:]
		}
	}
	return nil
}
