package code_test

import (
	"slices"
	"sync"
	"testing"

	"github.com/agentflow-go/sandbox/backends/code"
)

func TestInterrupt(t *testing.T) {
	t.Parallel()
	b := newBox(t, code.Config{}).session("")
	ctx := t.Context()
	for _, tt := range []struct{ language, set, loop, get, want string }{
		{"python", "k = 1", "print('up')\nwhile True: pass", "print(k)", "KeyboardInterrupt"},
		{"javascript", "let k = 1", "console.log('up'); while (true) {}", "console.log(k)", "Interrupted"},
		{"bash", "k=1", "echo up; sleep 100", "echo $k", "Interrupted"},
	} {
		b.run(code.RunInput{Code: tt.set, Language: tt.language})
		out := b.during(code.RunInput{Code: tt.loop, Language: tt.language, Timeout: 60}, func() {
			if out, err := b.tools.Interrupt.Call(ctx, b.w, code.InterruptInput{}); err != nil || !slices.Equal(out.Interrupted, []string{tt.language}) {
				t.Errorf("interrupt while %s runs = %+v, %v", tt.language, out, err)
			}
		})
		if out.Error == nil || out.Error.Name != tt.want || out.ReturnCode != 130 || out.Restarted || out.TimedOut || out.Stdout != "up\n" {
			t.Errorf("interrupted %s = %+v, error %+v", tt.language, out, out.Error)
		}
		if out := b.run(code.RunInput{Code: tt.get, Language: tt.language}); out.Stdout != "1\n" {
			t.Errorf("%s afterwards = %+v", tt.language, out)
		}
		if out, err := b.tools.Interrupt.Call(ctx, b.w, code.InterruptInput{Language: tt.language}); err != nil || len(out.Interrupted) != 0 {
			t.Errorf("interrupt of idle %s = %+v, %v", tt.language, out, err)
		}
	}
}

// TestInterruptAtAnyMoment interrupts interpreters that start, that are asked and
// that answer.
func TestInterruptAtAnyMoment(t *testing.T) {
	t.Parallel()
	b := newBox(t, code.Config{}).session("")
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
				if _, err := b.tools.Interrupt.Call(t.Context(), b.w, code.InterruptInput{Language: "python"}); err != nil {
					t.Error(err)
				}
			}
		}
	})
	for i := range 60 {
		if i%6 == 0 {
			if _, err := b.tools.Reset.Call(t.Context(), b.w, code.ResetInput{}); err != nil {
				t.Error(err)
			}
		}
		out := b.run(code.RunInput{Code: "n = 1\nprint(n)"})
		if e := out.Error; out.Restarted || e != nil && e.Name != "KeyboardInterrupt" || e == nil && out.Stdout != "1\n" {
			t.Errorf("call %d: %+v, error %+v", i, out, e)
		}
	}
	close(done)
	wg.Wait()
}

// TestEarlyInterrupt interrupts a call that the interpreter has not come to, since
// something of an earlier call holds it up.
func TestEarlyInterrupt(t *testing.T) {
	t.Parallel()
	b := newBox(t, code.Config{}).session("")
	b.run(code.RunInput{Code: "import asyncio; await asyncio.sleep(0)"}) // there is a loop
	for _, tt := range []struct{ language, hold, loop, get, want string }{
		{"python", "import asyncio, os, time\nheld = 0\nasync def hold():\n    global held\n    open('held', 'w').close()\n    while not os.path.exists('go'): time.sleep(0.01)\n    held = 1\n" +
			"task = asyncio.get_event_loop().create_task(hold())", "while True: pass", "await task; print(held)", "KeyboardInterrupt"},
		{"javascript", "const fs = require('fs'); var held = 0; setTimeout(() => { fs.writeFileSync('held', ''); while (!fs.existsSync('go')); held = 1 }, 0); 0",
			"while (true) {}", "console.log(held)", "Interrupted"},
	} {
		b.run(code.RunInput{Language: "bash", Code: "rm -f held go"})
		b.run(code.RunInput{Language: tt.language, Code: tt.hold})
		b.run(code.RunInput{Language: "bash", Code: "until test -e held; do sleep 0.01; done"})
		done := make(chan code.RunOutput)
		go func() {
			out, err := b.tools.Run.Call(t.Context(), b.w, code.RunInput{Language: tt.language, Code: tt.loop})
			if err != nil {
				t.Error(err)
			}
			done <- out
		}()
		for interrupted := 0; interrupted == 0; {
			out, err := b.tools.Interrupt.Call(t.Context(), b.w, code.InterruptInput{Language: tt.language})
			if err != nil {
				t.Fatal(err)
			}
			interrupted = len(out.Interrupted)
		}
		b.run(code.RunInput{Language: "bash", Code: "touch go"})
		if out := <-done; out.Error == nil || out.Error.Name != tt.want || out.ReturnCode != 130 || out.Restarted || out.TimedOut {
			t.Errorf("%s = %+v, error %+v", tt.language, out, out.Error)
		}
		if out := b.run(code.RunInput{Language: tt.language, Code: tt.get}); out.Stdout != "1\n" || out.Restarted {
			t.Errorf("%s afterwards = %+v, error %+v", tt.language, out, out.Error)
		}
	}
}

func TestReset(t *testing.T) {
	t.Parallel()
	b := newBox(t, code.Config{}).session("")
	ctx := t.Context()
	if out, err := b.tools.Reset.Call(ctx, b.w, code.ResetInput{}); err != nil || len(out.Reset) != 0 {
		t.Errorf("reset of nothing = %+v, %v", out, err)
	}
	for _, tt := range []struct{ language, set, loop, get string }{
		{"python", "k = 1", "print('up')\nimport time; time.sleep(100)", "print(str('k' in globals()).lower())"},
		{"javascript", "let k = 1", "console.log('up'); while (true) {}", "console.log(typeof k !== 'undefined')"},
		{"bash", "k=1", "echo up; sleep 100", "test $k && echo true || echo false"},
	} {
		b.run(code.RunInput{Code: tt.set, Language: tt.language})
		if out, err := b.tools.Reset.Call(ctx, b.w, code.ResetInput{Language: tt.language}); err != nil || !slices.Equal(out.Reset, []string{tt.language}) {
			t.Errorf("reset of %s = %+v, %v", tt.language, out, err)
		}
		if out := b.run(code.RunInput{Code: tt.get, Language: tt.language}); out.Stdout != "false\n" || out.Restarted {
			t.Errorf("%s after a reset = %+v", tt.language, out)
		}
		out := b.during(code.RunInput{Code: tt.loop, Language: tt.language, Timeout: 60}, func() {
			if out, err := b.tools.Reset.Call(ctx, b.w, code.ResetInput{Language: tt.language}); err != nil || !slices.Equal(out.Reset, []string{tt.language}) {
				t.Errorf("reset while %s runs = %+v, %v", tt.language, out, err)
			}
		})
		if out.Error == nil || out.Error.Name != "Reset" || !out.Restarted {
			t.Errorf("%s under a reset = %+v, error %+v", tt.language, out, out.Error)
		}
		if out := b.run(code.RunInput{Code: tt.get, Language: tt.language}); out.Stdout != "false\n" || out.Restarted {
			t.Errorf("%s after a reset under it = %+v", tt.language, out)
		}
	}
}

func TestDeathBetweenTwoCalls(t *testing.T) {
	t.Parallel()
	b := newBox(t, code.Config{}).session("")
	b.run(code.RunInput{Code: `import os, threading, time
def end():
    while not os.path.exists("go"): time.sleep(0.01)
    print("bye", flush=True)
    os._exit(4)
threading.Thread(target=end).start()`})
	b.run(code.RunInput{Language: "bash", Code: "touch go"})
	for running := true; running; {
		out, err := b.tools.Languages.Call(t.Context(), b.w, code.LanguagesInput{})
		if err != nil {
			t.Fatal(err)
		}
		running = out.Languages[0].Running
	}
	out := b.run(code.RunInput{Code: "'end' in globals()"})
	if out.Error != nil || out.Result == nil || *out.Result != "False" || out.Stdout != "bye\n" || !out.Restarted || out.RestartReason != "the interpreter exited with status 4 between two calls" {
		t.Errorf("the next call = %+v, error %+v", out, out.Error)
	}
}
