// Command agentloop is an agent: a model that asks for tools, and a loop that
// runs them and tells the model what came of it, until the model has its
// answer.
//
// The model here is scripted. To use a real one, implement [Model] over its
// API: the loop stays as it is.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"strings"

	"github.com/agentflow-go/sandbox"
	"github.com/agentflow-go/sandbox/backends/bash"
)

// Model is what the loop needs of a language model.
type Model interface {
	// Next returns the model's next message, given the conversation so far and
	// the tools that it may call.
	Next(ctx context.Context, conversation []Message, tools []ToolDef) (Message, error)
}

// Message is one turn of the conversation.
type Message struct {
	Role   string // user, assistant or tool
	Text   string
	Calls  []ToolCall // assistant: the tools to run before it goes on
	CallID string     // tool: the call that Text answers
}

// ToolCall is a model's wish to run a tool.
type ToolCall struct {
	ID, Name  string
	Arguments json.RawMessage
}

// ToolDef describes a tool to a model.
type ToolDef struct {
	Name, Description string
	Parameters        json.RawMessage // a JSON schema
}

func main() {
	var reg sandbox.Registry
	bash.Register(&reg, bash.Config{})
	sb, err := sandbox.New(sandbox.Options{Registry: &reg})
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	defer sb.Shutdown(ctx)

	answer, err := run(ctx, sb, scripted{}, "agent-1", "How many lines has the longest poem in poems.txt?")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("assistant:", answer)
}

// run is the agent loop. ex may be a Sandbox or a client of one elsewhere.
func run(ctx context.Context, ex sandbox.Executor, m Model, worker, task string) (string, error) {
	w := sandbox.NewWorker(ex, worker)
	defer w.Close(ctx)
	// One shell for the whole task, so that its directory and variables stay.
	if _, err := w.CreateSession(ctx, "bash", sandbox.SessionOptions{}); err != nil {
		return "", err
	}
	infos, err := w.Tools(ctx, sandbox.ToolFilter{Allowed: []string{"bash:run"}})
	if err != nil {
		return "", err
	}
	var tools []ToolDef
	for _, t := range infos {
		// Most APIs allow no colon in a name. The sandbox knows bash-run too,
		// so that nothing has to be mapped back.
		name := strings.Replace(t.FullName, ":", "-", 1)
		tools = append(tools, ToolDef{name, t.Description, t.InputSchema})
		fmt.Println("tool:", name)
	}

	conversation := []Message{{Role: "user", Text: task}}
	fmt.Println("user:", task)
	for range 10 { // a model that goes on forever is stopped
		msg, err := m.Next(ctx, conversation, tools)
		if err != nil {
			return "", err
		}
		conversation = append(conversation, msg)
		if len(msg.Calls) == 0 {
			return msg.Text, nil
		}
		for _, c := range msg.Calls {
			fmt.Println("call:", c.Name, string(c.Arguments))
			resp := ex.Execute(ctx, sandbox.Request{
				Worker: worker, Tool: c.Name, Params: c.Arguments,
				OnEvent: func(e sandbox.Event) { fmt.Printf("  %s: %q\n", e.Kind, e.Text) },
			})
			// An error is an answer as well: the model reads it and tries again.
			conversation = append(conversation, Message{Role: "tool", CallID: c.ID, Text: resp.ForModel()})
		}
	}
	return "", fmt.Errorf("no answer after 10 turns")
}
