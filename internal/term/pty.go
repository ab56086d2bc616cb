package term

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// tty is a pseudo-terminal of which the host keeps both ends.
type tty struct {
	master *os.File // non-blocking; read by one goroutine only
	slave  *os.File // a description of the host's own: fences, settings
	plain  unix.Termios
}

// openTTY makes a pseudo-terminal. With raw output, what is written comes out
// unchanged and nothing typed is echoed; otherwise it has the usual settings.
func openTTY(rows, cols int, rawOutput bool) (*tty, error) {
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open /dev/ptmx: %w", err)
	}
	t := &tty{master: os.NewFile(uintptr(fd), "ptmx")}
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.master.Close()
		return nil, fmt.Errorf("unlock a pseudo-terminal: %w", err)
	}
	// Opened by way of the master: no path, and blocking. The usual libraries
	// give a non-blocking slave; the kernel may then take a part of a fence, and
	// somebody else's output would tear it. A blocking write is atomic.
	if t.slave, err = t.peer(); err != nil {
		t.master.Close()
		return nil, err
	}
	err = control(t.slave, func(fd int) error {
		tio, err := unix.IoctlGetTermios(fd, unix.TCGETS)
		if err != nil {
			return err
		}
		if rawOutput {
			tio.Oflag &^= unix.OPOST
			tio.Lflag &^= unix.ECHO | unix.ECHOE | unix.ECHOK | unix.ECHONL | unix.ECHOCTL | unix.ECHOKE
		}
		tio.Iflag |= unix.IUTF8
		t.plain = *tio
		return unix.IoctlSetTermios(fd, unix.TCSETS, tio)
	})
	if err == nil {
		err = t.resize(rows, cols)
	}
	if err != nil {
		t.close()
		return nil, fmt.Errorf("set up a pseudo-terminal: %w", err)
	}
	return t, nil
}

// peer opens the slave once more, for a process: a description that is not
// shared with the host's, so that neither can change the other's file flags.
func (t *tty) peer() (*os.File, error) {
	var f *os.File
	err := control(t.master, func(fd int) error {
		n, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.TIOCGPTPEER, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC)
		if errno != 0 {
			return errno
		}
		f = os.NewFile(n, "pty")
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("open the pseudo-terminal's slave: %w", err)
	}
	return f, nil
}

const lineDiscipline = 0 // N_TTY, a terminal's usual one

// restore puts the terminal's settings back, and restarts output that was
// stopped, whatever programs did to them.
func (t *tty) restore() error {
	return control(t.slave, func(fd int) error {
		if n, err := unix.IoctlGetInt(fd, unix.TIOCGETD); err != nil || n != lineDiscipline {
			if err := unix.IoctlSetPointerInt(fd, unix.TIOCSETD, lineDiscipline); err != nil {
				return err
			}
		}
		now, err := unix.IoctlGetTermios(fd, unix.TCGETS)
		if err != nil {
			return err
		}
		if *now != t.plain {
			if err := unix.IoctlSetTermios(fd, unix.TCSETS, &t.plain); err != nil {
				return err
			}
		}
		return unix.IoctlSetInt(fd, unix.TCXONC, 1) // TCOON
	})
}

func (t *tty) resize(rows, cols int) error {
	return control(t.slave, func(fd int) error {
		return unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: uint16(rows), Col: uint16(cols)})
	})
}

// signal sends SIGINT, SIGQUIT or SIGTSTP to the foreground process group,
// also when the terminal is in raw mode and ctrl-C is a byte like any other.
func (t *tty) signal(sig unix.Signal) error {
	return control(t.master, func(fd int) error {
		return unix.IoctlSetInt(fd, unix.TIOCSIG, int(sig))
	})
}

// foreground returns the foreground process group and the session that own the
// terminal, numbered as this process sees them; 0: none, or not visible.
func (t *tty) foreground() (pgrp, session int) {
	_ = control(t.master, func(fd int) error {
		if n, err := unix.IoctlGetInt(fd, unix.TIOCGPGRP); err == nil {
			pgrp = n
		}
		if n, err := unix.IoctlGetInt(fd, unix.TIOCGSID); err == nil {
			session = n
		}
		return nil
	})
	return pgrp, session
}

// unread reports whether there is output that was not read yet.
func (t *tty) unread() bool {
	n := 0
	_ = control(t.master, func(fd int) (err error) {
		// Unlike FIONREAD it takes what is still on its way through the kernel.
		n, err = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
		return err
	})
	return n > 0
}

func (t *tty) close() {
	t.master.Close()
	t.slave.Close()
}

// control runs fn on a file's descriptor without changing its blocking mode.
func control(f *os.File, fn func(fd int) error) error {
	c, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var ferr error
	if err := c.Control(func(fd uintptr) { ferr = fn(int(fd)) }); err != nil {
		return err
	}
	return ferr
}

// pipe makes a pipe; the ends that stay with the host are non-blocking, so that
// closing them wakes whoever reads or writes, those for a process are blocking.
func pipe(hostReads bool) (host, process *os.File, err error) {
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		return nil, nil, fmt.Errorf("make a pipe: %w", err)
	}
	h, c := p[1], p[0]
	if hostReads {
		h, c = p[0], p[1]
	}
	if err := unix.SetNonblock(h, true); err != nil {
		unix.Close(p[0])
		unix.Close(p[1])
		return nil, nil, err
	}
	return os.NewFile(uintptr(h), "pipe"), os.NewFile(uintptr(c), "pipe"), nil
}
