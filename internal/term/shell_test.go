package term_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/agentflow-go/sandbox/internal/term"
)

func shell(t testing.TB, o term.Options) *term.Shell {
	t.Helper()
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	o.Start = startPlain(t)
	s, err := term.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// result is a command's, with what it wrote.
type result struct {
	term.Result
	Stdout string
}

func run(t *testing.T, s *term.Shell, c term.Command) result {
	t.Helper()
	var stdout bytes.Buffer
	c.Stdout = &stdout
	res, err := s.Run(t.Context(), c)
	if err != nil {
		t.Fatalf("Run(%.60q): %v", c.Text, err)
	}
	return result{res, stdout.String()}
}

// writerFunc is a function that takes output.
type writerFunc func(p []byte)

func (f writerFunc) Write(p []byte) (int, error) {
	f(p)
	return len(p), nil
}

func TestNULIsRefused(t *testing.T) {
	t.Parallel()
	s := shell(t, term.Options{})
	if _, err := s.Run(t.Context(), term.Command{Text: "echo a\x00b"}); !errors.Is(err, term.ErrNUL) {
		t.Errorf("Run = %v, want ErrNUL", err)
	}
}

func TestDirectoryAndEnvironmentOfACommand(t *testing.T) {
	t.Parallel()
	s := shell(t, term.Options{})
	res := run(t, s, term.Command{Text: `echo "$V"; pwd; nosuch`, Dir: "/usr", Env: map[string]string{"V": "it's\n$x"}})
	if got, want := res.Stdout, "it's\n$x\n/usr\nbash: nosuch: command not found\n"; got != want || res.Dir != "/usr" {
		t.Errorf("output %q in %s, want %q", got, res.Dir, want)
	}
	if got := run(t, s, term.Command{Text: `echo "[${V-}]"; pwd`}).Stdout; got != "[]\n/usr\n" {
		t.Errorf("afterwards %q, want an unset V and /usr", got)
	}
	if res := run(t, s, term.Command{Text: "echo on", Dir: "/nowhere"}); res.ExitCode != 1 || strings.Contains(res.Stdout, "on\n") {
		t.Errorf("in a directory that is not there: %d, %q", res.ExitCode, res.Stdout)
	}
	if _, err := s.Run(t.Context(), term.Command{Text: ":", Env: map[string]string{"a b": "x"}}); err == nil || !strings.Contains(err.Error(), `"a b"`) {
		t.Errorf("a bad name: %v", err)
	}
}

func TestASlowListenerSlowsTheCommandOnly(t *testing.T) {
	t.Parallel()
	s := shell(t, term.Options{})
	release, seen := make(chan struct{}), make(chan struct{})
	var once sync.Once
	var stdout bytes.Buffer
	done := make(chan struct{})
	go func() {
		defer close(done)
		if _, err := s.Run(context.Background(), term.Command{Text: "seq 100000", Stdout: writerFunc(func(p []byte) {
			once.Do(func() { close(seen) })
			<-release
			stdout.Write(p)
		})}); err != nil {
			t.Error(err)
		}
	}()
	<-seen
	select {
	case <-done:
		t.Error("Run returned before its output was taken")
	case <-time.After(100 * time.Millisecond):
	}
	close(release)
	<-done
	if !strings.HasSuffix(stdout.String(), "\n100000\n") {
		t.Errorf("%d bytes of output", stdout.Len())
	}
}

func TestBackgroundOutputBetweenCallsIsHeldBack(t *testing.T) {
	t.Parallel()
	s := shell(t, term.Options{Hold: 4096})
	first := run(t, s, term.Command{Text: "seq 100000 & :"})
	second := run(t, s, term.Command{Text: "wait; echo end"})
	var want strings.Builder
	for i := range 100000 {
		fmt.Fprintln(&want, i+1)
	}
	want.WriteString("end\n")
	if got := first.Stdout + second.Stdout; got != want.String() {
		t.Errorf("%d bytes in two calls, want %d", len(got), want.Len())
	}
}

func TestShellsAtOnce(t *testing.T) {
	t.Parallel()
	var wg sync.WaitGroup
	for range 8 {
		s := shell(t, term.Options{})
		wg.Go(func() {
			id := run(t, s, term.Command{Text: "x=$$; echo $x"}).Stdout
			for range 20 {
				if got := run(t, s, term.Command{Text: "echo $x"}).Stdout; got != id {
					t.Errorf("output %q, want %q", got, id)
				}
			}
		})
	}
	wg.Wait()
}

func TestCallsOfOneShellWait(t *testing.T) {
	t.Parallel()
	s := shell(t, term.Options{})
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if got := run(t, s, term.Command{Text: "echo a; echo b"}).Stdout; got != "a\nb\n" {
				t.Errorf("output %q", got)
			}
		})
	}
	wg.Wait()
}

func TestCloseEndsARunningCommand(t *testing.T) {
	t.Parallel()
	s := shell(t, term.Options{})
	started := make(chan struct{})
	var once sync.Once
	done := make(chan error)
	go func() {
		_, err := s.Run(context.Background(), term.Command{Text: "echo up; sleep 100", Stdout: writerFunc(func([]byte) { once.Do(func() { close(started) }) })})
		done <- err
	}()
	<-started
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if err := <-done; !errors.Is(err, term.ErrClosed) {
		t.Errorf("Run = %v, want ErrClosed", err)
	}
	if _, err := s.Run(t.Context(), term.Command{Text: "echo hi"}); !errors.Is(err, term.ErrClosed) {
		t.Errorf("Run after Close = %v, want ErrClosed", err)
	}
}

func TestAShellThatCannotStartAgain(t *testing.T) {
	t.Parallel()
	broken := errors.New("no more processes")
	start, starts := startPlain(t), 0
	s, err := term.Open(t.Context(), term.Options{Start: func(ctx context.Context, sp term.Spec) (term.Process, error) {
		if starts++; starts == 2 || starts == 3 { // it tries twice
			return nil, broken
		}
		return start(ctx, sp)
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := s.Run(t.Context(), term.Command{Text: "exit 1"}); !errors.Is(err, broken) {
		t.Errorf("Run = %v, want %v", err, broken)
	}
	if res := run(t, s, term.Command{Text: "echo on"}); !res.Restarted || res.Stdout != "on\n" {
		t.Errorf("the next Run: restarted %v, output %q", res.Restarted, res.Stdout)
	}
}

func TestOpenSaysWhyBashDidNotStart(t *testing.T) {
	t.Parallel()
	if _, err := term.Open(t.Context(), term.Options{Start: startPlain(t), Bash: "/bin/false"}); err == nil || !strings.Contains(err.Error(), "status 1") {
		t.Errorf("Open = %v, want the status", err)
	}
	if _, err := term.Open(t.Context(), term.Options{}); err == nil {
		t.Error("Open without a start function succeeded")
	}
}

func TestFewDescriptors(t *testing.T) {
	t.Parallel()
	start := startPlain(t)
	limited := func(n string) term.StartFunc {
		return func(ctx context.Context, s term.Spec) (term.Process, error) {
			s.Args = append([]string{"-c", "ulimit -n " + n + `; exec "$0" "$@"`, s.Path}, s.Args...)
			s.Path = "/bin/sh"
			return start(ctx, s)
		}
	}
	s, err := term.Open(t.Context(), term.Options{Start: limited("64")})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if got := run(t, s, term.Command{Text: "echo on; exec 10>/dev/null"}).Stdout; got != "on\n" {
		t.Errorf("output %q", got)
	}
	if _, err := term.Open(t.Context(), term.Options{Start: limited("32")}); err == nil || !strings.Contains(err.Error(), "descriptors") {
		t.Errorf("Open with 32 descriptors = %v, want an error that says so", err)
	}
}

func TestTheFirstDirectoryIsGone(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "sub")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	s := shell(t, term.Options{Dir: dir})
	run(t, s, term.Command{Text: "cd /; rmdir " + dir})
	if res := run(t, s, term.Command{Text: "exit 1"}); !res.Restarted {
		t.Errorf("%+v", res)
	}
	if res := run(t, s, term.Command{Text: "pwd"}); res.Stdout != "/\n" {
		t.Errorf("output %q", res.Stdout)
	}
}

// stopped returns a shell that does not run, as if somebody had stopped it
// between two calls.
func stopped(t *testing.T) *term.Shell {
	t.Helper()
	s := shell(t, term.Options{Grace: time.Second})
	pid, err := strconv.Atoi(strings.TrimSpace(run(t, s, term.Command{Text: "echo $$"}).Stdout))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	for state, deadline := "", time.Now().Add(time.Minute); state != "T"; { // which may take it a moment
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil || time.Now().After(deadline) {
			t.Fatalf("the shell is not stopped: %q, %v", stat, err)
		}
		_, rest, _ := strings.Cut(string(stat), ") ")
		state, _, _ = strings.Cut(rest, " ")
	}
	return s
}

func TestAShellStoppedBetweenCalls(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		text     string
		code     int
		timedOut bool
	}{{"echo on; sleep 100", 130, true}, {"echo on; exit 3", 3, false}} {
		t.Run(tt.text, func(t *testing.T) {
			t.Parallel()
			// Twice: for the shell to begin, and for the command in the next one.
			res := run(t, stopped(t), term.Command{Text: tt.text, Timeout: 3 * time.Second})
			if !res.Restarted || res.ExitCode != tt.code || res.TimedOut != tt.timedOut || res.Stdout != "on\n" {
				t.Errorf("Run(%q) = %+v", tt.text, res)
			}
		})
	}
}

func TestACommandThatDidNotBeginBeforeItsCallerGaveUpDoesNotRun(t *testing.T) {
	t.Parallel()
	s := stopped(t)
	file := filepath.Join(t.TempDir(), "file")
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	res, err := s.Run(ctx, term.Command{Text: "touch " + file})
	if !errors.Is(err, context.DeadlineExceeded) || !res.Restarted || res.ExitCode != -1 {
		t.Errorf("Run = %+v, %v", res, err)
	}
	if res := run(t, s, term.Command{Text: "ls " + file + " 2>/dev/null || echo absent"}); res.Restarted || res.Stdout != "absent\n" {
		t.Errorf("afterwards %+v", res)
	}
}

func TestACallerWhoGivesUpAtAnyTimeKeepsTheShell(t *testing.T) {
	t.Parallel()
	s := shell(t, term.Options{})
	run(t, s, term.Command{Text: "keep=1"})
	for i := range 150 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i)*4*time.Microsecond)
		if res, _ := s.Run(ctx, term.Command{Text: ": a; /bin/true; : b"}); res.Restarted {
			t.Errorf("after %d µs: %+v", i*4, res)
		}
		cancel()
		if res := run(t, s, term.Command{Text: "echo $keep; (exit 5)"}); res.Stdout != "1\n" || res.ExitCode != 5 {
			t.Fatalf("after %d µs: %d, %q", i*4, res.ExitCode, res.Stdout)
		}
	}
}
