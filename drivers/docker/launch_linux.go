package docker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/agentflow-go/sandbox/internal/gate"
	"github.com/agentflow-go/sandbox/internal/jail"
	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
	"golang.org/x/sys/unix"
)

const (
	// launchTime bounds a start where the caller's context does not.
	launchTime = time.Minute
	// endTime bounds the end of a container that was killed.
	endTime = 30 * time.Second
)

// Launch makes a container, starts it, and waits until its first process has
// connected.
func (e *engine) Launch(ctx context.Context, s *jail.Spec) (_ *jail.First, err error) {
	ctx, cancel := context.WithTimeout(ctx, launchTime)
	defer cancel()
	door, err := e.gate.New()
	if err != nil {
		return nil, err
	}
	b := &boss{e: e, door: door}
	defer func() {
		if err != nil {
			b.Abandon()
		}
	}()
	if err := door.Listen(s.Identity.UID, s.Identity.GID); err != nil {
		return nil, err
	}
	files := jail.EtcFiles(s.Identity.UID, s.Identity.GID)
	own := map[string]string{}
	for _, name := range perUser {
		own[name] = files[name]
	}
	if err := jail.WriteFiles(door.Dir, own); err != nil {
		return nil, fmt.Errorf("docker: %w", err)
	}
	made, err := e.cli.ContainerCreate(ctx, e.options(s, door))
	if err != nil {
		return nil, e.unavailable("the engine makes no container", err, "see its log (journalctl -u docker)")
	}
	b.id = made.ID
	if _, err := e.cli.ContainerStart(ctx, b.id, client.ContainerStartOptions{}); err != nil {
		return nil, e.unavailable("the engine starts no container", err,
			"it must see the same files and processes as this program: not from within another container, nor with a data directory of mode noexec")
	}
	conn, err := door.Accept(ctx, func() error { return b.alive(ctx) })
	if err != nil {
		return nil, e.unavailable("the first process of a container did not connect", err, "look for a rule of AppArmor or SELinux that forbids it")
	}
	defer func() {
		if err != nil {
			conn.Close()
		}
	}()
	if b.pid, err = peer(conn, s.Identity.UID); err != nil {
		return nil, e.unavailable("the first process of a container", err, "the engine must run in the process namespace of this program")
	}
	if err := s.Join(b.pid); err != nil {
		return nil, fmt.Errorf("docker: %w", err)
	}
	return &jail.First{
		Conn: conn, Boss: b, Settled: door.Shut,
		Explain: func(cause error) error {
			return e.unavailable("a container of image "+e.image+" is not fit to be a jail", cause, "see docs/drivers.md")
		},
	}, nil
}

// peer returns the process that connected, and checks that it is the user's.
func peer(conn *os.File, uid int) (int, error) {
	rc, err := conn.SyscallConn()
	if err != nil {
		return 0, err
	}
	var cred *unix.Ucred
	var cerr error
	if err := rc.Control(func(fd uintptr) { cred, cerr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); err != nil {
		return 0, err
	}
	if cerr != nil {
		return 0, cerr
	}
	if cred.Pid <= 0 || int(cred.Uid) != uid {
		return 0, fmt.Errorf("process %d of user %d connected, want one that can be seen here, of user %d", cred.Pid, cred.Uid, uid)
	}
	return int(cred.Pid), nil
}

// boss is the hold on a container.
type boss struct {
	e    *engine
	door *gate.Door
	id   string // "" before it was made
	pid  int
}

// Pid implements [jail.Boss].
func (b *boss) Pid() int { return b.pid }

// Kill does nothing: the host has a descriptor of the first process.
func (b *boss) Kill() {}

// Abandon implements [jail.Boss].
func (b *boss) Abandon() {
	if err := b.Wait(); err != nil {
		b.e.site.Log.Warn("a container that did not become a jail is left", "container", b.id, "error", err)
	}
}

// Wait kills the container, if it still runs, and waits until the engine has
// removed it.
func (b *boss) Wait() error {
	err := b.remove()
	return errors.Join(err, b.door.Close())
}

func (b *boss) remove() error {
	if b.id == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), endTime)
	defer cancel()
	_, err := b.e.cli.ContainerRemove(ctx, b.id, client.ContainerRemoveOptions{Force: true, RemoveVolumes: true})
	if errdefs.IsConflict(err) { // the engine is about it already
		w := b.e.cli.ContainerWait(ctx, b.id, client.ContainerWaitOptions{Condition: container.WaitConditionRemoved})
		select {
		case <-w.Result:
			err = nil
		case err = <-w.Error:
		}
	}
	if err == nil || errdefs.IsNotFound(err) {
		return nil
	}
	return fmt.Errorf("docker: remove container %.12s: %w", b.id, err)
}

// alive returns an error if the container has ended.
func (b *boss) alive(ctx context.Context) error {
	r, err := b.e.cli.ContainerInspect(ctx, b.id, client.ContainerInspectOptions{})
	if err != nil {
		if errdefs.IsNotFound(err) {
			return errors.New("the container ended at once")
		}
		return err
	}
	if st := r.Container.State; st != nil && !st.Running {
		return fmt.Errorf("the container ended with status %d %s", st.ExitCode, st.Error)
	}
	return nil
}
