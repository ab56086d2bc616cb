package jail_test

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"os"
	"sync"
	"syscall"
	"testing"

	"github.com/agentflow-go/sandbox/internal/jail"
	"golang.org/x/sys/unix"
)

// Jails do not hang on the broker that forked them, and the next one is forked by
// another.
func TestJailsOutliveTheirBroker(t *testing.T) {
	t.Parallel()
	h := open(t, jail.Options{Level: "native"})
	j := newJail(t, h)
	first := h.Broker()
	end, err := unix.PidfdOpen(first, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(end)
	if err := syscall.Kill(first, syscall.SIGKILL); err != nil {
		t.Fatalf("kill the broker, process %d: %v", first, err)
	}
	// Until its last thread has ended, and its socket is closed with it, it may take
	// one more request, and not answer it.
	eventually(t, "the broker's end", func() bool {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(end), Events: unix.POLLIN}}, 0)
		return n == 1 && err == nil
	})
	if out := sh(t, j, "echo lives"); out != "lives\n" {
		t.Errorf("the jail says %q", out)
	}
	if out := sh(t, newJail(t, h), "echo lives"); out != "lives\n" {
		t.Errorf("the next jail says %q", out)
	}
	if next := h.Broker(); next == first || next == 0 {
		t.Errorf("the broker is process %d, want another than %d", next, first)
	}
}

// A broker has the descriptors of a jail only while it forks for it, and goes with
// its Host.
func TestBrokersKeepNothing(t *testing.T) {
	t.Parallel()
	h, err := jail.Open(t.Context(), jail.Options{Level: "native"})
	if err != nil {
		t.Fatal(err)
	}
	closed := sync.OnceValue(h.Close)
	defer closed()
	p := policy(t, h)
	broker := h.Broker()
	files := func() (out []string) {
		dir := fmt.Sprintf("/proc/%d/fd", broker)
		all, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range all {
			if to, err := os.Readlink(dir + "/" + e.Name()); err == nil {
				out = append(out, e.Name()+" "+to)
			}
		}
		return out
	}
	once := func() error {
		j, err := h.NewJail(t.Context(), p)
		if err != nil {
			return err
		}
		return j.Close()
	}
	// It closes them after it has answered, so that the fewest count; and the runtime
	// opens what it needs with the first.
	fewest := math.MaxInt
	for range 4 {
		if err := once(); err != nil {
			t.Fatal(err)
		}
		fewest = min(fewest, len(files()))
	}
	for range 10 {
		if err := once(); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the broker without a jail's descriptors", func() bool { return len(files()) <= fewest })
	if err := closed(); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(broker, 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("after Close() the broker's process %d is there: %v", broker, err)
	}
}

func TestManyJailsAtOnce(t *testing.T) {
	eachConfined(t, func(t *testing.T, h *jail.Host) {
		var all sync.WaitGroup
		for i := range 16 {
			p := policy(t, h)
			all.Go(func() {
				j, err := h.NewJail(t.Context(), p)
				if err != nil {
					t.Errorf("jail %d: %v", i, err)
					return
				}
				var out bytes.Buffer
				c, err := j.Start(t.Context(), jail.Cmd{Path: "echo", Args: []string{fmt.Sprint(i)}, Stdout: &out})
				if err == nil {
					err = c.Wait()
				}
				if err = errors.Join(err, j.Close()); err != nil || out.String() != fmt.Sprintln(i) {
					t.Errorf("jail %d says %q, %v", i, out.String(), err)
				}
			})
		}
		all.Wait()
	})
}
