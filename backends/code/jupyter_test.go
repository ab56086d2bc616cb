package code_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/agentflow-go/sandbox/backends/code"
)

func TestAKernelThatIsNotThereIsNamed(t *testing.T) {
	t.Parallel()
	b := newBox(t, code.Config{Kernel: "jupyter", Kernels: map[string]string{"python": "nobody"}}).session("")
	_, err := b.tools.Run.Call(t.Context(), b.w, code.RunInput{Code: "1"})
	for _, want := range []string{"there is no Jupyter kernel 'nobody' for /kernels", "installed are: ", "python3"} {
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "Traceback") {
			t.Errorf("error %v, want one with %q and without a traceback", err, want)
		}
	}
}

func TestJupyter(t *testing.T) {
	t.Parallel()
	b := newBox(t, code.Config{Kernel: "jupyter"}).session("")
	for i, s := range []step{
		{code: "1+1", result: "2"},
		{code: "x = 5\nprint('out')\nimport sys, os\nprint('err', file=sys.stderr)\nos.system('echo child')", stdout: "out\nchild\n", stderr: "err\n", result: "0"},
		{code: "x * 2;"},
		{code: "def f(): 1/0\nf()", err: "ZeroDivisionError", value: "division by zero", traceback: "def f(): 1/0", code_: 1},
		{code: "%who_ls", result: "~'x'"},
		{code: "await __import__('asyncio').sleep(0.01, 'slept')", result: "'slept'"},
		{code: "input()", err: "StdinNotImplementedError", code_: 1},
		{code: "import time; time.sleep(100)", timeout: 1, err: "TimedOut", code_: -1, timedOut: true},
		{code: "x", result: "5"},
		{code: "%matplotlib inline\nimport matplotlib.pyplot as plt\nplt.plot([1, 2]);", timeout: 100, outputs: "image/png text/plain"},
		{code: "import pandas as pd\npd.DataFrame({'a': [1]})", timeout: 100, result: "   a\n0  1", outputs: "text/html text/plain"},
		{code: "os._exit(7)", err: "InterpreterDied", value: "~status 7", code_: 7, restarted: true},
		{code: "1", result: "1", restarted: true},
	} {
		if s.timeout == 0 {
			s.timeout = 60
		}
		if i > 0 && s.restarted == false {
			if out, err := b.tools.Variables.Call(t.Context(), b.w, code.VariablesInput{}); err != nil || !slices.Contains(out.Variables, code.Variable{Name: "x", Type: "int", Preview: "5"}) && i > 1 {
				t.Errorf("variables before step %d = %+v, %v", i, out, err)
			}
		}
		out := b.run(code.RunInput{Code: s.code, Timeout: s.timeout})
		// What a child writes comes through a thread of the kernel's, which the end
		// of the code does not wait for: perhaps with the next call.
		for end := time.Now().Add(time.Minute); s.stdout == "out\nchild\n" && out.Stdout == "out\n" && time.Now().Before(end); {
			out.Stdout += b.run(code.RunInput{}).Stdout
		}
		s.check(t, i, out)
	}
	out, err := b.tools.Languages.Call(t.Context(), b.w, code.LanguagesInput{})
	if err != nil || out.Languages[0].Interpreter != "jupyter python3" || out.Languages[0].Version == "" {
		t.Errorf("languages = %+v, %v", out, err)
	}
}
