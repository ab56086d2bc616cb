package code_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/agentflow-go/sandbox"
	"github.com/agentflow-go/sandbox/backends/code"
	"github.com/agentflow-go/sandbox/internal/usertest"
)

// during runs code and calls fn once the code has printed something.
func (b *box) during(in code.RunInput, fn func()) code.RunOutput {
	b.t.Helper()
	params, err := json.Marshal(in)
	if err != nil {
		b.t.Fatal(err)
	}
	var once sync.Once
	res := b.sb.Execute(b.t.Context(), sandbox.Request{
		Worker: b.w.ID(), Tool: "code:run", Params: params, OnEvent: func(sandbox.Event) { once.Do(fn) },
	})
	var out code.RunOutput
	if res.Err != nil {
		b.t.Fatalf("run %.60q: %v", in.Code, res.Err)
	}
	if err := res.Decode(&out); err != nil {
		b.t.Fatal(err)
	}
	return out
}

func TestVariables(t *testing.T) {
	t.Parallel()
	b := newBox(t, code.Config{}).session("")
	ctx := t.Context()
	for _, tt := range []struct {
		language, code string
		want           []code.Variable
	}{
		{"python", "import math\nx = [1, 'a']\ndef f(): pass\nclass H:\n    def __repr__(self): raise ValueError\nh = H()\nbig = 'y' * 10**6\n_hidden = 1\nf = 1.5\nclass N:\n    def __repr__(self): return 'n!'\nN.__module__ = None\nn = N()", []code.Variable{
			{Name: "H", Type: "type", Preview: "<class '__main__.H'>"}, {Name: "N", Type: "type", Preview: "<class 'N'>"}, {Name: "big", Type: "str"}, {Name: "f", Type: "float", Preview: "1.5"},
			{Name: "h", Type: "H"}, {Name: "math", Type: "module", Preview: "<module 'math' (built-in)>"}, {Name: "n", Type: "N", Preview: "n!"}, {Name: "x", Type: "list", Preview: "[1, 'a']"},
		}},
		{"javascript", "let x = [1, 'a']; const big = 'y'.repeat(1e6); function f() {}; var v = null", []code.Variable{
			{Name: "big", Type: "string"}, {Name: "f", Type: "function", Preview: "[Function: f]"}, {Name: "v", Type: "null", Preview: "null"}, {Name: "x", Type: "Array", Preview: "[ 1, 'a' ]"},
		}},
		{"bash", "x='a b'; f() { :; }; declare -a arr=(1 2); declare -i i=4; declare -A m=([k]=v)", []code.Variable{
			{Name: "arr", Type: "array", Preview: "1 2"}, {Name: "f", Type: "function"}, {Name: "i", Type: "integer", Preview: "4"}, {Name: "m", Type: "map", Preview: "v"}, {Name: "x", Type: "string", Preview: "a b"},
		}},
	} {
		if out, err := b.tools.Variables.Call(ctx, b.w, code.VariablesInput{Language: tt.language}); err != nil || len(out.Variables) != 0 {
			t.Errorf("variables of %s that does not run = %+v, %v", tt.language, out, err)
		}
		b.run(code.RunInput{Code: tt.code, Language: tt.language})
		out, err := b.tools.Variables.Call(ctx, b.w, code.VariablesInput{Language: tt.language})
		if err != nil {
			t.Errorf("variables of %s: %v", tt.language, err)
			continue
		}
		slices.SortFunc(out.Variables, func(a, b code.Variable) int { return strings.Compare(a.Name, b.Name) })
		for i, v := range out.Variables {
			if len([]rune(v.Preview)) > 200 {
				t.Errorf("%s: the preview of %s has %d bytes", tt.language, v.Name, len(v.Preview))
			}
			if v.Name == "big" || v.Name == "h" {
				out.Variables[i].Preview = ""
			}
		}
		if diff := cmp.Diff(tt.want, out.Variables); diff != "" {
			t.Errorf("variables of %s (-want +got):\n%s", tt.language, diff)
		}
	}
}

func TestVariablesThatHang(t *testing.T) {
	t.Parallel()
	b := newBox(t, code.Config{}).session("")
	b.run(code.RunInput{Code: "class H:\n    def __repr__(self):\n        while True: n = 1\na = 1\nh = H()\nz = 2"})
	out, err := b.tools.Variables.Call(t.Context(), b.w, code.VariablesInput{})
	if err != nil || len(out.Variables) != 4 || !strings.Contains(out.Variables[2].Preview, "too long") {
		t.Errorf("variables = %+v, %v", out, err)
	}
	if out := b.run(code.RunInput{Code: "a + z"}); out.Result == nil || *out.Result != "3" {
		t.Errorf("afterwards %+v", out)
	}
}

func TestLanguages(t *testing.T) {
	t.Parallel()
	b := newBox(t, code.Config{Languages: []string{"javascript", "python"}}).session("")
	if out := b.run(code.RunInput{Code: "typeof require"}); out.Language != "javascript" {
		t.Errorf("the default language is %q", out.Language)
	}
	out, err := b.tools.Languages.Call(t.Context(), b.w, code.LanguagesInput{})
	if err != nil || len(out.Languages) != 2 || !out.Languages[0].Running || out.Languages[0].Version == "" || out.Languages[1].Running || out.Languages[1].Interpreter != "/usr/bin/python3" {
		t.Errorf("languages = %+v, %v", out, err)
	}
	for _, alias := range []string{"py", "Python3", "PYTHON"} {
		if out := b.run(code.RunInput{Code: "1", Language: alias}); out.Language != "python" {
			t.Errorf("%q is %q", alias, out.Language)
		}
	}
	if _, err := b.tools.Run.Call(t.Context(), b.w, code.RunInput{Code: "1", Language: "bash"}); !errors.Is(err, sandbox.ErrInvalidInput) || !strings.Contains(err.Error(), "javascript, python") {
		t.Errorf("a language that is not there: %v", err)
	}
}

func TestBadInput(t *testing.T) {
	t.Parallel()
	b := newBox(t, code.Config{}).session("")
	for name, params := range map[string]any{
		"no code": map[string]any{}, "type": map[string]any{"code": 7}, "unknown": map[string]any{"code": "1", "lang": "python"},
		"language": code.RunInput{Code: "1", Language: "cobol"}, "timeout": code.RunInput{Code: "1", Timeout: -1}, "long": code.RunInput{Code: strings.Repeat(" ", 9<<20)},
		"NUL in bash": code.RunInput{Code: "a\x00b", Language: "bash"},
	} {
		if res := b.w.Execute(t.Context(), "code:run", params); res.Err == nil {
			t.Errorf("%s: no error, data %.300s", name, res.Data)
		}
	}
	for _, packages := range [][]string{{}, {""}, {"-r"}, {"a\nb"}, make([]string, 101)} {
		if _, err := b.tools.Install.Call(t.Context(), b.w, code.InstallInput{Packages: packages}); !errors.Is(err, sandbox.ErrInvalidInput) {
			t.Errorf("install %.50q: %v, want ErrInvalidInput", packages, err)
		}
	}
	for _, config := range []string{
		`{"timeout": -1}`, `{"max_output": 1e12}`, `{"shell": "zsh"}`, `{"env": {"a=b": "c"}}`, `{"languages": ["perl"]}`, `{"languages": ["bash", "bash"]}`,
		`{"interpreters": {"python": "python3"}}`, `{"interpreters": {"perl": "/usr/bin/perl"}}`, `{"kernel": "xeus"}`, `{"kernels": {"r": "ir"}}`, `{"kernel": "jupyter", "kernels": {"r": "-x"}}`,
	} {
		w := b.sb.Worker("bad " + config)
		if _, err := w.CreateSession(t.Context(), "code", sandbox.SessionOptions{Config: json.RawMessage(config)}); err == nil {
			t.Errorf("a session with %s was made", config)
		}
	}
	b = newBox(t, code.Config{Interpreters: map[string]string{"python": "/usr/bin/true", "javascript": "/usr/bin/nowhere", "bash": "/no/bash"}}).session("")
	for language, want := range map[string]string{
		"python":     "status 0",
		"javascript": `the interpreter of javascript cannot be started: exec: "/usr/bin/nowhere": no such program in the jail (or its interpreter is missing); install it on the host, or name another in the configuration's interpreters`,
		"bash":       "the interpreter of bash cannot be started",
	} {
		if _, err := b.tools.Run.Call(t.Context(), b.w, code.RunInput{Code: "1", Language: language}); !errors.Is(err, sandbox.ErrDependency) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s with another program: %v, want %q", language, err, want)
		}
	}
}

func TestCancelledCall(t *testing.T) {
	t.Parallel()
	b := newBox(t, code.Config{}).session("")
	for language, in := range map[string]string{"python": "k = 1\nprint('up')\nimport time; time.sleep(100)", "javascript": "var k = 1; console.log('up'); await new Promise(() => {})", "bash": "k=1; echo up; sleep 100"} {
		ctx, cancel := context.WithCancel(t.Context())
		params, _ := json.Marshal(code.RunInput{Code: in, Language: language})
		res := b.sb.Execute(ctx, sandbox.Request{Worker: t.Name(), Tool: "code:run", Params: params, OnEvent: func(sandbox.Event) { cancel() }})
		if !errors.Is(res.Err, sandbox.ErrCancelled) {
			t.Errorf("%s: error %v, want cancelled", language, res.Err)
		}
		get := map[string]string{"python": "print(k)", "javascript": "console.log(k)", "bash": "echo $k"}[language]
		if out := b.run(code.RunInput{Code: get, Language: language}); out.Stdout != "1\n" || out.Restarted {
			t.Errorf("%s afterwards %+v", language, out)
		}
	}
}

func TestEvents(t *testing.T) {
	t.Parallel()
	b := newBox(t, code.Config{}).session("")
	for language, in := range map[string]string{
		"python":     "import sys, os\nfor i in range(3): os.write(1, b'\\xc3'); os.write(1, b'\\xa9')\nos.write(1, b'\\xff'); print('e', file=sys.stderr)\n1/0",
		"javascript": "const fs = require('fs'); for (let i = 0; i < 3; i++) { fs.writeSync(1, Buffer.from([0xc3])); fs.writeSync(1, Buffer.from([0xa9])) }; fs.writeSync(1, Buffer.from([0xff])); console.error('e'); null.x",
		"bash":       "for i in 1 2 3; do printf '\\xc3'; printf '\\xa9'; done; printf '\\xff'; echo e >&2",
	} {
		live := map[string]string{}
		params, _ := json.Marshal(code.RunInput{Code: in, Language: language})
		res := b.sb.Execute(t.Context(), sandbox.Request{Worker: t.Name(), Tool: "code:run", Params: params, OnEvent: func(e sandbox.Event) {
			live[e.Stream] += e.Text
		}})
		var out code.RunOutput
		if err := errors.Join(res.Err, res.Decode(&out)); err != nil {
			t.Fatal(err)
		}
		if want := "ééé\uFFFD"; out.Stdout != want || live["stdout"] != want || live["stderr"] != out.Stderr || !strings.HasPrefix(out.Stderr, "e\n") {
			t.Errorf("%s: stdout %q, stderr %q, live %q", language, out.Stdout, out.Stderr, live)
		}
	}
}

func TestCallsOfOneLanguageQueue(t *testing.T) {
	t.Parallel()
	b := newBox(t, code.Config{}).session("")
	b.run(code.RunInput{Code: "n = 0"})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if out, err := b.tools.Run.Call(t.Context(), b.w, code.RunInput{Code: "v = n\nimport time; time.sleep(0.005)\nn = v + 1"}); err != nil || out.Error != nil {
				t.Error(out, err)
			}
		})
	}
	wg.Wait()
	if out := b.run(code.RunInput{Code: "n"}); out.Result == nil || *out.Result != "8" {
		t.Errorf("n = %v", out.Result)
	}
	// Another language does not wait.
	out := b.during(code.RunInput{Code: "print('up')\nimport os, time\nwhile not os.path.exists('go'): time.sleep(0.001)", Timeout: 30}, func() {
		b.run(code.RunInput{Code: "require('fs').writeFileSync('go', '')", Language: "javascript"})
	})
	if out.Error != nil {
		t.Errorf("the other language waited: %+v", out.Error)
	}
}

func TestPooledSession(t *testing.T) {
	t.Parallel()
	b := newBox(t, code.Config{Pool: 1})
	if err := b.sb.Start(t.Context(), "code"); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		w := b.sb.Worker(fmt.Sprint("worker ", i))
		bb := &box{t, b.tools, b.sb, w}
		bb.session("")
		out := bb.run(code.RunInput{Code: "import os\nopen('f', 'x').close()\nos.getcwd(), len([n for n in dir() if n[0] != '_'])"})
		if out.Result == nil || *out.Result != "('/workspace', 1)" || out.Restarted {
			t.Errorf("worker %d: %+v, error %+v", i, out, out.Error)
		}
	}
}

func TestInstall(t *testing.T) {
	t.Parallel()
	b := newBox(t, code.Config{}).session("")
	ctx := t.Context()
	b.run(code.RunInput{Code: "1"})
	b.run(code.RunInput{Code: `import zipfile
with zipfile.ZipFile('tiny-1.0-py3-none-any.whl', 'w') as z:
    z.writestr('tiny.py', 'value = 42')
    z.writestr('tiny-1.0.dist-info/METADATA', 'Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n')
    z.writestr('tiny-1.0.dist-info/WHEEL', 'Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: true\nTag: py3-none-any\n')
    z.writestr('tiny-1.0.dist-info/RECORD', '')
`})
	if out := b.run(code.RunInput{Code: "import tiny"}); out.Error == nil || out.Error.Name != "ModuleNotFoundError" {
		t.Fatalf("before: %+v", out)
	}
	out, err := b.tools.Install.Call(ctx, b.w, code.InstallInput{Packages: []string{"./tiny-1.0-py3-none-any.whl"}})
	if err != nil || !strings.Contains(out.Output, "tiny-1.0") {
		t.Fatalf("install = %+v, %v", out, err)
	}
	if out := b.run(code.RunInput{Code: "import tiny; tiny.value"}); out.Result == nil || *out.Result != "42" {
		t.Errorf("afterwards %+v, error %+v", out, out.Error)
	}
	b.run(code.RunInput{Language: "javascript", Code: `const fs = require('fs'); fs.mkdirSync('small');
fs.writeFileSync('small/package.json', '{"name": "small", "version": "1.0.0", "main": "i.js"}'); fs.writeFileSync('small/i.js', 'exports.value = 43')`})
	if _, err := b.tools.Install.Call(ctx, b.w, code.InstallInput{Packages: []string{"./small"}, Language: "js"}); err != nil {
		t.Fatal(err)
	}
	if out := b.run(code.RunInput{Language: "javascript", Code: "import { value } from 'small'; require('small').value + value"}); out.Result == nil || *out.Result != "86" {
		t.Errorf("afterwards %+v, error %+v", out, out.Error)
	}
	for _, language := range []string{"python", "javascript"} {
		if _, err := b.tools.Install.Call(ctx, b.w, code.InstallInput{Packages: []string{"left-pad"}, Language: language}); !errors.Is(err, sandbox.ErrDenied) || !strings.Contains(err.Error(), "confinement.egress.allow") {
			t.Errorf("install for %s without a network: %v", language, err)
		}
	}
	if _, err := b.tools.Install.Call(ctx, b.w, code.InstallInput{Packages: []string{"x"}, Language: "bash"}); !errors.Is(err, sandbox.ErrInvalidInput) {
		t.Errorf("install for bash: %v", err)
	}
}

func TestWithoutConfinement(t *testing.T) {
	t.Parallel()
	var reg sandbox.Registry
	tools := code.Register(&reg, code.Config{})
	sb, err := sandbox.New(sandbox.Options{Registry: &reg, Confine: sandbox.Confinement{Level: "none"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sb.Shutdown(context.Background()) })
	b := (&box{t, tools, sb, sb.Worker("w")}).session("")
	for language, in := range map[string]string{"python": "print(1)", "javascript": "console.log(1)", "bash": "echo 1"} {
		if out := b.run(code.RunInput{Code: in, Language: language}); out.Stdout != "1\n" || out.Error != nil {
			t.Errorf("%s: %+v, error %+v", language, out, out.Error)
		}
	}
}

// workspaceFile reads a file that a result names.
func (b *box) workspaceFile(path string) string {
	b.t.Helper()
	out := b.run(code.RunInput{Code: fmt.Sprintf("import os; os.path.realpath(%q), os.stat(%[1]q).st_size, os.stat(%[1]q).st_uid == os.getuid()", path)})
	if out.Result == nil {
		b.t.Fatalf("%s: %+v", path, out.Error)
	}
	return string(*out.Result)
}

func TestMuchOutput(t *testing.T) {
	t.Parallel()
	b := newBox(t, code.Config{MaxOutput: 10000}).session("")
	for language, in := range map[string]string{
		"python":     "import sys\nfor i in range(100): n = sys.stdout.write('x' * 10**6)\nprint('end')",
		"javascript": "const mb = 'x'.repeat(1e6); for (let i = 0; i < 100; i++) process.stdout.write(mb); console.log('end')",
	} {
		out := b.run(code.RunInput{Code: in, Language: language, Timeout: 600})
		if !out.Truncated || len(out.Stdout) > 10300 || !strings.HasSuffix(out.Stdout, "xend\n") || !strings.Contains(out.Stdout, out.OutputPath) {
			t.Fatalf("%s: truncated %v, %d bytes, path %q: %.100q", language, out.Truncated, len(out.Stdout), out.OutputPath, out.Stdout)
		}
		if got, want := b.workspaceFile(out.OutputPath), fmt.Sprintf("('/workspace/%s', 100000004, True)", out.OutputPath); got != want {
			t.Errorf("%s: the file is %s, want %s", language, got, want)
		}
		b.run(code.RunInput{Code: fmt.Sprintf("os.remove(%q)", out.OutputPath)})
	}
	for language, in := range map[string]string{
		"python":     "for i in range(1000000): print(i)",
		"javascript": "for (let i = 0; i < 1000000; i++) console.log(i)",
	} {
		out := b.run(code.RunInput{Code: in, Language: language, Timeout: 600})
		if !out.Truncated || !strings.HasPrefix(out.Stdout, "0\n1\n") || !strings.HasSuffix(out.Stdout, "\n999999\n") {
			t.Errorf("%s: many lines: %.100q", language, out.Stdout)
		}
		if got, want := b.workspaceFile(out.OutputPath), fmt.Sprintf("('/workspace/%s', 6888890, True)", out.OutputPath); got != want {
			t.Errorf("%s: the file is %s, want %s", language, got, want)
		}
		t.Logf("%s: they took %v ms", language, out.ExecutionTimeMS)
	}
	for language, in := range map[string]string{"python": "'y' * 10**6", "javascript": "'y'.repeat(1e6)"} {
		out := b.run(code.RunInput{Code: in, Language: language})
		if !out.Truncated || len(*out.Result) > 10300 || !strings.Contains(string(*out.Result), "of 1000002 characters left out; print it to have all of it in a file …]") {
			t.Errorf("%s: a long value: %d bytes, without advice", language, len(*out.Result))
		}
	}
}

func TestPolicyBoundsOutput(t *testing.T) {
	t.Parallel()
	b := newBox(t, code.Config{})
	if _, err := b.w.CreateSession(t.Context(), "code", sandbox.SessionOptions{Confinement: &sandbox.Confinement{Limits: sandbox.Limits{Output: 100}}}); err != nil {
		t.Fatal(err)
	}
	if out := b.run(code.RunInput{Code: "print('x' * 1000)"}); !out.Truncated || len(out.Stdout) > 250 || out.OutputPath == "" {
		t.Errorf("1000 bytes under a limit of 100 = %d bytes, truncated %v, whole in %q", len(out.Stdout), out.Truncated, out.OutputPath)
	}
}

func TestHostileOutputDirectory(t *testing.T) {
	t.Parallel()
	b := newBox(t, code.Config{MaxOutput: 1000}).session("")
	victim := filepath.Join(t.TempDir(), "victim")
	if err := os.Mkdir(victim, 0o777); err != nil {
		t.Fatal(err)
	}
	for _, prepare := range []string{"ln -s " + victim + " .outputs", "ln -s ../../.. .outputs", "mkfifo .outputs", "touch .outputs", "mkdir -m 0 .outputs", "ln -s .outputs .outputs"} {
		out := b.run(code.RunInput{Language: "bash", Code: "chmod 700 .outputs 2>/dev/null; rm -rf .outputs; " + prepare + " && seq 100000"})
		if !out.Truncated || !strings.HasSuffix(out.Stdout, "\n100000\n") {
			t.Errorf("%s: truncated %v, output %.100q", prepare, out.Truncated, out.Stdout)
		}
	}
	if left, err := os.ReadDir(victim); err != nil || len(left) > 0 {
		t.Errorf("written outside the workspace: %v, %v", left, err)
	}
}

func TestOutOfMemory(t *testing.T) {
	t.Parallel()
	b := newBox(t, code.Config{})
	if _, err := b.w.CreateSession(t.Context(), "code", sandbox.SessionOptions{Confinement: &sandbox.Confinement{Limits: sandbox.Limits{Memory: 200 << 20}}}); errors.Is(err, sandbox.ErrCannotEnforce) {
		t.Skipf("memory cannot be limited here: %v", err)
	} else if err != nil {
		t.Fatal(err)
	}
	out := b.run(code.RunInput{Code: "print('before')\nx = bytearray(300 << 20)\nlen(x)"})
	if out.Error == nil || out.Error.Name != "InterpreterDied" || !strings.Contains(out.Error.Value, "out of memory") || !out.Restarted || out.Stdout != "before\n" {
		t.Errorf("%+v, error %+v", out, out.Error)
	}
	if out := b.run(code.RunInput{Code: "x = bytearray(100 << 20); len(x)"}); out.Result == nil || out.MemoryUsedMB < 100 || out.MemoryUsedMB > 150 {
		t.Errorf("100 MiB: %+v, error %+v", out, out.Error)
	}
	if out := b.run(code.RunInput{Code: "del x"}); out.MemoryUsedMB < 100 {
		t.Errorf("the peak of a call that frees 100 MiB is %v MB", out.MemoryUsedMB)
	}
	if out := b.run(code.RunInput{Code: "1"}); out.MemoryUsedMB > 100 {
		t.Errorf("after 100 MiB were freed a call uses %v MB", out.MemoryUsedMB)
	}
}

// TestUnprivileged runs other tests again as a user without privileges.
func TestUnprivileged(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("left out by -short")
	}
	usertest.Run(t, "TestInterrupt", "-test.run=^Test(Bash|Interrupt|Reset|Policy.*|Hostile.*|Events|PythonShows)$")
}
