// Package reserve hands out small numbers that no other program on the
// machine holds at the same time: worker uids, directories below slots/.
//
// All numbers of one kind share one lock file. Number n is held by a lock on
// byte n of that file, so that a program needs one descriptor however many
// numbers it holds, and the kernel gives every one of them back when the
// program dies, however it dies. The byte itself remembers whether the number
// was given back properly: it is 1 while the number is held and 0 after
// [File.Release], so that a number whose holder was killed comes back marked
// dirty and its next holder knows that something may have been left behind.
//
// The locks belong to the open file description (F_OFD_SETLK), not to the
// process: two Files on one path exclude each other even inside one program,
// and closing some other descriptor of the same file loses nothing. They work
// on Linux only; elsewhere [Open] returns an error that says so.
package reserve

import "errors"

// Max is how many numbers one file holds: 0 to Max-1.
const Max = 65536

var (
	// ErrNone means that every number is held by somebody.
	ErrNone = errors.New("reserve: every number is taken")
	// ErrTaken means that the number asked for is held, by this File or another.
	ErrTaken = errors.New("reserve: number is taken")
	// ErrClosed means that the File was closed.
	ErrClosed = errors.New("reserve: file is closed")
)
