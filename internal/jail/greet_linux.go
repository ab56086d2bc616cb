package jail

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// open starts the first process and shakes hands with it. After an error nothing
// is left.
func (j *Jail) open(ctx context.Context, binds []Bind) (err error) {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("jail: %w", err)
	}
	spec := &Spec{
		Identity: j.policy.Identity, Limits: j.policy.Limits, group: j.group,
		TmpSize: j.sizeOf(j.policy.TmpSize, DefaultTmpSize, 2), ShmSize: j.sizeOf(j.policy.ShmSize, DefaultShmSize, 4),
		Binds: binds, NestedUserNS: j.nested, network: j.net,
	}
	first, err := j.h.driver.Launch(ctx, spec)
	if err != nil {
		return fmt.Errorf("jail: start: %w", err)
	}
	if first.Settled != nil {
		defer first.Settled()
	}
	j.boss = first.Boss
	if j.c, err = newConn(first.Conn); err == nil {
		err = j.greet(ctx, first.Conn, spec)
	}
	if err == nil {
		return nil
	}
	first.Conn.Close()
	j.boss.Abandon()
	if j.pidfd >= 0 {
		unix.Close(j.pidfd)
	}
	j.proxy.stop()
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	return first.Explain(err)
}

// greet sends the handshake and waits for its answer.
func (j *Jail) greet(ctx context.Context, f *os.File, spec *Spec) error {
	if err := f.SetDeadline(time.Now().Add(helloTime)); err != nil {
		return err
	}
	// A deadline in the past wakes the reader. If it strikes after the answer
	// came, the jail dies of it: that is what a cancelled start is for.
	stop := context.AfterFunc(ctx, func() { _ = f.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	var fds []int
	hello, t := j.hello(), &j.h.traits
	if !t.Unconfined && !t.OtherKernel {
		// A program's terminal is a device of the host's, which it opens again as
		// /dev/stderr.
		if pts, err := openPath("/dev/pts", unix.O_DIRECTORY); err == nil { // else there are none
			defer pts.Close()
			fds = []int{int(pts.Fd())}
		}
	}
	m := hello.message()
	if err := j.c.write(&m, fds); err != nil {
		return err
	}
	m, fds, err := j.c.read()
	if err == io.EOF {
		return errors.New("the first process ended without an answer")
	}
	if err != nil {
		return err
	}
	if m.kind == msgRefused {
		closeAll(fds)
		return fmt.Errorf("the first process refused: %s", m.str(0))
	}
	if want := int(flag(hello.pidfd) + flag(hello.mounts) + flag(hello.proxy)); m.kind != msgReady || len(fds) != want {
		closeAll(fds)
		return errMessage
	}
	if hello.pidfd {
		j.pidfd, fds = fds[0], fds[1:]
	}
	if hello.mounts {
		err := j.bound(fds[0], spec)
		unix.Close(fds[0])
		fds = fds[1:]
		if err != nil && j.policy.probing {
			j.h.log.Warn("the number of files in the jails' memory is not bounded", "error", err)
			j.h.unbounded, err = err, nil
		}
		if err != nil {
			closeAll(fds)
			return err
		}
	}
	if hello.proxy {
		if err := j.proxy.take(fds[0]); err != nil {
			return err
		}
	}
	if !stop() {
		return ctx.Err()
	}
	return f.SetDeadline(time.Time{})
}

// sizeOf is the size of a file system in memory, whose default is that part of
// the worker's memory at most: no process's death frees what it takes, and with
// no memory left the jail dies.
func (j *Jail) sizeOf(size, def, part int64) int64 {
	if size == 0 && j.group != nil && j.group.limits.Memory > 0 {
		def = min(def, j.group.limits.Memory/part)
	}
	return cmp.Or(size, def)
}
