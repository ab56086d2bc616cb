package bash_test

import (
	"bufio"
	"context"
	"fmt"
	"os/exec"
	"testing"

	"github.com/agentflow-go/sandbox"
	"github.com/agentflow-go/sandbox/backends/bash"
	"golang.org/x/sync/errgroup"
)

func benchBox(b *testing.B, cfg bash.Config) (bash.Tools, *sandbox.Sandbox) {
	var reg sandbox.Registry
	sh := bash.Register(&reg, cfg)
	sandbox.AddBackend(&reg, sandbox.BackendSpec{Name: "bare"}, sandbox.BackendFuncs[int]{
		OpenFunc: func(ctx context.Context, env sandbox.Env) (int, error) {
			p, err := env.Start(ctx, sandbox.Cmd{Path: "/bin/true"})
			if err != nil {
				return 0, err
			}
			return 0, p.Wait()
		},
	})
	sb, err := sandbox.New(sandbox.Options{Registry: &reg})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { sb.Shutdown(context.Background()) })
	return sh, sb
}

// BenchmarkSession makes and ends a session with its jail; compare bash with
// bare, which runs nothing but true.
func BenchmarkSession(b *testing.B) {
	for _, backend := range []string{"bare", "bash"} {
		b.Run(backend, func(b *testing.B) {
			_, sb := benchBox(b, bash.Config{})
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				w := sb.Worker(fmt.Sprint(i))
				if _, err := w.CreateSession(b.Context(), backend, sandbox.SessionOptions{}); err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				if err := w.Close(b.Context()); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
			}
		})
	}
}

// BenchmarkBareShell is echo in a bash on two pipes, unconfined and without any of
// what [BenchmarkRun] is sure of: what that is measured against.
func BenchmarkBareShell(b *testing.B) {
	cmd := exec.Command("/bin/bash", "--norc", "-c", `while IFS= read -r line; do eval "$line"; printf '%s\0' "$?"; done`)
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	r := bufio.NewReader(out)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := in.Write([]byte("echo hi\n")); err != nil {
			b.Fatal(err)
		}
		if got, err := r.ReadString(0); got != "hi\n0\x00" || err != nil {
			b.Fatalf("%q, %v", got, err)
		}
	}
	in.Close()
	if err := cmd.Wait(); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkRun is echo in a live session.
func BenchmarkRun(b *testing.B) {
	sh, sb := benchBox(b, bash.Config{})
	w := sb.Worker("w")
	if _, err := w.CreateSession(b.Context(), "bash", sandbox.SessionOptions{}); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if out, err := sh.Run.Call(b.Context(), w, bash.RunInput{Command: "echo hi"}); err != nil || out.Stdout != "hi\n" {
			b.Fatal(out, err)
		}
	}
}

// BenchmarkPooled takes a shell that was opened ahead of demand.
func BenchmarkPooled(b *testing.B) {
	_, sb := benchBox(b, bash.Config{Pool: 1})
	if err := sb.Start(b.Context(), "bash"); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		b.StopTimer()
		for pooled := 0; pooled == 0; { // the pool is filled again in the background
			st, err := sb.Status(b.Context())
			if err != nil {
				b.Fatal(err)
			}
			for _, s := range st.Backends {
				if s.Name == "bash" {
					pooled = s.Pooled
				}
			}
		}
		b.StartTimer()
		w := sb.Worker(fmt.Sprint(i))
		if _, err := w.CreateSession(b.Context(), "bash", sandbox.SessionOptions{}); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		if err := w.Close(b.Context()); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}

// BenchmarkTwoHundredSessions makes 200 shells at once, one for each worker, runs
// a command in each, and ends them.
func BenchmarkTwoHundredSessions(b *testing.B) {
	sh, sb := benchBox(b, bash.Config{})
	for b.Loop() {
		var g errgroup.Group
		for i := range 200 {
			g.Go(func() error {
				w := sb.Worker(fmt.Sprint(i))
				if _, err := w.CreateSession(b.Context(), "bash", sandbox.SessionOptions{}); err != nil {
					return err
				}
				if _, err := sh.Run.Call(b.Context(), w, bash.RunInput{Command: "echo hi"}); err != nil {
					return err
				}
				return w.Close(b.Context())
			})
		}
		if err := g.Wait(); err != nil {
			b.Fatal(err)
		}
	}
}
