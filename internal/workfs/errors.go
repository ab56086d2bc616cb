package workfs

import (
	"errors"
	"fmt"
	"io/fs"
)

// What can be wrong beside what the system says (fs.ErrNotExist, fs.ErrExist,
// fs.ErrPermission and the like).
var (
	ErrPath       = errors.New("not a usable path")
	ErrOutside    = errors.New("a symbolic link leads out of the workspace, where it is not followed")
	ErrLinks      = errors.New("too many symbolic links, perhaps a loop")
	ErrNotRegular = errors.New("not a regular file")
	ErrIsDir      = errors.New("a directory")
	ErrNotDir     = errors.New("not a directory")
	ErrTooLarge   = errors.New("too large")
	ErrFull       = errors.New("no space left")
	ErrBusy       = errors.New("in use by another process; try again")
	ErrChanged    = errors.New("it has been changed meanwhile")
	ErrNotEmpty   = errors.New("the directory is not empty")
	ErrClosed     = errors.New("the workspace is closed")
)

// Error is what goes wrong with a path.
type Error struct {
	Op, Path string
	Err      error
	text     string // instead of Err's
}

func (e *Error) Error() string {
	text := e.text
	if text == "" {
		text = e.Err.Error()
	}
	return fmt.Sprintf("%s %q: %s", e.Op, e.Path, text)
}

func (e *Error) Unwrap() error { return e.Err }

// explain makes err an [*Error] about path.
func explain(op, path string, err error) error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	e := &Error{Op: op, Path: path, Err: translate(err)}
	if _, ok := errors.AsType[saying](e.Err); ok {
		return e
	}
	switch {
	case errors.Is(e.Err, ErrNotEmpty): // which the system's counts as ErrExist
	case errors.Is(err, fs.ErrNotExist):
		e.text = "there is no such file or directory"
	case errors.Is(err, fs.ErrExist):
		e.text = "it exists already"
	case errors.Is(err, fs.ErrPermission):
		e.text = "permission denied by the file's or a directory's mode"
	}
	return e
}

// with wraps err so that it is found, saying something else.
func with(err error, format string, args ...any) error {
	return saying{fmt.Sprintf(format, args...), err}
}

type saying struct {
	text string
	err  error
}

func (s saying) Error() string { return s.text }
func (s saying) Unwrap() error { return s.err }
