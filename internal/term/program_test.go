package term_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/agentflow-go/sandbox/internal/term"
)

func program(t *testing.T, path string, args ...string) *term.Program {
	t.Helper()
	p, err := term.StartProgram(t.Context(), term.ProgramOptions{Start: startPlain(t), Path: path, Args: args, Env: []string{"TERM=xterm-256color"}, History: 64 << 10})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

// await reads output until it contains want.
func await(t *testing.T, p *term.Program, since int64, want string) int64 {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var all []byte
	for !bytes.Contains(all, []byte(want)) {
		_, over := p.ExitCode() // before the output, all of which is there then
		c, err := p.Output(ctx, since, 1<<20, time.Second)
		if err != nil {
			t.Fatalf("output %q, waiting for %q: %v", all, want, err)
		}
		if over && len(c.Data) == 0 {
			t.Fatalf("the program ended; output %q, waiting for %q", all, want)
		}
		all, since = append(all, c.Data...), c.Next
	}
	return since
}

func TestProgramInputAndEnd(t *testing.T) {
	t.Parallel()
	p := program(t, "/bin/sh", "-c", "read a; echo got:$a; cat; exit 7")
	if n, err := p.Input(t.Context(), []byte("line\n")); n != 5 || err != nil {
		t.Fatalf("Input = %d, %v", n, err)
	}
	at := await(t, p, 0, "got:line")
	if _, err := p.Keys(t.Context(), []string{"x", "enter"}); err != nil {
		t.Fatal(err)
	}
	await(t, p, at, "x")
	if err := p.EOF(t.Context()); err != nil {
		t.Fatal(err)
	}
	<-p.Done()
	if code, ok := p.ExitCode(); code != 7 || !ok {
		t.Errorf("ExitCode = %d, %v, want 7", code, ok)
	}
	if _, err := p.Input(t.Context(), []byte("x")); !errors.Is(err, term.ErrEnded) {
		t.Errorf("Input after the end = %v, want ErrEnded", err)
	}
}

func TestProgramScreen(t *testing.T) {
	t.Parallel()
	p := program(t, "/usr/bin/vim", "-u", "NONE", "-N")
	await(t, p, 0, "~")
	if _, err := p.Keys(t.Context(), []string{"i", "h", "i", "esc"}); err != nil {
		t.Fatal(err)
	}
	waitScreen(t, p, "hi\n~")
	if _, err := p.Input(t.Context(), []byte(":q!\r")); err != nil {
		t.Fatal(err)
	}
	<-p.Done()
}

func TestProgramResize(t *testing.T) {
	t.Parallel()
	p := program(t, "/bin/bash", "-c", "trap 'stty size' WINCH; echo up; while :; do sleep 0.05; done")
	at := await(t, p, 0, "up")
	if err := p.Resize(10, 40); err != nil {
		t.Fatal(err)
	}
	await(t, p, at, "10 40")
	if got := strings.Count(p.Screen().Text, "\n"); got != 9 {
		t.Errorf("the screen has %d lines, want 10", got+1)
	}
	for _, size := range [][2]int{{0, 40}, {40, -1}, {501, 10}, {300, 300}} {
		if err := p.Resize(size[0], size[1]); err == nil {
			t.Errorf("Resize to %v succeeded", size)
		}
	}
}

func waitScreen(t *testing.T, p *term.Program, want string) {
	t.Helper()
	var since int64
	for deadline := time.Now().Add(time.Minute); ; {
		s := p.Screen()
		if strings.Contains(s.Text, want) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the screen lacks %q:\n%s", want, s.Text)
		}
		c, err := p.Output(t.Context(), since, 1<<20, 100*time.Millisecond)
		if err != nil {
			t.Fatal(err)
		}
		since = c.Next
	}
}

func TestProgramAnswersQuestionsAboutTheTerminal(t *testing.T) {
	t.Parallel()
	p := program(t, "/bin/bash", "-c", `stty -echo; printf '\e[6n'; IFS= read -rsd R x; printf '%q' "$x"`)
	await(t, p, 0, `'\E[1;1'`)
}

func TestProgramOutputIsBounded(t *testing.T) {
	t.Parallel()
	p := program(t, "/usr/bin/seq", "20000")
	<-p.Done()
	c, err := p.Output(t.Context(), 0, 1<<20, 0)
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Data) != 64<<10 || c.Dropped == 0 || c.Next != c.Dropped+int64(len(c.Data)) || !bytes.HasSuffix(c.Data, []byte("\r\n20000\r\n")) {
		t.Errorf("%d bytes, %d dropped, next %d, ending in %q", len(c.Data), c.Dropped, c.Next, c.Data[len(c.Data)-20:])
	}
}

func TestProgramSignals(t *testing.T) {
	t.Parallel()
	p := program(t, "/bin/sh", "-c", "echo up; exec sleep 100")
	await(t, p, 0, "up")
	if err := p.Signal(unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	<-p.Done()
	if code, _ := p.ExitCode(); code != 128+15 {
		t.Errorf("ExitCode = %d, want 143", code)
	}
	if err := p.Signal(unix.SIGTERM); !errors.Is(err, term.ErrEnded) {
		t.Errorf("a signal after the end: %v, want ErrEnded", err)
	}
}

func TestProgramControlC(t *testing.T) {
	t.Parallel()
	p := program(t, "/bin/sh", "-c", "echo up; exec sleep 100")
	await(t, p, 0, "up")
	if _, err := p.Keys(t.Context(), []string{"ctrl-c"}); err != nil {
		t.Fatal(err)
	}
	<-p.Done()
	if code, _ := p.ExitCode(); code != 128+2 {
		t.Errorf("ExitCode = %d, want 130", code)
	}
}

func TestProgramOutputWaits(t *testing.T) {
	t.Parallel()
	p := program(t, "/bin/sleep", "100")
	c, err := p.Output(t.Context(), 0, 100, 20*time.Millisecond)
	if err != nil || len(c.Data) != 0 {
		t.Errorf("Output = %q, %v, want nothing", c.Data, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := p.Output(ctx, 0, 100, time.Hour); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Output = %v, want the context's error", err)
	}
}

func TestProgramInputThatNobodyReads(t *testing.T) {
	t.Parallel()
	p := program(t, "/bin/bash", "-c", `stty -echo raw; echo up; sleep 100`)
	await(t, p, 0, "up")
	text := bytes.Repeat([]byte("x"), 1<<20)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	var wg sync.WaitGroup
	for range 3 { // their deadlines come at the same time
		wg.Go(func() {
			n, err := p.Input(ctx, text)
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("Input = %d, %v, want the context's error", n, err)
			}
		})
	}
	wg.Wait()
	if n, err := p.Input(t.Context(), nil); n != 0 || err != nil {
		t.Errorf("Input of nothing = %d, %v", n, err)
	}
}
