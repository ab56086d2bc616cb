package sandbox_test

import (
	"context"
	"fmt"
	"log"
	"strings"

	"github.com/agentflow-go/sandbox"
)

// project is the state of a session with a tool that edits a file, and one that
// tries something and goes back to what there was.
type project struct{ env sandbox.Env }

type edit struct {
	Text string `json:"text"`
}

func (p project) Edit(ctx context.Context, in edit) (string, error) {
	files, err := p.env.Files()
	if err != nil {
		return "", err
	}
	_, err = files.Append("notes", strings.NewReader(in.Text+"\n"), sandbox.CreateOptions{})
	if err != nil {
		return "", err
	}
	text, err := files.ReadFile("notes", 1<<20)
	return strings.ReplaceAll(string(text), "\n", ";"), err
}

func (p project) Try(ctx context.Context, in edit) (string, error) {
	snaps, err := p.env.Snapshots()
	if err != nil {
		return "", err
	}
	if _, err := snaps.Take(ctx, "before", sandbox.SnapshotLimits{}); err != nil {
		return "", err
	}
	text, err := p.Edit(ctx, in)
	if err != nil {
		return "", err
	}
	if _, err := snaps.Restore(ctx, "before", 0); err != nil {
		return "", err
	}
	return text, snaps.Delete(ctx, "before")
}

func addProject(reg *sandbox.Registry) (edits, tries *sandbox.Tool[edit, string]) {
	b := sandbox.AddBackend(reg, sandbox.BackendSpec{Name: "project"}, sandbox.BackendFuncs[project]{
		OpenFunc: func(_ context.Context, env sandbox.Env) (project, error) { return project{env}, nil },
	})
	return sandbox.AddSessionTool(b, sandbox.ToolSpec{Name: "edit"}, sandbox.Method(project.Edit)),
		sandbox.AddSessionTool(b, sandbox.ToolSpec{Name: "try"}, sandbox.Method(project.Try))
}

// A backend that lets an agent try something takes a snapshot first.
func ExampleSnapshots() {
	var reg sandbox.Registry
	edits, tries := addProject(&reg)
	sb, err := sandbox.New(sandbox.Options{Registry: &reg})
	if err != nil {
		log.Fatal(err)
	}
	defer sb.Shutdown(context.Background())

	ctx, w := context.Background(), sb.Worker("ada")
	fmt.Println(edits.Call(ctx, w, edit{"one"}))
	fmt.Println(tries.Call(ctx, w, edit{"nonsense"}))
	fmt.Println(edits.Call(ctx, w, edit{"two"}))
	// Output:
	// one; <nil>
	// one;nonsense; <nil>
	// one;two; <nil>
}

// Two workers go on from what a third has made.
func ExampleSandbox_ForkWorkspace() {
	var reg sandbox.Registry
	edits, _ := addProject(&reg)
	sb, err := sandbox.New(sandbox.Options{Registry: &reg})
	if err != nil {
		log.Fatal(err)
	}
	defer sb.Shutdown(context.Background())

	ctx := context.Background()
	fmt.Println(edits.Call(ctx, sb.Worker("ada"), edit{"start"}))
	for _, to := range []string{"left", "right"} {
		if _, err := sb.ForkWorkspace(ctx, "ada", to, sandbox.ForkOptions{}); err != nil {
			log.Fatal(err)
		}
		fmt.Println(edits.Call(ctx, sb.Worker(to), edit{to}))
	}
	_, err = sb.ForkWorkspace(ctx, "ada", "left", sandbox.ForkOptions{})
	fmt.Println(err)
	// Output:
	// start; <nil>
	// start;left; <nil>
	// start;right; <nil>
	// worker "left" exists already: fork to a new one, or close it first
}
