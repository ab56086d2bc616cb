// Command workbench lets one worker develop a small module in some twenty steps: with the
// file tools, a shell, interpreters and snapshots, which all see one workspace and
// one network.
//
// It needs python3 with matplotlib, and node, on the host.
package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"image/png"
	"log"
	"strings"

	"github.com/agentflow-go/sandbox"
	"github.com/agentflow-go/sandbox/backends/bash"
	"github.com/agentflow-go/sandbox/backends/code"
	"github.com/agentflow-go/sandbox/backends/file"
	"github.com/agentflow-go/sandbox/backends/workspace"
)

// bench is a worker with its tools.
type bench struct {
	w     *sandbox.Worker
	files file.Tools
	shell bash.Tools
	code  code.Tools
	space workspace.Tools
	step  int
}

func main() {
	var reg sandbox.Registry
	b := &bench{
		files: file.Register(&reg, file.Config{}),
		shell: bash.Register(&reg, bash.Config{}),
		code:  code.Register(&reg, code.Config{}),
		space: workspace.Register(&reg, workspace.Config{}),
	}
	sb, err := sandbox.New(sandbox.Options{Registry: &reg})
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	b.w = sb.Worker("developer")
	err = b.work(ctx)
	if stopped := sb.Shutdown(ctx); err == nil {
		err = stopped
	}
	if err != nil {
		log.Fatalf("step %d: %v", b.step, err)
	}
}

func (b *bench) work(ctx context.Context) error {
	// A shell and interpreters that live on from call to call.
	for _, backend := range []string{"bash", "code"} {
		if _, err := b.w.CreateSession(ctx, backend, sandbox.SessionOptions{}); err != nil {
			return err
		}
	}
	for _, part := range []func(context.Context) error{b.develop, b.plot, b.serve, b.breakAndRestore} {
		if err := part(ctx); err != nil {
			return err
		}
	}
	return nil
}

// say prints what a step has done.
func (b *bench) say(format string, args ...any) {
	b.step++
	fmt.Printf("%2d  %s\n", b.step, fmt.Sprintf(format, args...))
}

// develop writes a module and its test, finds that the test fails, and mends it.
func (b *bench) develop(ctx context.Context) error {
	for _, f := range []file.WriteInput{{Path: "stats/mean.py", Content: module}, {Path: "test_mean.py", Content: test}} {
		out, err := b.files.Write.Call(ctx, b.w, f)
		if err != nil {
			return err
		}
		b.say("wrote %s, %d bytes", out.Path, out.Size)
	}
	if err := b.test(ctx); err != nil {
		return err
	}
	found, err := b.files.Grep.Call(ctx, b.w, file.GrepInput{Pattern: `len\(.*\)`, Glob: "*.py", Path: "stats"})
	if err != nil {
		return err
	}
	b.say("found %s:%d: %s", found.Matches[0].Path, found.Matches[0].Line, strings.TrimSpace(found.Matches[0].Text))
	edited, err := b.files.Edit.Call(ctx, b.w, file.EditInput{Path: "stats/mean.py", Edits: []file.Edit{{Old: "(len(values) + 1)", New: "len(values)"}}})
	if err != nil {
		return err
	}
	b.say("made %d edit", edited.Replacements)
	return b.test(ctx)
}

// test runs the tests in the shell.
func (b *bench) test(ctx context.Context) error {
	out, err := b.shell.Run.Call(ctx, b.w, bash.RunInput{Command: "python3 -m unittest -q 2>&1 | grep -E '^(FAILED|OK|AssertionError)'"})
	if err != nil {
		return err
	}
	b.say("tests: %s", strings.ReplaceAll(strings.TrimSpace(out.Stdout), "\n", "; "))
	return nil
}

// run runs a cell and prints its value.
func (b *bench) run(ctx context.Context, language, cell string) (code.RunOutput, error) {
	out, err := b.code.Run.Call(ctx, b.w, code.RunInput{Language: language, Code: cell})
	if err != nil {
		return out, err
	}
	if out.Error != nil {
		return out, fmt.Errorf("%s: %s", language, out.Error.Traceback)
	}
	value := "no value"
	if out.Result != nil {
		value = string(*out.Result)
	}
	b.say("%s: %s", language, value)
	return out, nil
}

// plot uses the module in Python, draws its results, and reads the picture back.
func (b *bench) plot(ctx context.Context) error {
	for _, cell := range []string{
		"import json, stats.mean\nmeans = [stats.mean.mean(range(n)) for n in range(1, 11)]\nmeans",
		"with open('means.json', 'w') as f: json.dump(means, f)\nlen(means)",
		"import matplotlib.pyplot as plt\n_ = plt.plot(means, marker='o')\nplt.savefig('means.png', dpi=50)\nplt.close()\n'drawn'",
	} {
		if _, err := b.run(ctx, "python", cell); err != nil {
			return err
		}
	}
	if _, err := b.run(ctx, "javascript", "const means = JSON.parse(require('fs').readFileSync('means.json', 'utf8')); Math.max(...means)"); err != nil {
		return err
	}
	read, err := b.files.Read.Call(ctx, b.w, file.ReadInput{Path: "means.png", Encoding: "base64"})
	if err != nil {
		return err
	}
	data, err := base64.StdEncoding.DecodeString(read.Content)
	if err != nil {
		return err
	}
	picture, err := png.DecodeConfig(bytes.NewReader(data))
	if err != nil {
		return err
	}
	b.say("the picture has %d x %d points", picture.Width, picture.Height)
	return nil
}

// serve starts a server in the shell, which the interpreter reaches.
func (b *bench) serve(ctx context.Context) error {
	started, err := b.shell.Start.Call(ctx, b.w, bash.StartInput{Command: "python3 -m http.server 8000 --bind 127.0.0.1", Name: "server"})
	if err != nil {
		return err
	}
	b.say("started a server")
	if _, err := b.run(ctx, "python", fetch); err != nil {
		return err
	}
	if _, err := b.shell.Kill.Call(ctx, b.w, bash.KillInput{ID: started.ID}); err != nil {
		return err
	}
	b.say("stopped the server")
	return nil
}

// breakAndRestore takes a snapshot, breaks what there is, and goes back.
func (b *bench) breakAndRestore(ctx context.Context) error {
	if _, err := b.space.Snapshot.Call(ctx, b.w, workspace.SnapshotInput{Name: "works"}); err != nil {
		return err
	}
	b.say("took a snapshot")
	if _, err := b.shell.Run.Call(ctx, b.w, bash.RunInput{Command: "rm stats/mean.py && echo oops > means.json && touch junk"}); err != nil {
		return err
	}
	b.say("broke it")
	if err := b.test(ctx); err != nil {
		return err
	}
	diff, err := b.space.Diff.Call(ctx, b.w, workspace.ChangesInput{Name: "works"})
	if err != nil {
		return err
	}
	b.say("added %v, changed %v, removed %v", plain(diff.Added), plain(diff.Changed), plain(diff.Removed))
	if _, err := b.space.Restore.Call(ctx, b.w, workspace.ChangesInput{Name: "works"}); err != nil {
		return err
	}
	b.say("restored it")
	if err := b.test(ctx); err != nil {
		return err
	}
	_, err = b.run(ctx, "python", "json.load(open('means.json')) == means")
	return err
}

// plain leaves out what Python keeps for itself.
func plain(paths []string) (own []string) {
	for _, p := range paths {
		if !strings.Contains(p, "__pycache__") {
			own = append(own, p)
		}
	}
	return own
}
