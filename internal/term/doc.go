// Package term runs shell commands and terminal programs on private
// pseudo-terminals, in a way that what a command prints cannot be mistaken for
// the end of the command.
//
// # The shell
//
// [Shell] is one interactive bash. Commands do not travel through the
// terminal: bash reads them, with no limit on their length, from a control
// descriptor, and reports the exit status on another one. The report carries a
// nonce that bash has to take from the control descriptor after the command
// has ended, so a report that somebody else wrote is not one. After the report
// the host writes a random fence into the terminal and reads the output up to
// it: the output is complete, in order, and its end cannot be forged.
//
// Outside of a command, the shell's own standard streams are not the terminal
// but two pipes, which the host calls tick and aside. What bash itself has to
// say between two commands (prompts, trap and trace output of the control
// functions, the newline after an interrupt) goes to aside and never into the
// output of a command.
//
// The command sees the terminal as its standard streams, with echo and output
// processing switched off, so that bytes pass unchanged.
//
// # What ends with a call and what stays
//
// Variables, functions, aliases, options, traps, the directory, background jobs
// and descriptors from 3 up stay. The standard streams (exec >file) and the
// terminal's settings (stty) are put back after each call, line editing (set -o
// vi) is switched off again, and the variables PROMPT_COMMAND and PS1 belong to
// this package; a shell that makes them read-only is replaced. What a
// background job prints between two calls is kept, up to [Options.Hold] bytes,
// and becomes the start of the next call's output; past that the job waits, as
// on a stopped terminal.
//
// A shell that ended, or that a command broke, is replaced by a fresh one in
// the last directory, and [Result.Restarted] says so.
//
// # Programs
//
// [Program] is a program on a pseudo-terminal of its own, with input, bounded
// output history and a rendered screen. What its output may cost the host is
// bounded: the emulator sees only sequences that a filter has rewritten, a
// screen has a largest size, and a [Pace] limits the time spent on rendering.
//
// The package knows nothing of confinement: it starts processes through a
// [StartFunc] of the caller's.
package term
