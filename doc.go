// Package sandbox gives AI agents tools with real resources behind them: a
// shell, a code interpreter, files, a browser and more, each confined.
//
// A program registers backends and tools in a [Registry], makes a [Sandbox] of
// it with [New], and calls tools for a [Worker]:
//
//	var reg sandbox.Registry
//	sh := bash.Register(&reg, bash.Config{})
//	sb, err := sandbox.New(sandbox.Options{Registry: &reg})
//	if err != nil {
//		log.Fatal(err)
//	}
//	defer sb.Shutdown(context.Background())
//	w := sb.Worker("agent-1")
//	out, err := sh.Run.Call(ctx, w, bash.RunInput{Command: "ls"})
//
// # Words
//
// A tool is a typed function that an agent may call, such as bash:run. A
// backend owns a kind of resource and the tools over it. A worker is who calls:
// an agent, a rollout; it has a workspace, a directory that everything running
// for it sees as /workspace. A session is one worker's live state in one
// backend. It is explicit (made with CreateSession, living until it was idle
// for its TTL) or temporary (made by a call that found none, ended with it).
//
// # Typed and untyped calls
//
// [AddTool], [AddSessionTool] and [AddSharedTool] register a Go function once.
// From it come a typed handle ([Tool.Call] passes Go values, without JSON), the
// JSON schemas, and the untyped entry that [Executor.Execute] uses and the HTTP
// server serves. An [Executor] is a Sandbox here or a client of one elsewhere,
// so a Worker works the same on both.
//
// # Life cycle
//
// [New] starts nothing. First use, or [Sandbox.Start], warms backends up and
// starts the one goroutine that closes idle sessions. [Sandbox.Shutdown] ends
// everything and waits for it.
//
// # Errors
//
// A failed call returns an [*Error]. Its [Code] is what to match, its message is
// fit for a model to read, and unless Ran is set repeating the call has no side
// effects:
//
//	if errors.Is(err, sandbox.ErrBusy) {
//		// all sessions are in use: try again later
//	}
//
// # Concurrency
//
// Everything may be used by several goroutines at once. Calls of one session
// run side by side unless its backend is Serial; temporary sessions are never
// shared. A call ends with its context: the tool must return then.
//
// # Backends, middleware, configuration
//
// A [Backend] opens a Go value per session, whose methods are the tools (see
// [Method]); it needs no knowledge of sessions, limits or HTTP. [Middleware] sees
// every call. [LoadConfig] reads what to register, and the [Options], from a file.
//
// # Confinement
//
// What a backend runs for a worker it starts through [Env.Start], in a jail: a
// file system that shows the workspace and little else, no network but what
// [Egress] allows, no capabilities. A policy that the host cannot enforce is an
// error. See [Confinement].
package sandbox
