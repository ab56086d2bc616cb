// Package bash gives a worker a shell: one bash per session, in which the
// directory, variables, functions and background jobs live on from call to
// call, and programs on terminals of their own for what needs typing or a
// screen.
//
//	var reg sandbox.Registry
//	sh := bash.Register(&reg, bash.Config{})
//	sb, err := sandbox.New(sandbox.Options{Registry: &reg})
//	…
//	out, err := sh.Run.Call(ctx, sb.Worker("w1"), bash.RunInput{Command: "ls"})
//
// A command that fails, or that runs into its own timeout, is a result and no
// error. What a command prints can neither end its call early nor be lost; a
// shell that ended is replaced by a fresh one, and the result says so. See
// docs/bash.md.
package bash
