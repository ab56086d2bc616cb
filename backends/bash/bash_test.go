package bash_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/agentflow-go/sandbox"
	"github.com/agentflow-go/sandbox/backends/bash"
	"github.com/agentflow-go/sandbox/internal/usertest"
)

// box is a sandbox with the backend, and a worker with a session.
type box struct {
	t  *testing.T
	sh bash.Tools
	sb *sandbox.Sandbox
	w  *sandbox.Worker
}

func newBox(t *testing.T, cfg bash.Config) *box {
	t.Helper()
	var reg sandbox.Registry
	sh := bash.Register(&reg, cfg)
	sb, err := sandbox.New(sandbox.Options{Registry: &reg, ValidateTyped: true, Confine: sandbox.Confinement{Level: "bwrap"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := sb.Shutdown(context.Background()); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
	})
	b := &box{t, sh, sb, sb.Worker(t.Name())}
	return b
}

// session makes the worker's session.
func (b *box) session(config string) {
	b.t.Helper()
	o := sandbox.SessionOptions{}
	if config != "" {
		o.Config = json.RawMessage(config)
	}
	if _, err := b.w.CreateSession(b.t.Context(), "bash", o); err != nil {
		b.t.Fatal(err)
	}
}

func (b *box) run(in bash.RunInput) bash.RunOutput {
	b.t.Helper()
	out, err := b.sh.Run.Call(b.t.Context(), b.w, in)
	if err != nil {
		b.t.Fatalf("run %.60q: %v", in.Command, err)
	}
	return out
}

// end waits for a program's end and returns its exit code.
func (b *box) end(id string) *int {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), time.Minute)
	defer cancel()
	for since := int64(0); ; {
		out, err := b.sh.Output.Call(ctx, b.w, bash.OutputInput{ID: id, Since: since, Wait: 10})
		if err != nil {
			b.t.Fatalf("waiting for the end of program %s: %v", id, err)
		}
		if !out.Running {
			return out.ExitCode
		}
		since = out.Next
	}
}

func TestRun(t *testing.T) {
	t.Parallel()
	b := newBox(t, bash.Config{Env: map[string]string{"FROM": "config"}})
	b.session(`{"timeout": 20}`)
	for _, tt := range []struct {
		in   bash.RunInput
		want bash.RunOutput
	}{
		{bash.RunInput{Command: "echo hi"}, bash.RunOutput{Stdout: "hi\n", Cwd: "/workspace"}},
		{bash.RunInput{Command: "(exit 3)"}, bash.RunOutput{ExitCode: 3, ReturnCode: 3, Cwd: "/workspace"}},
		{bash.RunInput{Command: "mkdir -p a/b; cd a; x=1"}, bash.RunOutput{Cwd: "/workspace/a"}},
		{bash.RunInput{Command: "echo $x; pwd; echo e >&2"}, bash.RunOutput{Stdout: "1\n/workspace/a\ne\n", Cwd: "/workspace/a"}},
		{bash.RunInput{Command: "pwd", Cwd: "a/b"}, bash.RunOutput{Stdout: "/workspace/a/b\n", Cwd: "/workspace/a/b"}},
		{bash.RunInput{Command: "pwd", Cwd: "/tmp"}, bash.RunOutput{Stdout: "/tmp\n", Cwd: "/tmp"}},
		{bash.RunInput{Command: "echo $V-$FROM", Env: map[string]string{"V": "a b"}}, bash.RunOutput{Stdout: "a b-config\n", Cwd: "/tmp"}},
		{bash.RunInput{Command: "echo [$V]"}, bash.RunOutput{Stdout: "[]\n", Cwd: "/tmp"}},
		{bash.RunInput{Command: `printf 'a\xff\xfeb\xc3\xa9'`}, bash.RunOutput{Stdout: "a\uFFFDbé", Cwd: "/tmp"}},
		{bash.RunInput{Command: "id -un; test -t 1 && echo tty"}, bash.RunOutput{Stdout: "agent\ntty\n", Cwd: "/tmp"}},
		{bash.RunInput{Command: "exit 4"}, bash.RunOutput{ExitCode: 4, ReturnCode: 4, Cwd: "/tmp", Restarted: true, RestartReason: "the shell ended with status 4"}},
		{bash.RunInput{Command: "echo [$x]"}, bash.RunOutput{Stdout: "[]\n", Cwd: "/tmp"}},
		{bash.RunInput{Command: "echo partial; sleep 100", Timeout: 5}, bash.RunOutput{Stdout: "partial\n", ExitCode: -1, ReturnCode: -1, TimedOut: true, Error: "Command timed out", Cwd: "/tmp"}},
		{bash.RunInput{Command: "echo alive"}, bash.RunOutput{Stdout: "alive\n", Cwd: "/tmp"}},
	} {
		tt.want.Command = tt.in.Command
		if diff := cmp.Diff(tt.want, b.run(tt.in), cmpopts.IgnoreFields(bash.RunOutput{}, "DurationMS")); diff != "" {
			t.Errorf("run %q: (-want +got)\n%s", tt.in.Command, diff)
		}
	}
}

func TestSeparateStderr(t *testing.T) {
	t.Parallel()
	b := newBox(t, bash.Config{})
	b.session(`{"separate_stderr": true, "cwd": "/tmp", "env": {"E": "1"}}`)
	out := b.run(bash.RunInput{Command: "echo o$E; echo e >&2; pwd"})
	if out.Stdout != "o1\n/tmp\n" || out.Stderr != "e\n" {
		t.Errorf("stdout %q, stderr %q", out.Stdout, out.Stderr)
	}
}

func TestBadInput(t *testing.T) {
	t.Parallel()
	b := newBox(t, bash.Config{})
	b.session("")
	for name, params := range map[string]any{
		"NUL":          bash.RunInput{Command: "a\x00b"},
		"timeout":      bash.RunInput{Command: "a", Timeout: -1},
		"max_output":   bash.RunInput{Command: "a", MaxOutput: -1},
		"env":          bash.RunInput{Command: "a", Env: map[string]string{"a-b": "x"}},
		"env's value":  bash.RunInput{Command: "a", Env: map[string]string{"a": "x\x00"}},
		"command":      map[string]any{},
		"unknown":      map[string]any{"command": "a", "tiemout": 3},
		"type":         map[string]any{"command": 7},
		"null command": nil,
	} {
		if res := b.w.Execute(t.Context(), "bash:run", params); res.Err == nil {
			t.Errorf("%s: no error, data %s", name, res.Data)
		}
	}
	for name, in := range map[string]bash.StartInput{
		"NUL":          {Command: "a\x00b"},
		"cwd":          {Command: "a", Cwd: "a\x00b"},
		"no name":      {Command: "a", Env: map[string]string{"": "x"}},
		"= in a name":  {Command: "a", Env: map[string]string{"a=b": "x"}},
		"NUL in env":   {Command: "a", Env: map[string]string{"a": "x\x00y"}},
		"rows":         {Command: "a", Rows: -1},
		"rows by cols": {Command: "a", Rows: 400, Cols: 400},
	} {
		if _, err := b.sh.Start.Call(t.Context(), b.w, in); !errors.Is(err, sandbox.ErrInvalidInput) {
			t.Errorf("start with bad %s: %v, want ErrInvalidInput", name, err)
		}
	}
	if _, err := b.w.CreateSession(t.Context(), "bash", sandbox.SessionOptions{}); err != nil && !errors.Is(err, sandbox.ErrConflict) {
		t.Logf("a second session: %v", err)
	}
	for _, config := range []string{`{"timeout": -1}`, `{"max_output": 1e12}`, `{"shell": "zsh"}`, `{"env": {"a=b": "c"}}`, `{"cwd": "/nowhere"}`} {
		w := b.sb.Worker("bad " + config)
		if _, err := w.CreateSession(t.Context(), "bash", sandbox.SessionOptions{Config: json.RawMessage(config)}); err == nil {
			t.Errorf("a session with %s was made", config)
		}
	}
}

func TestJSONAndEvents(t *testing.T) {
	t.Parallel()
	b := newBox(t, bash.Config{})
	b.session("")
	var live strings.Builder
	res := b.sb.Execute(t.Context(), sandbox.Request{
		Worker: t.Name(), Tool: "bash:run", Params: json.RawMessage(`{"command": "for i in 1 2 3; do printf '\\xc3'; sleep 0.02; printf '\\xa9'; done; printf '\\xff'"}`),
		OnEvent: func(e sandbox.Event) {
			if e.Kind != sandbox.EventOutput || e.Stream != "stdout" {
				t.Errorf("event %+v", e)
			}
			live.WriteString(e.Text)
		},
	})
	if res.Err != nil {
		t.Fatal(res.Err)
	}
	var out bash.RunOutput
	if err := res.Decode(&out); err != nil {
		t.Fatal(err)
	}
	if want := "ééé\uFFFD"; out.Stdout != want || live.String() != want {
		t.Errorf("stdout %q, live %q, want %q", out.Stdout, live.String(), want)
	}
}

func TestLongOutputIsCutAndKept(t *testing.T) {
	t.Parallel()
	b := newBox(t, bash.Config{})
	b.session("")
	out := b.run(bash.RunInput{Command: "seq 100000", MaxOutput: 1000})
	if !out.Truncated || !strings.HasPrefix(out.Stdout, "1\n2\n") || !strings.HasSuffix(out.Stdout, "\n100000\n") || len(out.Stdout) > 1200 || !strings.Contains(out.Stdout, out.OutputPath) {
		t.Errorf("truncated %v, path %q, %d bytes: %.200q", out.Truncated, out.OutputPath, len(out.Stdout), out.Stdout)
	}
	got := b.run(bash.RunInput{Command: fmt.Sprintf("seq 100000 | cmp - %q && stat -c %%U %[1]q && rm %[1]q", out.OutputPath)})
	if got.Stdout != "agent\n" {
		t.Errorf("the file: %q", got.Stdout)
	}
}

func TestPolicyBoundsOutput(t *testing.T) {
	t.Parallel()
	b := newBox(t, bash.Config{})
	if _, err := b.w.CreateSession(t.Context(), "bash", sandbox.SessionOptions{
		Confinement: &sandbox.Confinement{Limits: sandbox.Limits{Output: 100}},
	}); err != nil {
		t.Fatal(err)
	}
	out, err := b.sh.Run.Call(t.Context(), b.w, bash.RunInput{Command: "seq 1000", MaxOutput: 5000})
	if err != nil || !out.Truncated || len(out.Stdout) > 250 || out.OutputPath == "" {
		t.Errorf("seq 1000 under a limit of 100 bytes = %d bytes, truncated %v, whole in %q, %v", len(out.Stdout), out.Truncated, out.OutputPath, err)
	}
}

func TestHostileOutputDirectory(t *testing.T) {
	t.Parallel()
	b := newBox(t, bash.Config{})
	b.session("")
	victim := filepath.Join(t.TempDir(), "victim")
	if err := os.Mkdir(victim, 0o777); err != nil {
		t.Fatal(err)
	}
	for _, prepare := range []string{
		"ln -s " + victim + " .outputs", "ln -s ../../.. .outputs", "mkfifo .outputs", "touch .outputs", "mkdir -m 0 .outputs", "ln -s .outputs .outputs",
	} {
		out := b.run(bash.RunInput{Command: "chmod 700 .outputs 2>/dev/null; rm -rf .outputs; " + prepare + " && seq 100000", MaxOutput: 1000})
		if !out.Truncated || !strings.HasSuffix(out.Stdout, "\n100000\n") {
			t.Errorf("%s: truncated %v, output %.100q", prepare, out.Truncated, out.Stdout)
		}
	}
	if left, err := os.ReadDir(victim); err != nil || len(left) > 0 {
		t.Errorf("written outside the workspace: %v, %v", left, err)
	}
}

func TestCancelledCallReturnsPartialOutput(t *testing.T) {
	t.Parallel()
	b := newBox(t, bash.Config{})
	b.session("")
	ctx, cancel := context.WithCancel(t.Context())
	res := b.sb.Execute(ctx, sandbox.Request{
		Worker: t.Name(), Tool: "bash:run", Params: json.RawMessage(`{"command": "echo up; sleep 100"}`),
		OnEvent: func(sandbox.Event) { cancel() },
	})
	if !errors.Is(res.Err, context.Canceled) && !errors.Is(res.Err, sandbox.ErrCancelled) {
		t.Errorf("error %v, want cancelled", res.Err)
	}
	if out := b.run(bash.RunInput{Command: "echo alive"}); out.Stdout != "alive\n" || out.Restarted {
		t.Errorf("afterwards %+v", out)
	}
}

func TestPrograms(t *testing.T) {
	t.Parallel()
	b := newBox(t, bash.Config{})
	b.session("")
	ctx := t.Context()
	st, err := b.sh.Start.Call(ctx, b.w, bash.StartInput{Command: "cat; echo over; exit 3", Name: "the cat", Cwd: "/tmp"})
	if err != nil {
		t.Fatal(err)
	}
	if in, err := b.sh.Input.Call(ctx, b.w, bash.InputInput{ID: st.ID, Text: "héllo\n"}); err != nil || in.Written != 7 {
		t.Fatalf("input = %+v, %v", in, err)
	}
	var all string
	var since int64
	for !strings.Contains(all, "héllo\r\nhéllo\r\n") {
		out, err := b.sh.Output.Call(ctx, b.w, bash.OutputInput{ID: st.ID, Since: since, Wait: 10})
		if err != nil || !out.Running || out.Output == "" {
			t.Fatalf("output = %+v, %v after %q", out, err, all)
		}
		all, since = all+out.Output, out.Next
	}
	if out := b.run(bash.RunInput{Command: fmt.Sprintf("mkfifo .go; kill -0 %d && echo seen", st.PID)}); out.Stdout != "seen\n" {
		t.Errorf("commands see no process %d: %+v", st.PID, out)
	}
	// A running command does not hold up the concurrent tools.
	done := make(chan bash.RunOutput)
	go func() {
		out, err := b.sh.Run.Call(ctx, b.w, bash.RunInput{Command: "read x <.go; echo $x"})
		if err != nil {
			t.Error(err)
		}
		done <- out
	}()
	scr, err := b.sh.Screen.Call(ctx, b.w, bash.ScreenInput{ID: st.ID, Rows: 5, Cols: 20})
	if err != nil || scr.Text != "héllo\nhéllo\n\n\n" || scr.Cursor != [2]int{2, 0} {
		t.Errorf("screen = %+v, %v", scr, err)
	}
	if _, err := b.sh.Input.Call(ctx, b.w, bash.InputInput{ID: st.ID, EOF: true}); err != nil {
		t.Fatal(err)
	}
	if code := *b.end(st.ID); code != 3 {
		t.Errorf("exit code %d, want 3", code)
	}
	ls, err := b.sh.List.Call(ctx, b.w, bash.ListInput{})
	if err != nil || len(ls.Processes) != 1 || ls.Processes[0].Name != "the cat" || ls.Processes[0].Running || *ls.Processes[0].ExitCode != 3 {
		t.Errorf("list = %+v, %v", ls, err)
	}
	if _, err := b.sh.Start.Call(ctx, b.w, bash.StartInput{Command: "echo on >.go"}); err != nil {
		t.Fatal(err)
	}
	if out := <-done; out.Stdout != "on\n" {
		t.Errorf("the running command = %+v", out)
	}
}

func TestKill(t *testing.T) {
	t.Parallel()
	b := newBox(t, bash.Config{})
	b.session("")
	ctx := t.Context()
	for _, tt := range []struct {
		command, signal string
		code            int
	}{{"sleep 100", "", 143}, {"sleep 100", "kill", 137}, {"trap '' TERM; while :; do sleep 1; done", "SIGKILL", 137}} {
		st, err := b.sh.Start.Call(ctx, b.w, bash.StartInput{Command: tt.command})
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		out, err := b.sh.Kill.Call(ctx, b.w, bash.KillInput{ID: st.ID, Signal: tt.signal})
		if err == nil && out.Running && time.Since(began) >= 2*time.Second { // as long as it waits
			out.Running, out.ExitCode = false, b.end(st.ID)
		}
		if err != nil || out.Running || out.ExitCode == nil || *out.ExitCode != tt.code {
			t.Errorf("kill %q of %q = %+v, %v, want exit code %d", tt.signal, tt.command, out, err, tt.code)
		}
	}
	st, err := b.sh.Start.Call(ctx, b.w, bash.StartInput{Command: "exit 5"})
	if err != nil {
		t.Fatal(err)
	}
	for range 1000 { // while it ends
		out, err := b.sh.Kill.Call(ctx, b.w, bash.KillInput{ID: st.ID, Signal: "URG"})
		if err != nil {
			t.Fatal(err)
		}
		if out.ExitCode != nil {
			if *out.ExitCode != 5 {
				t.Errorf("exit code %d, want 5", *out.ExitCode)
			}
			break
		}
	}
	if _, err := b.sh.Kill.Call(ctx, b.w, bash.KillInput{ID: "p99"}); err == nil || !strings.Contains(err.Error(), "p1 p2 p3 p4") {
		t.Errorf("kill of an unknown program: %v", err)
	}
}

func TestManyStartsAtOnce(t *testing.T) {
	t.Parallel()
	b := newBox(t, bash.Config{})
	b.session("")
	var wg sync.WaitGroup
	var started atomic.Int32
	for range 40 {
		wg.Go(func() {
			_, err := b.sh.Start.Call(t.Context(), b.w, bash.StartInput{Command: "sleep 100"})
			if err == nil {
				started.Add(1)
			} else if !errors.Is(err, sandbox.ErrBusy) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := started.Load(); n != 32 {
		t.Errorf("%d programs run, want 32", n)
	}
}

func TestOutputWaitsForTheRestOfARune(t *testing.T) {
	t.Parallel()
	b := newBox(t, bash.Config{})
	b.session("")
	ctx := t.Context()
	st, err := b.sh.Start.Call(ctx, b.w, bash.StartInput{Command: `stty -echo; printf 'a\xe2'; read x; printf '\x82\xac'; read x`})
	if err != nil {
		t.Fatal(err)
	}
	out, err := b.sh.Output.Call(ctx, b.w, bash.OutputInput{ID: st.ID, Wait: 10})
	if err != nil || out.Output != "a" || out.Next != 1 {
		t.Fatalf("output = %+v, %v", out, err)
	}
	if out, err = b.sh.Output.Call(ctx, b.w, bash.OutputInput{ID: st.ID, Since: 1, Wait: 0.1}); err != nil || out.Output != "" || out.Next != 1 {
		t.Errorf("output = %+v, %v", out, err)
	}
	if _, err := b.sh.Input.Call(ctx, b.w, bash.InputInput{ID: st.ID, Text: "\n"}); err != nil {
		t.Fatal(err)
	}
	if out, err = b.sh.Output.Call(ctx, b.w, bash.OutputInput{ID: st.ID, Since: 1, Wait: 10}); err != nil || !strings.HasPrefix(out.Output, "€") {
		t.Errorf("output = %+v, %v", out, err)
	}
}

func TestTemporarySession(t *testing.T) {
	t.Parallel()
	b := newBox(t, bash.Config{})
	if out := b.run(bash.RunInput{Command: "echo hi; sleep 100 &"}); out.Stdout != "hi\n" {
		t.Errorf("output %q", out.Stdout)
	}
}

func TestWorkersAtOnce(t *testing.T) {
	t.Parallel()
	b := newBox(t, bash.Config{})
	var wg sync.WaitGroup
	for i := range 6 {
		w := b.sb.Worker(fmt.Sprint("worker ", i))
		if _, err := w.CreateSession(t.Context(), "bash", sandbox.SessionOptions{}); err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			want := fmt.Sprintf("%d\n", i)
			b.sh.Run.Call(t.Context(), w, bash.RunInput{Command: "n=" + want})
			for range 10 {
				out, err := b.sh.Run.Call(t.Context(), w, bash.RunInput{Command: "echo $n"})
				if err != nil || out.Stdout != want {
					t.Errorf("worker %d: %q, %v", i, out.Stdout, err)
				}
			}
		})
	}
	wg.Wait()
}

func TestEverythingInsideKilled(t *testing.T) {
	t.Parallel()
	b := newBox(t, bash.Config{})
	b.session("")
	out := b.run(bash.RunInput{Command: "setsid -w bash -c 'kill -9 -1'; echo on", Timeout: 10})
	if !out.Restarted {
		t.Errorf("%+v, want a restarted shell", out)
	}
	if out := b.run(bash.RunInput{Command: "echo alive"}); out.Stdout != "alive\n" {
		t.Errorf("afterwards %+v", out)
	}
}

// TestUnprivileged runs other tests again as a user without privileges.
func TestUnprivileged(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("left out by -short")
	}
	usertest.Run(t, "TestRun", "-test.run=^Test(Run|Programs|Kill|LongOutput.*|Hostile.*|EverythingInside.*)$")
}

func TestRunTellsWhatPolicyRefused(t *testing.T) {
	t.Parallel()
	var reg sandbox.Registry
	sh := bash.Register(&reg, bash.Config{})
	sb, err := sandbox.New(sandbox.Options{Registry: &reg, ValidateTyped: true,
		Confine: sandbox.Confinement{Level: "bwrap", Egress: sandbox.Egress{Allow: []string{"example.com"}}}})
	if err != nil {
		t.Fatal(err)
	}
	b := &box{t, sh, sb, sb.Worker("w")}
	t.Cleanup(func() {
		if err := sb.Shutdown(context.Background()); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
	})
	b.session("")
	got := b.run(bash.RunInput{Command: "curl -s https://forbidden.example/"})
	if diff := cmp.Diff([]string{"network denied: forbidden.example:443 is not in the allow list"}, got.Denied); diff != "" {
		t.Errorf("denied (-want +got):\n%s\n%+v", diff, got)
	}
	if got := b.run(bash.RunInput{Command: "true"}); got.Denied != nil {
		t.Errorf("told again: %q", got.Denied)
	}
}
