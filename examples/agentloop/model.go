package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
)

// scripted is a Model that says what a model might say: it makes a mistake,
// reads the error, and uses what the tools tell it.
type scripted struct{}

// Next looks at the last message only.
func (scripted) Next(_ context.Context, conversation []Message, tools []ToolDef) (Message, error) {
	call := func(arguments string) (Message, error) {
		id := fmt.Sprintf("call-%d", len(conversation))
		return Message{Role: "assistant", Calls: []ToolCall{{id, tools[0].Name, json.RawMessage(arguments)}}}, nil
	}
	last := conversation[len(conversation)-1]
	if last.Role == "user" {
		return call(`{"cmd": "ls"}`)
	}
	var result struct {
		Stdout string
		Error  json.RawMessage
	}
	if err := json.Unmarshal([]byte(last.Text), &result); err != nil {
		return Message{}, err
	}
	switch {
	case result.Error != nil:
		fmt.Println("  told:", last.Text)
		return call(`{"command": "mkdir poems && cd poems && printf 'Fog\ncomes\n\nSo\nmuch\ndepends\n' > poems.txt && ls"}`)
	case strings.Contains(result.Stdout, "poems.txt"):
		return call(`{"command": "awk -v RS= -F'\\n' 'NF > n { n = NF } END { print n }' poems.txt"}`)
	}
	return Message{Role: "assistant", Text: "It has " + strings.TrimSpace(result.Stdout) + " lines."}, nil
}
