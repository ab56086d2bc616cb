package browser_test

import (
	"bytes"
	"encoding/base64"
	"image"
	_ "image/png"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/agentflow-go/sandbox"
	"github.com/agentflow-go/sandbox/backends/browser"
)

func init() {
	handlers = append(handlers, func(m *http.ServeMux) {
		m.HandleFunc("/file", func(w http.ResponseWriter, r *http.Request) {
			n, _ := strconv.Atoi(r.FormValue("size"))
			w.Header().Set("Content-Disposition", `attachment; filename="`+r.FormValue("name")+`"`)
			w.Write(bytes.Repeat([]byte("x"), n))
		})
	})
}

func TestTabsAndPopups(t *testing.T) {
	t.Parallel()
	u := newUser(t, "")
	u.open("/elements.html")
	out := do(u, u.bt.Click, browser.ClickInput{Element: browser.Element{Text: "New window"}})
	if out.NewTab == nil || *out.NewTab != 1 || !strings.HasSuffix(out.URL, "/elements.html") {
		t.Fatalf("click = %+v", out)
	}
	do(u, u.bt.Tabs, browser.TabsInput{Action: "switch", Index: ptr(1)})
	do(u, u.bt.WaitFor, browser.WaitInput{Text: "Order a pizza"})
	do(u, u.bt.Tabs, browser.TabsInput{Action: "switch", Index: ptr(0)})
	out = do(u, u.bt.Click, browser.ClickInput{Element: el("#popup")})
	if out.NewTab == nil || *out.NewTab != 2 {
		t.Fatalf("click = %+v", out)
	}
	do(u, u.bt.Tabs, browser.TabsInput{Action: "switch", Index: ptr(2)})
	do(u, u.bt.WaitFor, browser.WaitInput{Text: "Order a pizza"})
	list := do(u, u.bt.Tabs, browser.TabsInput{Action: "new", URL: u.b.site.url + "/spa.html"})
	want := []browser.Tab{
		{Index: 0, URL: u.b.site.url + "/elements.html", Title: "Elements"},
		{Index: 1, URL: u.b.site.url + "/form.html", Title: "Order"},
		{Index: 2, URL: u.b.site.url + "/form.html", Title: "Order"},
		{Index: 3, URL: u.b.site.url + "/spa.html", Title: "Single page", Active: true},
	}
	if diff := cmp.Diff(want, list.Tabs); diff != "" {
		t.Errorf("tabs (-want +got):\n%s", diff)
	}
	do(u, u.bt.Tabs, browser.TabsInput{Action: "switch", Index: ptr(2)})
	u.eval("window.close(), 1")
	for len(do(u, u.bt.Tabs, browser.TabsInput{}).Tabs) == 4 { // it closes in its time
	}
	do(u, u.bt.Tabs, browser.TabsInput{Action: "close", Index: ptr(1)})
	for range 2 {
		list = do(u, u.bt.Tabs, browser.TabsInput{Action: "close", Index: ptr(0)})
	}
	for len(list.Tabs) > 0 {
		list = do(u, u.bt.Tabs, browser.TabsInput{Action: "close", Index: ptr(0)})
	}
	if out := u.open("/form.html"); out.Title != "Order" { // opens a tab by itself
		t.Errorf("goto without a tab = %+v", out)
	}
	refused(u, u.bt.Tabs, browser.TabsInput{Action: "switch", Index: ptr(7)}, sandbox.ErrInvalidInput, "there are 1 tabs")
	// Windows without end: the rest are closed.
	u.eval("for (let i = 0; i < 30; i++) window.open('about:blank'); 1")
	list = do(u, u.bt.Tabs, browser.TabsInput{})
	if len(list.Tabs) > 20 {
		t.Errorf("%d tabs are open, want 20 at most", len(list.Tabs))
	}
	if out := u.open("/spa.html"); out.Title != "Single page" {
		t.Errorf("goto after the windows = %+v", out)
	}
}

func TestDialogs(t *testing.T) {
	t.Parallel()
	u := newUser(t, "")
	u.open("/dialogs.html")
	button := func(text string) browser.ClickInput { return browser.ClickInput{Element: browser.Element{Text: text}} }
	if out := do(u, u.bt.Click, button("Alert")); len(out.Dialogs) != 1 || out.Dialogs[0].Message != "hello\nworld" || out.Dialogs[0].Answer != "dismissed" {
		t.Errorf("click = %+v, want the dialog", out)
	}
	do(u, u.bt.Click, button("Confirm"))
	do(u, u.bt.Click, button("Prompt"))
	do(u, u.bt.Dialogs, browser.DialogsInput{Policy: browser.AcceptDialogs, Answer: "Ada"})
	do(u, u.bt.Click, button("Confirm"))
	do(u, u.bt.Click, button("Prompt"))
	do(u, u.bt.Dialogs, browser.DialogsInput{Policy: browser.AskDialogs})
	out := do(u, u.bt.Click, button("Confirm"))
	if out.Dialog == nil || out.Dialog.Message != "sure?" || out.Dialog.Answer != "open" {
		t.Fatalf("click = %+v, want the open dialog", out)
	}
	refused(u, u.bt.Click, button("Alert"), sandbox.ErrBusinessFailure, `a dialog is open: confirm "sure?"`)
	refused(u, u.bt.Snapshot, browser.SnapshotInput{}, sandbox.ErrBusinessFailure, "answer it with dialogs")
	do(u, u.bt.Dialogs, browser.DialogsInput{Policy: browser.AcceptDialogs})
	do(u, u.bt.WaitFor, browser.WaitInput{Text: "confirm false prompt null confirm true prompt Ada confirm true"})
	do(u, u.bt.Dialogs, browser.DialogsInput{Policy: browser.AskDialogs})
	ev := do(u, u.bt.Evaluate, browser.EvaluateInput{Expression: "prompt('from a script')"})
	if ev.Dialog == nil || ev.Dialog.Message != "from a script" {
		t.Fatalf("evaluate = %+v, want the open dialog", ev)
	}
	u.open("/dialogs.html") // leaving ends it
	list := do(u, u.bt.Dialogs, browser.DialogsInput{Policy: browser.DismissDialogs})
	var got []string
	for _, d := range list.Dialogs {
		got = append(got, strings.TrimSpace(d.Type+" "+d.Answer+" "+d.Text))
	}
	want := []string{"alert dismissed", "confirm dismissed", "prompt dismissed", "confirm accepted", "prompt accepted Ada", "confirm accepted", "prompt dismissed"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("dialogs (-want +got):\n%s", diff)
	}
	// A storm of them ends with a clear result, and the tab can be used again.
	out, err := u.bt.Click.Call(t.Context(), u.w, browser.ClickInput{Element: browser.Element{Text: "Storm"}, Timeout: 300})
	if err != nil || out.Dialog == nil || !strings.Contains(out.Dialog.Message, "more than 100 dialogs") {
		t.Errorf("storm = %+v, %v", out, err)
	}
	if out := u.open("/form.html"); out.Title != "Order" {
		t.Errorf("goto after the storm = %+v", out)
	}
}

func TestFiles(t *testing.T) {
	t.Parallel()
	u := newUser(t, "")
	u.open("/files.html")
	if out := do(u, u.bt.Click, browser.ClickInput{Element: browser.Element{Text: "Small file"}}); len(out.Downloads) != 1 || out.Downloads[0] != "data.txt" {
		t.Errorf("click = %+v, want a download", out)
	}
	do(u, u.bt.Click, browser.ClickInput{Element: browser.Element{Text: "Small file"}})
	out := do(u, u.bt.Goto, browser.GotoInput{URL: u.b.site.url + "/file?name=..%2F..%2Fevil.bin&size=100000"})
	if out.Download == "" {
		t.Errorf("goto = %+v, want a download", out)
	}
	list := do(u, u.bt.Downloads, browser.DownloadsInput{Wait: 50})
	for i := range list.Downloads {
		list.Downloads[i].URL = ""
	}
	want := []browser.Download{
		{Name: "data.txt", Path: "downloads/data.txt", State: "done", Size: 5},
		{Name: "data.txt", Path: "downloads/data (1).txt", State: "done", Size: 5},
		{Name: "_.._evil.bin", Path: "downloads/_.._evil.bin", State: "done", Size: 100000},
	}
	if diff := cmp.Diff(want, list.Downloads); diff != "" {
		t.Errorf("downloads (-want +got):\n%s", diff)
	}
	if out.URL != u.b.site.url+"/files.html" {
		t.Errorf("after a download at %s", out.URL)
	}
	// Up again, through every kind of input.
	do(u, u.bt.Upload, browser.UploadInput{Element: el("#one"), Paths: []string{"downloads/data.txt"}})
	do(u, u.bt.WaitFor, browser.WaitInput{Text: "one data.txt"}) // the page reads them in its time
	do(u, u.bt.Upload, browser.UploadInput{Element: el("#many"), Paths: []string{"downloads/data.txt", "/workspace/downloads/_.._evil.bin"}})
	do(u, u.bt.WaitFor, browser.WaitInput{Text: "many _.._evil.bin"})
	do(u, u.bt.Upload, browser.UploadInput{Element: browser.Element{Text: "Pick"}, Paths: []string{"downloads/data (1).txt"}})
	do(u, u.bt.WaitFor, browser.WaitInput{Text: "picked data (1).txt"})
	wantLog := "one data.txt 5 xxxxx\nmany data.txt 5 xxxxx\nmany _.._evil.bin 100000 xxxxxxxxxxxxxxxxxxxx\npicked data (1).txt 5 xxxxx\n"
	if diff := cmp.Diff(wantLog, u.eval("log.textContent")); diff != "" {
		t.Errorf("what the page got (-want +got):\n%s", diff)
	}
	refused(u, u.bt.Upload, browser.UploadInput{Element: el("#one"), Paths: []string{"downloads/data.txt", "downloads/_.._evil.bin"}}, sandbox.ErrInvalidInput, "takes one file")
	refused(u, u.bt.Upload, browser.UploadInput{Element: el("#one"), Paths: []string{"../../etc/passwd"}}, sandbox.ErrInvalidInput, "")
	refused(u, u.bt.Upload, browser.UploadInput{Element: el("#one"), Paths: []string{"none"}}, sandbox.ErrNoResults, "")
	refused(u, u.bt.Upload, browser.UploadInput{Element: el("#log"), Paths: []string{"downloads/data.txt"}, Timeout: 5}, sandbox.ErrBusinessFailure, "opened no file chooser")
}

func TestPictures(t *testing.T) {
	t.Parallel()
	u := newUser(t, `{"viewport": {"width": 640, "height": 480}}`)
	u.open("/frames.html")
	size := func(in browser.ScreenshotInput) image.Point {
		t.Helper()
		out := do(u, u.bt.Screenshot, in)
		raw, err := base64.StdEncoding.DecodeString(out.Image)
		if err != nil {
			t.Fatal(err)
		}
		pic, _, err := image.DecodeConfig(bytes.NewReader(raw))
		if err != nil {
			t.Fatal(err)
		}
		if out.Size != [2]int{pic.Width, pic.Height} || out.ImagePath == "" {
			t.Errorf("screenshot says %v at %q, the picture is %d by %d", out.Size, out.ImagePath, pic.Width, pic.Height)
		}
		return image.Pt(pic.Width, pic.Height)
	}
	if got := size(browser.ScreenshotInput{}); got != image.Pt(640, 480) {
		t.Errorf("window = %v", got)
	}
	if got := size(browser.ScreenshotInput{FullPage: true}); got.X != 640 || got.Y < 1200 {
		t.Errorf("page = %v", got)
	}
	if got := size(browser.ScreenshotInput{Element: el("#near"), Format: "jpeg", Path: "pics/near.jpg"}); got != image.Pt(310, 160) {
		t.Errorf("element = %v", got)
	}
	if got := size(browser.ScreenshotInput{Element: browser.Element{Text: "Press me", Frame: "near"}}); got.X < 30 || got.Y < 10 || got.X > 200 {
		t.Errorf("element in a frame = %v", got)
	}
	refused(u, u.bt.Screenshot, browser.ScreenshotInput{Path: "../x.png"}, sandbox.ErrInvalidInput, "")
	do(u, u.bt.Resize, browser.ResizeInput{Width: 300, Height: 200})
	if got := size(browser.ScreenshotInput{}); got != image.Pt(300, 200) {
		t.Errorf("window after resize = %v", got)
	}
	out := do(u, u.bt.PDF, browser.PDFInput{Path: "page.pdf", Format: "A5"})
	if out.Pages < 2 || out.Path != "page.pdf" || out.Size < 1000 {
		t.Errorf("pdf = %+v", out)
	}
}
