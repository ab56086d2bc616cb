package sandbox_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"strings"

	"github.com/agentflow-go/sandbox"
)

type noteInput struct {
	Text string `json:"text"`
}

type noteOutput struct {
	Path string `json:"path"`
	Size int64  `json:"size"`
}

// A backend that puts files into the worker's workspace. Whatever the worker's
// programs do there meanwhile, nothing else is touched.
func ExampleEnv_Files() {
	ctx := context.Background()
	var reg sandbox.Registry
	b := sandbox.AddBackend(&reg, sandbox.BackendSpec{Name: "notes"}, sandbox.BackendFuncs[sandbox.Env]{
		OpenFunc: func(_ context.Context, env sandbox.Env) (sandbox.Env, error) { return env, nil },
	})
	save := sandbox.AddSessionTool(b, sandbox.ToolSpec{Name: "save"}, func(_ context.Context, _ sandbox.Call, env sandbox.Env, in noteInput) (noteOutput, error) {
		files, err := env.Files()
		if err != nil {
			return noteOutput{}, err
		}
		info, err := files.WriteFile("notes/today.txt", strings.NewReader(in.Text), sandbox.CreateOptions{Parents: true})
		return noteOutput{info.Path, info.Size}, err
	})
	sb, err := sandbox.New(sandbox.Options{Registry: &reg})
	if err != nil {
		log.Fatal(err)
	}
	defer sb.Shutdown(ctx)
	out, err := save.Call(ctx, sb.Worker("agent-1"), noteInput{"buy milk"})
	fmt.Println(out.Path, out.Size, err)
	// Output: notes/today.txt 8 <nil>
}

// Files go in before a worker starts, and out when it is done.
func ExampleFileStore() {
	ctx := context.Background()
	sb, err := sandbox.New(sandbox.Options{Registry: new(sandbox.Registry)})
	if err != nil {
		log.Fatal(err)
	}
	defer sb.Shutdown(ctx)
	var store sandbox.FileStore = sb // or a client of a server
	if _, err := store.StoreFile(ctx, "agent-1", "in/task.txt", strings.NewReader("sum 1 2"), sandbox.CreateOptions{Parents: true}); err != nil {
		log.Fatal(err)
	}
	f, err := store.OpenFile(ctx, "agent-1", "in/task.txt")
	if err != nil {
		log.Fatal(err)
	}
	defer f.Close()
	text, err := io.ReadAll(f)
	fmt.Printf("%s: %s %v\n", f.Info().Path, text, err)
	// Output: in/task.txt: sum 1 2 <nil>
}
