package client_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/agentflow-go/sandbox"
	"github.com/agentflow-go/sandbox/httpserver/api"
	"github.com/agentflow-go/sandbox/httpserver/client"
)

// The test binary is the server that the tests below start.
const serveEnv = "SANDBOX_TEST_SERVE"

func TestMain(m *testing.M) {
	if addr := os.Getenv(serveEnv); addr != "" {
		os.Exit(serveUntilTerminated(addr))
	}
	os.Exit(m.Run())
}

func serveUntilTerminated(addr string) int {
	if addr == "fail" {
		fmt.Println("cannot read the configuration")
		return 2
	}
	var reg sandbox.Registry
	sandbox.AddTool(&reg, sandbox.ToolSpec{Name: "pid"}, sandbox.Plain(func(context.Context, none) (countOut, error) { return countOut{os.Getpid()}, nil }))
	sb, err := sandbox.New(sandbox.Options{Registry: &reg})
	if err != nil {
		return 1
	}
	h, err := api.New(sb, api.Options{})
	if err != nil {
		return 1
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	srv := &http.Server{Addr: addr, Handler: h}
	go func() {
		<-ctx.Done()
		_ = srv.Shutdown(context.Background())
	}()
	if err := srv.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		fmt.Println(err)
		return 1
	}
	return 0
}

// freeAddr returns an address that nobody listens on. The loopback host is the
// test's own: a port of 127.0.0.1 may be given to another test's server at once.
func freeAddr(t *testing.T, host string) string {
	t.Helper()
	l, err := net.Listen("tcp", host+":0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func TestLocalServerIsStartedOnceAndStopped(t *testing.T) {
	t.Parallel()
	addr := freeAddr(t, "127.0.0.2")
	o := client.Options{Retries: -1, Local: &client.LocalServer{Command: []string{os.Args[0]}, Env: []string{serveEnv + "=" + addr}, StartTimeout: time.Minute}}
	first, err := client.Connect(t.Context(), "http://"+addr, o)
	if err != nil {
		t.Fatal(err)
	}
	pid := func(c *client.Client) int {
		out, err := sandbox.Invoke[countOut](t.Context(), sandbox.NewWorker(c, "w"), "pid", none{})
		if err != nil {
			t.Fatal(err)
		}
		return out.N
	}
	second, err := client.Connect(t.Context(), "http://"+addr, o)
	if err != nil {
		t.Fatal(err)
	}
	server := pid(first)
	if server == os.Getpid() || pid(second) != server {
		t.Error("the second client did not find the first one's server")
	}
	process, err := os.FindProcess(server) // by a descriptor: its number may be another's once it has ended
	if err != nil {
		t.Fatal(err)
	}
	defer process.Release()
	if err := second.Close(); err != nil {
		t.Error(err)
	}
	if err := first.Health(t.Context()); err != nil {
		t.Errorf("closing the second client stopped the first one's server: %v", err)
	}
	if err := first.Close(); err != nil {
		t.Error(err)
	}
	if err := process.Signal(syscall.Signal(0)); !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("the server's process is still there: %v", err)
	}
	if err := first.Health(t.Context()); err == nil {
		t.Error("the server still answers")
	}
}

func TestLocalServerThatFails(t *testing.T) {
	t.Parallel()
	addr := freeAddr(t, "127.0.0.3")
	start := func(l client.LocalServer) error {
		l.StartTimeout = time.Minute // it is not waited for
		_, err := client.Connect(t.Context(), "http://"+addr, client.Options{Retries: -1, Local: &l})
		return err
	}
	err := start(client.LocalServer{Command: []string{os.Args[0]}, Env: []string{serveEnv + "=fail"}})
	if !errors.Is(err, sandbox.ErrDependency) || !strings.Contains(err.Error(), "cannot read the configuration") {
		t.Errorf("a server that ends: %v", err)
	}
	if err := start(client.LocalServer{Command: []string{"/no/such/program"}}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a program that is not there: %v", err)
	}
	if _, err := client.Connect(t.Context(), "http://"+addr, client.Options{Retries: -1}); !errors.Is(err, sandbox.ErrDependency) {
		t.Errorf("no server and none to start: %v", err)
	}
}
