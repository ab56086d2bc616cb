// Package file gives agents tools over the files of their workspace: read,
// write, append, edit, list, tree, stat, mkdir, delete, move, copy, glob and
// grep.
//
// They work on the host, through [sandbox.Env.Files]: as the worker, within the
// workspace only, and whatever its processes do there meanwhile. No process is
// started, and a session costs nothing until its first call.
//
// Everything that is returned has a bound, and says so with truncated where it
// was reached. Errors name the path, what was expected and what to do instead,
// because a model reads them.
package file
