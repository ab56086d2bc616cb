package sandbox_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"strings"

	"github.com/agentflow-go/sandbox"
)

func ExampleNew() {
	type In struct {
		Name string `json:"name" jsonschema:"whom to greet"`
	}
	var reg sandbox.Registry
	greet := sandbox.AddTool(&reg, sandbox.ToolSpec{Name: "greet", Description: "Greets somebody."},
		func(ctx context.Context, call sandbox.Call, in In) (string, error) {
			return call.Worker + " says hello to " + in.Name, nil
		})

	sb, err := sandbox.New(sandbox.Options{Registry: &reg})
	if err != nil {
		log.Fatal(err)
	}
	defer sb.Shutdown(context.Background())

	out, err := greet.Call(context.Background(), sb.Worker("agent-1"), In{Name: "Ada"})
	fmt.Println(out, err)
	// Output: agent-1 says hello to Ada <nil>
}

// Every bad registration comes back at once, with the file and line it was
// made on.
func ExampleNew_faults() {
	var reg sandbox.Registry
	upper := sandbox.Plain(func(_ context.Context, in struct{ Text string }) (string, error) {
		return strings.ToUpper(in.Text), nil
	})
	sandbox.AddTool(&reg, sandbox.ToolSpec{Name: "upper"}, upper)
	sandbox.AddTool(&reg, sandbox.ToolSpec{Name: "upper"}, upper)
	sandbox.AddTool(&reg, sandbox.ToolSpec{Name: "to upper"}, upper)

	_, err := sandbox.New(sandbox.Options{Registry: &reg})
	for line := range strings.Lines(err.Error()) {
		_, fault, _ := strings.Cut(line, ": ") // the file and line
		fmt.Print(fault)
	}
	fmt.Println()
	fmt.Println(errors.Is(err, sandbox.ErrBadRegistration))
	// Output:
	// tool "upper": the name "upper" is taken
	// tool "to upper": its name must be 1 to 64 letters, digits, _ - or dots
	// true
}

// A tool's schema comes from its types. What does not fit never reaches it.
func ExampleAddTool() {
	type In struct {
		City string `json:"city" jsonschema:"name of the city"`
		Days int    `json:"days,omitzero" jsonschema:"how far ahead; today if absent"`
	}
	type Out struct {
		Forecast string `json:"forecast"`
	}
	var reg sandbox.Registry
	sandbox.AddTool(&reg, sandbox.ToolSpec{Name: "weather", Description: "Forecasts the weather.", ReadOnly: true},
		func(ctx context.Context, call sandbox.Call, in In) (Out, error) {
			return Out{"sunny in " + in.City}, nil
		})
	sb, err := sandbox.New(sandbox.Options{Registry: &reg})
	if err != nil {
		log.Fatal(err)
	}
	defer sb.Shutdown(context.Background())

	w := sb.Worker("agent-1")
	fmt.Println(w.Execute(context.Background(), "weather", json.RawMessage(`{"city":"Rome"}`)).ForModel())
	fmt.Println(w.Execute(context.Background(), "weather", map[string]any{"town": "Rome"}).Err)
	// Output:
	// {"forecast":"sunny in Rome"}
	// Missing required field: /city is required: expected string (name of the city); "town" is not a known field
}

func ExamplePlain() {
	upper := func(_ context.Context, s struct{ Text string }) (string, error) {
		return strings.ToUpper(s.Text), nil
	}
	var reg sandbox.Registry
	tool := sandbox.AddTool(&reg, sandbox.ToolSpec{Name: "upper"}, sandbox.Plain(upper))
	sb, err := sandbox.New(sandbox.Options{Registry: &reg})
	if err != nil {
		log.Fatal(err)
	}
	defer sb.Shutdown(context.Background())
	fmt.Println(tool.Call(context.Background(), sb.Worker("w"), struct{ Text string }{"hi"}))
	// Output: HI <nil>
}

// Notes is the state of a session; its methods are the tools.
type Notes struct{ lines []string }

type Note struct {
	Text string `json:"text"`
}

func (n *Notes) Add(_ context.Context, in Note) (int, error) {
	n.lines = append(n.lines, in.Text)
	return len(n.lines), nil
}

// NotesBackend opens one Notes for each session.
type NotesBackend struct{}

func (NotesBackend) Open(_ context.Context, env sandbox.Env) (*Notes, error) { return new(Notes), nil }
func (NotesBackend) Close(context.Context, *Notes) error                     { return nil }

// An explicit session keeps its state from call to call; without one, each
// call gets a state of its own.
func ExampleAddBackend() {
	var reg sandbox.Registry
	notes := sandbox.AddBackend(&reg, sandbox.BackendSpec{Name: "notes", Serial: true}, NotesBackend{})
	add := sandbox.AddSessionTool(notes, sandbox.ToolSpec{Name: "add"}, sandbox.Method((*Notes).Add))
	sb, err := sandbox.New(sandbox.Options{Registry: &reg})
	if err != nil {
		log.Fatal(err)
	}
	defer sb.Shutdown(context.Background())

	ctx, w := context.Background(), sb.Worker("agent-1")
	fmt.Println(add.Call(ctx, w, Note{"lost with its temporary session"}))
	if _, err := w.CreateSession(ctx, "notes", sandbox.SessionOptions{}); err != nil {
		log.Fatal(err)
	}
	fmt.Println(add.Call(ctx, w, Note{"kept"}))
	fmt.Println(add.Call(ctx, w, Note{"kept as well"}))
	// Output:
	// 1 <nil>
	// 1 <nil>
	// 2 <nil>
}

// A session tool gets the call and the session's state; an event reaches the
// caller while the tool runs.
func ExampleAddSessionTool() {
	var reg sandbox.Registry
	notes := sandbox.AddBackend(&reg, sandbox.BackendSpec{Name: "notes"}, NotesBackend{})
	sandbox.AddSessionTool(notes, sandbox.ToolSpec{Name: "add"},
		func(ctx context.Context, call sandbox.Call, s *Notes, in Note) (int, error) {
			call.Emit(sandbox.Event{Kind: sandbox.EventLog, Text: "noted: " + in.Text})
			return s.Add(ctx, in)
		})
	sb, err := sandbox.New(sandbox.Options{Registry: &reg})
	if err != nil {
		log.Fatal(err)
	}
	defer sb.Shutdown(context.Background())

	resp := sb.Execute(context.Background(), sandbox.Request{
		Worker: "agent-1", Tool: "notes:add", Params: json.RawMessage(`{"text":"buy milk"}`),
		OnEvent: func(e sandbox.Event) { fmt.Println(e.Kind, e.Text) },
	})
	fmt.Println(string(resp.Data), resp.Err, "temporary:", resp.Meta.Temporary)
	// Output:
	// log noted: buy milk
	// 1 <nil> temporary: true
}

// Method turns a method of the state into a tool.
func ExampleMethod() {
	fn := sandbox.Method((*Notes).Add)
	n, err := fn(context.Background(), sandbox.Call{}, new(Notes), Note{"a unit test needs no sandbox"})
	fmt.Println(n, err)
	// Output: 1 <nil>
}

// Dictionary is a backend without sessions, with something to load.
type Dictionary struct{ words map[string]string }

func (d *Dictionary) Warmup(context.Context, sandbox.Env) error {
	fmt.Println("loading")
	d.words = map[string]string{"chat": "cat"}
	return nil
}

func (d *Dictionary) Lookup(_ context.Context, in struct{ Word string }) (string, error) {
	if w, ok := d.words[in.Word]; ok {
		return w, nil
	}
	return "", sandbox.Errorf(sandbox.ErrNoResults, "no word %q", in.Word)
}

// First use warms the backend up, once.
func ExampleAddShared() {
	var reg sandbox.Registry
	dict := new(Dictionary)
	fr := sandbox.AddShared(&reg, sandbox.BackendSpec{Name: "fr"}, dict)
	lookup := sandbox.AddSharedTool(fr, sandbox.ToolSpec{Name: "lookup"}, sandbox.Plain(dict.Lookup))
	sb, err := sandbox.New(sandbox.Options{Registry: &reg})
	if err != nil {
		log.Fatal(err)
	}
	defer sb.Shutdown(context.Background())

	ctx, w := context.Background(), sb.Worker("agent-1")
	fmt.Println(lookup.Call(ctx, w, struct{ Word string }{"chat"}))
	_, err = lookup.Call(ctx, w, struct{ Word string }{"chien"})
	fmt.Println(err, errors.Is(err, sandbox.ErrNoResults))
	// Output:
	// loading
	// cat <nil>
	// no word "chien" true
}

// A backend with sessions may have tools that need none.
func ExampleAddSharedTool() {
	var reg sandbox.Registry
	notes := sandbox.AddBackend(&reg, sandbox.BackendSpec{Name: "notes"}, NotesBackend{})
	help := sandbox.AddSharedTool(notes, sandbox.ToolSpec{Name: "help", ReadOnly: true},
		sandbox.Plain(func(context.Context, struct{}) (string, error) { return "notes:add adds a note", nil }))
	sb, err := sandbox.New(sandbox.Options{Registry: &reg})
	if err != nil {
		log.Fatal(err)
	}
	defer sb.Shutdown(context.Background())
	fmt.Println(help.Name())
	fmt.Println(help.Call(context.Background(), sb.Worker("agent-1"), struct{}{}))
	// Output:
	// notes:help
	// notes:add adds a note <nil>
}
