// Command calculator shows a backend whose sessions have a process in the jail: a
// calculator that remembers variables for as long as its session lives.
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"strings"

	"github.com/agentflow-go/sandbox"
)

// Calc is the state of a session. Its methods are the tools.
type Calc struct {
	process *sandbox.Process
	in      io.WriteCloser
	out     *bufio.Reader
}

// Backend opens one Calc for each session.
type Backend struct{}

func (Backend) Open(ctx context.Context, env sandbox.Env) (*Calc, error) {
	stdin, in := io.Pipe()
	out, stdout := io.Pipe()
	process, err := env.Start(ctx, sandbox.Cmd{
		Path: "bash", Args: []string{"-c", `while read -r; do echo "$((REPLY))"; done`},
		Stdin: stdin, Stdout: stdout,
	})
	if err != nil {
		return nil, err
	}
	go func() {
		env.Lost(process.Wait()) // does nothing if the session was closed
		stdout.Close()
	}()
	return &Calc{process, in, bufio.NewReader(out)}, nil
}

func (Backend) Close(_ context.Context, c *Calc) error {
	c.in.Close()
	return c.process.Wait()
}

type Expression struct {
	Text string `json:"text" jsonschema:"an integer expression or assignment, such as x = 6 * 7"`
}

func (c *Calc) Eval(ctx context.Context, in Expression) (string, error) {
	defer context.AfterFunc(ctx, func() { c.process.Kill() })() // a tool returns when its context ends
	if _, err := fmt.Fprintln(c.in, strings.Join(strings.Fields(in.Text), " ")); err != nil {
		return "", err
	}
	line, err := c.out.ReadString('\n')
	return strings.TrimSpace(line), err
}

func main() {
	var reg sandbox.Registry
	calc := sandbox.AddBackend(&reg, sandbox.BackendSpec{Name: "calc", Serial: true}, Backend{})
	eval := sandbox.AddSessionTool(calc, sandbox.ToolSpec{
		Name: "eval", Description: "Evaluates an expression. Variables keep their values.",
	}, sandbox.Method((*Calc).Eval))

	sb, err := sandbox.New(sandbox.Options{Registry: &reg})
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	defer sb.Shutdown(ctx)

	w := sb.Worker("ada")
	if _, err := w.CreateSession(ctx, "calc", sandbox.SessionOptions{}); err != nil {
		log.Fatal(err)
	}
	for _, text := range []string{"x = 6", "y = x + 1", "x * y"} {
		value, err := eval.Call(ctx, w, Expression{text})
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(text, "→", value)
	}

	// A model sees the same tool by name, with JSON and a schema. What goes
	// wrong it is told in words.
	fmt.Println(w.Execute(ctx, "calc:eval", map[string]int{"text": 1}).ForModel())

	// This ends the calculator. The call fails with its session, and the next
	// one says that it ran in a new one, without x.
	resp := w.Execute(ctx, "calc:eval", Expression{"1 / 0"})
	fmt.Println("lost:", errors.Is(resp.Err, sandbox.ErrSessionLost))
	resp = w.Execute(ctx, "calc:eval", Expression{"x"})
	fmt.Println(resp.ForModel(), "temporary:", resp.Meta.Temporary, "instead of a lost one:", resp.Meta.Expired != "")
}
