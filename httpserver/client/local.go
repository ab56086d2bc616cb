package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/agentflow-go/sandbox"
)

// LocalServer is a server that [Client.Connect] starts on this machine if none
// answers, and [Client.Close] stops.
type LocalServer struct {
	// Command is the program with its arguments, such as
	// {"sandbox-server", "--config", "sandbox.json"}. It must listen on the
	// client's base URL, whose host must be a loopback name or address.
	Command []string
	Dir     string    // its working directory; "": this process's
	Env     []string  // added to this process's environment
	Output  io.Writer // gets what it prints; nil: nothing is kept but the end, for errors
	// StartTimeout is how long it may take to answer; 0: 30 s.
	StartTimeout time.Duration
	// StopTimeout is how long it may take to end before it is killed; 0: 15 s.
	StopTimeout time.Duration
}

// check refuses what cannot work.
func (l *LocalServer) check(u *url.URL) error {
	if len(l.Command) == 0 {
		return errors.New("client: Options.Local: Command is empty")
	}
	if addr, err := netip.ParseAddr(u.Hostname()); u.Hostname() != "localhost" && (err != nil || !addr.IsLoopback()) {
		return fmt.Errorf("client: Options.Local: the server's host must be a loopback name or address, not %q", u.Hostname())
	}
	return nil
}

// process is a server that was started.
type process struct {
	cmd  *exec.Cmd
	tail tail
	done chan struct{} // closed when it has ended
	err  error         // why; set before done is closed
	wait time.Duration
}

// startLocal starts the server and waits until it answers.
func (c *Client) startLocal(ctx context.Context) error {
	l := c.o.Local
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.local != nil {
		if err := c.local.stop(); err != nil { // it was started before and answers no more
			return err
		}
		c.local = nil
	}
	p := &process{cmd: exec.Command(l.Command[0], l.Command[1:]...), done: make(chan struct{}), wait: l.StopTimeout}
	if p.wait <= 0 {
		p.wait = 15 * time.Second
	}
	p.cmd.Dir = l.Dir
	p.cmd.Env = append(os.Environ(), l.Env...)
	var out io.Writer = &p.tail
	if l.Output != nil {
		out = io.MultiWriter(&p.tail, l.Output)
	}
	p.cmd.Stdout, p.cmd.Stderr = out, out // one writer: exec does not write to it concurrently
	p.cmd.WaitDelay = time.Second         // a grandchild that keeps the pipe open holds nobody up
	if err := p.cmd.Start(); err != nil {
		return sandbox.Errorf(sandbox.ErrDependency, "starting the local server: %w", err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	if err := c.awaitLocal(ctx, p); err != nil {
		return errors.Join(err, p.stop())
	}
	c.local = p
	return nil
}

// awaitLocal polls until the server answers. If the process ends first, another
// may have been faster to take the port: the last look decides.
func (c *Client) awaitLocal(ctx context.Context, p *process) error {
	limit := c.o.Local.StartTimeout
	if limit <= 0 {
		limit = 30 * time.Second
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := c.Health(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-p.done:
			if c.Health(ctx) == nil {
				return nil
			}
			return sandbox.Errorf(sandbox.ErrDependency, "the local server ended (%v) before it answered: %s", p.err, p.tail.text())
		case <-ctx.Done():
			return sandbox.Errorf(sandbox.ErrDependency, "the local server did not answer in time: %w (%v) %s", ctx.Err(), err, p.tail.text())
		case <-tick.C:
		}
	}
}

// stop ends the server: politely, and after a while by force. How it ends is
// not an error then.
func (p *process) stop() error {
	select {
	case <-p.done:
		return nil
	default:
	}
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		_ = p.cmd.Process.Kill()
	}
	timer := time.NewTimer(p.wait)
	defer timer.Stop()
	select {
	case <-p.done:
		return nil
	case <-timer.C:
	}
	_ = p.cmd.Process.Kill() // fails only if it has ended
	<-p.done
	return fmt.Errorf("client: the local server did not end within %v of SIGTERM and was killed", p.wait)
}

// tail keeps the end of what a process prints.
type tail struct {
	mu  sync.Mutex // guards buf
	buf []byte
}

func (t *tail) Write(b []byte) (int, error) {
	const kept = 2048
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, b...)
	if cut := len(t.buf) - kept; cut > 0 {
		t.buf = append(t.buf[:0], t.buf[cut:]...)
	}
	return len(b), nil
}

func (t *tail) text() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.TrimSpace(string(t.buf))
}
