package sandbox

import (
	"context"
	"encoding/json"
	"time"
)

// ToolSpec describes a tool to [AddTool], [AddSessionTool] or [AddSharedTool].
type ToolSpec struct {
	// Name is the tool's simple name: 1 to 64 letters, digits, _ - and dots.
	// A tool of a backend becomes "backend:name". AddTool also takes one
	// "group:name".
	Name string
	// Aliases are further exact names, with or without a group.
	Aliases []string
	// Label is meta.resource_type of a tool without backend; "": its group.
	Label string
	// Description is one paragraph, written for a model.
	Description string
	// InputSchema and OutputSchema are JSON schemas (draft 2020-12) for
	// objects; nil: inferred from In and Out, see AddTool.
	InputSchema, OutputSchema json.RawMessage
	// Decode says how strictly input is read; zero: Strict.
	Decode DecodeMode
	// Timeout limits each call; 0: Options.CallTimeout. The shorter of this,
	// the caller's and the sandbox's applies.
	Timeout time.Duration
	// ErrorCode is the code of a plain error that the function returns; 0:
	// ErrUnexpected. Tools of outside APIs use ErrExecution.
	ErrorCode  Code
	Concurrent bool // may run beside the running call of a Serial session (interrupt, input, kill)
	ReadOnly   bool // no side effects: safe to run in parallel and to retry
	Idempotent bool // repeating it changes nothing more
	Hidden     bool // left out of listings unless asked for
}

// DecodeMode says how the JSON input of a tool is checked before it runs.
type DecodeMode uint8

const (
	// Strict checks everything and refuses unknown fields.
	Strict DecodeMode = iota
	// IgnoreUnknown is as Strict, but drops fields that the schema does not
	// know, for callers that send extra ones.
	IgnoreUnknown
	// Trusted decodes without checking.
	Trusted
)

// ToolFunc is the code of a tool without session. In is a struct (or a map, or
// json.RawMessage) decoded from the call's params; Out is encoded as its data.
//
// The function must return when ctx ends; what it returns then still reaches
// the caller, as partial output. A panic becomes an error. Return an [*Error]
// to choose code and message.
type ToolFunc[In, Out any] func(ctx context.Context, call Call, in In) (Out, error)

// SessionFunc is the code of a tool that runs in a session with state s; else
// as [ToolFunc]. Calls of one session may run at the same time unless its
// backend is Serial.
type SessionFunc[S, In, Out any] func(ctx context.Context, call Call, s S, in In) (Out, error)

// Plain adapts a function that needs no [Call].
func Plain[In, Out any](fn func(context.Context, In) (Out, error)) ToolFunc[In, Out] {
	return func(ctx context.Context, _ Call, in In) (Out, error) { return fn(ctx, in) }
}

// Method adapts a method expression such as (*VM).Click, so that the methods
// of the session state are the tools. A tool that needs its [Call], to emit
// events say, is a [SessionFunc] instead.
func Method[S, In, Out any](fn func(S, context.Context, In) (Out, error)) SessionFunc[S, In, Out] {
	return func(ctx context.Context, _ Call, s S, in In) (Out, error) { return fn(s, ctx, in) }
}

// AddTool registers a tool that needs no session and no backend.
//
// Schemas that t leaves nil are inferred: a field with omitempty or omitzero
// is optional, the jsonschema struct tag is its description, and a type may
// bring its own schema through a method JSONSchema() json.RawMessage. A fault
// (a bad or taken name, a type without schema) is recorded in r with the
// caller's file and line, and [New] returns it. The handle is never nil;
// calling a faulty one fails with [ErrBadRegistration].
func AddTool[In, Out any](r *Registry, t ToolSpec, fn ToolFunc[In, Out]) *Tool[In, Out] {
	return addTool(r, t, nil, caller(), fn, nil)
}

// AddSessionTool registers a tool that runs in a session of the backend b, as
// [AddTool] does otherwise. A call that finds no session of its worker gets a
// temporary one, which ends with the call.
func AddSessionTool[S, In, Out any](b *Binding[S], t ToolSpec, fn SessionFunc[S, In, Out]) *Tool[In, Out] {
	return addTool(b.entry.reg, t, b.entry, caller(), nil, stateful(fn))
}

// stateful erases S: a session's state was made by the Backend[S] of the same
// binding, so the assertion cannot fail.
func stateful[S, In, Out any](fn SessionFunc[S, In, Out]) SessionFunc[any, In, Out] {
	if fn == nil {
		return nil
	}
	return func(ctx context.Context, call Call, s any, in In) (Out, error) {
		state, _ := s.(S) // a nil interface of an interface type S stays its zero value
		return fn(ctx, call, state, in)
	}
}

// AddSharedTool registers a tool of the backend b that needs no session; the
// backend is warm before it runs.
func AddSharedTool[In, Out any](b Shared, t ToolSpec, fn ToolFunc[In, Out]) *Tool[In, Out] {
	e := b.shared()
	return addTool(e.reg, t, e, caller(), fn, nil)
}

// Tool is a typed handle on a registered tool. It may be used concurrently.
type Tool[In, Out any] struct {
	entry *toolEntry
	fn    ToolFunc[In, Out]         // nil for a session tool
	sfn   SessionFunc[any, In, Out] // nil for any other
}

// Name returns the tool's full name.
func (t *Tool[In, Out]) Name() string { return t.entry.info.FullName }

// Call runs the tool for w. If w belongs to the Sandbox that the tool is
// registered in, in and the output pass as Go values, without JSON: pointers
// and slices are shared with the tool and the schema is not checked (see
// Options.ValidateTyped), and the tool runs on the calling goroutine. For any
// other worker the call goes through its Executor as JSON.
//
// Errors are as those of [Executor.Execute].
func (t *Tool[In, Out]) Call(ctx context.Context, w *Worker, in In) (Out, error) {
	if t.entry.fault != nil {
		var zero Out
		return zero, t.entry.fault
	}
	if sb, ok := w.ex.(*Sandbox); ok && sb == t.entry.reg.owner.Load() {
		return callTyped(ctx, sb, t, w, in)
	}
	return callJSON[In, Out](ctx, w, t.entry.info.FullName, in)
}

// Invoke calls a tool by name with typed input and output. If the tool is
// registered in w's own Sandbox with just these types it takes the path of
// [Tool.Call], else one round trip through JSON.
func Invoke[Out, In any](ctx context.Context, w *Worker, tool string, in In) (Out, error) {
	if sb, ok := w.ex.(*Sandbox); ok {
		if e, err := sb.names.resolve(tool); err == nil {
			if t, ok := e.handle.(*Tool[In, Out]); ok {
				return callTyped(ctx, sb, t, w, in)
			}
		}
	}
	return callJSON[In, Out](ctx, w, tool, in)
}
