package api_test

import (
	"context"
	"fmt"
	"net"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/agentflow-go/sandbox"
	"github.com/agentflow-go/sandbox/httpserver/api"
)

// TestSlowCallerHoldsUpTheTool lets a tool tell far more than fits into any
// buffer, to a caller that reads nothing and then hangs up.
func TestSlowCallerHoldsUpTheTool(t *testing.T) {
	t.Parallel()
	const events, size = 1 << 16, 1 << 16 // 4 GiB
	began, told := make(chan struct{}), make(chan int, 1)
	var reg sandbox.Registry
	sandbox.AddTool(&reg, sandbox.ToolSpec{Name: "flood"},
		func(ctx context.Context, call sandbox.Call, _ none) (countOut, error) {
			n := 0
			defer func() { told <- n }()
			text := strings.Repeat("x", size)
			close(began)
			for ; n < events && ctx.Err() == nil; n++ {
				call.Emit(sandbox.Event{Kind: sandbox.EventOutput, Text: text})
			}
			return countOut{n}, ctx.Err()
		})
	sb, err := sandbox.New(sandbox.Options{Registry: &reg})
	if err != nil {
		t.Fatal(err)
	}
	defer sb.Shutdown(context.Background())
	srv := httptest.NewServer(newHandler(t, sb, api.Options{}))
	defer srv.Close()

	conn, err := net.Dial("tcp", srv.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	body := `{"worker_id":"w","action":"flood"}`
	if _, err := fmt.Fprintf(conn, "POST /execute HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n"+
		"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(body), body); err != nil {
		t.Fatal(err)
	}
	<-began
	if _, err := conn.Read(make([]byte, 100)); err != nil { // the stream is under way
		t.Fatal(err)
	}
	conn.Close()
	if n := <-told; n == events {
		t.Errorf("the tool told all %d events to nobody", n)
	}
}
