package jail_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/agentflow-go/sandbox/internal/jail"
	"github.com/creack/pty"
	"github.com/google/go-cmp/cmp"
)

func TestStandardStreamsAndFiles(t *testing.T) {
	eachLevel(t, func(t *testing.T, h *jail.Host) {
		j := newJail(t, h)
		out, err := run(t, j, jail.Cmd{Path: "tr", Args: []string{"a-z", "A-Z"}, Stdin: strings.NewReader("hello")})
		if out != "HELLO" || err != nil {
			t.Errorf("tr = %q, %v, want HELLO", out, err)
		}

		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		p, err := j.Start(t.Context(), jail.Cmd{
			Path: "bash", Args: []string{"-c", `echo three >&3; ls /proc/self/fd | tr '\n' ' ' >&3; echo five >&5; echo again >/proc/self/fd/5`},
			Files: []*os.File{w, nil, w},
		})
		if err != nil {
			t.Fatal(err)
		}
		w.Close()
		got, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Wait(); err != nil && h.Level() == "none" {
			t.Errorf("Wait() = %v", err)
		}
		lines := strings.SplitN(string(got), "\n", 2)
		// ls itself has one more, for the directory that it lists.
		if want := "0 1 2 3 4 5 five\n"; lines[0] != "three" || !strings.HasPrefix(lines[1], want) {
			t.Errorf("descriptors 3 and 5 got %q, want three, then %q", got, want)
		}
	})
}

func TestTTY(t *testing.T) {
	eachLevel(t, func(t *testing.T, h *jail.Host) {
		j := newJail(t, h)
		master, slave, err := pty.Open()
		if err != nil {
			t.Fatal(err)
		}
		defer master.Close()
		p, err := j.Start(t.Context(), jail.Cmd{
			Path: "bash", Args: []string{"--norc", "--noediting", "-i"}, TTY: slave, Env: []string{"PS1=", "PS2="},
		})
		if err != nil {
			t.Fatal(err)
		}
		slave.Close()
		in := bufio.NewReader(master)
		say := func(s string) {
			t.Helper()
			if _, err := io.WriteString(master, s); err != nil {
				t.Fatal(err)
			}
		}
		await := func(want string) {
			t.Helper()
			for {
				line, err := in.ReadString('\n')
				if err != nil {
					t.Fatalf("waiting for %q: %v", want, err)
				}
				if strings.TrimRight(line, "\r\n") == want {
					return
				}
				if strings.Contains(line, "no job control") || strings.Contains(line, "cannot set terminal") {
					t.Errorf("bash complains: %q", line)
				}
			}
		}
		say("stty -echo; test -t 0 && test -t 1 && test -t 2 && echo tt''y\n")
		await("tty")
		say("sleep 1000 & kill %1; wait %1; echo job=$?\n")
		await("job=143")
		say("echo to the terminal >/dev/tty; echo again >/dev/stderr\n")
		await("to the terminal")
		await("again")
		say("sh -c 'echo started; exec sleep 1000'\n") // said by the foreground group itself
		await("started")
		say("\x03") // reaches the foreground group only
		say("echo rc=$?\n")
		await("rc=130")
		say("exit 7\n")
		if diff := cmp.Diff(&jail.ExitError{Code: 7}, p.Wait()); diff != "" {
			t.Errorf("Wait() (-want +got):\n%s", diff)
		}
	})
}

func TestExitStatus(t *testing.T) {
	anyUser(t)
	tests := []struct {
		script string
		want   error
	}{
		{"exit 0", nil},
		{"exit 1", &jail.ExitError{Code: 1}},
		{"exit 255", &jail.ExitError{Code: 255}},
		{"kill -TERM $$", &jail.ExitError{Code: -1, Signal: syscall.SIGTERM}},
		{"kill -KILL $$", &jail.ExitError{Code: -1, Signal: syscall.SIGKILL}},
		{"kill -SEGV $$", &jail.ExitError{Code: -1, Signal: syscall.SIGSEGV}},
	}
	eachLevel(t, func(t *testing.T, h *jail.Host) {
		j := newJail(t, h)
		for _, tt := range tests {
			_, err := run(t, j, jail.Cmd{Path: "bash", Args: []string{"-c", tt.script}})
			if diff := cmp.Diff(tt.want, err); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tt.script, diff)
			}
		}
	})
}

func TestStartErrors(t *testing.T) {
	tests := []struct {
		name string
		cmd  jail.Cmd
		want string
		is   error
	}{
		{"not in PATH", jail.Cmd{Path: "foo"}, `exec: "foo": not found in the jail's PATH`, jail.ErrNotFound},
		{"PATH of the command", jail.Cmd{Path: "bash", Env: []string{"PATH=/nowhere"}}, `exec: "bash": not found in the jail's PATH`, jail.ErrNotFound},
		{"no such path", jail.Cmd{Path: "/no/such"}, `exec: "/no/such": no such program in the jail (or its interpreter is missing)`, jail.ErrNotFound},
		{"a directory", jail.Cmd{Path: "/usr"}, `exec: "/usr": not executable in the jail: permission denied`, syscall.EACCES},
		{"no such directory", jail.Cmd{Path: "true", Dir: "no/such"}, `exec: "no/such": cannot be the working directory in the jail: no such file or directory`, syscall.ENOENT},
		{"not a terminal", jail.Cmd{Path: "true", TTY: mustOpen(t, "/dev/null")}, `exec: "true": its TTY cannot be a controlling terminal: inappropriate ioctl for device`, syscall.ENOTTY},
		{"too long", jail.Cmd{Path: "true", Args: []string{strings.Repeat("x", 1<<20)}}, `exec: "true": argument list too long`, syscall.E2BIG},
		{"no path", jail.Cmd{}, "jail: command has no path", nil},
		{"NUL", jail.Cmd{Path: "true", Args: []string{"a\x00b"}}, `jail: command: "a\x00b" has a NUL`, nil},
		{"environment", jail.Cmd{Path: "true", Env: []string{"A"}}, `jail: environment: "A": want NAME=value without NUL`, nil},
	}
	eachLevel(t, func(t *testing.T, h *jail.Host) {
		j := newJail(t, h)
		for _, tt := range tests {
			if tt.name == "not a terminal" && os.Getuid() == 0 && h.Level() != "none" {
				tt.want, tt.is = "jail: TTY /dev/null: want a pty's slave", nil
			}
			_, err := j.Start(t.Context(), tt.cmd)
			if err == nil || err.Error() != tt.want || (tt.is != nil && !errors.Is(err, tt.is)) {
				t.Errorf("%s: Start() = %v, want %s", tt.name, err, tt.want)
			}
		}
		if got := sh(t, j, "echo alive"); got != "alive\n" {
			t.Errorf("after failed starts echo = %q", got)
		}
	})
}

func mustOpen(t *testing.T, path string) *os.File {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func TestDirAndEnvironment(t *testing.T) {
	eachLevel(t, func(t *testing.T, h *jail.Host) {
		j := newJail(t, h)
		sh(t, j, "mkdir -p a/b")
		for dir, want := range map[string]string{"": j.Home(), "a/b": j.Home() + "/a/b", "/usr": "/usr"} {
			out, err := run(t, j, jail.Cmd{Path: "pwd", Dir: dir})
			if out != want+"\n" || err != nil {
				t.Errorf("pwd in %q = %q, %v, want %q", dir, out, err, want)
			}
		}
		out, err := run(t, j, jail.Cmd{Path: "env", Env: []string{"A=1", "B=\xff\xfe", "A=2", "LANG=C"}})
		want := fmt.Sprintf("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\nLANG=C\nTERM=xterm-256color\nHOME=%s\nUSER=agent\nLOGNAME=agent\nA=2\nB=\xff\xfe\n", j.Home())
		if diff := cmp.Diff(want, out); diff != "" || err != nil {
			t.Errorf("env = %v (-want +got):\n%s", err, diff)
		}
	})
}
