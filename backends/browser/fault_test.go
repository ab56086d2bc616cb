package browser_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/agentflow-go/sandbox"
	"github.com/agentflow-go/sandbox/backends/browser"
)

func TestKilledBrowser(t *testing.T) {
	t.Parallel()
	site := newSite()
	sb, tools, faults := newSandbox(t, browser.Config{}, policy)
	t.Cleanup(func() { sb.Shutdown(context.Background()) })
	const n = 10
	workers := make([]*sandbox.Worker, n)
	ids := make([]string, n)
	var wg sync.WaitGroup
	for i := range workers {
		workers[i] = sb.Worker(fmt.Sprint("w", i))
		wg.Go(func() {
			info, err := workers[i].CreateSession(t.Context(), "browser", sandbox.SessionOptions{})
			if err != nil {
				t.Error(err)
			}
			ids[i] = info.ID
			if _, err := tools.Goto.Call(t.Context(), workers[i], browser.GotoInput{URL: site.url + "/form.html"}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		return
	}
	// Each call runs: the page tells the test's server.
	running := make(chan struct{}, n)
	site.running.Store(&running)
	errs := make([]error, n)
	for i := range workers {
		wg.Go(func() {
			_, errs[i] = tools.Evaluate.Call(t.Context(), workers[i], browser.EvaluateInput{Expression: "fetch('/running').then(() => new Promise(() => 0))", Timeout: 60})
		})
	}
	for range n {
		select {
		case <-running:
		case <-time.After(time.Minute):
			t.Fatal("the calls do not run")
		}
	}
	begin := time.Now()
	faults.Kill.Call(t.Context(), workers[0], struct{}{}) // ends with its session, too
	wg.Wait()
	t.Logf("all calls had failed after %v", time.Since(begin))
	for i, err := range errs {
		if !errors.Is(err, sandbox.ErrSessionLost) || !strings.Contains(err.Error(), "the browser ended") {
			t.Errorf("call %d: error %v (code %d), want a lost session and why", i, err, sandbox.CodeOf(err))
		}
	}
	for i, w := range workers {
		resp := w.Execute(t.Context(), "browser:goto", map[string]any{"url": site.url + "/form.html"})
		if resp.Err != nil || resp.Meta.Expired != ids[i] || !resp.Meta.Temporary {
			t.Errorf("call %d after the loss: %v, %+v; want it in a new session that says what became of %s", i, resp.Err, resp.Meta, ids[i])
		}
	}
}

// TestMain's other life: a program with a browser that is killed.
const childEnv = "BROWSER_TEST_CHILD"

func child() {
	var reg sandbox.Registry
	tools := browser.Register(&reg, browser.Config{})
	confine := policy
	if os.Getenv(childEnv) == "none" {
		confine = sandbox.Confinement{Level: "none"}
	}
	sb, err := sandbox.New(sandbox.Options{Registry: &reg, Confine: confine})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	w := sb.Worker("w")
	if _, err := w.CreateSession(context.Background(), "browser", sandbox.SessionOptions{}); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	out, err := tools.Evaluate.Call(context.Background(), w, browser.EvaluateInput{Expression: "1 + 1"})
	fmt.Println("ready", out.Result, err)
	if os.Getenv(childEnv) != "kill" {
		sb.Shutdown(context.Background())
		return
	}
	select {}
}

func TestEndOfTheProgram(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"kill", "shutdown", "none"} {
		cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run=^$")
		tmp := t.TempDir()
		cmd.Env = append(os.Environ(), childEnv+"="+how, "TMPDIR="+tmp)
		if how == "none" && os.Getuid() == 0 { // as root Chromium wants to give up its own sandbox, too
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
			if err := os.Chmod(filepath.Dir(tmp), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.Chown(tmp, 65534, 65534); err != nil {
				t.Fatal(err)
			}
		}
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if got, err := bufio.NewReader(out).ReadString('\n'); got != "ready 2 <nil>\n" {
			t.Fatalf("the program says %q, %v", got, err)
		}
		all := chromes(t, cmd.Process.Pid)
		if how == "kill" {
			if len(all) < 3 {
				t.Errorf("processes of Chromium: %v, want some", all)
			}
			cmd.Process.Kill()
		}
		cmd.Wait()
		awaitEnd(t, all)
		// What is left is the data directory of a killed program, which the next
		// sweeps; no profile is in it, since that was in the jail's memory.
		filepath.WalkDir(tmp, func(path string, d os.DirEntry, err error) error {
			if err == nil && (strings.Contains(path, "profile") || strings.Contains(path, "hromium")) {
				t.Errorf("%s: %s is left", how, path)
			}
			return nil
		})
	}
}

func TestBrowserPerWorker(t *testing.T) {
	t.Parallel()
	site := newSite()
	sb, tools, faults := newSandbox(t, browser.Config{Isolation: browser.PerWorker}, policy)
	t.Cleanup(func() { sb.Shutdown(context.Background()) })
	a, b := &user{t, &shared{site: site}, sb.Worker("a"), tools}, &user{t, &shared{site: site}, sb.Worker("b"), tools}
	for _, u := range []*user{a, b} {
		if _, err := u.w.CreateSession(t.Context(), "browser", sandbox.SessionOptions{}); err != nil {
			t.Fatal(err)
		}
		u.open("/files.html")
		do(u, u.bt.Click, browser.ClickInput{Element: browser.Element{Text: "Small file"}})
		got := do(u, u.bt.Downloads, browser.DownloadsInput{Wait: 50}).Downloads
		if len(got) != 1 || got[0].Path != "downloads/data.txt" {
			t.Fatalf("downloads = %+v", got)
		}
		do(u, u.bt.Upload, browser.UploadInput{Element: el("#one"), Paths: []string{"downloads/data.txt"}})
		do(u, u.bt.WaitFor, browser.WaitInput{Text: "one data.txt 5"})
		u.show("<textarea>mine</textarea><input>") // and the clipboard is the browser's own
		u.copyAll("textarea")
		do(u, u.bt.Press, browser.PressInput{Element: el("input"), Key: "Control+V"})
		if got := u.eval("document.querySelector('input').value"); got != "mine" {
			t.Errorf("pasted %v", got)
		}
	}
	refused(a, a.bt.Goto, browser.GotoInput{URL: "http://example.com/"}, sandbox.ErrDenied, "rule: allow list")
	if _, err := faults.Kill.Call(t.Context(), a.w, struct{}{}); err != nil && !errors.Is(err, sandbox.ErrSessionLost) {
		t.Error(err)
	}
	if out := b.open("/form.html"); out.Title != "Order" {
		t.Errorf("the other worker's browser after the first's end: %+v", out)
	}
	if err := b.w.Close(context.Background()); err != nil {
		t.Error(err)
	}
}

func TestOnlyEqualPoliciesShareABrowser(t *testing.T) {
	t.Parallel()
	site := newSite()
	sb, tools, faults := newSandbox(t, browser.Config{}, policy)
	t.Cleanup(func() { sb.Shutdown(context.Background()) })
	which := map[string]string{}
	for name, confine := range map[string]*sandbox.Confinement{
		"a": nil, "b": nil, "narrow": {Egress: sandbox.Egress{Allow: []string{"127.0.0.2"}}},
	} {
		u := &user{t, &shared{site: site}, sb.Worker(name), tools}
		if _, err := u.w.CreateSession(t.Context(), "browser", sandbox.SessionOptions{Confinement: confine}); err != nil {
			t.Fatal(err)
		}
		which[name] = do(u, faults.Which, struct{}{})
		do(u, u.bt.Goto, browser.GotoInput{URL: site.other + "/form.html"})
		if confine == nil {
			u.open("/form.html")
		} else {
			refused(u, u.bt.Goto, browser.GotoInput{URL: site.url + "/form.html"}, sandbox.ErrDenied, "rule: allow list")
		}
	}
	if which["a"] != which["b"] || which["a"] == which["narrow"] {
		t.Errorf("browsers %v; want a and b in one, narrow in another", which)
	}
}

func TestPooledSessions(t *testing.T) {
	t.Parallel()
	site := newSite()
	sb, tools, _ := newSandbox(t, browser.Config{Pool: 1}, policy)
	t.Cleanup(func() { sb.Shutdown(context.Background()) })
	if err := sb.Start(t.Context(), "browser"); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		u := &user{t, &shared{site: site}, sb.Worker(fmt.Sprint(i)), tools}
		if _, err := u.w.CreateSession(t.Context(), "browser", sandbox.SessionOptions{}); err != nil {
			t.Fatal(err)
		}
		u.open("/form.html")
		if out := do(u, u.bt.Screenshot, browser.ScreenshotInput{Path: "a.png"}); out.ImagePath != "a.png" {
			t.Errorf("screenshot = %s", out.ImagePath)
		}
		refused(u, u.bt.Goto, browser.GotoInput{URL: "http://example.com/"}, sandbox.ErrDenied, "rule: allow list")
	}
}

func TestHundredActionsInThreeTabs(t *testing.T) {
	t.Parallel()
	u := newUser(t, "")
	for i := range 3 {
		if i > 0 {
			do(u, u.bt.Tabs, browser.TabsInput{Action: "new"})
		}
		u.open("/form.html")
	}
	want := [3]string{}
	notes := [3]int{}
	for n := range 33 {
		i := n % 3
		do(u, u.bt.Tabs, browser.TabsInput{Action: "switch", Index: &i})
		want[i] = fmt.Sprintf("%s%d,", want[i], n)
		do(u, u.bt.Type, browser.TypeInput{Named: browser.Named{Label: "Note"}, Text: fmt.Sprint(n, ",")})
		if n%2 == 0 {
			do(u, u.bt.Check, browser.CheckInput{Element: browser.Element{Text: "Cheese"}, Checked: ptr(notes[i]%2 == 0)})
			notes[i]++
		} else {
			do(u, u.bt.Fill, browser.FillInput{Named: browser.Named{Label: "Name"}, Text: fmt.Sprint("tab ", i, " at ", n)})
		}
	}
	for i := range 3 {
		do(u, u.bt.Tabs, browser.TabsInput{Action: "switch", Index: &i})
		got := u.eval("[document.querySelector('textarea').value, document.querySelector('[name=top]').checked, document.querySelector('[name=name]').value]").([]any)
		raw, _ := json.Marshal(got)
		if got[0] != want[i] || got[1] != (notes[i]%2 == 1) || !strings.HasPrefix(got[2].(string), fmt.Sprint("tab ", i)) {
			t.Errorf("tab %d holds %s, want %q and %v", i, raw, want[i], notes[i]%2 == 1)
		}
	}
}

// Chromium's own sandbox is the wall between a page and the other sessions.
func TestChromiumKeepsItsSandbox(t *testing.T) {
	t.Parallel()
	newUser(t, "").open("/form.html")
	renderers := 0
	for _, p := range chromes(t, os.Getpid()) {
		cmdline, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", p.pid))
		if len(strings.Fields(status(p.first, "NSpid"))) < 2 {
			continue // in no jail: another test's
		}
		if strings.Contains(string(cmdline), "--no-sandbox") {
			t.Errorf("started with %q", cmdline)
		}
		if !strings.Contains(string(cmdline), "--type=renderer") {
			continue
		}
		renderers++
		// The jail is one process namespace deep; renderers are further down.
		if got := status(p.pid, "NSpid"); got != "" && len(strings.Fields(got)) < 4 {
			t.Errorf("renderer %d is %s in its namespaces", p.pid, got)
		}
		// One that was just started has its filter before it is given a page.
		for deadline := time.Now().Add(time.Minute); p.exists() && status(p.pid, "Seccomp") != "2"; <-time.After(10 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Errorf("renderer %d has no filter of system calls", p.pid)
				break
			}
		}
	}
	if renderers == 0 {
		t.Error("no renderer found")
	}
}

// A browser that somebody else runs is used as it is.
func TestRemoteBrowser(t *testing.T) {
	t.Parallel()
	const path = "/usr/lib/chromium/chromium-headless-shell"
	if _, err := os.Stat(path); err != nil {
		t.Skip("no browser to run apart: ", err)
	}
	profile := t.TempDir()
	args := []string{"--remote-debugging-port=0", "--user-data-dir=" + profile}
	if os.Getuid() == 0 {
		args = append(args, "--no-sandbox")
	}
	cmd := exec.CommandContext(t.Context(), path, args...)
	said, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer end(t, cmd) // else processes of it write to the profile while that is removed
	address := ""
	for lines := bufio.NewScanner(said); address == "" && lines.Scan(); {
		_, address, _ = strings.Cut(lines.Text(), "DevTools listening on ")
	}
	go io.Copy(io.Discard, said)
	site := newSite()
	base, _, _ := strings.Cut(strings.Replace(address, "ws:", "http:", 1), "/devtools")
	for _, remote := range []string{address, base} {
		sb, tools, _ := newSandbox(t, browser.Config{Remote: remote, RemoteUnconfined: true}, policy)
		u := &user{t, &shared{site: site}, sb.Worker("w"), tools}
		if _, err := u.w.CreateSession(t.Context(), "browser", sandbox.SessionOptions{}); err != nil {
			t.Fatal(err)
		}
		if out := u.open("/form.html"); out.Title != "Order" {
			t.Errorf("goto = %+v", out)
		}
		narrowed := sandbox.SessionOptions{Confinement: &sandbox.Confinement{Egress: sandbox.Egress{Allow: []string{}}}}
		if _, err := sb.Worker("narrowed").CreateSession(t.Context(), "browser", narrowed); !errors.Is(err, sandbox.ErrCannotEnforce) {
			t.Errorf("a session that narrows the network policy: %v, want ErrCannotEnforce", err)
		}
		refused(u, u.bt.Upload, browser.UploadInput{Element: el("input"), Paths: []string{"x"}}, sandbox.ErrInvalidRequest, "runs elsewhere")
		if err := sb.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	}
}
