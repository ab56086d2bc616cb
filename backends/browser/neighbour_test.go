package browser_test

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/agentflow-go/sandbox"
	"github.com/agentflow-go/sandbox/backends/browser"
)

// What one page says may be more than is read of all pages.
func TestPagesThatSayTooMuchDoNotEndTheBrowser(t *testing.T) {
	t.Parallel()
	loud, other := newUserAs(t, "loud", ""), newUserAs(t, "other", "")
	loud.open("/dialogs.html")
	other.open("/form.html")
	was := do(other, other.b.faults.Which, struct{}{})
	loud.eval("console.log('x'.repeat(9 << 20)); prompt('y'.repeat(9 << 20)); 1")
	if got := loud.eval("document.title"); got != "Dialogs" {
		t.Errorf("the loud page says %v", got)
	}
	if got := other.eval("1 + 1"); got != 2. || do(other, other.b.faults.Which, struct{}{}) != was {
		t.Errorf("the other page says %v, in another browser", got)
	}
}

// A browser whose network process died starts another, which knows no proxies: its
// pages then reach nothing, for good.
//
// It runs beside no other test, whose browser's process it could kill.
func TestKilledNetworkProcess(t *testing.T) {
	others := chromes(t, os.Getpid()) // of an earlier round
	site := newSite()
	sb, tools, _ := newSandbox(t, browser.Config{}, policy)
	t.Cleanup(func() { sb.Shutdown(context.Background()) })
	u := &user{t, &shared{site: site}, sb.Worker("w"), tools}
	if _, err := u.w.CreateSession(t.Context(), "browser", sandbox.SessionOptions{}); err != nil {
		t.Fatal(err)
	}
	u.open("/form.html")
	killed := false
	for _, p := range chromes(t, os.Getpid()) {
		cmdline, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", p.pid))
		if strings.Contains(string(cmdline), "NetworkService") && !slices.Contains(others, p) {
			killed = syscall.Kill(p.pid, syscall.SIGKILL) == nil
		}
	}
	if !killed {
		t.Fatal("no network process found")
	}
	var err error
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); { // what runs while the process dies is aborted
		if _, err = tools.Goto.Call(t.Context(), u.w, browser.GotoInput{URL: site.url + "/form.html"}); sandbox.CodeOf(err) == sandbox.ErrSessionLost {
			break
		}
	}
	if sandbox.CodeOf(err) != sandbox.ErrSessionLost || !strings.Contains(err.Error(), "lost its way to the network") {
		t.Errorf("error %v, want a lost session and why", err)
	}
	if out := u.open("/form.html"); out.Title != "Order" {
		t.Errorf("goto in the next session = %+v", out)
	}
}

// A session that is being opened when its browser ends has nothing to lose yet: it
// gets another one.
func TestBrowserThatEndsWhileSessionsOpen(t *testing.T) {
	t.Parallel()
	sb, tools, faults := newSandbox(t, browser.Config{}, policy)
	t.Cleanup(func() { sb.Shutdown(context.Background()) })
	first := sb.Worker("first")
	if _, err := first.CreateSession(t.Context(), "browser", sandbox.SessionOptions{}); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			if _, err := sb.Worker(fmt.Sprint(i)).CreateSession(t.Context(), "browser", sandbox.SessionOptions{}); err != nil {
				t.Errorf("session %d: %v", i, err)
			}
		})
	}
	faults.Kill.Call(t.Context(), first, struct{}{}) // ends with its session, too
	wg.Wait()
	u := &user{t, nil, sb.Worker("last"), tools}
	if got := u.eval("1 + 1"); got != 2. {
		t.Errorf("1 + 1 = %v", got)
	}
}
