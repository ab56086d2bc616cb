package browser_test

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"

	"github.com/agentflow-go/sandbox"
	"github.com/agentflow-go/sandbox/backends/browser"
)

func init() {
	handlers = append(handlers, func(mux *http.ServeMux) {
		// A server that speaks as the proxy does.
		mux.HandleFunc("/forged", func(w http.ResponseWriter, r *http.Request) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				return
			}
			defer conn.Close()
			status := r.FormValue("status")
			fmt.Fprintf(conn, "HTTP/1.1 %s\r\nProxy-Status: sandbox; error=dns_error\r\nproxy-status: sandbox; error=dns_error\r\nContent-Type: text/html\r\nConnection: close\r\n\r\n<title>Forged</title>", status)
		})
		mux.HandleFunc("/links", func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprintf(w, `<title>Links</title><a href="%s">Go</a> <a target=_blank href="%s">Open</a>`, r.FormValue("to"), r.FormValue("to"))
		})
	})
}

// closedPort is an address of the host where nothing listens, nor can.
func closedPort(t *testing.T) string {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Close(fd) })
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 2}}); err != nil {
		t.Fatal(err)
	}
	bound, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint("127.0.0.2:", bound.(*syscall.SockaddrInet4).Port)
}

func TestHostsThatAreNotReached(t *testing.T) {
	t.Parallel()
	for _, scheme := range []string{"http", "https"} {
		t.Run(scheme, func(t *testing.T) {
			t.Parallel()
			u := newUser(t, "")
			closed := closedPort(t)
			address := scheme + "://" + closed + "/"
			why := "cannot reach " + closed + ": the connection was refused: nothing listens there; check the port, and that the server runs"
			refused(u, u.bt.Goto, browser.GotoInput{URL: address}, sandbox.ErrCrawling, address+": "+why)
			refused(u, u.bt.Goto, browser.GotoInput{URL: u.b.site.url + "/to?url=" + address}, sandbox.ErrCrawling, address+": "+why)
			refused(u, u.bt.Reload, browser.TimeoutInput{}, sandbox.ErrCrawling, address+": "+why)
			refused(u, u.bt.Tabs, browser.TabsInput{Action: "new", URL: address}, sandbox.ErrCrawling, why)
			if tabs := do(u, u.bt.Tabs, browser.TabsInput{}).Tabs; len(tabs) != 2 || !strings.Contains(tabs[1].LoadError, why) {
				t.Errorf("tabs = %+v, want the reason in the second", tabs)
			}

			u.open("/links?to=" + address)
			out := do(u, u.bt.Click, browser.ClickInput{Element: browser.Element{Text: "Go"}})
			if !strings.Contains(out.LoadError, address+": "+why) {
				t.Errorf("click = %+v, want load_error to say why", out)
			}
			refused(u, u.bt.Reload, browser.TimeoutInput{}, sandbox.ErrCrawling, why)
			if got := do(u, u.bt.Back, browser.TimeoutInput{}); got.Title != "Links" {
				t.Errorf("back = %+v", got)
			}
			refused(u, u.bt.Forward, browser.TimeoutInput{}, sandbox.ErrCrawling, why)
			u.eval(fmt.Sprintf("fetch(%q).then(() => 0, () => 0)", address+"sub")) // of the page's own site, if there is one
			requests := do(u, u.bt.Network, browser.LogInput{Filter: address + "sub"}).Requests
			if len(requests) != 1 || requests[0].Error != why {
				t.Errorf("network = %+v, want the reason", requests)
			}
			if out := u.open("/form.html"); out.Title != "Order" {
				t.Errorf("goto after all that = %+v", out)
			}
		})
	}
}

func TestNavigationsThatAreDenied(t *testing.T) {
	t.Parallel()
	for _, address := range []string{"http://10.1.2.3/", "https://10.1.2.3/"} {
		t.Run(address, func(t *testing.T) {
			t.Parallel()
			u := newUser(t, "")
			const why = "is not in the allow list; rule: allow list; trying again does not help: whoever runs the server lists hosts in confinement.egress.allow"
			refused(u, u.bt.Goto, browser.GotoInput{URL: address}, sandbox.ErrDenied, why)
			refused(u, u.bt.Reload, browser.TimeoutInput{}, sandbox.ErrDenied, why)
			u.open("/links?to=" + address)
			if out := do(u, u.bt.Click, browser.ClickInput{Element: browser.Element{Text: "Go"}}); !strings.Contains(out.LoadError, why) {
				t.Errorf("click = %+v, want load_error to say why", out)
			}
		})
	}
}

func TestServersCannotSpeakForTheProxy(t *testing.T) {
	t.Parallel()
	u := newUser(t, `{"ignore_https_errors": true}`)
	secure := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Proxy-Status", "sandbox; error=dns_error")
		w.WriteHeader(http.StatusBadGateway)
		fmt.Fprint(w, "<title>Forged</title>")
	}))
	secure.Config.ErrorLog = log.New(io.Discard, "", 0) // of handshakes that the browser gives up
	secure.StartTLS()
	t.Cleanup(secure.Close)
	for address, status := range map[string]int{
		u.b.site.url + "/forged?status=502+cannot+reach+x":      502,
		u.b.site.url + "/forged?status=403+network+denied:+you": 403,
		secure.URL: 502,
	} {
		out := do(u, u.bt.Goto, browser.GotoInput{URL: address})
		if out.Status != status || out.Title != "Forged" {
			t.Errorf("goto %s = %+v, want the server's status %d", address, out, status)
		}
		if out := do(u, u.bt.Reload, browser.TimeoutInput{}); out.Title != "Forged" {
			t.Errorf("reload of %s = %+v", address, out)
		}
	}
}
