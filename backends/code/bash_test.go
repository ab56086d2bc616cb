package code_test

import "testing"

func TestBash(t *testing.T) {
	runCases(t, "bash", []testCase{
		{name: "output and status", steps: []step{{code: "echo out; echo err >&2", stdout: "out\n", stderr: "err\n"}, {code: "(exit 3)", code_: 3}, {code: "echo $?", stdout: "3\n"}}},
		{name: "an empty cell", steps: []step{{code: ""}, {code: "# nothing\n"}}},
		{name: "state lives on", steps: []step{{code: "x=1; f() { echo f$1; }; cd /tmp"}, {code: "f $x; pwd; cd", stdout: "f1\n/tmp\n"}}},
		{name: "many lines", steps: []step{{code: "for i in 1 2; do\n  echo $i\ndone\ncat <<'X'\nhere\nX", stdout: "1\n2\nhere\n"}}},
		{name: "a syntax error", steps: []step{{code: "if then", stderr: "~syntax error", code_: 2}, {code: "echo on", stdout: "on\n"}}},
		{name: "input has nobody to ask", steps: []step{{code: "read x || echo none", stdout: "none\n"}}},
		{name: "a time-out keeps the state", steps: []step{{code: "kept=1; sleep 100", timeout: 0.3, err: "TimedOut", code_: -1, timedOut: true}, {code: "echo $kept", stdout: "1\n"}, {code: "while :; do :; done", timeout: 0.3, err: "TimedOut", code_: -1, timedOut: true}, {code: "echo $kept", stdout: "1\n"}}},
		{name: "exit", own: true, steps: []step{{code: "echo before; exit 4", stdout: "before\n", err: "InterpreterDied", value: "~status 4", code_: 4, restarted: true}, {code: "echo on", stdout: "on\n"}}},
		{name: "killed by itself", own: true, steps: []step{{code: "kill -9 $$", err: "InterpreterDied", code_: 137, restarted: true}, {code: "echo on", stdout: "on\n"}}},
	})
}
