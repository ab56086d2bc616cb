package jail_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/agentflow-go/sandbox/internal/jail"
)

func TestLargeOutputAndInput(t *testing.T) {
	anyUser(t)
	eachLevel(t, func(t *testing.T, h *jail.Host) {
		j := newJail(t, h)
		in := make([]byte, 4<<20)
		for i := range in {
			in[i] = byte(i * 7 >> 3)
		}
		sum := sha256.New()
		p, err := j.Start(t.Context(), jail.Cmd{Path: "cat", Stdin: bytes.NewReader(in), Stdout: sum})
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Wait(); err != nil {
			t.Fatal(err)
		}
		if want := sha256.Sum256(in); !bytes.Equal(sum.Sum(nil), want[:]) {
			t.Error("4 MiB through cat came out changed")
		}
	})
}

// slowWriter takes what it gets in its own time.
type slowWriter struct {
	got  bytes.Buffer
	gate chan struct{}
}

func (w *slowWriter) Write(b []byte) (int, error) {
	<-w.gate
	return w.got.Write(b)
}

func TestASlowWriterLosesNothing(t *testing.T) {
	anyUser(t)
	t.Parallel()
	j := newJail(t, open(t, jail.Options{Level: "bwrap"}))
	w := &slowWriter{gate: make(chan struct{})}
	// The program ends while all of its output is still in the pipe, and leaves a
	// child that holds the pipe open.
	p, err := j.Start(t.Context(), jail.Cmd{Path: "bash", Args: []string{"-c", "sleep 1000 & head -c 60000 /dev/zero"}, Stdout: w})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- p.Wait() }()
	eventually(t, "the program has ended", func() bool { return errors.Is(p.Signal(syscall.Signal(0)), os.ErrProcessDone) })
	close(w.gate)
	if err := <-done; !errors.Is(err, jail.ErrWaitDelay) {
		t.Errorf("Wait() = %v, want ErrWaitDelay", err)
	}
	if w.got.Len() != 60000 {
		t.Errorf("the writer got %d bytes, want 60000", w.got.Len())
	}
}

func TestStdinThatNeverEnds(t *testing.T) {
	anyUser(t)
	t.Parallel()
	j := newJail(t, open(t, jail.Options{Level: "bwrap"}))
	r, w := io.Pipe()
	defer w.Close()
	if out, err := run(t, j, jail.Cmd{Path: "echo", Args: []string{"x"}, Stdin: r}); out != "x\n" || err != nil {
		t.Errorf("echo with a stdin that never ends = %q, %v", out, err)
	}
}

func TestFailingWriter(t *testing.T) {
	anyUser(t)
	t.Parallel()
	j := newJail(t, open(t, jail.Options{Level: "bwrap"}))
	r, w := io.Pipe()
	r.CloseWithError(errors.New("no more"))
	p, err := j.Start(t.Context(), jail.Cmd{Path: "seq", Args: []string{"1000000"}, Stdout: w})
	if err != nil {
		t.Fatal(err)
	}
	// The program is not held up, and the error is told.
	if err := p.Wait(); err == nil || !strings.Contains(err.Error(), "no more") {
		t.Errorf("Wait() = %v, want the writer's error", err)
	}
}

func TestCancelledStart(t *testing.T) {
	anyUser(t)
	eachConfined(t, testCancelledStart)
}

func testCancelledStart(t *testing.T, h *jail.Host) {
	j := newJail(t, h)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := j.Start(ctx, jail.Cmd{Path: "true"}); !errors.Is(err, context.Canceled) {
		t.Errorf("Start() = %v, want Canceled", err)
	}
	if _, err := h.NewJail(ctx, policy(t, h)); !errors.Is(err, context.Canceled) {
		t.Errorf("NewJail() = %v, want Canceled", err)
	}
	// The end of the context after the start changes nothing.
	ctx, cancel = context.WithCancel(t.Context())
	p, err := j.Start(ctx, jail.Cmd{Path: "cat", Stdin: strings.NewReader("x")})
	cancel()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Wait(); err != nil {
		t.Errorf("Wait() = %v", err)
	}
}
