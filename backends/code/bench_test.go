package code_test

import (
	"bufio"
	"context"
	"fmt"
	"os/exec"
	"slices"
	"testing"
	"time"

	"github.com/agentflow-go/sandbox"
	"github.com/agentflow-go/sandbox/backends/code"
)

// bare is an interpreter on two pipes that evaluates one line at a time: what a
// session is measured against.
var bare = map[string][]string{
	"python":     {"/usr/bin/python3", "-u", "-c", "import sys\nfor l in sys.stdin: print(eval(l))"},
	"javascript": {"/usr/bin/node", "-e", "require('readline').createInterface({input: process.stdin}).on('line', l => console.log(eval(l)))"},
}

func startBare(b *testing.B, language string) (ask func(), stop func()) {
	b.Helper()
	args := bare[language]
	cmd := exec.Command(args[0], args[1:]...)
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
	ask = func() {
		if _, err := in.Write([]byte("1+1\n")); err != nil {
			b.Fatal(err)
		}
		if line, err := r.ReadString('\n'); err != nil || line != "2\n" {
			b.Fatal(line, err)
		}
	}
	return ask, func() { in.Close(); _ = cmd.Wait() } // its status says nothing here
}

// quantiles measures each run by itself, for a machine that does other things
// as well: the tenth part that was fastest is little disturbed.
type quantiles []time.Duration

func (q *quantiles) time(fn func()) {
	start := time.Now()
	fn()
	*q = append(*q, time.Since(start))
}

func (q quantiles) report(b *testing.B) {
	slices.Sort(q)
	b.ReportMetric(float64(q[len(q)/10].Nanoseconds()), "p10-ns")
	b.ReportMetric(float64(q[len(q)/2].Nanoseconds()), "p50-ns")
}

func benchBox(b *testing.B, cfg code.Config) *box {
	var reg sandbox.Registry
	tools := code.Register(&reg, cfg)
	sb, err := sandbox.New(sandbox.Options{Registry: &reg})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { sb.Shutdown(context.Background()) })
	return &box{b, tools, sb, sb.Worker("w")}
}

// BenchmarkRun is 1+1 in a live session, against the same in a bare interpreter
// on pipes.
func BenchmarkRun(b *testing.B) {
	for _, language := range []string{"python", "javascript"} {
		b.Run(language+"/bare", func(b *testing.B) {
			ask, stop := startBare(b, language)
			defer stop()
			ask()
			var q quantiles
			for b.Loop() {
				q.time(ask)
			}
			q.report(b)
		})
		b.Run(language+"/session", func(b *testing.B) {
			bx := benchBox(b, code.Config{})
			bx.session("")
			in := code.RunInput{Code: "1+1", Language: language}
			bx.run(in)
			b.ReportAllocs()
			var q quantiles
			for b.Loop() {
				q.time(func() {
					if out := bx.run(in); out.Result == nil || *out.Result != "2" {
						b.Fatal(out)
					}
				})
			}
			q.report(b)
		})
	}
}

// BenchmarkFirst is a new session's first 1+1, against a new bare interpreter's.
func BenchmarkFirst(b *testing.B) {
	for _, language := range []string{"python", "javascript"} {
		b.Run(language+"/bare", func(b *testing.B) {
			var q quantiles
			for b.Loop() {
				var stop func()
				q.time(func() {
					var ask func()
					ask, stop = startBare(b, language)
					ask()
				})
				b.StopTimer()
				stop()
				b.StartTimer()
			}
			q.report(b)
		})
		b.Run(language+"/session", func(b *testing.B) { first(b, language, code.Config{}) })
	}
	b.Run("python/pooled", func(b *testing.B) { first(b, "python", code.Config{Pool: 1}) })
}

func first(b *testing.B, language string, cfg code.Config) {
	bx := benchBox(b, cfg)
	if err := bx.sb.Start(b.Context(), "code"); err != nil {
		b.Fatal(err)
	}
	var q quantiles
	defer func() { q.report(b) }()
	for i := 0; b.Loop(); i++ {
		b.StopTimer()
		for cfg.Pool > 0 && pooled(b, bx) < cfg.Pool {
		}
		b.StartTimer()
		q.time(func() {
			bx.w = bx.sb.Worker(fmt.Sprint("first ", i))
			bx.session("")
			bx.run(code.RunInput{Code: "1+1", Language: language})
		})
		b.StopTimer()
		if err := bx.w.Close(b.Context()); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}

func pooled(b *testing.B, bx *box) int {
	st, err := bx.sb.Status(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	return st.Backends[0].Pooled
}
