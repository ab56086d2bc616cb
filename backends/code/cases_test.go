package code_test

import (
	"strings"
	"testing"

	"github.com/agentflow-go/sandbox/backends/code"
)

// step is one call of code:run and what must come of it. A text that begins
// with ~ must be contained, else it must be equal.
type step struct {
	code           string
	timeout        float64 // 0: 30 s
	stdout, stderr string  // stderr without what an error adds to it
	result         string  // "": null
	err            string  // name of the error
	value          string  // of the error
	traceback      string  // part of it
	code_          int     // return_code; -9: whatever it is
	timedOut       bool
	restarted      bool
	truncated      bool
	outputs        string // MIME types, joined by blanks
}

// testCase is a run of steps. Those that neither break the interpreter nor leave
// anything behind share a session.
type testCase struct {
	name  string
	own   bool // needs a session of its own
	steps []step
}

func runCases(t *testing.T, language string, cases []testCase) {
	t.Parallel()
	b := newBox(t, code.Config{})
	shared := b.sb.Worker("shared")
	(&box{t, b.tools, b.sb, shared}).session("")
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			w := shared
			if c.own {
				t.Parallel()
				w = b.sb.Worker(t.Name())
				(&box{t, b.tools, b.sb, w}).session("")
				defer w.Close(t.Context())
			}
			bb := &box{t, b.tools, b.sb, w}
			for i, s := range c.steps {
				if s.timeout == 0 {
					s.timeout = 30
				}
				out := bb.run(code.RunInput{Code: s.code, Language: language, Timeout: s.timeout})
				s.check(t, i, out)
			}
		})
	}
}

func (s *step) check(t *testing.T, i int, out code.RunOutput) {
	t.Helper()
	bad := false
	text := func(what, got, want string) {
		t.Helper()
		part, ok := strings.CutPrefix(want, "~")
		if ok && !strings.Contains(got, part) || !ok && got != want {
			bad = true
			t.Errorf("step %d %.80q: %s is %.3000q, want %.3000q", i, s.code, what, got, want)
		}
	}
	flag := func(what string, got, want bool) {
		t.Helper()
		if got != want {
			bad = true
			t.Errorf("step %d %.80q: %s is %v, want %v", i, s.code, what, got, want)
		}
	}
	text("stdout", out.Stdout, s.stdout)
	stderr := out.Stderr
	result, name := "", ""
	if out.Result != nil {
		result = string(*out.Result)
	}
	if e := out.Error; e != nil {
		name = e.Name
		stderr = strings.TrimSuffix(stderr, e.Traceback)
		if s.value != "" {
			text("the error's value", e.Value, s.value)
		}
		text("the traceback", e.Traceback, "~"+s.traceback)
		if strings.Contains(e.Traceback, "driver") {
			t.Errorf("step %d: the traceback shows the driver: %s", i, e.Traceback)
		}
	}
	text("stderr", stderr, s.stderr)
	text("result", result, s.result)
	text("the error's name", name, s.err)
	var kinds []string
	for _, o := range out.Outputs {
		kinds = append(kinds, o.MIME)
		if o.Data == "" || strings.HasPrefix(o.MIME, "image/") != (o.Path != "") {
			t.Errorf("step %d: output %s has %d bytes and path %q", i, o.MIME, len(o.Data), o.Path)
		}
	}
	text("outputs", strings.Join(kinds, " "), s.outputs)
	if out.ReturnCode != s.code_ && s.code_ != -9 {
		bad = true
		t.Errorf("step %d %.80q: return code %d, want %d", i, s.code, out.ReturnCode, s.code_)
	}
	flag("timed_out", out.TimedOut, s.timedOut)
	flag("restarted", out.Restarted, s.restarted)
	flag("truncated", out.Truncated, s.truncated)
	if out.Restarted != (out.RestartReason != "") {
		t.Errorf("step %d: restarted %v for the reason %q", i, out.Restarted, out.RestartReason)
	}
	if out.ExecutionTimeMS <= 0 || (out.MemoryUsedMB <= 0 && !out.Restarted && out.Language != "bash") {
		t.Errorf("step %d: took %v ms and %v MB", i, out.ExecutionTimeMS, out.MemoryUsedMB)
	}
	if bad && out.Error != nil {
		t.Logf("step %d: %s\n%s", i, out.Error.Value, out.Error.Traceback)
	}
}
