// Command browse fills in and submits a form on a page of its own, reads the
// answer, and keeps a picture of it: in the working directory of the worker, and
// where the first argument says.
package main

import (
	"context"
	"encoding/base64"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"os"

	"github.com/agentflow-go/sandbox"
	"github.com/agentflow-go/sandbox/backends/browser"
)

const form = `<!doctype html><title>Order</title><h1>Order</h1>
<form action="/done"><label>Name <input name="name"></label>
<label>Size <select name="size"><option>small<option>large</select></label>
<label><input type="checkbox" name="olives"> Olives</label> <button>Send</button></form>`

func main() {
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		if r.URL.Path != "/done" {
			fmt.Fprint(w, form)
			return
		}
		fmt.Fprintf(w, "<!doctype html><title>Done</title><h1>Thank you, %s</h1><p>A <b>%s</b> one, olives: %t",
			r.FormValue("name"), r.FormValue("size"), r.FormValue("olives") == "on")
	}))
	defer site.Close()

	var reg sandbox.Registry
	br := browser.Register(&reg, browser.Config{})
	sb, err := sandbox.New(sandbox.Options{Registry: &reg, Confine: sandbox.Confinement{
		Egress: sandbox.Egress{Allow: []string{"127.0.0.1"}}, // nothing else is reached
	}})
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	defer sb.Shutdown(ctx)
	w := sb.Worker("ada")
	if _, err := w.CreateSession(ctx, "browser", sandbox.SessionOptions{Config: []byte(`{"viewport": {"width": 480, "height": 240}}`)}); err != nil {
		log.Fatal(err)
	}

	page, err := br.Goto.Call(ctx, w, browser.GotoInput{URL: site.URL})
	fmt.Println(page.Title, page.Status, err)
	snap, err := br.Snapshot.Call(ctx, w, browser.SnapshotInput{})
	fmt.Print(snap.Snapshot, err, "\n")

	_, err = br.Fill.Call(ctx, w, browser.FillInput{Named: browser.Named{Label: "Name"}, Text: "Ada"})
	fmt.Println(err)
	large := "large"
	_, err = br.Select.Call(ctx, w, browser.SelectInput{Element: browser.Element{Selector: "select"}, Label: &large})
	fmt.Println(err)
	_, err = br.Check.Call(ctx, w, browser.CheckInput{Element: browser.Element{Text: "Olives"}})
	fmt.Println(err)
	_, err = br.Click.Call(ctx, w, browser.ClickInput{Element: browser.Element{Text: "Send"}})
	fmt.Println(err)
	text, err := br.Extract.Call(ctx, w, browser.ExtractInput{})
	fmt.Println(text.Text, err)

	// What policy does not allow is refused, with the rule.
	_, err = br.Goto.Call(ctx, w, browser.GotoInput{URL: "http://example.com/"})
	fmt.Println(err)

	if _, err = br.Back.Call(ctx, w, browser.TimeoutInput{}); err != nil {
		log.Fatal(err)
	}
	shot, err := br.Screenshot.Call(ctx, w, browser.ScreenshotInput{Path: "done.png"})
	fmt.Println(shot.ImagePath, shot.Size, err)
	if len(os.Args) > 1 {
		picture, err := base64.StdEncoding.DecodeString(shot.Image)
		if err == nil {
			err = os.WriteFile(os.Args[1], picture, 0o644)
		}
		if err != nil {
			log.Print(err)
		}
	}
}
