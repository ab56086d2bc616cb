package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/agentflow-go/sandbox"
	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"httpserver": main,
		// The same program with a backend that does as it is told.
		"fakeserver": func() {
			p := program{args: os.Args[1:], stdout: os.Stdout, stderr: os.Stderr, known: []sandbox.Component{fake()}}
			os.Exit(p.run())
		},
	})
}

// fake is a backend whose settings say how it fails.
func fake() sandbox.Component {
	type config struct {
		FailWarmup string `json:"fail_warmup"`
		HangWarmup bool   `json:"hang_warmup"`
		Complaint  string `json:"complaint"`
	}
	type empty struct{}
	decode := func(s sandbox.Section) (c config, err error) {
		dec := json.NewDecoder(strings.NewReader(string(s.Raw)))
		dec.DisallowUnknownFields()
		return c, dec.Decode(&c)
	}
	return sandbox.Component{
		Kind: sandbox.KindResource, Key: "fake", Default: true,
		Register: func(r *sandbox.Registry, s sandbox.Section) error {
			c, err := decode(s)
			if err != nil {
				return err
			}
			b := sandbox.AddBackend(r, sandbox.BackendSpec{Name: s.Name}, sandbox.BackendFuncs[empty]{
				WarmupFunc: func(ctx context.Context, _ sandbox.Env) error {
					if c.HangWarmup {
						fmt.Print("Try it: warming up\n\n")
						<-ctx.Done()
						return ctx.Err()
					}
					if c.FailWarmup != "" {
						return errors.New(c.FailWarmup)
					}
					return nil
				},
			})
			sandbox.AddSessionTool(b, sandbox.ToolSpec{Name: "hang", Description: "waits for its end"},
				func(ctx context.Context, call sandbox.Call, _ empty, _ empty) (empty, error) {
					call.Emit(sandbox.Event{Kind: sandbox.EventLog, Text: "hanging"})
					<-ctx.Done()
					return empty{}, ctx.Err()
				})
			return nil
		},
		Check: func(_ context.Context, s sandbox.Section) []sandbox.Problem {
			c, err := decode(s)
			if err == nil && c.Complaint != "" {
				return []sandbox.Problem{{Text: c.Complaint, Remedy: "do something\nabout it"}}
			}
			return nil
		},
	}
}

func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		Setup: func(e *testscript.Env) error {
			e.Values[serversKey{}] = map[string]*testServer{}
			e.Setenv("GORACE", quickRace)
			e.Defer(func() {
				for _, s := range servers(e.Values) {
					if s.running() {
						_ = s.cmd.Process.Kill()
						_ = s.cmd.Wait()
					}
				}
			})
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"serve": cmdServe, "finish": cmdFinish, "request": cmdRequest, "busy": cmdBusy, "hang": cmdHang, "status": cmdStatus, "tryit": cmdTryIt,
		},
	})
}

// quickRace keeps the race detector from waiting a second at every exit.
const quickRace = "atexit_sleep_ms=10"

// testServer is a server that a script runs.
type testServer struct {
	cmd    *exec.Cmd
	addr   string
	head   string // what it said before it served
	stderr *strings.Builder
	out    *bufio.Reader
}

func (s *testServer) running() bool { return s.cmd.ProcessState == nil }

type serversKey struct{}

func servers(values map[any]any) map[string]*testServer {
	m, _ := values[serversKey{}].(map[string]*testServer)
	return m
}

func server(ts *testscript.TestScript, name string) *testServer {
	s := servers(map[any]any{serversKey{}: ts.Value(serversKey{})})[name]
	if s == nil {
		ts.Fatalf("no server %s", name)
	}
	return s
}

// cmdServe starts a server and waits until it serves: serve NAME PROGRAM
// ARG... sets NAME to its address.
func cmdServe(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: serve name program arg...")
	}
	path, err := exec.LookPath(args[1]) // testscript puts its programs there
	ts.Check(err)
	s := &testServer{cmd: exec.Command(path, args[2:]...), stderr: new(strings.Builder)}
	s.cmd.Dir = ts.Getenv("WORK")
	s.cmd.Env = append(os.Environ(), "TMPDIR="+ts.Getenv("TMPDIR"), "GORACE="+quickRace)
	s.cmd.Stderr = s.stderr
	out, err := s.cmd.StdoutPipe()
	ts.Check(err)
	ts.Check(s.cmd.Start())
	servers(map[any]any{serversKey{}: ts.Value(serversKey{})})[args[0]] = s
	s.out = bufio.NewReader(out)
	for !strings.Contains(s.head, "Try it:") {
		line, err := s.out.ReadString('\n')
		s.head += line
		if err != nil {
			_ = s.cmd.Wait()
			ts.Fatalf("the server ended before it served: %s%s", s.head, s.stderr)
		}
	}
	for more := true; more; { // the command to try, on one line or several
		line, err := s.out.ReadString('\n')
		ts.Check(err)
		s.head += line
		more = strings.HasSuffix(line, "\\\n")
	}
	_, after, _ := strings.Cut(s.head, " on http://")
	s.addr, _, _ = strings.Cut(after, "\n")
	ts.Setenv(args[0], s.addr)
	fmt.Fprint(ts.Stdout(), s.head)
}

// cmdFinish ends a server and wants an exit status: finish NAME SIGNAL STATUS; the
// signal "-" waits only. Its standard error becomes the command's.
func cmdFinish(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: finish name signal status")
	}
	s := server(ts, args[0])
	signals := map[string]syscall.Signal{"TERM": syscall.SIGTERM, "INT": syscall.SIGINT}
	for name := range strings.SplitSeq(args[1], "+") {
		if name != "-" {
			ts.Check(s.cmd.Process.Signal(signals[name]))
		}
	}
	rest, err := io.ReadAll(s.out)
	ts.Check(err)
	err = s.cmd.Wait()
	fmt.Fprint(ts.Stderr(), s.stderr)
	fmt.Fprint(ts.Stdout(), string(rest))
	if got := strconv.Itoa(s.cmd.ProcessState.ExitCode()); got != args[2] {
		ts.Fatalf("exit status %s (%v), want %s:\n%s", got, err, args[2], s.stderr)
	}
}

// cmdRequest sends a request and prints status and body: request METHOD URL
// [BODY [HEADER...]].
func cmdRequest(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: request method url [body [header...]]")
	}
	body := ""
	if len(args) > 2 {
		body = args[2]
	}
	req, err := http.NewRequest(args[0], args[1], strings.NewReader(body))
	ts.Check(err)
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	if len(args) > 3 {
		for _, h := range args[3:] {
			name, value, _ := strings.Cut(h, ": ")
			req.Header.Set(name, value)
		}
	}
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	ts.Check(err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	ts.Check(err)
	fmt.Fprintf(ts.Stdout(), "%d\n%s\n", resp.StatusCode, text)
}

// cmdHang starts a call that does not end and waits until it runs: hang NAME.
func cmdHang(ts *testscript.TestScript, _ bool, args []string) {
	req, err := http.NewRequest("POST", "http://"+server(ts, args[0]).addr+"/api/v1/execute",
		strings.NewReader(`{"worker_id": "w", "action": "fake:hang"}`))
	ts.Check(err)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "text/event-stream")
	resp, err := http.DefaultClient.Do(req)
	ts.Check(err)
	ts.Defer(func() { resp.Body.Close() })
	for lines := bufio.NewScanner(resp.Body); ; {
		if !lines.Scan() {
			ts.Fatalf("the call ended: %v", lines.Err())
		}
		if strings.Contains(lines.Text(), "hanging") {
			return
		}
	}
}

// cmdBusy takes a port for the rest of the script: busy NAME sets NAME to its
// address.
func cmdBusy(ts *testscript.TestScript, _ bool, args []string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	ts.Defer(func() { l.Close() })
	ts.Setenv(args[0], l.Addr().String())
}

// cmdStatus runs a program to its end and wants an exit status: status N
// PROGRAM ARG...
func cmdStatus(ts *testscript.TestScript, _ bool, args []string) {
	err := ts.Exec(args[1], args[2:]...)
	got := 0
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if strconv.Itoa(got) != args[0] {
		ts.Fatalf("exit status %d, want %s", got, args[0])
	}
}

// cmdTryIt runs the command that a server says to try: tryit NAME.
func cmdTryIt(ts *testscript.TestScript, _ bool, args []string) {
	_, command, _ := strings.Cut(server(ts, args[0]).head, "Try it:\n")
	ts.Check(ts.Exec("sh", "-c", command))
}
