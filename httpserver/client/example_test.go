package client_test

import (
	"context"
	"fmt"
	"log"
	"net/http/httptest"

	"github.com/agentflow-go/sandbox"
	"github.com/agentflow-go/sandbox/httpserver/api"
	"github.com/agentflow-go/sandbox/httpserver/client"
)

func ExampleConnect() {
	var reg sandbox.Registry
	type greeting struct {
		Text string `json:"text"`
	}
	sandbox.AddTool(&reg, sandbox.ToolSpec{Name: "greet"}, sandbox.Plain(
		func(_ context.Context, in struct {
			Name string `json:"name"`
		}) (greeting, error) {
			return greeting{"hello " + in.Name}, nil
		}))
	sb, err := sandbox.New(sandbox.Options{Registry: &reg})
	if err != nil {
		log.Fatal(err)
	}
	defer sb.Shutdown(context.Background())
	handler, err := api.New(sb, api.Options{})
	if err != nil {
		log.Fatal(err)
	}
	server := httptest.NewServer(handler)
	defer server.Close()

	c, err := client.Connect(context.Background(), server.URL, client.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	resp := sandbox.NewWorker(c, "agent-1").Execute(context.Background(), "greet", map[string]string{"name": "you"})
	fmt.Println(string(resp.Data), resp.Err)
	// Output: {"text":"hello you"} <nil>
}
