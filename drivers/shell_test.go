package drivers_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/agentflow-go/sandbox"
	"github.com/agentflow-go/sandbox/backends/bash"
)

func TestShell(t *testing.T) {
	t.Parallel()
	eachLevel(t, func(t *testing.T, l level) {
		b := l.newBox(t, sandbox.Confinement{})
		for _, tt := range []struct {
			name string
			in   bash.RunInput
			want bash.RunOutput
		}{
			{"output", bash.RunInput{Command: "echo hi; echo err >&2"}, bash.RunOutput{Stdout: "hi\nerr\n"}},
			{"a terminal", bash.RunInput{Command: "test -t 0 && test -t 1 && stty size"}, bash.RunOutput{Stdout: "40 160\n"}},
			{"standard streams by name", bash.RunInput{Command: "echo a >/dev/stdout; echo b >/dev/stderr"}, bash.RunOutput{Stdout: "a\nb\n"}},
			{"/dev/tty", bash.RunInput{Command: "echo c >/dev/tty"}, bash.RunOutput{Stdout: "c\n"}},
			{"home", bash.RunInput{Command: "pwd; echo $HOME; whoami"}, bash.RunOutput{Stdout: "/workspace\n/workspace\nagent\n"}},
			{"cd stays", bash.RunInput{Command: "mkdir -p a/b && cd a/b; X=1"}, bash.RunOutput{Cwd: "/workspace/a/b"}},
			{"variables stay", bash.RunInput{Command: "pwd; echo $X"}, bash.RunOutput{Stdout: "/workspace/a/b\n1\n", Cwd: "/workspace/a/b"}},
			{"exit code", bash.RunInput{Command: "(exit 7)"}, bash.RunOutput{ExitCode: 7, Cwd: "/workspace/a/b"}},
			{"a job in the background", bash.RunInput{Command: "cd; sleep 300 & echo $! >job; jobs %1 | grep -c Running"}, bash.RunOutput{Stdout: "1\n"}},
			{"still runs, and is killed", bash.RunInput{Command: "kill -0 $(cat job) && kill %1; wait %1 2>/dev/null; echo $?"}, bash.RunOutput{Stdout: "143\n"}},
			{"time-out", bash.RunInput{Command: "echo so far; sleep 100", Timeout: 3}, bash.RunOutput{Stdout: "so far\n", ExitCode: -1, TimedOut: true}},
			{"after it the shell is the same", bash.RunInput{Command: "echo $X"}, bash.RunOutput{Stdout: "1\n"}},
			{"much output", bash.RunInput{Command: "seq 100000 | wc -c; seq 60000"}, bash.RunOutput{Stdout: "588895\n" + numbers(60000)}},
			{"exit", bash.RunInput{Command: "exit 4"}, bash.RunOutput{ExitCode: 4, Restarted: true}},
		} {
			if why := l.lacks[tt.name]; why != "" {
				t.Logf("SKIPPED %s: %s", tt.name, why)
				continue
			}
			if tt.want.TimedOut {
				tt.want.Restarted = l.lacks["after it the shell is the same"] != ""
			}
			if tt.want.Cwd == "" {
				tt.want.Cwd = "/workspace"
			}
			got := b.run(tt.in)
			if got.Stdout != tt.want.Stdout || got.ExitCode != tt.want.ExitCode || got.Cwd != tt.want.Cwd ||
				got.TimedOut != tt.want.TimedOut || got.Restarted != tt.want.Restarted {
				t.Errorf("%s: run %q = %.600q, want %.600q", tt.name, tt.in.Command, fmt.Sprintf("%+v", got), fmt.Sprintf("%+v", tt.want))
			}
		}
	})
}

// numbers is what seq n prints.
func numbers(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintln(&b, i+1)
	}
	return b.String()
}

func TestPrograms(t *testing.T) {
	t.Parallel()
	eachLevel(t, func(t *testing.T, l level) {
		b := l.newBox(t, sandbox.Confinement{})
		ctx := t.Context()
		st, err := b.sh.Start.Call(ctx, b.w, bash.StartInput{Command: "cat; echo over; exit 3"})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := b.sh.Input.Call(ctx, b.w, bash.InputInput{ID: st.ID, Text: "typed\n"}); err != nil {
			t.Fatal(err)
		}
		all, since := "", int64(0)
		for !strings.Contains(all, "typed\r\ntyped\r\n") {
			out, err := b.sh.Output.Call(ctx, b.w, bash.OutputInput{ID: st.ID, Since: since, Wait: 10})
			if err != nil || !out.Running {
				t.Fatalf("output = %+v, %v after %q", out, err, all)
			}
			all, since = all+out.Output, out.Next
		}
		if why := l.lacks["EOF"]; why != "" {
			t.Logf("SKIPPED typing an end of file: %s", why)
		} else {
			if _, err := b.sh.Input.Call(ctx, b.w, bash.InputInput{ID: st.ID, EOF: true}); err != nil {
				t.Fatal(err)
			}
			for {
				out, err := b.sh.Output.Call(ctx, b.w, bash.OutputInput{ID: st.ID, Since: since, Wait: 10})
				if err != nil {
					t.Fatal(err)
				}
				all, since = all+out.Output, out.Next
				if !out.Running {
					if *out.ExitCode != 3 || !strings.HasSuffix(all, "over\r\n") {
						t.Errorf("exit code %d after %q, want 3 after over", *out.ExitCode, all)
					}
					break
				}
			}
		}
		st, err = b.sh.Start.Call(ctx, b.w, bash.StartInput{Command: "trap '' TERM; while :; do sleep 1; done"})
		if err != nil {
			t.Fatal(err)
		}
		// It waits for the end, but not for ever; nor does this test.
		ctx, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		out, err := b.sh.Kill.Call(ctx, b.w, bash.KillInput{ID: st.ID, Signal: "KILL"})
		for since = 0; err == nil && out.Running; {
			var now bash.OutputOutput
			now, err = b.sh.Output.Call(ctx, b.w, bash.OutputInput{ID: st.ID, Since: since, Wait: 10})
			since, out = now.Next, bash.KillOutput{Running: now.Running, ExitCode: now.ExitCode}
		}
		if err != nil || out.ExitCode == nil || *out.ExitCode != 137 {
			t.Errorf("kill = %+v, %v; want exit code 137", out, err)
		}
	})
}

func TestMountsAndUserNamespacesAreRefused(t *testing.T) {
	t.Parallel()
	eachLevel(t, func(t *testing.T, l level) {
		sb, env := l.bare(t)
		if _, err := sb.Worker("w").CreateSession(t.Context(), "b", sandbox.SessionOptions{}); err != nil {
			t.Fatal(err)
		}
		for name, c := range map[string]sandbox.Cmd{
			"mounts":          {Path: "true", Mounts: []sandbox.Mount{{Host: t.TempDir(), Inside: "/mnt"}}},
			"user namespaces": {Path: "true", NestedUserNS: true},
		} {
			if _, err := env.Start(t.Context(), c); !errors.Is(err, sandbox.ErrCannotEnforce) || !strings.Contains(err.Error(), name) {
				t.Errorf("with %s: %v, want it refused by name", name, err)
			}
		}
	})
}
