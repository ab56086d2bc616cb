package browser_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/agentflow-go/sandbox"
	"github.com/agentflow-go/sandbox/backends/browser"
)

// Python's server sends Last-Modified and neither Cache-Control nor Expires, and
// the files are so old that Chromium would take them for fresh for days.
func TestEditedFilesOfAWorkersOwnServer(t *testing.T) {
	t.Parallel()
	for _, isolation := range []browser.Isolation{browser.Shared, browser.PerWorker} {
		t.Run(string(isolation), func(t *testing.T) {
			t.Parallel()
			sb, tools, env := localSandbox(t, isolation, sandbox.Confinement{})
			u := &user{t: t, w: sb.Worker("a"), bt: tools}
			if _, err := u.w.CreateSession(t.Context(), "browser", sandbox.SessionOptions{}); err != nil {
				t.Fatal(err)
			}
			e := env("a")
			r, w, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			server, err := e.Start(t.Context(), sandbox.Cmd{Path: "python3", Args: []string{"-u", "-m", "http.server", "--bind", "127.0.0.1", "0"}, Stdout: w})
			w.Close()
			if err != nil {
				t.Fatal(err)
			}
			var port string
			if _, err := fmt.Fscanf(r, "Serving HTTP on 127.0.0.1 port %s", &port); err != nil {
				t.Fatalf("the server says no port: %v", err)
			}
			dir, err := e.Workspace()
			if err != nil {
				t.Fatal(err)
			}
			address := "http://localhost:" + port + "/page.html"
			for i, edit := range []string{"first", "second", "third"} {
				modified := time.Now().AddDate(i-4, 0, 0)
				for name, text := range map[string]string{
					"page.html": "<title>" + edit + "</title><script src=title.js></script>",
					"title.js":  "document.title += ', script " + edit + "'",
				} {
					file := filepath.Join(dir, name)
					if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
						t.Fatal(err)
					}
					if err := os.Chtimes(file, modified, modified); err != nil {
						t.Fatal(err)
					}
				}
				want := edit + ", script " + edit
				for range 2 { // the second is answered by 304
					if out := do(u, tools.Goto, browser.GotoInput{URL: address}); out.Title != want || out.Status != 200 {
						t.Errorf("goto = %+v, want the title %q", out, want)
					}
				}
			}
			if err := server.Kill(); err != nil {
				t.Fatal(err)
			}
			server.Wait() // its error is that it was killed
			refused(u, tools.Goto, browser.GotoInput{URL: address}, sandbox.ErrCrawling, "nothing listens there on the worker's own loopback")
		})
	}
}

func TestPortsThatChromiumDoesNotOpen(t *testing.T) {
	t.Parallel()
	u := newUser(t, "")
	for _, address := range []string{"http://8.8.8.8:1/", "http://localhost:6000/"} {
		refused(u, u.bt.Goto, browser.GotoInput{URL: address}, sandbox.ErrCrawling, address+": Chromium does not open this port")
	}
}
