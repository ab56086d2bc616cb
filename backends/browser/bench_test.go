package browser_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/agentflow-go/sandbox"
	"github.com/agentflow-go/sandbox/backends/browser"
)

// bare is Chromium driven by chromedp, unconfined, with the arguments of this
// package, for comparison in the same run.
func bare(b *testing.B) context.Context {
	b.Helper()
	path, err := exec.LookPath("/usr/lib/chromium/chromium-headless-shell")
	if err != nil {
		b.Skip("no bare browser to compare with: ", err)
	}
	opts := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.UserDataDir(b.TempDir()))
	if os.Getuid() == 0 {
		opts = append(opts, chromedp.NoSandbox) // as root there is none
	}
	ctx, cancel := chromedp.NewExecAllocator(context.Background(), opts...)
	b.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx, chromedp.WithErrorf(func(string, ...any) {}))
	b.Cleanup(cancel)
	if err := chromedp.Do(ctx); err != nil {
		b.Fatal(err)
	}
	return ctx
}

func bareTab(b *testing.B, parent context.Context) (context.Context, context.CancelFunc) {
	b.Helper()
	ctx, cancel := chromedp.NewContext(parent, chromedp.WithNewBrowserContext())
	if err := chromedp.Do(ctx); err != nil {
		b.Fatal(err)
	}
	return ctx, cancel
}

func BenchmarkSession(b *testing.B) {
	b.Run("bare", func(b *testing.B) {
		ctx := bare(b)
		b.ResetTimer()
		for b.Loop() {
			_, cancel := bareTab(b, ctx)
			b.StopTimer()
			cancel()
			b.StartTimer()
		}
	})
	b.Run("browser", func(b *testing.B) {
		s := benchBox(b)
		w := s.sb.Worker(b.Name())
		for b.Loop() {
			if _, err := w.CreateSession(b.Context(), "browser", sandbox.SessionOptions{}); err != nil {
				b.Fatal(err)
			}
			b.StopTimer()
			if err := w.DestroySession(b.Context(), "browser"); err != nil {
				b.Fatal(err)
			}
			b.StartTimer()
		}
	})
}

// benchBox is a sandbox that does not check typed calls, as those of programs.
func benchBox(b *testing.B) *shared {
	b.Helper()
	var reg sandbox.Registry
	s := &shared{site: newSite(), tools: browser.Register(&reg, browser.Config{})}
	var err error
	if s.sb, err = sandbox.New(sandbox.Options{Registry: &reg, Confine: policy}); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { s.sb.Shutdown(context.Background()) })
	if err := s.sb.Start(b.Context(), "browser"); err != nil {
		b.Fatal(err)
	}
	return s
}

// BenchmarkActions does the same with chromedp and with the tools. Theirs wait
// until the element can take the action, and for what it leads to.
func BenchmarkActions(b *testing.B) {
	s := benchBox(b)
	address := s.site.url + "/form.html"
	w := s.sb.Worker(b.Name())
	if _, err := w.CreateSession(b.Context(), "browser", sandbox.SessionOptions{}); err != nil {
		b.Fatal(err)
	}
	u := &user{b, s, w, s.tools}
	do(u, u.bt.Goto, browser.GotoInput{URL: address})
	h1 := browser.Element{Selector: "h1"}
	ctx, cancel := bareTab(b, bare(b))
	defer cancel()
	if err := chromedp.Do(ctx, chromedp.Navigate(address)); err != nil {
		b.Fatal(err)
	}
	chrome := func(steps ...chromedp.Action[chromedp.Void]) func() error {
		return func() error { return chromedp.Do(ctx, steps...) }
	}
	for _, bench := range []struct {
		name string
		bare func() error
		tool func()
	}{
		{"goto", chrome(chromedp.Navigate(address)), func() { do(u, u.bt.Goto, browser.GotoInput{URL: address}) }},
		{"click", chrome(chromedp.Click(chromedp.CSS("h1"))), func() { do(u, u.bt.Click, browser.ClickInput{Element: h1}) }},
		{"evaluate", func() error { _, err := chromedp.Run(ctx, chromedp.Evaluate[int]("1 + 1")); return err }, func() { do(u, u.bt.Evaluate, browser.EvaluateInput{Expression: "1 + 1"}) }},
		{"snapshot", func() error {
			_, err := chromedp.Run(ctx, chromedp.Evaluate[string]("document.body.innerHTML"))
			return err
		}, func() { do(u, u.bt.Snapshot, browser.SnapshotInput{}) }},
		{"screenshot", func() error { _, err := chromedp.Run(ctx, chromedp.CaptureScreenshot()); return err }, func() { do(u, u.bt.Screenshot, browser.ScreenshotInput{Path: "shot.png"}) }},
	} {
		b.Run(bench.name+"/bare", func(b *testing.B) {
			for b.Loop() {
				if err := bench.bare(); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(bench.name+"/browser", func(b *testing.B) {
			for b.Loop() {
				bench.tool()
			}
		})
	}
}

// BenchmarkIdleSessions reports the memory of idle sessions, each with an empty
// page, as the sum of the processes' proportional shares.
func BenchmarkIdleSessions(b *testing.B) {
	for _, mode := range []browser.Isolation{browser.Shared, browser.PerWorker} {
		b.Run(string(mode), func(b *testing.B) {
			for b.Loop() {
				sb, _, _ := newSandbox(b, browser.Config{Isolation: mode}, policy)
				const n = 8
				before := 0.
				for i := range n {
					if _, err := sb.Worker(fmt.Sprint(i)).CreateSession(b.Context(), "browser", sandbox.SessionOptions{}); err != nil {
						b.Fatal(err)
					}
					if i == 0 && mode == browser.Shared {
						before = memory(b)
					}
				}
				after := memory(b)
				if mode == browser.Shared {
					b.ReportMetric(before/(1<<20), "first-MB")
					b.ReportMetric((after-before)/(n-1)/(1<<20), "further-MB")
				} else {
					b.ReportMetric(after/n/(1<<20), "each-MB")
				}
				sb.Shutdown(context.Background())
			}
		})
	}
}

// memory is that of all of this program's browsers.
func memory(b *testing.B) (bytes float64) {
	b.Helper()
	for _, p := range chromes(b, os.Getpid()) {
		raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", p.pid))
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(raw)) {
			var kb float64
			if _, err := fmt.Sscanf(line, "Pss: %f kB", &kb); err == nil {
				bytes += kb * 1024
			}
		}
	}
	return bytes
}

// BenchmarkFiftySessions opens fifty sessions at once, and a page in each.
func BenchmarkFiftySessions(b *testing.B) {
	site := newSite()
	for b.Loop() {
		sb, tools, _ := newSandbox(b, browser.Config{}, policy)
		var wg sync.WaitGroup
		for i := range 50 {
			wg.Go(func() {
				w := sb.Worker(fmt.Sprint(i))
				if _, err := w.CreateSession(b.Context(), "browser", sandbox.SessionOptions{}); err != nil {
					b.Error(err)
					return
				}
				if _, err := tools.Goto.Call(b.Context(), w, browser.GotoInput{URL: site.url + "/form.html"}); err != nil {
					b.Error(err)
				}
			})
		}
		wg.Wait()
		sb.Shutdown(context.Background())
	}
}
