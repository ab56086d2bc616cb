package term

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	mathrand "math/rand/v2"
	"strconv"
	"strings"
)

// Descriptors as the start function hands them to bash.
const (
	fdTTY   = 0
	fdIn    = 3 // commands and nonces, to bash
	fdOut   = 4 // reports, from bash
	fdTick  = 5 // becomes bash's standard input
	fdAside = 6 // becomes bash's standard output and error between commands
	fdErr   = 7 // standard error of commands, if it is kept apart
)

const (
	// lowBase is where the descriptors go if processes may have only few.
	lowBase = 35

	// exitNoRoom is the status of a bash that may not have so high a descriptor.
	exitNoRoom = 41
)

// script writes what bash is told to do. Names and descriptor numbers differ
// from shell to shell, lest a command meets them by accident. All bashes of a
// shell have the same names, so that who lists variables can tell them.
//
// How it works. Bash runs PROMPT_COMMAND before each prompt, with its
// interactive chatter (job numbers, "exit") off. Ours has three steps: the
// function before waits for a command; eval runs it at the top level, so that
// break, return and declare mean what they mean there; the function after
// reports. A command that is aborted (an interrupt, ${x:?}) throws bash back to
// the prompt; then before finds, instead of a command, the nonce that after has
// not taken, and reports in its place. The tick pipe holds the empty line that
// bash reads between two prompts.
//
// The protocol on the in descriptor, each message ended by a NUL:
//
//	C<key>.<number>:<previous status>   a command follows
//	<command>
//	N<nonce>                            report with this nonce
//
// On the out descriptor: R (ready), and per report the nonce, exit status,
// option letters, the descriptor the command had as standard error (2 if it was
// not run) and the directory.
//
// Descriptors. Bash marks a descriptor close-on-exec if it was duplicated from
// one that is, and bash's own saved copies are; so the control descriptors are
// duplicated from saved copies and no program that bash starts gets them. They
// are numbered high, because for "0<&131" bash saves descriptor 0 above 131,
// out of the way of a command's own "exec 10>file".
type script struct {
	name     string // prefix of our variables and functions
	key      string
	base     int
	separate bool
	noInput  bool
}

func newScript(name string, base int, o Options) script {
	if base == 0 {
		base = 131 + mathrand.IntN(40)
	}
	return script{name: name, key: randomHex(3), base: base, separate: o.SeparateStderr, noInput: o.NoInput}
}

func (s script) fd(n int) string { return strconv.Itoa(s.base + 2 + n) }

// fill replaces @names in a template.
func (s script) fill(t string) string {
	errfd := fdTTY
	if s.separate {
		errfd = fdErr
	}
	return strings.NewReplacer(
		"@n", s.name, "@k", s.key,
		"@TTY", s.fd(fdTTY), "@IN", s.fd(fdIn), "@OUT", s.fd(fdOut), "@ERR", s.fd(errfd),
	).Replace(t)
}

// promptCommand is PROMPT_COMMAND's text. It is parsed anew each time, so no
// word of it can be an alias: quoted words are not expanded.
func (s script) promptCommand() string {
	input := "&@TTY"
	if s.noInput {
		input = "'/dev/null'"
	}
	return s.fill(`'@nb'; 'builtin' 'eval' "$@nc" 0<` + input + ` 1>&@TTY 2>&"$@nf"; '@na'`)
}

// control defines the functions and variables, on one line so that bash runs
// it between two prompts. Sent again, it heals a shell whose functions or
// variables a command has overwritten; it leaves $? as it was.
//
//	r reports; x returns the kept status; b is before, a is after; t puts TMOUT by
//	s status, c message or command, q the call's number, f standard error
//	m TMOUT, where it was put by, k: there is nothing to be done after
//
// Between two commands TMOUT is 0, unless it is read-only: bash sets the alarm by
// which it ends a shell that waits for input before it runs PROMPT_COMMAND, so the
// time that our functions and the next command take would count too. Where a
// command was aborted that alarm is set already when its end is reported; going
// on to the next prompt stops it.
//
// A command is given to eval only after eval and printf have been seen to
// work; a report says whether it was. If it was not, the command can safely be
// run again elsewhere. Until it is, standard error stays aside (f is 2).
func (s script) control() string {
	const t = `@ns=$? @nm=${@nm-} @nk=; ` +
		`@nt() { [[ -z ${TMOUT-} || $TMOUT == 0 || ${TMOUT@a} == *r* ]] || { @nm=$TMOUT; TMOUT=0; }; }; ` +
		`@nr() { if [[ ${PWD-} -ef . ]]; then builtin printf '%s\0%s\0%s\0%s\0=%s\0' "${@nc#N}" "$@ns" "$-" "${@nf-}" "$PWD"; ` +
		`else builtin printf '%s\0%s\0%s\0%s\0' "${@nc#N}" "$@ns" "$-" "${@nf-}"; builtin pwd || builtin :; builtin printf '\0'; fi >&@OUT; @nf=2; }; ` +
		`@nx() { builtin return "$@ns"; }; ` +
		`@nb() { @ns=$?; while @nc=; builtin mapfile -d '' -n 1 -t -u @IN @nc && [[ -n ${@nc-} ]]; do case "$@nc" in ` +
		`"C@k".*) @nf=2 @ns=${@nc##*:} @nq=${@nc%:*}; PS1="<${@nq#C}>"; builtin mapfile -d '' -n 1 -t -u @IN @nc; ` +
		`if builtin printf '' && builtin eval ''; then @nf=@ERR; else @nc=; fi; @nk=; ` +
		`[[ -z ${@nm-} ]] || { TMOUT=$@nm; @nm=; }; builtin return "$@ns";; ` +
		`N*) @nr; @nt; if [[ -n ${@nm-} ]]; then @nc= @nk=1; builtin return "$@ns"; fi;; esac; done; @nc=; }; ` +
		`@na() { @ns=$?; [[ ${PROMPT_COMMAND[*]-} == @P ]] || { builtin unset -v PROMPT_COMMAND || builtin exit "$@ns"; PROMPT_COMMAND=@P; }; ` +
		`case ":$SHELLOPTS:" in *:vi:*|*:emacs:*) builtin set +o vi +o emacs;; esac; ` +
		`@nt; if [[ -n ${@nk-} ]]; then @nk=; builtin return 0; fi; ` +
		`builtin mapfile -d '' -n 1 -t -u @IN @nc; case "${@nc-}" in N*) @nr;; esac; ` +
		`@nc=; PS1="<${@nq#C}>"; builtin return 0; }; ` +
		`PROMPT_COMMAND=@P; PS1= PS2= PS0=; @nx`
	return strings.ReplaceAll(s.fill(t), "@P", quote(s.promptCommand()))
}

// bootstrap is the PROMPT_COMMAND of the shell's environment: it moves the
// descriptors to their places, then defines the rest.
func (s script) bootstrap() string {
	var b strings.Builder
	// The highest number in use is that of a saved copy.
	fmt.Fprintf(&b, "if ! builtin eval ': %d<&0' 2<&-; then builtin exit %d; fi;", s.base+20, exitNoRoom)
	fmt.Fprintf(&b, "builtin set +o history; builtin shopt -s execfail; builtin unset HISTFILE MAILCHECK; builtin export -n PROMPT_COMMAND; exec %d<&0;", s.base)
	last := fdAside
	if s.separate {
		last = fdErr
	}
	for fd := 0; fd <= last; fd++ {
		if fd == 0 || fd == fdIn || fd == fdOut || fd == fdErr {
			// The redirection of the eval makes bash save fd at base+1,
			// close-on-exec, for as long as the eval runs.
			fmt.Fprintf(&b, "builtin eval 'exec %s<&%d' %d<&%d;", s.fd(fd), s.base+1, fd, s.base)
		}
	}
	fmt.Fprintf(&b, "exec 0<&%d 1>&%d 2>&%d %d<&-", fdTick, fdAside, fdAside, s.base)
	for fd := 3; fd <= last; fd++ {
		fmt.Fprintf(&b, " %d<&-", fd)
	}
	b.WriteString(";")
	b.WriteString(s.control())
	b.WriteString(s.fill(`;builtin printf 'R\0' >&@OUT`))
	return b.String()
}

// quote makes a word that bash reads as exactly s.
func quote(s string) string {
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

func randomHex(n int) string {
	b := make([]byte, n)
	rand.Read(b) // never fails
	return hex.EncodeToString(b)
}

// digits returns a random number of 40 digits.
func digits() string {
	var b [16]byte
	rand.Read(b[:])
	return fmt.Sprintf("%020d%020d", binary.NativeEndian.Uint64(b[:8]), binary.NativeEndian.Uint64(b[8:]))
}
