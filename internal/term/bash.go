package term

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// bash is one life of the shell: the process and its control descriptors.
// A Shell has one after the other.
type bash struct {
	script script
	proc   Process

	in, tick *os.File      // written by the host
	out      *os.File      // read by reports
	tokens   chan []string // what bash reported, in order
	aside    *stream
	asideW   *os.File // for the fence
	notes    notes
	mute     chan struct{} // closed once nobody holds the reporting end any more
	gone     chan struct{} // closed to stop the readers
	readers  sync.WaitGroup

	reading sync.Mutex // guards inHand, and reading from out
	inHand  bool       // something of out was read and is not among the tokens yet

	exited   chan struct{} // closed once the process has ended; then:
	exitCode int
}

var errNoRoom = fmt.Errorf("a process may have fewer than %d descriptors; allow more", lowBase+21)

// startBash starts a shell on a terminal and waits until it is ready.
func startBash(ctx context.Context, o Options, sc script, t *tty, stderr *os.File, dir string) (_ *bash, err error) {
	b := &bash{
		script: sc,
		tokens: make(chan []string, 4),
		mute:   make(chan struct{}),
		gone:   make(chan struct{}),
		exited: make(chan struct{}),
	}
	b.notes.init(b.script)
	var theirs []*os.File // the process's ends: 3, 4, 5, 6 and, last, the terminal
	defer func() {
		for _, f := range theirs {
			f.Close()
		}
		if err != nil {
			b.close()
		}
	}()
	var asideR, f *os.File
	for _, end := range []struct {
		host  **os.File
		reads bool
	}{{&b.in, false}, {&b.out, true}, {&b.tick, false}, {&asideR, true}} {
		if *end.host, f, err = pipe(end.reads); err != nil {
			return nil, err
		}
		theirs = append(theirs, f)
	}
	b.asideW = theirs[3]
	theirs[3] = nil // kept
	files := append(append([]*os.File(nil), theirs[:3]...), b.asideW)
	theirs = theirs[:3]
	if stderr != nil {
		files = append(files, stderr)
	}
	b.aside = newStream(asideR, 0)
	b.aside.begin(b.notes.write)

	slave, err := t.peer()
	if err != nil {
		return nil, err
	}
	theirs = append(theirs, slave)

	boot := b.script.bootstrap()
	if dir != "" {
		boot = "builtin cd -- " + quote(dir) + " 2<&-;" + boot
	}
	b.proc, err = o.Start(ctx, Spec{
		Path:  o.Bash,
		Args:  arguments(),
		Dir:   o.Dir,
		Env:   append(append([]string(nil), o.Env...), "HISTFILE=", "PROMPT_COMMAND="+boot),
		Files: files,
		TTY:   slave,
	})
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", o.Bash, err)
	}
	go func() {
		b.exitCode = exitCode(b.proc.Wait())
		close(b.exited)
	}()
	b.readers.Add(1)
	go b.reports()
	if err := b.send("", "\n"); err != nil {
		return nil, err
	}
	return b, b.awaitReady(ctx)
}

func (b *bash) awaitReady(ctx context.Context) error {
	for {
		select {
		case ts := <-b.tokens:
			for _, t := range ts {
				if t == "R" {
					return nil
				}
			}
		case <-b.exited:
			if b.exitCode == exitNoRoom {
				return errNoRoom
			}
			return fmt.Errorf("bash ended with status %d before it was ready%s", b.exitCode, b.notes.said())
		case <-ctx.Done():
			return fmt.Errorf("bash did not get ready%s: %w", b.notes.said(), ctx.Err())
		}
	}
}

// reports splits what bash writes into NUL-terminated tokens.
func (b *bash) reports() {
	defer b.readers.Done()
	const most = 64 << 10 // of one token; only a forger writes more
	buf := make([]byte, 4096)
	var part []byte
	for {
		n := b.read(buf)
		if n <= 0 {
			close(b.mute)
			return
		}
		part = append(part, buf[:n]...)
		var ts []string
		for {
			i := bytes.IndexByte(part, 0)
			if i < 0 {
				break
			}
			ts = append(ts, string(part[:i]))
			part = part[i+1:]
		}
		if len(part) == 0 {
			part = nil
		} else if len(part) > most {
			part = part[len(part)-most:]
		}
		if ts != nil {
			select {
			case b.tokens <- ts:
			case <-b.gone:
				return
			}
		}
		b.reading.Lock()
		b.inHand = false
		b.reading.Unlock()
	}
}

// read reads from out and notes that something was. It returns 0 at the end, and
// less than that for an error.
func (b *bash) read(buf []byte) (n int) {
	rc, err := b.out.SyscallConn()
	if err != nil {
		return -1
	}
	err = rc.Read(func(fd uintptr) bool {
		b.reading.Lock()
		defer b.reading.Unlock()
		var err error
		for n, err = unix.Read(int(fd), buf); err == unix.EINTR; n, err = unix.Read(int(fd), buf) {
		}
		b.inHand = n > 0
		return err != unix.EAGAIN
	})
	if err != nil {
		return -1
	}
	return n
}

// unheard tells whether there are reports that nobody has looked at yet.
func (b *bash) unheard() bool {
	b.reading.Lock()
	defer b.reading.Unlock()
	n := 0
	err := control(b.out, func(fd int) (err error) {
		n, err = unix.IoctlGetInt(fd, unix.TIOCINQ)
		return err
	})
	return err == nil && n > 0 || b.inHand || len(b.tokens) > 0
}

// send writes to the command and tick pipes. It may block until bash reads.
func (b *bash) send(in, tick string) error {
	if tick != "" {
		if _, err := b.tick.WriteString(tick); err != nil {
			return err
		}
	}
	if in != "" {
		if _, err := b.in.WriteString(in); err != nil {
			return err
		}
	}
	return nil
}

// arguments are bash's, by which it is known too.
func arguments() []string { return []string{"--norc", "--noprofile", "--noediting", "-i"} }

// replaced reports whether the shell has become another program, by exec.
func (b *bash) replaced(t *tty) bool {
	_, shell := t.foreground()
	if shell <= 1 {
		return false // not visible from here
	}
	line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", shell))
	return err == nil && !bytes.HasSuffix(line, []byte("\x00"+strings.Join(arguments(), "\x00")+"\x00"))
}

func (b *bash) alive() bool {
	select {
	case <-b.exited:
		return false
	default:
		return true
	}
}

// kill ends the shell's own process and waits until it is gone.
func (b *bash) kill(wait time.Duration) error {
	if b.proc == nil || !b.alive() {
		return nil
	}
	err := b.proc.Signal(os.Kill)
	if err != nil && b.alive() {
		err = b.proc.Kill()
	}
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-b.exited:
		return nil
	case <-t.C:
		return errors.Join(errors.New("bash outlives SIGKILL"), err)
	}
}

// close releases the control descriptors; the process has ended, or is ended.
func (b *bash) close() error {
	err := b.kill(5 * time.Second)
	close(b.gone)
	for _, f := range []*os.File{b.in, b.tick, b.out} {
		if f != nil {
			f.Close()
		}
	}
	if b.aside != nil {
		b.aside.close()
	}
	if b.asideW != nil {
		b.asideW.Close()
	}
	b.readers.Wait()
	return err
}

// killForeground ends, by SIGKILL, what the current command runs in the
// foreground, but not the shell.
func (b *bash) killForeground(t *tty) {
	if r := relayed(b.proc); r != nil {
		_ = r.SignalTerminal(unix.SIGKILL) // never of the shell
		return
	}
	group, shell := t.foreground()
	if group <= 1 || shell <= 1 {
		return // not visible from here
	}
	if group != shell {
		if sid, err := unix.Getsid(group); err != nil || sid == shell {
			_ = unix.Kill(-group, unix.SIGKILL)
		}
		return
	}
	// Children in the shell's own group: command substitutions, or all of them
	// without job control.
	list, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", shell, shell))
	if err != nil {
		return
	}
	for _, f := range strings.Fields(string(list)) {
		if pid, err := strconv.Atoi(f); err == nil {
			if g, err := unix.Getpgid(pid); err == nil && g == shell {
				_ = unix.Kill(pid, unix.SIGKILL)
			}
		}
	}
}

// interrupt sends SIGINT to the foreground of the terminal. If that ends nothing,
// stronger means follow.
func (b *bash) interrupt(t *tty) {
	if r := relayed(b.proc); r != nil {
		_ = r.SignalTerminal(unix.SIGINT)
		return
	}
	_ = t.signal(unix.SIGINT)
}

// notes keeps what bash says aside: the last of it, for the case that it ends,
// and the prompts, which tell that it waits.
type notes struct {
	prefix  []byte   // of the markers
	name    string   // of our functions, in traces
	prompts chan int // numbers of the calls whose prompts were seen

	mu   sync.Mutex
	last []byte
	scan int // where in last to look for the next marker
}

func (n *notes) init(s script) {
	n.prefix = []byte("<" + s.key + ".")
	n.name = s.name
	n.prompts = make(chan int, 64)
}

func (n *notes) write(p []byte) {
	const most = 64 << 10
	n.mu.Lock()
	defer n.mu.Unlock()
	n.last = append(n.last, p...)
	for {
		i := bytes.Index(n.last[n.scan:], n.prefix)
		if i < 0 {
			break
		}
		i += n.scan
		j := bytes.IndexByte(n.last[i:], '>')
		if j < 0 {
			break
		}
		if g, err := strconv.Atoi(string(n.last[i+len(n.prefix) : i+j])); err == nil {
			select {
			case n.prompts <- g:
			default: // one of many is enough
			}
		}
		n.last = append(n.last[:i], n.last[i+j+1:]...)
		n.scan = i
	}
	n.scan = max(n.scan, len(n.last)-len(n.prefix)-16, 0)
	if cut := len(n.last) - most; cut > 0 {
		n.last = append(n.last[:0], n.last[cut:]...)
		n.scan = max(0, n.scan-cut)
	}
}

// reset forgets what was said and seen before a call.
func (n *notes) reset() {
	n.mu.Lock()
	n.last, n.scan = n.last[:0], 0
	n.mu.Unlock()
	for {
		select {
		case <-n.prompts:
		default:
			return
		}
	}
}

// left returns what bash printed while it ended, which is what an EXIT trap
// printed; traces of the control functions are left out.
func (n *notes) left(traced bool) []byte {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !traced {
		return append([]byte(nil), n.last...)
	}
	var kept []byte
	for line := range bytes.Lines(n.last) {
		if !bytes.HasPrefix(line, []byte("+")) && !bytes.Contains(line, []byte(n.name)) {
			kept = append(kept, line...)
		}
	}
	return kept
}

func (n *notes) said() string {
	if p := bytes.TrimSpace(n.left(false)); len(p) > 0 {
		return fmt.Sprintf(" (it said %.500q)", p)
	}
	return ""
}
