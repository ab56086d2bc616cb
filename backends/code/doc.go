// Package code gives a worker interpreters: a Python, a JavaScript and a bash
// per session, each started by its first use, in which variables, imports and
// functions live on from call to call.
//
//	var reg sandbox.Registry
//	interp := code.Register(&reg, code.Config{})
//	sb, err := sandbox.New(sandbox.Options{Registry: &reg})
//	…
//	out, err := interp.Run.Call(ctx, sb.Worker("w1"), code.RunInput{Code: "1+1"})
//
// Code that raises an exception, or that runs into its own timeout, is a result
// and no error. An interpreter that died is replaced by a fresh one, and the
// result says so. See docs/code.md.
package code
