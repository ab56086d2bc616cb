// Command browse orders tea: it opens a shop in a worker's browser, looks at the
// page as a model does, fills in the form, reads the receipt and takes a picture of
// it, which goes to the file that is named on the command line:
//
//	go run ./examples/browse receipt.png
//
// It needs Chromium on the host, such as Debian's chromium-headless-shell.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"html/template"
	"image/png"
	"log"
	"net"
	"net/http"
	"os"
	"regexp"

	"github.com/agentflow-go/sandbox"
	"github.com/agentflow-go/sandbox/backends/browser"
)

// order is the page at /, receipt the one that its form leads to.
var (
	order = template.Must(template.New("order").Parse(`<!doctype html><title>Tea shop</title>
<h1>Order tea</h1>
<form action="/receipt">
	<p><label>Name <input name="name" required></label>
	<p><label>Tea <select name="tea">{{range .}}<option>{{.}}{{end}}</select></label>
	<p><label><input type="checkbox" name="gift" value="yes"> Gift wrap</label>
	<p><button>Order</button></form>`))
	receipt = template.Must(template.New("receipt").Parse(`<!doctype html><title>Receipt</title>
<h1>Thank you, {{.Get "name"}}!</h1>
<table border="1">
	<tr><th>Tea</th><th>Gift wrap</th></tr>
	<tr><td>{{.Get "tea"}}</td><td>{{or (.Get "gift") "no"}}</td></tr></table>`))
)

func shop() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/{$}", func(w http.ResponseWriter, _ *http.Request) { order.Execute(w, []string{"Assam", "Oolong", "Sencha"}) })
	mux.HandleFunc("/receipt", func(w http.ResponseWriter, r *http.Request) { receipt.Execute(w, r.URL.Query()) })
	return mux
}

func main() {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	go http.Serve(l, shop())

	var reg sandbox.Registry
	br := browser.Register(&reg, browser.Config{Defaults: browser.SessionConfig{Viewport: &browser.Size{Width: 480, Height: 240}}})
	sb, err := sandbox.New(sandbox.Options{Registry: &reg, Confine: sandbox.Confinement{
		Egress: sandbox.Egress{Allow: []string{l.Addr().String()}}, // pages reach nothing else
	}})
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	defer sb.Shutdown(ctx)
	if err := buy(ctx, sb, br, "http://"+l.Addr().String()); err != nil {
		log.Fatal(err)
	}
}

func buy(ctx context.Context, sb *sandbox.Sandbox, br browser.Tools, url string) error {
	w := sb.Worker("agent-1")
	// One browser for all calls, so that the page stays open between them.
	if _, err := w.CreateSession(ctx, "browser", sandbox.SessionOptions{}); err != nil {
		return err
	}
	if _, err := br.Goto.Call(ctx, w, browser.GotoInput{URL: url}); err != nil {
		return err
	}
	page, err := br.Snapshot.Call(ctx, w, browser.SnapshotInput{})
	if err != nil {
		return err
	}
	fmt.Printf("%s:\n%s\n", page.Title, page.Snapshot)
	// A model chooses the references by reading.
	name, tea, gift, button := ref(page, `textbox "Name"`), ref(page, `combobox "Tea"`), ref(page, "checkbox"), ref(page, "button")
	if _, err := br.Fill.Call(ctx, w, browser.FillInput{Named: browser.Named{Ref: name}, Text: "Ada <3"}); err != nil {
		return err
	}
	if _, err := br.Select.Call(ctx, w, browser.SelectInput{Element: browser.Element{Ref: tea}, Values: []string{"Oolong"}}); err != nil {
		return err
	}
	if _, err := br.Check.Call(ctx, w, browser.CheckInput{Element: browser.Element{Ref: gift}}); err != nil {
		return err
	}
	if _, err := br.Click.Call(ctx, w, browser.ClickInput{Element: browser.Element{Ref: button}}); err != nil {
		return err // it has waited for the receipt
	}

	text, err := br.Extract.Call(ctx, w, browser.ExtractInput{})
	if err != nil {
		return err
	}
	fmt.Printf("%s:\n%s\n\n", text.Title, text.Text)
	if err := picture(ctx, sb, w, br); err != nil {
		return err
	}
	_, err = br.Goto.Call(ctx, w, browser.GotoInput{URL: "http://example.com/"})
	if !errors.Is(err, sandbox.ErrDenied) {
		return fmt.Errorf("goto a host that is not listed = %v, want it denied", err)
	}
	fmt.Println(err)
	return nil
}

// ref returns the reference in the first line of a snapshot with text in it.
func ref(page browser.SnapshotOutput, text string) string {
	found := regexp.MustCompile(regexp.QuoteMeta(text) + `.*\[ref=(\w+)\]`).FindStringSubmatch(page.Snapshot)
	if found == nil {
		log.Fatalf("the page shows no %s:\n%s", text, page.Snapshot)
	}
	return found[1]
}

// picture takes a picture into the worker's workspace and copies it out of there.
func picture(ctx context.Context, sb *sandbox.Sandbox, w *sandbox.Worker, br browser.Tools) error {
	shot, err := br.Screenshot.Call(ctx, w, browser.ScreenshotInput{Path: "receipt.png"})
	if err != nil {
		return err
	}
	files, err := sb.Files(ctx, w.ID())
	if err != nil {
		return err
	}
	data, err := files.ReadFile(shot.ImagePath, 8<<20)
	if err != nil {
		return err
	}
	size, err := png.DecodeConfig(bytes.NewReader(data))
	if err != nil {
		return err
	}
	fmt.Printf("%s: %d by %d pixels\n", shot.ImagePath, size.Width, size.Height)
	if len(os.Args) > 1 {
		err = os.WriteFile(os.Args[1], data, 0o644)
	}
	return err
}
