package api_test

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"testing"

	"github.com/agentflow-go/sandbox/httpserver/api"
)

// TestPythonClient runs what AgentFlow's client does, in Python, against a live
// server.
func TestPythonClient(t *testing.T) {
	t.Parallel()
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("python3 is not installed")
	}
	sb := newSandbox(t, nil)
	// On a loopback host of its own: a port of 127.0.0.1 may be given to another test's
	// server as soon as it is free.
	l, err := net.Listen("tcp", "127.0.0.4:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &httptest.Server{Listener: l, Config: &http.Server{}}
	stopped := make(chan error, 1)
	srv.Config.Handler = newHandler(t, sb, api.Options{Shutdown: func(ctx context.Context, cleanup bool) (int, error) {
		n, err := sb.CloseWorker(ctx, "sandbox_0123abcd")
		go func() { stopped <- srv.Config.Shutdown(context.Background()) }()
		return n, err
	}})
	srv.Start()
	defer srv.Close()
	out, err := exec.CommandContext(t.Context(), python, "testdata/client.py", srv.URL).CombinedOutput()
	if err != nil || strings.TrimSpace(string(out)) != "ok" {
		t.Fatalf("client.py: %v\n%s", err, out)
	}
	if err := <-stopped; err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	if _, err := http.Get(srv.URL + "/health"); err == nil {
		t.Error("the port still answers after shutdown")
	}
}
