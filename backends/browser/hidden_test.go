package browser_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/agentflow-go/sandbox"
	"github.com/agentflow-go/sandbox/backends/browser"
)

// stages are what files of downloads wait for, and tell, by what they are asked as.
var stages sync.Map

type stage struct{ asked, begin, left chan struct{} }

func stageOf(name string) stage {
	s, _ := stages.LoadOrStore(name, stage{make(chan struct{}, 2), make(chan struct{}), make(chan struct{})})
	return s.(stage)
}

func init() {
	handlers = append(handlers, func(mux *http.ServeMux) {
		mux.HandleFunc("/vanish", func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, `<title>Vanish</title><script>
				function take(from) {
					const f = document.createElement('iframe');
					document.body.append(f);
					const a = f.contentDocument.createElement('a');
					a.href = from; a.download = 'x.bin';
					f.contentDocument.body.append(a);
					a.click();
				}</script><body>`)
		})
		// It never ends, and tells when it is ended. Neither begins before it is to.
		mux.HandleFunc("/endless", func(w http.ResponseWriter, r *http.Request) {
			s := stageOf(r.FormValue("of"))
			s.asked <- struct{}{}
			select {
			case <-s.begin:
			case <-r.Context().Done():
				return
			}
			w.Header().Set("Content-Disposition", "attachment; filename=endless.bin")
			w.Write(make([]byte, 1<<20))
			http.NewResponseController(w).Flush()
			<-r.Context().Done()
			close(s.left)
		})
		mux.HandleFunc("/short", func(w http.ResponseWriter, r *http.Request) {
			s := stageOf(r.FormValue("of"))
			s.asked <- struct{}{}
			select {
			case <-s.begin:
			case <-r.Context().Done():
				return
			}
			w.Header().Set("Content-Disposition", "attachment; filename=short.bin")
			w.Write(make([]byte, 1<<20))
		})
	})
}

func TestDownloadsThatPagesHide(t *testing.T) {
	t.Parallel()
	b := box(t)
	for _, isolation := range []browser.Isolation{browser.Shared, browser.PerWorker} {
		t.Run(string(isolation), func(t *testing.T) {
			t.Parallel()
			sb, tools := b.sb, b.tools
			if isolation == browser.PerWorker {
				sb, tools, _ = localSandbox(t, isolation, policy)
			}
			u := &user{t: t, b: b, w: sb.Worker(t.Name()), bt: tools}
			if _, err := u.w.CreateSession(t.Context(), "browser", sandbox.SessionOptions{}); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := u.w.Close(context.Background()); err != nil {
					t.Errorf("Close: %v", err)
				}
			})
			u.open("/vanish")
			run := rand.Text()
			for i, kind := range []string{"endless", "short"} {
				of := kind + run
				from := "/" + kind + "?of=" + of
				u.eval(fmt.Sprintf("take(%q), 1", from))
				select {
				case <-stageOf(of).asked:
				case <-t.Context().Done():
					t.Fatalf("the page does not ask for %s", from)
				}
				u.eval("document.querySelector('iframe').remove(), 1")
				close(stageOf(of).begin) // the frame is gone
				list := do(u, u.bt.Downloads, browser.DownloadsInput{Since: i, Wait: 50}).Downloads
				if len(list) != 1 || list[0].State != "cancelled" || !strings.Contains(list[0].Error, "took away the frame") {
					t.Fatalf("downloads after %s = %+v, want one that is cancelled, and why", from, list)
				}
			}
			select {
			case <-stageOf("endless" + run).left:
			case <-t.Context().Done():
				t.Error("the server still sends the download that has no end")
			}
			if isolation == browser.PerWorker {
				files, err := sb.Files(t.Context(), u.w.ID())
				if err != nil {
					t.Fatal(err)
				}
				var left []sandbox.FileInfo
				err = files.Walk(t.Context(), ".", sandbox.WalkOptions{}, func(info sandbox.FileInfo) error {
					if info.Size >= 1<<20 {
						left = append(left, info)
					}
					return nil
				})
				if err != nil || len(left) > 0 {
					t.Errorf("of hidden downloads %+v are left, %v", left, err)
				}
			}
			// One that the browser tells of is still there.
			do(u, u.bt.Goto, browser.GotoInput{URL: b.site.url + "/short?of=short" + run})
			list := do(u, u.bt.Downloads, browser.DownloadsInput{Since: 2, Wait: 50}).Downloads
			if len(list) != 1 || list[0].State != "done" || list[0].Size != 1<<20 {
				t.Errorf("downloads = %+v, want one that is there", list)
			}
		})
	}
}
