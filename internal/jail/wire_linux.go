package jail

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// kind is what a message between the host and a first process is about.
type kind byte

const (
	// To the first process.
	msgHello    kind = iota + 1 // see hello; descriptor: /dev/pts of the host, if it has one
	msgStart                    // nums: tty (2: to be relayed), arguments, how a relayed terminal is set up, then 1 or 0 for each descriptor; strs: path, dir, args…, env…; descriptors: those with 1
	msgSignal                   // nums: signal
	msgKill                     // the tree of the program
	msgProbe                    // strs: canary path
	msgTerminal                 // nums: a signal for the foreground of its terminal, or 0, rows, columns

	// To a broker.
	msgScript // nums: the broker waits, a control group of version 2, clone flags; descriptors: where it answers, the script's memory, the group's directory if there is one, those of the script

	// From the first process.
	msgReady   // the handshake is done; descriptors: a pidfd of the first process, its mount namespace and the proxy's listener, where they were asked for
	msgRefused // strs: why; it ends after this
	msgStarted // nums: pid
	msgFailed  // nums: stage, errno; strs: what
	msgExited  // nums: wait status
	msgDone    // nums: errno; the answer to msgSignal, msgKill, msgTerminal and msgProbe; strs: findings

	// From a broker.
	msgForked // nums: errno of the fork, the process, or its wait status where the broker waited; descriptors: what was told
)

// protocol changes with every change of the messages; it can only differ from
// the other side's when something else than this program was executed.
const protocol = 0x6a61_0006

// message is the one shape of everything that is sent. id ties an answer to its
// request, and in msgStart names the program that later messages are about.
//
// On the wire it is its length in 4 bytes, its kind, and unsigned varints and
// length-prefixed strings; that keeps arguments that are not UTF-8 as they are.
type message struct {
	kind  kind
	id    uint64
	about uint64 // the program that a request concerns
	nums  []int64
	strs  []string
}

const (
	maxMessage = 16 << 20 // far above the kernel's limit on arguments
	maxFDs     = 250      // SCM_MAX_FD is 253
)

func (m *message) append(b []byte) []byte {
	b = append(b, byte(m.kind))
	b = binary.AppendUvarint(b, m.id)
	b = binary.AppendUvarint(b, m.about)
	b = binary.AppendUvarint(b, uint64(len(m.nums)))
	for _, n := range m.nums {
		b = binary.AppendVarint(b, n)
	}
	b = binary.AppendUvarint(b, uint64(len(m.strs)))
	for _, s := range m.strs {
		b = binary.AppendUvarint(b, uint64(len(s)))
		b = append(b, s...)
	}
	return b
}

var errMessage = errors.New("jail: malformed message")

func parseMessage(b []byte) (m message, err error) {
	if len(b) == 0 {
		return m, errMessage
	}
	m.kind, b = kind(b[0]), b[1:]
	ok := true
	uvarint := func() uint64 {
		v, n := binary.Uvarint(b)
		if n <= 0 {
			ok = false
			return 0
		}
		b = b[n:]
		return v
	}
	count := func() int { // of things that take at least a byte each
		v := uvarint()
		if v > uint64(len(b)) {
			ok = false
			return 0
		}
		return int(v)
	}
	m.id, m.about = uvarint(), uvarint()
	if n := count(); n > 0 {
		m.nums = make([]int64, 0, n)
		for range n {
			v, k := binary.Varint(b)
			if k <= 0 {
				return m, errMessage
			}
			b = b[k:]
			m.nums = append(m.nums, v)
		}
	}
	if n := count(); n > 0 {
		m.strs = make([]string, 0, n)
		for range n {
			k := count()
			if !ok {
				return m, errMessage
			}
			m.strs = append(m.strs, string(b[:k]))
			b = b[k:]
		}
	}
	if !ok || len(b) != 0 {
		return m, errMessage
	}
	return m, nil
}

// num returns number i of the message, 0 when it has fewer.
func (m *message) num(i int) int64 {
	if i < len(m.nums) {
		return m.nums[i]
	}
	return 0
}

// str returns string i of the message, "" when it has fewer.
func (m *message) str(i int) string {
	if i < len(m.strs) {
		return m.strs[i]
	}
	return ""
}

// conn is one end of the socket pair. Any number of goroutines may write; one
// reads.
type conn struct {
	f   *os.File
	rc  syscall.RawConn
	oob []byte // the reader's

	mu  sync.Mutex // guards buf and keeps messages whole
	buf []byte
}

func newConn(f *os.File) (*conn, error) {
	rc, err := f.SyscallConn()
	if err != nil {
		return nil, err
	}
	return &conn{f: f, rc: rc, oob: make([]byte, unix.CmsgSpace(4*maxFDs))}, nil
}

// write sends m with descriptors fds, which stay the caller's.
func (c *conn) write(m *message, fds []int) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.buf = m.append(append(c.buf[:0], 0, 0, 0, 0))
	n := len(c.buf) - 4
	if n > maxMessage {
		return fmt.Errorf("jail: message of %d bytes, want at most %d: %w", n, maxMessage, unix.E2BIG)
	}
	binary.LittleEndian.PutUint32(c.buf, uint32(n))
	var oob []byte
	if len(fds) > 0 {
		oob = unix.UnixRights(fds...)
	}
	for b := c.buf; len(b) > 0; {
		var (
			sent int
			err  error
		)
		if rerr := c.rc.Write(func(fd uintptr) bool {
			sent, err = unix.SendmsgN(int(fd), b, oob, nil, unix.MSG_NOSIGNAL)
			return err != unix.EAGAIN
		}); rerr != nil {
			return rerr
		}
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return fmt.Errorf("jail: send: %w", err)
		}
		b, oob = b[sent:], nil // descriptors travel with the first byte
	}
	if cap(c.buf) > 1<<16 {
		c.buf = nil
	}
	return nil
}

// read receives one message and the descriptors that came with it, which are
// the caller's from then on. The end of the stream is io.EOF.
func (c *conn) read() (m message, fds []int, err error) {
	defer func() {
		if err != nil {
			closeAll(fds)
			fds = nil
		}
	}()
	var head [4]byte
	if fds, err = c.fill(head[:], fds); err != nil {
		return m, fds, err
	}
	n := binary.LittleEndian.Uint32(head[:])
	if n > maxMessage {
		return m, fds, errMessage
	}
	body := make([]byte, n)
	if fds, err = c.fill(body, fds); err != nil {
		return m, fds, err
	}
	m, err = parseMessage(body)
	return m, fds, err
}

func (c *conn) fill(b []byte, fds []int) ([]int, error) {
	for len(b) > 0 {
		var (
			n, oobn int
			err     error
		)
		if rerr := c.rc.Read(func(fd uintptr) bool {
			n, oobn, _, _, err = unix.Recvmsg(int(fd), b, c.oob, unix.MSG_CMSG_CLOEXEC)
			return err != unix.EAGAIN
		}); rerr != nil {
			return fds, rerr
		}
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return fds, fmt.Errorf("jail: receive: %w", err)
		}
		if oobn > 0 {
			got, err := parseRights(c.oob[:oobn])
			fds = append(fds, got...)
			if err != nil {
				return fds, err
			}
		}
		if n == 0 {
			return fds, io.EOF
		}
		b = b[n:]
	}
	return fds, nil
}

func (c *conn) close() error { return c.f.Close() }

func parseRights(oob []byte) (fds []int, err error) {
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, fmt.Errorf("jail: control message: %w", err)
	}
	for _, m := range msgs {
		got, err := unix.ParseUnixRights(&m)
		if err != nil {
			continue // not descriptors; nothing else is asked for
		}
		fds = append(fds, got...)
	}
	return fds, nil
}

func closeAll(fds []int) {
	for _, fd := range fds {
		unix.Close(fd)
	}
}

// fd returns the descriptor, which stays the conn's.
func (c *conn) fd() int {
	fd := -1
	_ = c.rc.Control(func(n uintptr) { fd = int(n) }) // -1 when it is closed
	return fd
}
