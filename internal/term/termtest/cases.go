package termtest

import (
	"bytes"
	"fmt"
	"strings"
	"time"
)

// Cases returns the table.
func Cases() []Case {
	var all []Case
	for _, group := range [][]Case{ordinary(), status(), endings(), input(), outputs(), wrecks(), descriptors(), forgeries(), background()} {
		all = append(all, group...)
	}
	return all
}

// short is a time-out that is meant to pass. It is of use where the command may do
// anything before; where it must have got somewhere, see Step.Until.
const short = 400 * time.Millisecond

// long is a time-out that a command reaches after what it does first, even on a
// busy machine.
const long = 5 * time.Second

// sleeps is a command that says so itself, and not the shell before it.
const sleeps = "sh -c 'echo up; exec sleep 30'"

func one(name string, s Step) Case { return Case{Name: name, Steps: []Step{s}} }

func deaf(c Case) Case { c.Deaf = true; return c }

// ordinary commands, which must behave as at a prompt.
func ordinary() []Case {
	return []Case{
		one("echo", Step{Run: "echo hi", Out: "hi\n"}),
		one("empty command", Step{Run: ""}),
		one("comment", Step{Run: "# nothing"}),
		one("no newline at the end", Step{Run: "printf x", Out: "x"}),
		one("several lines", Step{Run: "a=1\nb=2\necho $a $b\n", Out: "1 2\n"}),
		one("continued line", Step{Run: "echo a \\\n b", Out: "a b\n"}),
		one("carriage returns are bytes", Step{Run: "echo a\r\n", Out: "a\r\n"}),
		one("here-document", Step{Run: "cat <<X\none\n$((1+1))\nX\n", Out: "one\n2\n"}),
		{Name: "state stays", Steps: []Step{
			{Run: "cd /; f() { echo in f; }; alias g='echo in g'; export E=1; x=(a b)"},
			{Run: `pwd; f; g; sh -c 'echo $E'; echo ${x[1]}`, Out: "/\nin f\nin g\n1\nb\n"},
		}},
		{Name: "a directory that ends with a newline", Lost: true, Steps: []Step{
			{Run: "mkdir $'a\n'; cd $'a\n'"},
			{Run: "exit 1", Code: 1, Restarted: true},
			{Run: "echo \"${PWD##*/}.\"; cd /", Out: "a\n.\n"}}},
		{Name: "declare is global", Steps: []Step{{Run: "declare v=1; declare -A m=([k]=w)"}, {Run: "echo $v ${m[k]}", Out: "1 w\n"}}},
		{Name: "options stay", Steps: []Step{{Run: "shopt -s nullglob; set -u"}, {Run: "echo /nowhere/*.x", Out: "\n"}}},
		{Name: "descriptors from 3 up stay", Steps: []Step{
			{Run: "exec 3<<<three 10<<<ten 200<<<far"},
			{Run: "cat <&3 <&3; cat <&10; cat <&200", Out: "three\nten\nfar\n"},
		}},
		one("a command of 1 MB", Step{Run: ": " + strings.Repeat("x", 1<<20) + "\necho long", Out: "long\n"}),
		one("a line of 9,000 characters", Step{Run: "echo " + strings.Repeat("y", 9000), Check: length(9001)}),
		one("invalid UTF-8 and control bytes in the command", Step{Run: "printf '%s' '\xff\xfe\x01\x7f\x80é'", Out: "\xff\xfe\x01\x7f\x80é"}),
		one("history expansion is off", Step{Run: `echo "a!b" !!`, Out: "a!b !!\n"}),
		one("the terminal is one", Step{Run: "test -t 0 && test -t 1 && test -t 2 && stty size >/dev/null && echo tty", Out: "tty\n"}),
		one("no control descriptor is inherited", Step{Run: `sh -c 'for f in /proc/self/fd/*; do f=${f##*/}; [ $f -gt 100 ] && [ $f -lt 200 ] && echo $f; done; :'`}),
	}
}

// status of commands, and constructs that reach for the loop around them.
func status() []Case {
	return []Case{
		{Name: "status of the last command", Steps: []Step{{Run: "false", Code: 1}, {Run: "echo $?", Out: "1\n"}, {Run: "echo $?", Out: "0\n"}}},
		one("subshell exit", Step{Run: "(exit 3)", Code: 3}),
		one("not found", Step{Run: "nosuchcommand", Out: "bash: nosuchcommand: command not found\n", Code: 127}),
		one("killed by a signal", Step{Run: "sh -c 'kill -9 $$'", Check: anything, Code: 137}),
		one("pipeline", Step{Run: "set -o pipefail; (exit 4) | cat", Code: 4}),
		one("return at the top", Step{Run: "return 5; echo on", Check: contains("can only `return'"), Code: -2}),
		one("break at the top", Step{Run: "break; break 9; echo on", Check: contains("on\n")}),
		one("continue at the top", Step{Run: "continue; echo on", Check: contains("on\n")}),
		one("local at the top", Step{Run: "local x=1", Check: contains("can only be used in a function"), Code: 1}),
		one("unset parameter aborts", Step{Run: "echo ${NOPE:?gone}; echo on", Out: "bash: NOPE: gone\n", Code: 1}),
		one("nounset aborts", Step{Run: "set -u; echo $NOPE; echo on", Check: contains("NOPE: unbound variable"), Code: 1}),
		one("assignment to a read-only variable", Step{Run: "readonly R=1; R=2; echo on", Check: contains("R: readonly variable"), Code: 1}),
		one("a quote left open", Step{Run: "echo 'open", Check: contains("unexpected EOF"), Code: 2}),
		one("a bracket left open", Step{Run: "if true; then (echo a", Check: contains("syntax error"), Code: 2}),
		one("closing too much", Step{Run: "} ; done ) fi", Check: contains("syntax error"), Code: 2}),
		one("here-document left open", Step{Run: "cat <<X\nall of it", Check: contains("all of it\n", "here-document")}),
		one("logout", Step{Run: "logout; echo on", Check: contains("not login shell", "on\n")}),
	}
}

// endings of the shell and of commands.
func endings() []Case {
	lost := func(c Case) Case { c.Lost = true; return c }
	end := func(name, cmd, out string, code int) Case {
		return lost(one(name, Step{Run: cmd, Out: out, Code: code, Restarted: true}))
	}
	return []Case{
		end("exit", "echo before; exit 3; echo after", "before\n", 3),
		end("exit with much output before", "printf '%200000s' x | tr ' ' x; exit 4", strings.Repeat("x", 200000), 4),
		end("exit keeps the directory", "cd /; exit 1", "", 1),
		end("exit trap", "trap 'echo bye' EXIT; echo a; exit 5", "a\nbye\n", 5),
		end("errexit", "set -e; false; echo on", "", 1),
		lost(Case{Name: "errexit in a later call", Steps: []Step{{Run: "set -e"}, {Run: "true"}, {Run: "false", Code: 1, Restarted: true}}}),
		{Name: "errexit and success", Steps: []Step{{Run: "set -e; true"}, {Run: "false || echo saved", Out: "saved\n"}}},
		end("exec", "exec sh -c 'echo taken over; exit 6'", "taken over\n", 6),
		end("exec of a program that takes its time", "exec sh -c 'echo a; sleep 1; echo b; exit 6'", "a\nb\n", 6),
		lost(one("exec of a program that does not end", Step{Run: "exec " + sleeps, Until: "up\n", Out: "up\n", Code: 130, Restarted: true})),
		lost(one("exec of a program that takes its time to end", Step{Run: `exec sh -c 'trap "sleep 0.3; exit 7" INT; echo up; while :; do sleep 0.01; done'`,
			Until: "up\n", Out: "up\n", Code: 7, Restarted: true})),
		one("exec of nothing", Step{Run: "exec /nowhere/nothing", Check: contains("/nowhere/nothing"), Code: 127}),
		end("kill -9 of itself", "echo a; kill -9 $$", "a\n", 137),
		one("SIGTERM of itself is ignored", Step{Run: "kill $$; echo on", Out: "on\n"}),
		end("SIGHUP of itself", "kill -HUP $$; sleep 5", "", 129),
		{Name: "onecmd option", Lost: true, Steps: []Step{{Run: "set -t; true", Code: -2, Whenever: true}, {Run: "echo on", Out: "on\n", Whenever: true}}},
		lost(Case{Name: "killed between calls, or nearly so", Steps: []Step{
			{Run: "(until [ -e go ]; do sleep 0.01; done; kill -9 $$) & disown; : >go", Check: anything, Code: -2, Whenever: true},
			{Run: `while [ -n "${KEEP-}" ]; do sleep 0.01; done`, Check: anything, Code: -2, Whenever: true},
		}}),
		one("time-out keeps the shell", Step{Run: "echo a; sleep 30; echo b", Timeout: long, Out: "a\n", Code: 130, TimedOut: true}),
		one("time-out of a builtin loop", Step{Run: "while :; do :; done", Timeout: short, Code: 130, TimedOut: true}),
		one("time-out in a command substitution", Step{Run: "x=$(sleep 30)", Timeout: short, Code: 130, TimedOut: true}),
		one("an interrupted pipeline", Step{Run: "sh -c 'echo; exec sleep 30' | sh -c 'read x; echo up; exec cat'", Until: "up\n", Out: "up\n", Code: 130}),
		one("an interrupted function", Step{Run: "f() { " + sleeps + "; }; f; echo on", Until: "up\n", Out: "up\n", Code: 130}),
		one("an interrupt without job control", Step{Run: "set +m; " + sleeps, Until: "up\n", Out: "up\n", Code: 130}),
		deaf(one("a process that ignores the interrupt is killed", Step{Run: `sh -c 'trap "" INT; echo up; sleep 30 & wait; sleep 30'`, Until: "up\n", Code: -2, Check: anything})),
		one("a raw terminal is interrupted too", Step{Run: "stty raw -isig; " + sleeps, Until: "up\n", Out: "up\n", Code: 130}),
		deaf(lost(one("a shell that ignores the interrupt is restarted", Step{Run: "trap '' INT; echo up; while :; do :; done", Until: "up\n", Out: "up\n", Code: -1, Restarted: true}))),
		one("a handler of the interrupt runs", Step{Run: "trap 'echo caught' INT; " + sleeps + "; echo on", Until: "up\n", Check: contains("on\n"), Code: -2}),
		deaf(lost(one("a stopped shell is restarted", Step{Run: `(until grep -q '^State:.T' /proc/$$/status; do sleep 0.01; done; echo up) & kill -STOP $$`,
			Until: "up\n", Out: "up\n", Code: -1, Restarted: true}))),
		one("the caller gives up", Step{Run: sleeps, Until: "up\n", Out: "up\n", Code: 130}),
		one("SIGINT of itself", Step{Run: "echo a; kill -INT $$; sleep 0.1; echo b", Out: "a\n", Code: 130}),
		one("a stopped job", Step{Run: "sleep 30 & kill -STOP $!; kill -9 %1; echo on", Check: contains("on\n")}),
	}
}

// input is read by programs that find a terminal without a typist.
func input() []Case {
	waits := func(name, cmd, out string) Case {
		return one(name, Step{Run: cmd, Until: out, Out: out, Code: -2})
	}
	return []Case{
		waits("cat", "sh -c 'echo up; exec cat'", "up\n"),
		waits("read", "echo a; read x; echo on", "a\n"),
		waits("read -p", "read -p 'name? ' x", "name? "),
		waits("head of a terminal", "sh -c 'echo a; exec head -n1'; echo b", "a\n"),
		{Name: "a reader does not eat the next command", Steps: []Step{
			{Run: "sh -c 'echo up; exec cat'", Until: "up\n", Out: "up\n", Code: 130}, {Run: "echo next", Out: "next\n"}}},
		deaf(one("a bash of its own", Step{Run: "bash --norc -i", Timeout: short, Check: anything, Code: -2, TimedOut: true})),
		deaf(one("python by mistake", Step{Run: "python3 -q", Timeout: 1500 * time.Millisecond, Check: anything, Code: -2, TimedOut: true})),
		deaf(one("an editor by mistake", Step{Run: "vi -u NONE text", Timeout: time.Second, Check: anything, Code: -2, TimedOut: true})),
		one("top by mistake", Step{Run: "TERM=xterm top", Timeout: time.Second, Check: anything, Code: -2, TimedOut: true}),
		one("stdin from a file", Step{Run: "read x < <(echo y); echo $x", Out: "y\n"}),
		one("exec of stdin", Step{Run: "exec </dev/null; cat; echo on", Out: "on\n"}),
	}
}

// outputs of every kind come out unchanged and complete.
func outputs() []Case {
	var every bytes.Buffer
	for i := range 256 {
		every.WriteByte(byte(i))
	}
	return []Case{
		one("all 256 bytes", Step{Run: `printf "$(for i in {0..255}; do printf '\\%03o' $i; done)"`, Out: every.String()}),
		one("newlines are not changed", Step{Run: `printf 'a\nb\r\nc\r'`, Out: "a\nb\r\nc\r"}),
		one("escape sequences", Step{Run: `printf '\e[2J\e[6n\e]0;t\a\e[c'`, Out: "\x1b[2J\x1b[6n\x1b]0;t\a\x1b[c"}),
		one("the line of a prompt", Step{Run: `printf 'bash-5.2$ \n$ \n>>> '`, Out: "bash-5.2$ \n$ \n>>> "}),
		one("both streams in order", Step{Run: "for i in 1 2 3; do echo o$i; echo e$i >&2; done", Out: "o1\ne1\no2\ne2\no3\ne3\n"}),
		{Name: "streams apart", Separate: true, Steps: []Step{
			{Run: "for i in 1 2; do echo o$i; echo e$i >&2; done; nosuch", Out: "o1\no2\n", Err: "e1\ne2\nbash: nosuch: command not found\n", Code: 127},
			{Run: "printf '%100000s' x >&2; exit 2", Err: fmt.Sprintf("%100000s", "x"), Code: 2, Restarted: true}}, Lost: true},
		one("wide fields", Step{Run: "printf '%50s%1000s%50s' a b c | tr ' ' .", Check: length(1100)}),
		{Name: "100 MB", Slow: true, Steps: []Step{{Run: "head -c 100000000 /dev/zero", Timeout: 10 * time.Minute, Check: length(most)}}},
		one("a hundred thousand lines", Step{Run: "seq 100000", Check: func(out []byte) error {
			if n := bytes.Count(out, []byte("\n")); n != 100000 || !bytes.HasSuffix(out, []byte("\n100000\n")) {
				return fmt.Errorf("%d lines, want 100000", n)
			}
			return nil
		}}),
		{Name: "trace", Steps: []Step{{Run: "set -x"}, {Run: "echo a", Out: "+++ echo a\na\n"}, {Run: "set +x", Out: "+++ set +x\n"}, {Run: "echo b", Out: "b\n"}}},
		{Name: "verbose", Steps: []Step{{Run: "set -v"}, {Run: "echo a", Out: "a\n"}}},
	}
}

// takeover leaves a process that makes the terminal its own as soon as the
// shell has let go of it.
const takeover = `python3 -c '
import fcntl, os, sys, time
r, w = os.pipe()
if os.fork():
    os.read(r, 1)
    sys.exit()
os.setsid()
os.write(w, b"x")
for i in range(10000):
    try:
        fcntl.ioctl(1, 0x540E, 0)
        break
    except OSError:
        time.sleep(0.0001)
time.sleep(30)
'; kill -9 $$`

// wrecks the control functions, their variables and what they are made of.
func wrecks() []Case {
	alive := Step{Run: "echo on", Out: "on\n"}
	again := func(name, cmd string) Case { // harmless
		return Case{Name: name, Steps: []Step{{Run: cmd, Check: anything, Code: -2}, alive, alive}}
	}
	healed := func(name, cmd string, restartedNow bool) Case { // costs the shell
		next := alive
		next.Restarted = !restartedNow
		return Case{Name: name, Lost: true, Beyond: restartedNow, Steps: []Step{{Run: cmd, Check: anything, Code: -2, Restarted: restartedNow}, next, alive}}
	}
	return []Case{
		again("PROMPT_COMMAND overwritten", "PROMPT_COMMAND='echo evil'"),
		again("PROMPT_COMMAND unset", "unset PROMPT_COMMAND"),
		healed("PROMPT_COMMAND read-only", "readonly PROMPT_COMMAND='echo evil'", true),
		again("editing as in vi", "set -o vi; bind 'set editing-mode vi'"),
		again("editing as in emacs", "set -o emacs; bind -x '\"a\": echo a'"),
		again("PROMPT_COMMAND an array", "declare -a PROMPT_COMMAND=(a 'echo b' 'exit')"),
		{Name: "PROMPT_COMMAND overwritten and interrupted", Steps: []Step{
			{Run: "PROMPT_COMMAND='echo evil'; " + sleeps, Until: "up\n", Out: "up\n", Code: 130}, alive}},
		again("prompts with side effects", `PS1='$(echo one >&2)$ ' PS0='$(echo two >&2)' PS2='> ' PS4='$(echo three)'`),
		again("IFS", "IFS=abcdefghijklmnopqrstuvwxyz0123456789"),
		again("read-only IFS and REPLY", "readonly IFS REPLY"),
		again("functions named as builtins", "eval() { :; }; read() { :; }; printf() { :; }; mapfile() { :; }; command() { :; }; exec() { :; }; return() { :; }; exit() { :; }; pwd() { :; }"),
		again("aliases named as words", "shopt -s expand_aliases; alias builtin=false eval=false while=echo do=echo if=echo case=false"),
		again("noclobber", "set -o noclobber"),
		again("noglob", "set -f"),
		again("posix", "set -o posix"),
		again("noexec", "set -n"),
		again("allexport", "set -a"),
		again("physical and braces off", "set -P; set +B; set -k; set -h"),
		again("extdebug", "shopt -s extdebug"),
		again("nocasematch and globs", "shopt -s nocasematch extglob failglob globstar dotglob lastpipe xpg_echo"),
		again("a locale that is not there", "LC_ALL=xx_XX.nope; LANG=C"),
		{Name: "TMOUT", Steps: []Step{
			{Run: "TMOUT=1"}, {Run: "sleep 1.2; echo $TMOUT", Out: "1\n"},
			{Run: "echo ${NOPE:?gone}", Check: anything, Code: 1}, {Run: "sleep 1.2; echo $TMOUT", Out: "1\n"}}},
		again("BASH_ENV and ENV", "export BASH_ENV=/nowhere ENV=/nowhere"),
		again("stty", "stty raw -echo; stty olcuc onlcr opost; stty 50"),
		again("another line discipline", "python3 -c 'import fcntl, struct; fcntl.ioctl(0, 0x5423, struct.pack(\"i\", 27))'"),
		{Name: "the terminal taken over by a job", Lost: true, Steps: []Step{
			{Run: takeover, Code: 137, Restarted: true}, {Run: "test -t 1 && " + inFront + " & fg >/dev/null", Code: 0}}},
		again("output stopped", "stty -ixany; python3 -c 'import termios; termios.tcflow(0, termios.TCOOFF)'"),
		again("ERR trap", "trap 'echo failed' ERR"),
		{Name: "ERR trap fires once", Steps: []Step{{Run: "trap 'echo failed' ERR; false", Out: "failed\n", Code: 1}, {Run: "true"}}},
		{Name: "DEBUG trap", Steps: []Step{{Run: "trap 'echo dbg' DEBUG"}, {Run: "echo a", Out: "dbg\na\n"}, {Run: "trap - DEBUG", Out: "dbg\n"}, alive}},
		{Name: "RETURN trap", Steps: []Step{{Run: "set -T; trap 'echo ret' RETURN"}, {Run: "f() { :; }; f", Out: "ret\n"}, {Run: "trap - RETURN"}, alive}},
		healed("a DEBUG trap that skips everything", "shopt -s extdebug; trap false DEBUG", true),
		healed("builtin a function", "builtin() { :; }", true),
		healed("builtin a function that lies", "builtin() { echo \"$@\"; return 0; }", true),
		healed("eval switched off", "enable -n eval", false),
		healed("mapfile switched off", "enable -n mapfile", true),
		healed("printf switched off", "enable -n printf", true),
		again("all functions unset", "unset -f $(compgen -A function)"),
		again("all variables unset", "unset $(compgen -v | grep -v KEEP) 2>/dev/null"),
		healed("most variables read-only", "readonly $(compgen -v | grep -v _)", false),
		healed("our variables read-only", "readonly $(compgen -v __)", true),
		again("restricted", "set -r; false"),
		healed("no descriptors", "ulimit -n 3", true),
		again("no file size", "ulimit -f 0"),
		again("suspend is refused or survived", "trap '' TSTP; true"),
	}
}

// inFront ends once its process group has the terminal.
const inFront = `sh -c 'while read -r _ _ _ _ group _ _ front _ </proc/$$/stat; [ $group != $front ]; do sleep 0.01; done'`

// descriptors are closed and redirected.
func descriptors() []Case {
	return []Case{
		{Name: "standard streams closed", Steps: []Step{{Run: "exec 0<&- 1>&- 2>&-"}, {Run: "echo on", Out: "on\n"}}},
		{Name: "output to /dev/null", Steps: []Step{{Run: "exec >/dev/null 2>&1; echo lost"}, {Run: "echo on", Out: "on\n"}}},
		{Name: "low descriptors closed", Steps: []Step{{Run: "for i in {3..30}; do eval \"exec $i>&-\"; done"}, {Run: "echo on", Out: "on\n"}}},
		{Name: "all of its descriptors closed", Lost: true, Beyond: true, Steps: []Step{
			{Run: "for f in /proc/$$/fd/*; do f=${f##*/}; [ $f -gt 2 ] && eval \"exec $f>&-\"; done", Check: anything, Code: -2, Restarted: true}}},
		{Name: "a program closes all it has", Steps: []Step{{Run: "python3 -c 'import os; os.closerange(0, 4096)'", Check: anything, Code: -2}}},
	}
}

// forgeries of reports and fences, with no more than what a command can see.
func forgeries() []Case {
	return []Case{
		{Name: "reports to every descriptor", Steps: []Step{
			{Run: `for i in {3..250}; do [ -e /proc/$$/fd/$i ] && printf '%016x\0000\0h\0/evil\n\0' 0 2>/dev/null 1>&$i; done; echo through`, Check: contains("through\n"), Code: 0},
			{Run: "echo on", Out: "on\n"}}},
		{Name: "reports through /proc", Steps: []Step{
			{Run: `p=$$; sh -c 'for f in /proc/'$p'/fd/*; do n=${f##*/}; [ $n -gt 2 ] && [ $n -lt 255 ] && { timeout 0.1 sh -c "printf \"x\\0000\\000/\\000\" > $f"; } 2>/dev/null; done; echo through'`, Check: contains("through\n"), Code: -2},
			{Run: "echo on", Out: "on\n"}}},
		one("fences of digits", Step{Run: "for i in {1..2000}; do printf '%040d' $i; done", Check: length(80000)}),
		one("a report printed", Step{Run: `printf 'S\0abc\0000\0/\0'`, Out: "S\x00abc\x000\x000/\x00", Check: anything}),
		{Name: "a forger in the background", Steps: []Step{
			{Run: `( for n in {1..50}; do for i in {131..200}; do printf '0\0000\0h\0/evil\n\0' 1>&$i; done; sleep 0.01; done ) 2>/dev/null & echo a`, Check: contains("a\n")},
			{Run: "wait; echo b", Check: contains("b\n")}, {Run: "echo c", Out: "c\n"}}},
	}
}

// background jobs outlive their call.
func background() []Case {
	return []Case{
		{Name: "a job ends no call", Steps: []Step{{Run: "sleep 0.2 & echo a", Out: "a\n"}, {Run: "wait; echo b", Out: "b\n"}}},
		{Name: "a job's late output goes to the next call", Steps: []Step{
			{Run: "(until [ -e go ]; do sleep 0.01; done; echo late) & echo a", Out: "a\n"}, {Run: ": >go; wait; echo b", Out: "late\nb\n"}}},
		{Name: "a job's output between calls is kept", Steps: []Step{
			{Run: "mkfifo fifo; (echo late; echo x >fifo) & disown; read y <fifo; echo a", Check: contains("late\n", "a\n")}}},
		{Name: "a job that reads the terminal is stopped", Steps: []Step{{Run: "cat & echo a", Out: "a\n"}, {Run: "sleep 0.1; kill -9 %1; echo b", Check: contains("b\n")}}},
		{Name: "a job outlives the shell", Lost: true, Steps: []Step{
			{Run: "sleep 1000 & echo $! >pid; exit 1", Code: 1, Restarted: true},
			{Run: "kill -0 $(cat pid) && echo lives; kill $(cat pid)", Out: "lives\n"}}},
		{Name: "a flood in the background", Steps: []Step{
			{Run: "yes | tee copy & until [ -s copy ]; do sleep 0.01; done; echo a", Check: anything},
			{Run: "n=$(wc -c <copy); until [ $(wc -c <copy) -gt $((n+1000000)) ]; do sleep 0.01; done; kill %1; wait", Check: contains("y\n"), Code: -2},
			{Run: "true", Check: anything}}},
		one("a lasting process group", Step{Run: "setsid sleep 1 & echo a", Out: "a\n"}),
	}
}
