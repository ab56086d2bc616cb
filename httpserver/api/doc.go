// Package api serves a [sandbox.Executor] over HTTP: the AgentFlow sandbox
// protocol, so that its unmodified Python client, curl and this module's own
// client package can all call the tools.
//
//	sb, err := sandbox.New(sandbox.Options{Registry: &reg})
//	…
//	h, err := api.New(sb, api.Options{})
//	…
//	http.ListenAndServe("127.0.0.1:18890", h)
//
// # Two sets of paths
//
// Every endpoint answers under the path that AgentFlow's code uses
// (/api/v1/execute, in the code/message/data/meta shape) and under the short
// path of its documents (/execute, in the older success/data shape). Both are
// rendered from one internal reply, and the HTTP status is the same on both.
// Every answer is a JSON object, errors included.
//
// # Who may call
//
// With [Options.Tokens] a caller proves itself by a token. Without, whoever
// reaches the listener may do everything; such a handler belongs on a loopback
// address, and it refuses requests whose Host is not a loopback name, for a web
// page could otherwise reach it by DNS rebinding. Requests that a web page of
// another origin makes are refused unless [Options.AllowedOrigins] names the
// origin, and bodies are read as application/json only.
//
// # What is left to the server
//
// The handler reads bodies up to [Options.MaxBody] and ends the work of callers
// that disconnect. Time limits for headers and bodies, TLS, and the graceful end
// are the [http.Server]'s.
package api
