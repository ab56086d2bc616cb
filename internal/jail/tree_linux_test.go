package jail_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/agentflow-go/sandbox/internal/jail"
	"github.com/google/go-cmp/cmp"
)

// mark is an argument 0 that no other test's processes have.
func mark(t *testing.T) string {
	return fmt.Sprintf("jail-test-%d-%s", os.Getpid(), strings.ReplaceAll(t.Name(), "/", "-"))
}

func TestKillEndsTheTree(t *testing.T) {
	anyUser(t)
	tests := []struct{ name, script string }{
		{"children", "exec -a $MARK sleep 1000 & exec -a $MARK sleep 1000 & ready; wait"},
		{"sessions of their own", "setsid bash -c 'setsid bash -c \"exec -a $MARK sleep 1000\" & ready; exec -a $MARK sleep 1000' & exec -a $MARK sleep 1000"},
		{"deaf ones", "trap '' TERM INT HUP; bash -c 'exec -a $MARK sleep 1000' & ready; wait"},
		{"stopped ones", "(exec -a $MARK sleep 1000) & until grep -q ^$MARK /proc/$!/cmdline; do :; done; kill -STOP $!; ready; wait"},
		{"orphans of the session", "(exec -a $MARK sleep 1000 &) ; ready; exec -a $MARK sleep 1000"},
		{"a fork bomb", "ready; bomb() { bomb | bomb & }; for i in 1 2 3; do (exec -a $MARK sleep 1000) & done; bomb 2>/dev/null; exec -a $MARK sleep 1000"},
	}
	eachLevel(t, func(t *testing.T, h *jail.Host) {
		for _, tt := range tests {
			if tt.name == "a fork bomb" && h.Level() == "none" {
				continue // nothing limits it there
			}
			t.Run(tt.name, func(t *testing.T) {
				j := newJail(t, h)
				other, err := j.Start(t.Context(), jail.Cmd{Path: "sleep", Args: []string{"1000"}})
				if err != nil {
					t.Fatal(err)
				}
				r, w, err := os.Pipe()
				if err != nil {
					t.Fatal(err)
				}
				defer r.Close()
				name := mark(t)
				p, err := j.Start(t.Context(), jail.Cmd{
					Path: "bash", Args: []string{"-c", "ready() { echo ready >&3; exec 3>&-; }; export -f ready; " + tt.script},
					Env: []string{"MARK=" + name}, Files: []*os.File{w},
				})
				if err != nil {
					t.Fatal(err)
				}
				w.Close()
				if _, err := bufio.NewReader(r).ReadString('\n'); err != nil {
					t.Fatal(err)
				}
				eventually(t, "a process of the tree runs", func() bool { return len(withArg0(name)) > 0 })
				if err := p.Kill(); err != nil {
					t.Errorf("Kill() = %v", err)
				}
				if diff := cmp.Diff(&jail.ExitError{Code: -1, Signal: syscall.SIGKILL}, p.Wait()); diff != "" {
					t.Errorf("Wait() (-want +got):\n%s", diff)
				}
				eventually(t, "the whole tree is gone", func() bool { return len(withArg0(name)) == 0 })
				if h.Level() != "none" { // where the first process, the other program and who looks are not all
					eventually(t, "nothing else of it is left", func() bool {
						return len(strings.Fields(sh(t, j, "cd /proc && echo [0-9]*"))) == 3
					})
				}
				if err := p.Kill(); err != nil {
					t.Errorf("second Kill() = %v", err)
				}
				if err := p.Signal(syscall.SIGTERM); !errors.Is(err, os.ErrProcessDone) {
					t.Errorf("Signal() after the end = %v, want ErrProcessDone", err)
				}
				// The rest of the jail lives on.
				if err := other.Signal(syscall.SIGTERM); err != nil {
					t.Errorf("Signal() of another program = %v", err)
				}
				if diff := cmp.Diff(&jail.ExitError{Code: -1, Signal: syscall.SIGTERM}, other.Wait()); diff != "" {
					t.Errorf("another program's Wait() (-want +got):\n%s", diff)
				}
			})
		}
	})
}

func TestKillAfterTheEndTakesWhatTheSessionLeft(t *testing.T) {
	anyUser(t)
	eachLevel(t, func(t *testing.T, h *jail.Host) {
		j := newJail(t, h)
		name := mark(t)
		p, err := j.Start(t.Context(), jail.Cmd{Path: "bash", Args: []string{"-c", "(exec -a $MARK sleep 1000) & echo"}, Env: []string{"MARK=" + name}, Stdout: io.Discard})
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Wait(); !errors.Is(err, jail.ErrWaitDelay) {
			t.Errorf("Wait() with the output held open = %v, want ErrWaitDelay", err)
		}
		eventually(t, "the background process runs", func() bool { return len(withArg0(name)) == 1 })
		if err := p.Kill(); err != nil {
			t.Errorf("Kill() = %v", err)
		}
		eventually(t, "it is gone", func() bool { return len(withArg0(name)) == 0 })
	})
}

func TestOrphansAreReaped(t *testing.T) {
	anyUser(t)
	eachLevel(t, func(t *testing.T, h *jail.Host) {
		j := newJail(t, h)
		sh(t, j, "exec >/dev/null 2>&1; for i in $(seq 50); do (sleep 0 & ) ; (setsid true &) ; done")
		p, err := j.Start(t.Context(), jail.Cmd{Path: "sleep", Args: []string{"1000"}})
		if err != nil {
			t.Fatal(err)
		}
		defer p.Kill() // the jail's end would do it too
		first, err := j.First()
		if err != nil {
			t.Fatal(err)
		}
		eventually(t, "the first process has no child but the last program", func() bool {
			b, err := exec.Command("ps", "-o", "pid=", "--ppid", strconv.Itoa(first)).Output()
			return err == nil && len(strings.Fields(string(b))) == 1
		})
	})
}

func TestCloseEndsEverything(t *testing.T) {
	eachLevel(t, func(t *testing.T, h *jail.Host) {
		j := newJail(t, h)
		name := mark(t)
		p, err := j.Start(t.Context(), jail.Cmd{
			Path: "bash", Args: []string{"-c", "(setsid bash -c '(exec -a $MARK sleep 1000) &' &); exec -a $MARK sleep 1000"}, Env: []string{"MARK=" + name},
		})
		if err != nil {
			t.Fatal(err)
		}
		eventually(t, "both run", func() bool { return len(withArg0(name)) == 2 })
		if err := j.Close(); err != nil {
			t.Errorf("Close() = %v", err)
		}
		// No waiting here: when Close returns, it is so.
		if left := withArg0(name); len(left) != 0 {
			t.Errorf("after Close processes %v are left", left)
		}
		select {
		case <-j.Done():
		default:
			t.Error("after Close Done is not closed")
		}
		var exit *jail.ExitError
		if err := p.Wait(); !errors.As(err, &exit) || exit.Signal != syscall.SIGKILL {
			t.Errorf("Wait() = %v, want SIGKILL", err)
		}
		if _, err := j.Start(t.Context(), jail.Cmd{Path: "true"}); !errors.Is(err, jail.ErrClosed) {
			t.Errorf("Start() after Close = %v, want ErrClosed", err)
		}
		if err := p.Kill(); err != nil {
			t.Errorf("Kill() after Close = %v", err)
		}
		if err := j.Close(); err != nil {
			t.Errorf("second Close() = %v", err)
		}
	})
}

func TestAJailThatDiesIsSeen(t *testing.T) { eachConfined(t, testAJailThatDiesIsSeen) }

func testAJailThatDiesIsSeen(t *testing.T, h *jail.Host) {
	j := newJail(t, h)
	p, err := j.Start(t.Context(), jail.Cmd{Path: "sleep", Args: []string{"1000"}})
	if err != nil {
		t.Fatal(err)
	}
	first, err := j.First()
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(first, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-j.Done()
	if diff := cmp.Diff(&jail.ExitError{Code: -1, Signal: syscall.SIGKILL, Lost: true}, p.Wait()); diff != "" {
		t.Errorf("Wait() (-want +got):\n%s", diff)
	}
}

func TestKillingTheHostProgramLeavesNothing(t *testing.T) {
	name := mark(t)
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), exe)
	cmd.Env = append(os.Environ(), helperVar+"=host", "JAIL_TEST_MARK="+name, "TMPDIR="+helperTemp(t))
	var all bytes.Buffer
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cmd.StdinPipe(); err != nil { // it runs until this ends or it is killed
		t.Fatal(err)
	}
	cmd.Stderr = &all
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Process.Kill()
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		t.Fatalf("host program: %q, %v, %s", line, err, all.String())
	}
	want := len(levels) * 3 * 3 // levels, jails, processes in each
	eventually(t, "everything runs", func() bool { return len(withArg0(name)) == want })
	var nets []string
	own, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	for _, pid := range withArg0(name) {
		if net, err := os.Readlink("/proc/" + pid + "/ns/net"); err == nil && net != own && !slices.Contains(nets, net) {
			nets = append(nets, net)
		}
	}
	if want := 3 * len(confined); len(nets) != want { // of the three jails of each
		t.Errorf("the programs are in the networks %v, want %d", nets, want)
	}
	brokers := func() (pids []string) {
		for _, pid := range withArg0(jail.BrokerName) {
			b, _ := os.ReadFile("/proc/" + pid + "/stat")
			_, rest, _ := bytes.Cut(b, []byte(") ")) // the state, then the parent
			if f := strings.Fields(string(rest)); len(f) > 1 && f[1] == strconv.Itoa(cmd.Process.Pid) {
				pids = append(pids, pid)
			}
		}
		return pids
	}
	forking := brokers()
	if len(forking) == 0 {
		t.Error("the host program has no broker")
	}
	before := time.Now()
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "everything is gone", func() bool {
		left := withArg0(jail.BrokerName)
		return len(withArg0(name)) == 0 && !slices.ContainsFunc(forking, func(pid string) bool { return slices.Contains(left, pid) })
	})
	t.Logf("gone after %v", time.Since(before))
	cmd.Wait() // it was killed: the error says nothing new
	networksEnd(t, nets)
}

// helperTemp is a directory for a helper's workspaces, which it cannot remove.
func helperTemp(t *testing.T) string {
	dir := t.TempDir()
	if err := errors.Join(os.Chmod(dir, 0o711), os.Chmod(filepath.Dir(dir), 0o755)); err != nil {
		t.Fatal(err)
	}
	return dir
}
