package browser_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"

	"github.com/agentflow-go/sandbox"
	"github.com/agentflow-go/sandbox/backends/browser"
)

func ExampleRegister() {
	ctx := context.Background()
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "<title>Hello</title><form><input name=q placeholder=Question></form><p>%q", r.FormValue("q"))
	}))
	defer site.Close()
	var reg sandbox.Registry
	br := browser.Register(&reg, browser.Config{})
	sb, err := sandbox.New(sandbox.Options{Registry: &reg, Confine: sandbox.Confinement{Egress: sandbox.Egress{Allow: []string{"127.0.0.1"}}}})
	if err != nil {
		log.Fatal(err)
	}
	defer sb.Shutdown(ctx)
	w := sb.Worker("agent-1")
	if _, err := w.CreateSession(ctx, "browser", sandbox.SessionOptions{}); err != nil {
		log.Fatal(err)
	}
	page, err := br.Goto.Call(ctx, w, browser.GotoInput{URL: site.URL})
	fmt.Println(page.Title, page.Status, err)
	snap, err := br.Snapshot.Call(ctx, w, browser.SnapshotInput{})
	fmt.Print(snap.Snapshot, err, "\n")
	_, err = br.Fill.Call(ctx, w, browser.FillInput{Named: browser.Named{Ref: "e1"}, Text: "why?", Submit: true})
	fmt.Println(err)
	text, err := br.Extract.Call(ctx, w, browser.ExtractInput{})
	fmt.Println(text.Text, err)
	// Output:
	// Hello 200 <nil>
	// - textbox "Question" [ref=e1]
	// <nil>
	// <nil>
	// "why?" <nil>
}
