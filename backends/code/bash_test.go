package code_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/agentflow-go/sandbox/backends/code"
)

func TestBash(t *testing.T) {
	runCases(t, "bash", []testCase{
		{name: "output and status", steps: []step{{code: "echo out; echo err >&2", stdout: "out\n", stderr: "err\n"}, {code: "(exit 3)", code_: 3}, {code: "echo $?", stdout: "3\n"}}},
		{name: "an empty cell", steps: []step{{code: ""}, {code: "# nothing\n"}}},
		{name: "state lives on", steps: []step{{code: "x=1; f() { echo f$1; }; cd /tmp"}, {code: "f $x; pwd; cd", stdout: "f1\n/tmp\n"}}},
		{name: "many lines", steps: []step{{code: "for i in 1 2; do\n  echo $i\ndone\ncat <<'X'\nhere\nX", stdout: "1\n2\nhere\n"}}},
		{name: "a syntax error", steps: []step{{code: "if then", stderr: "~syntax error", code_: 2}, {code: "echo on", stdout: "on\n"}}},
		{name: "input has nobody to ask", steps: []step{{code: "read x || echo none", stdout: "none\n"}}},
		{name: "a time-out keeps the state", steps: []step{{code: "kept=1"}, {code: "sleep 100", timeout: 3, err: "TimedOut", code_: -1, timedOut: true}, {code: "echo $kept", stdout: "1\n"}, {code: "while :; do :; done", timeout: 0.3, err: "TimedOut", code_: -1, timedOut: true}, {code: "echo $kept", stdout: "1\n"}}},
		{name: "exit", own: true, steps: []step{{code: "echo before; exit 4", stdout: "before\n", err: "InterpreterDied", value: "~status 4", code_: 4, restarted: true}, {code: "echo on", stdout: "on\n", restarted: true}, {code: "echo on", stdout: "on\n"}}},
		{name: "code that ends early", steps: []step{{code: "cat <<X\nhere", stdout: "here\n", stderr: "~delimited by end-of-file"}, {code: "echo a \\", stdout: "a \\\n"}, {code: "if", stderr: "~unexpected end of file", code_: 2}}},
		{name: "killed by itself", own: true, steps: []step{{code: "kill -9 $$", err: "InterpreterDied", code_: 137, restarted: true}, {code: "echo on", stdout: "on\n", restarted: true}}},
		{name: "a time-out that kills", own: true, steps: []step{{code: "trap '' INT"}, {code: "while :; do :; done", timeout: 0.3, err: "TimedOut", code_: -1, timedOut: true, restarted: true}, {code: "echo on", stdout: "on\n", restarted: true}}},
	})
}

// A shell that died between two calls is no fault of the code that comes next.
func TestShellThatDiedBetweenTwoCalls(t *testing.T) {
	t.Parallel()
	b := newBox(t, code.Config{}).session("")
	pid := strings.TrimSpace(b.run(code.RunInput{Code: "echo $$", Language: "bash"}).Stdout)
	b.run(code.RunInput{Code: fmt.Sprintf("import os\nos.kill(%s, 9)\nwhile os.path.exists('/proc/%[1]s'): pass", pid)})
	out := b.run(code.RunInput{Code: "echo on; false", Language: "bash"})
	if out.Stdout != "on\n" || out.Error != nil || out.ReturnCode != 1 || !out.Restarted || out.RestartReason == "" {
		t.Errorf("the next call = %+v, want its output without an error, and restarted", out)
	}
	if out := b.run(code.RunInput{Code: "echo on", Language: "bash"}); out.Restarted {
		t.Errorf("the call after that = %+v, want it not restarted", out)
	}
}

func TestVariablesOfAShellThatWasRestarted(t *testing.T) {
	t.Parallel()
	b := newBox(t, code.Config{}).session("")
	b.run(code.RunInput{Code: "exit", Language: "bash"})
	b.run(code.RunInput{Code: "x=1", Language: "bash"})
	out, err := b.tools.Variables.Call(t.Context(), b.w, code.VariablesInput{Language: "bash"})
	if diff := cmp.Diff([]code.Variable{{Name: "x", Type: "string", Preview: "1"}}, out.Variables); diff != "" || err != nil {
		t.Errorf("variables: %v (-want +got):\n%s", err, diff)
	}
}
