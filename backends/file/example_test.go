package file_test

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/agentflow-go/sandbox"
	"github.com/agentflow-go/sandbox/backends/file"
)

func ExampleRegister() {
	ctx := context.Background()
	var reg sandbox.Registry
	files := file.Register(&reg, file.Config{})
	sb, err := sandbox.New(sandbox.Options{Registry: &reg})
	if err != nil {
		log.Fatal(err)
	}
	defer sb.Shutdown(ctx)

	w := sb.Worker("agent-1")
	if _, err := files.Write.Call(ctx, w, file.WriteInput{Path: "src/hello.py", Content: "def hello():\n    return 'hi'\n"}); err != nil {
		log.Fatal(err)
	}
	edited, err := files.Edit.Call(ctx, w, file.EditInput{Path: "src/hello.py", Edits: []file.Edit{{Old: "'hi'", New: "'hello'"}}})
	fmt.Println(edited.Replacements, err)
	found, err := files.Grep.Call(ctx, w, file.GrepInput{Pattern: `return '\w+'`, Glob: "*.py"})
	fmt.Println(found.Matches[0].Path, found.Matches[0].Line, found.Matches[0].Text, err)
	_, err = files.Read.Call(ctx, w, file.ReadInput{Path: "src/helo.py"})
	fmt.Println(err)
	// Output:
	// 1 <nil>
	// src/hello.py 2     return 'hello' <nil>
	// open "src/helo.py": there is no such file or directory; "src" has no "helo.py", but it has "hello.py"
}

func ExampleComponent() {
	known := []sandbox.Component{file.Component()}
	cfg, err := sandbox.ParseConfig([]byte(`{"resources": {"file": {"config": {"max_bytes": 65536}}}}`), os.LookupEnv)
	if err != nil {
		log.Fatal(err)
	}
	o, err := cfg.Options(known...)
	if err != nil {
		log.Fatal(err)
	}
	sb, err := sandbox.New(o)
	if err != nil {
		log.Fatal(err)
	}
	defer sb.Shutdown(context.Background())
	tools, err := sb.Tools(context.Background(), sandbox.ToolFilter{})
	fmt.Println(len(tools), err)
	// Output: 13 <nil>
}
