// Command remote calls tools on a server with the same typed handles as in one
// process. It brings its server along, so that it runs by itself; with an
// address as argument it uses the server there:
//
//	go run ./httpserver &
//	go run ./examples/remote http://127.0.0.1:18890
package main

import (
	"context"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"

	"github.com/agentflow-go/sandbox"
	"github.com/agentflow-go/sandbox/backends/bash"
	"github.com/agentflow-go/sandbox/httpserver/api"
	"github.com/agentflow-go/sandbox/httpserver/client"
)

func main() {
	var err error
	if len(os.Args) > 1 {
		err = use(context.Background(), os.Args[1])
	} else {
		err = serve(context.Background(), use)
	}
	if err != nil {
		log.Fatal(err)
	}
}

// use is the client: it starts nothing and needs no confinement of its own.
func use(ctx context.Context, url string) error {
	c, err := client.Connect(ctx, url, client.Options{})
	if err != nil {
		return err
	}
	defer c.Close()

	// This registry belongs to no Sandbox: it only makes the typed handles.
	sh := bash.Register(new(sandbox.Registry), bash.Config{})
	w := sandbox.NewWorker(c, "agent-1")
	defer w.Close(ctx)
	if _, err := w.CreateSession(ctx, "bash", sandbox.SessionOptions{}); err != nil {
		return err
	}
	for _, command := range []string{"greeting=hello", "echo $greeting from $HOME"} {
		out, err := sh.Run.Call(ctx, w, bash.RunInput{Command: command})
		if err != nil {
			return err
		}
		fmt.Print(out.Stdout)
	}
	return w.DestroySession(ctx, "bash")
}

// serve is the server, as a program with tools of its own would embed it. It
// ends when f does.
func serve(ctx context.Context, f func(ctx context.Context, url string) error) error {
	var reg sandbox.Registry
	bash.Register(&reg, bash.Config{})
	sb, err := sandbox.New(sandbox.Options{Registry: &reg})
	if err != nil {
		return err
	}
	defer sb.Shutdown(ctx)
	handler, err := api.New(sb, api.Options{})
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	srv := http.Server{Handler: handler}
	go srv.Serve(l)
	defer srv.Shutdown(ctx)
	return f(ctx, "http://"+l.Addr().String())
}
