// Package client is a [sandbox.Executor] over HTTP: what a [*sandbox.Sandbox]
// does in this process, a Client does on a server, and typed calls through a
// [sandbox.Worker] work the same on both.
//
//	c, err := client.Connect(ctx, "http://127.0.0.1:18890", client.Options{})
//	if err != nil {
//		log.Fatal(err)
//	}
//	defer c.Close()
//	w := sandbox.NewWorker(c, "agent-1")
//	resp := w.Execute(ctx, "bash:run", map[string]any{"command": "ls"})
//
// # What is retried
//
// A request is sent again only if it cannot have had an effect: when the
// connection was refused, and when the server answers 503 (busy or stopping)
// and says that nothing ran. A call that timed out or whose connection broke is
// never repeated, unless [Options.IdempotencyKeys] is set, with which the server
// knows a repetition.
//
// # Limits
//
// Event listeners of batches, [sandbox.Request.OnEvent], work, but make the
// client send the requests one by one. [sandbox.Egress.Check] is a function and
// cannot travel: sessions that set it are refused.
package client
