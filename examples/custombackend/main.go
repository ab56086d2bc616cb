// Command custombackend adds a backend of one's own: a list that a worker keeps
// for as long as its session lives.
package main

import (
	"context"
	"fmt"
	"log"

	"github.com/agentflow-go/sandbox"
)

// List is the state of a session. Its methods are the tools.
type List struct{ items []string }

type Item struct {
	Text string `json:"text" jsonschema:"what to put on the list"`
}

func (l *List) Add(_ context.Context, in Item) ([]string, error) {
	l.items = append(l.items, in.Text)
	return l.items, nil
}

type backend struct{}

func (backend) Open(context.Context, sandbox.Env) (*List, error) { return &List{}, nil }
func (backend) Close(context.Context, *List) error               { return nil }

func main() {
	var reg sandbox.Registry
	list := sandbox.AddBackend(&reg, sandbox.BackendSpec{Name: "list", Serial: true}, backend{})
	add := sandbox.AddSessionTool(list, sandbox.ToolSpec{Name: "add", Description: "Adds an item."}, sandbox.Method((*List).Add))
	sb, err := sandbox.New(sandbox.Options{Registry: &reg})
	if err != nil {
		log.Fatal(err)
	}
	defer sb.Shutdown(context.Background())
	w := sb.Worker("ada")
	w.CreateSession(context.Background(), "list", sandbox.SessionOptions{})
	fmt.Println(add.Call(context.Background(), w, Item{"milk"}))                            // typed
	fmt.Println(w.Execute(context.Background(), "list:add", Item{"tea"}).ForModel())        // by name
	fmt.Println(w.Execute(context.Background(), "list:add", map[string]any{"text": 1}).Err) // as a model errs
}
