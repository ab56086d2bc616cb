package browser

import (
	"context"
	"fmt"
	"time"

	"github.com/chromedp/cdproto/page"

	"github.com/agentflow-go/sandbox"
)

// Faults are tools that tests break things with.
type Faults struct {
	Crash *sandbox.Tool[struct{}, struct{}] // the renderer of the active tab
	Kill  *sandbox.Tool[struct{}, struct{}] // the browser, as kill -9 does
	Wait  *sandbox.Tool[struct{}, struct{}] // a minute, from now on, for requests that actions begin
	Which *sandbox.Tool[struct{}, string]   // browser it is
}

// RegisterWithFaults is Register with tools that break things.
func RegisterWithFaults(r *sandbox.Registry, cfg Config) (Tools, Faults) {
	tools, b := register(r, cfg)
	return tools, Faults{
		Crash: sandbox.AddSessionTool(b, sandbox.ToolSpec{Name: "crash"}, func(ctx context.Context, _ sandbox.Call, s *session, _ struct{}) (out struct{}, err error) {
			t, err := s.tab(ctx)
			if err != nil {
				return out, err
			}
			if _, err := t.link.send(ctx, page.CommandCrash, nil); err != nil {
				return out, err
			}
			return out, t.until(ctx, func() bool { return t.crashed })
		}),
		Kill: sandbox.AddSessionTool(b, sandbox.ToolSpec{Name: "kill", Concurrent: true}, func(_ context.Context, _ sandbox.Call, s *session, _ struct{}) (out struct{}, err error) {
			return out, s.chrome.proc.Kill()
		}),
		Wait: sandbox.AddSessionTool(b, sandbox.ToolSpec{Name: "wait"}, func(_ context.Context, _ sandbox.Call, s *session, _ struct{}) (out struct{}, err error) {
			s.patience = time.Minute
			return out, nil
		}),
		Which: sandbox.AddSessionTool(b, sandbox.ToolSpec{Name: "which"}, func(_ context.Context, _ sandbox.Call, s *session, _ struct{}) (string, error) {
			return fmt.Sprintf("%p", s.chrome), nil
		}),
	}
}
