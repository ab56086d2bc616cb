package gvisor

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/agentflow-go/sandbox/internal/gate"
	"github.com/agentflow-go/sandbox/internal/jail"
)

// endTime bounds the end of a runsc whose sandbox was killed.
const endTime = 5 * time.Second

// Launch starts runsc for one jail.
func (k *kernel) Launch(_ context.Context, s *jail.Spec) (_ *jail.First, err error) {
	door, err := k.gate.New()
	if err != nil {
		return nil, err
	}
	// Unlike any on this machine: runsc makes an abstract socket of that name.
	id := "agentflow-" + strings.ToLower(rand.Text())
	b := &boss{k: k, id: id, dir: k.path("bundle-" + id), door: door}
	var ours, theirs, null *os.File
	defer func() {
		for _, f := range []*os.File{theirs, null} {
			if f != nil {
				f.Close()
			}
		}
		if err != nil {
			if ours != nil {
				ours.Close()
			}
			b.Abandon()
		}
	}()
	if err := os.Mkdir(b.dir, 0o755); err != nil {
		return nil, fmt.Errorf("gvisor: %w", err)
	}
	if err := k.bundle(s, door, b.dir); err != nil {
		return nil, fmt.Errorf("gvisor: %w", err)
	}
	if b.log, err = os.Create(b.dir + "/log"); err != nil {
		return nil, fmt.Errorf("gvisor: %w", err)
	}
	if null, err = os.OpenFile(os.DevNull, os.O_RDWR, 0); err != nil {
		return nil, err
	}
	if ours, theirs, err = jail.Socket(); err != nil {
		return nil, err
	}
	argv := []string{"runsc", "--root=" + k.path(runDir), "--network=none", "--ignore-cgroups", "--file-access-mounts=shared"}
	if k.c.Platform != "" {
		argv = append(argv, "--platform="+k.c.Platform)
	}
	argv = append(argv, "run", "--bundle="+b.dir, id)
	b.p, err = k.site.Start(s, k.runsc, argv, &os.ProcAttr{
		Dir: "/", Env: []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}, Files: []*os.File{theirs, null, b.log},
	})
	if err != nil {
		return nil, fmt.Errorf("gvisor: %w", err)
	}
	return &jail.First{
		Conn: ours, Boss: b, Explain: b.explain,
		Settled: func() {
			door.Shut()
			_ = os.Remove(b.dir + "/config.json") // tells nobody anything, and is not needed
		},
	}, nil
}

// boss is the hold on a runsc.
type boss struct {
	k        *kernel
	id, dir  string
	door     *gate.Door
	log      *os.File
	p        *os.Process // nil before it was started
	complain string
}

// Pid implements [jail.Boss].
func (b *boss) Pid() int { return b.p.Pid }

// Kill kills gVisor itself, upon which runsc clears up and ends.
func (b *boss) Kill() { jail.KillChildren(b.p.Pid) }

// Wait implements [jail.Boss].
func (b *boss) Wait() error {
	var errs []error
	if b.p != nil {
		t := time.AfterFunc(endTime, func() { _ = b.p.Kill() })
		_, err := b.p.Wait()
		t.Stop()
		errs = append(errs, err)
	}
	if b.log != nil {
		text := make([]byte, 4096)
		n, _ := b.log.ReadAt(text, 0) // the end of the file is no surprise
		b.complain = strings.Join(strings.Fields(string(bytes.ToValidUTF8(text[:n], []byte("?")))), " ")
		errs = append(errs, b.log.Close())
	}
	return errors.Join(append(errs, b.door.Close(), os.RemoveAll(b.dir))...)
}

// Abandon implements [jail.Boss].
func (b *boss) Abandon() {
	if b.p != nil {
		b.Kill()
		_ = b.p.Kill()
	}
	_ = b.Wait() // its log tells more
}

// explain says why there is no jail.
func (b *boss) explain(cause error) error {
	e := &jail.UnavailableError{
		Level: b.k.name, Err: cause, Reason: "runsc made no jail: " + cause.Error(),
		Remedy: "run it by hand to see why: runsc --network=none do true; where it hangs, try another platform (drivers.gvisor.platform: ptrace)",
	}
	if b.complain != "" {
		e.Reason += fmt.Sprintf("; it said %q", b.complain)
	}
	return e
}
