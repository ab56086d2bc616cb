package api_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/agentflow-go/sandbox"
	"github.com/agentflow-go/sandbox/httpserver/api"
)

// transfer sends one request for a file and returns the answer.
func transfer(t *testing.T, h http.Handler, method, path, body string, header ...string) (int, http.Header, string) {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader(body))
	r.Host = "localhost"
	for _, line := range header {
		name, value, _ := strings.Cut(line, ": ")
		r.Header.Set(name, value)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Code, w.Header(), w.Body.String()
}

func TestFiles(t *testing.T) {
	t.Parallel()
	h := newHandler(t, newSandbox(t, nil), api.Options{MaxFile: 100})
	const base = "/api/v1/files/w1/"
	for i, c := range []struct {
		method, path, body string
		header             []string
		status             int
		want               string
	}{
		{"GET", base + "a.txt", "", nil, 404, `"code":4006`},
		{"PUT", base + "dir/a.txt", "hello world", nil, 200, `"path":"dir/a.txt","size":11`},
		{"PUT", base + "ran.txt", "x", nil, 200, `"ran":true`},
		{"GET", base + "dir/a.txt", "", nil, 200, "hello world"},
		{"GET", "/files/w1/dir/a.txt", "", nil, 200, "hello world"},
		{"GET", base + "workspace/dir/a.txt", "", nil, 404, ""},
		{"GET", base + "/workspace/dir/a.txt", "", nil, 200, "hello world"},
		{"GET", base + "dir%2Fa.txt", "", nil, 200, "hello world"},
		{"GET", base + "dir/a.txt", "", []string{"Range: bytes=6-"}, 206, "world"},
		{"GET", base + "dir/a.txt", "", []string{"Range: bytes=0-4"}, 206, "hello"},
		{"GET", base + "dir/a.txt", "", []string{"Range: bytes=99-"}, 416, `"code":4000,"message":"no part of the file is in the range \"bytes=99-\": it has 11 bytes"`},
		{"HEAD", base + "dir/a.txt", "", nil, 200, ""},
		{"PUT", base + "dir/a.txt", "x", []string{"If-None-Match: *"}, 412, `"code":4012`},
		{"PUT", base + "dir/a.txt", "x", []string{`If-Match: "wrong"`}, 412, `"code":4012`},
		{"PUT", base + "dir/a.txt", "x", []string{`If-Match: W/"weak"`}, 400, "ETag"},
		{"PUT", base + "run.sh", "#!/bin/sh", []string{"X-File-Mode: 0755"}, 200, ""},
		{"HEAD", base + "run.sh", "", nil, 200, ""},
		{"PUT", base + "run.sh", "", []string{"X-File-Mode: 4755"}, 400, "0755"},
		{"PUT", base + "big", strings.Repeat("x", 101), nil, 413, `"code":4013`},
		{"GET", base + "big", "", nil, 404, ""},
		{"PUT", base + "empty", "", nil, 200, `"size":0`},
		{"GET", base + "empty", "", nil, 200, ""},
		{"GET", base + "dir", "", nil, 400, "directory"},
		{"GET", base + "", "", nil, 400, "no file"},
		{"PUT", "/api/v1/files/w1", "x", nil, 400, "no file"},
		{"GET", base + "../x", "", nil, 400, ".."},
		{"GET", base + "%2e%2e/%2e%2e/etc/passwd", "", nil, 400, ".."},
		{"GET", base + "/etc/passwd", "", nil, 400, "absolute"},
		{"GET", base + "a%00b", "", nil, 400, "NUL"},
		{"PUT", base + "../../x", "x", nil, 400, ".."},
		{"PUT", base + "dir/", "x", nil, 400, "directory"},
		{"PUT", base + "dir/new%2F", "x", nil, 400, "directory"},
		{"PUT", base + "part", "x", []string{"Content-Range: bytes 0-0/5"}, 400, "whole"},
		{"DELETE", base + "dir/a.txt", "", nil, 405, ""},
		{"POST", base + "dir/a.txt", "", nil, 405, ""},
		{"PUT", "/api/v1/files/a%2Fb/x", "other", nil, 200, ""},
		{"GET", "/api/v1/files/a%2Fb/x", "", nil, 200, "other"},
		{"GET", "/api/v1/files/a/b/x", "", nil, 404, ""},
		{"GET", "/api/v1/files/nobody/x", "", nil, 404, "no files"},
	} {
		status, header, body := transfer(t, h, c.method, c.path, c.body, c.header...)
		if status != c.status || !strings.Contains(body, c.want) || c.status == 200 && c.method == "GET" && body != c.want {
			t.Errorf("%d: %s %s %v = %d %s, want %d with %s", i, c.method, c.path, c.header, status, body, c.status, c.want)
		}
		if status == http.StatusRequestedRangeNotSatisfiable && (header.Get("Content-Type") != "application/json" || header.Get("Content-Range") != "bytes */11") {
			t.Errorf("%d: %s %s: %v, want JSON, and the file's size", i, c.method, c.path, header)
		}
		if header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%d: %s %s: no nosniff among %v", i, c.method, c.path, header)
		}
	}
	_, header, _ := transfer(t, h, "GET", base+"run.sh", "")
	if got := header.Get("X-File-Mode"); got != "0755" {
		t.Errorf("X-File-Mode %q, want 0755", got)
	}
	etag := header.Get("ETag")
	if status, _, _ := transfer(t, h, "GET", base+"run.sh", "", "If-None-Match: "+etag); status != 304 {
		t.Errorf("GET of a version that is known = %d, want 304", status)
	}
	if status, _, body := transfer(t, h, "PUT", base+"run.sh", "new", "If-Match: "+etag); status != 200 {
		t.Errorf("PUT over the version that was read = %d %s", status, body)
	}
	if status, _, _ := transfer(t, h, "PUT", base+"run.sh", "newer", "If-Match: "+etag); status != 412 {
		t.Errorf("PUT over a version that is gone = %d, want 412", status)
	}
}

// What agents make is never shown or run by a browser, whatever it is called.
func TestFilesAreNoPages(t *testing.T) {
	t.Parallel()
	h := newHandler(t, newSandbox(t, nil), api.Options{})
	const page = "<html><script>alert(1)</script>"
	for _, name := range []string{"index.html", "x.svg", "x.js", `quo"te.html`, "line%0Abreak", "ünï.html", "%ff.html"} {
		path := "/api/v1/files/w1/" + strings.ReplaceAll(name, `"`, "%22")
		if status, _, body := transfer(t, h, "PUT", path, page, "Content-Type: text/html"); status != 200 {
			t.Errorf("PUT %s = %d %s", path, status, body)
			continue
		}
		status, header, body := transfer(t, h, "GET", path, "")
		for name, want := range map[string]string{
			"Content-Type": "application/octet-stream", "X-Content-Type-Options": "nosniff", "Cross-Origin-Resource-Policy": "same-origin",
			"Content-Security-Policy": "sandbox; default-src 'none'",
		} {
			if got := header.Get(name); got != want {
				t.Errorf("GET %s: %s is %q, want %q", path, name, got, want)
			}
		}
		if d := header.Get("Content-Disposition"); status != 200 || body != page || !strings.HasPrefix(d, "attachment") || strings.ContainsAny(d, "\r\n") {
			t.Errorf("GET %s = %d %q, Content-Disposition %q", path, status, body, d)
		}
	}
}

func TestWhoMayTransferFiles(t *testing.T) {
	t.Parallel()
	sb := newSandbox(t, nil)
	open := newHandler(t, sb, api.Options{})
	bound := newHandler(t, sb, api.Options{
		Tokens:         []api.Token{{Secret: "team", WorkerPrefix: "team-"}, {Secret: "all"}},
		AllowedOrigins: []string{"https://good.example"},
	})
	if status, _, _ := transfer(t, open, "PUT", "/api/v1/files/team-1/x", "mine"); status != 200 {
		t.Fatal(status)
	}
	for i, c := range []struct {
		h            http.Handler
		method, path string
		header       []string
		status       int
	}{
		{bound, "GET", "/api/v1/files/team-1/x", nil, 401},
		{bound, "PUT", "/api/v1/files/team-1/x", nil, 401},
		{bound, "GET", "/api/v1/files/team-1/x", []string{"Authorization: Bearer no"}, 401},
		{bound, "GET", "/api/v1/files/team-1/x", []string{"Authorization: Bearer team"}, 200},
		{bound, "GET", "/api/v1/files/team%2D1/x", []string{"Authorization: Bearer team"}, 200},
		{bound, "PUT", "/api/v1/files/team-1/y", []string{"Authorization: Bearer team"}, 200},
		{bound, "GET", "/api/v1/files/other/x", []string{"Authorization: Bearer team"}, 403},
		{bound, "PUT", "/api/v1/files/other/x", []string{"Authorization: Bearer team"}, 403},
		{bound, "PUT", "/api/v1/files/team/../other/x", []string{"Authorization: Bearer team"}, 403},
		{bound, "GET", "/api/v1/files/team-1%2F..%2Fother/x", []string{"Authorization: Bearer team"}, 404},
		{bound, "GET", "/api/v1/files/team-1/x", []string{"Authorization: Bearer all"}, 200},
		{bound, "PUT", "/api/v1/files/team-1/z", []string{"Authorization: Bearer all", "Origin: https://good.example", "Sec-Fetch-Site: cross-site"}, 200},
		{bound, "GET", "/api/v1/files/team-1/x", []string{"Authorization: Bearer all", "Origin: https://good.example", "Sec-Fetch-Site: cross-site"}, 200},
		{bound, "PUT", "/api/v1/files/team-1/z", []string{"Authorization: Bearer all", "Origin: https://evil.example", "Sec-Fetch-Site: cross-site"}, 403},
		{open, "GET", "/api/v1/files/team-1/x", []string{"Sec-Fetch-Site: cross-site"}, 403},
		{open, "GET", "/api/v1/files/team-1/x", []string{"Sec-Fetch-Site: same-site"}, 403},
		{open, "GET", "/api/v1/files/team-1/x", []string{"Origin: http://evil.example"}, 403},
		{open, "PUT", "/api/v1/files/team-1/x", []string{"Sec-Fetch-Site: cross-site"}, 403},
		{open, "GET", "/api/v1/files/team-1/x", []string{"Sec-Fetch-Site: none"}, 200},
		{open, "GET", "/api/v1/files/team-1/x", []string{"Sec-Fetch-Site: same-origin"}, 200},
	} {
		if status, _, body := transfer(t, c.h, c.method, c.path, "", c.header...); status != c.status {
			t.Errorf("%d: %s %s %v = %d %s, want %d", i, c.method, c.path, c.header, status, body, c.status)
		}
	}
	r := httptest.NewRequestWithContext(t.Context(), "GET", "/api/v1/files/team-1/x", nil)
	r.Host = "rebound.example"
	w := httptest.NewRecorder()
	open.ServeHTTP(w, r)
	if w.Code != 403 {
		t.Errorf("GET under another host name = %d, want 403", w.Code)
	}
}

// A body that breaks off leaves what was there.
func TestBrokenPutsChangeNothing(t *testing.T) {
	t.Parallel()
	sb := newSandbox(t, nil)
	h := newHandler(t, sb, api.Options{MaxFile: 100})
	if status, _, _ := transfer(t, h, "PUT", "/files/w1/x", "old"); status != 200 {
		t.Fatal(status)
	}
	for name, body := range map[string]io.Reader{
		"breaks off": io.MultiReader(strings.NewReader("new"), errReader{io.ErrUnexpectedEOF}),
		"too large":  io.MultiReader(bytes.NewReader(make([]byte, 101))),
	} {
		r := httptest.NewRequestWithContext(t.Context(), "PUT", "/files/w1/x", body)
		r.Host = "localhost"
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code < 400 {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
		if _, _, got := transfer(t, h, "GET", "/files/w1/x", ""); got != "old" {
			t.Errorf("%s: the file has %q", name, got)
		}
	}
	files, err := sb.Files(t.Context(), "w1")
	if err != nil {
		t.Fatal(err)
	}
	if list, _, err := files.ReadDir(t.Context(), ".", 10); err != nil || len(list) != 1 {
		t.Errorf("left are %v, %v; want one file", list, err)
	}
}

type errReader struct{ err error }

func (r errReader) Read([]byte) (int, error) { return 0, r.err }

// noFiles is an executor that moves no files and forks nothing.
type noFiles struct{ sandbox.Executor }

func TestExecutorsWithoutFiles(t *testing.T) {
	t.Parallel()
	h := newHandler(t, noFiles{newSandbox(t, nil)}, api.Options{})
	for _, method := range []string{"GET", "PUT"} {
		if status, _, body := transfer(t, h, method, "/files/w1/x", ""); status != http.StatusNotImplemented {
			t.Errorf("%s = %d %s, want 501", method, status, body)
		}
	}
	status, _, body := transfer(t, h, "POST", "/workspace/fork", `{"worker_id": "a", "to": "b"}`, "Content-Type: application/json")
	if status != http.StatusNotImplemented {
		t.Errorf("fork = %d %s, want 501", status, body)
	}
}

// Asking for files of workers that nobody knows makes nothing.
func TestReadingMakesNoWorkspaces(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var reg sandbox.Registry
	sb, err := sandbox.New(sandbox.Options{Registry: &reg, DataDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer sb.Shutdown(context.Background())
	for _, worker := range []string{"a", "b", "c"} {
		if _, err := sb.OpenFile(t.Context(), worker, "x"); !errors.Is(err, sandbox.ErrNoResults) {
			t.Errorf("OpenFile = %v, want ErrNoResults", err)
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("the data directory has %v, %v; want nothing", left, err)
	}
}
