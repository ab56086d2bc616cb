package reclaimtest

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/agentflow-go/sandbox"
	"github.com/agentflow-go/sandbox/backends/bash"
)

// hostVar, in the environment, makes the test binary a host program.
const hostVar = "RECLAIM_TEST_HOST"

// hostSpec says what a host program does.
type hostSpec struct {
	Level, DataDir, Site string
	Sessions             int
	Workspace            int64 // Limits.Workspace
	Churn                bool  // open, snapshot and close without end, telling of each round
}

func TestMain(m *testing.M) {
	if text := os.Getenv(hostVar); text != "" {
		var spec hostSpec
		err := json.Unmarshal([]byte(text), &spec)
		if err == nil {
			err = beHost(spec)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "host program:", err)
			os.Exit(1)
		}
		return
	}
	os.Exit(run(m))
}

// binary is a copy of the test binary where everybody can execute it.
var binary string

// run makes the copy before any test runs: a child of another test that is being
// started would have it open for writing, and then it cannot be executed.
func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "reclaim-")
	if err == nil {
		defer os.RemoveAll(dir)
		binary = filepath.Join(dir, "host")
		var b []byte
		if b, err = os.ReadFile("/proc/self/exe"); err == nil {
			err = errors.Join(os.Chmod(dir, 0o755), os.WriteFile(binary, b, 0o755))
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// kinds are what sessions run. Each command returns at once, but the last.
var kinds = []string{
	"for i in 1 2 3; do sleep 1000 & done",
	"setsid sh -c 'setsid sleep 1000 </dev/null >/dev/null 2>&1 &'", // a daemon, forked twice
	"(while :; do (: ; /bin/true) ; sleep .01; done) >/dev/null 2>&1 &",
	"nohup sh -c 'trap \"\" HUP TERM INT; while :; do sleep 100; done' >/dev/null 2>&1 &",
	tunnel,
	"", // a program on a terminal
	"sleep 1000",
}

// tunnel holds a connection through the proxy in the background.
const tunnel = `python3 -c 'import os, socket, sys, time
s = socket.create_connection(("127.0.0.1", 3128))
s.sendall(("CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n" % (sys.argv[1], sys.argv[1])).encode())
assert s.recv(1000).startswith(b"HTTP/1.1 200 ")
if os.fork() == 0:
    null = os.open("/dev/null", os.O_RDWR); os.dup2(null, 0); os.dup2(null, 1); os.dup2(null, 2)
    time.sleep(1000)' `

// host is a host program.
type host struct {
	spec hostSpec
	sb   *sandbox.Sandbox
	sh   bash.Tools
	keep *sandbox.Tool[struct{}, struct{}] // takes a snapshot
}

// beHost runs sessions, says so on standard output, and does what standard input
// says until SIGTERM.
func beHost(spec hostSpec) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	var reg sandbox.Registry
	h := &host{spec: spec, sh: bash.Register(&reg, bash.Config{})}
	snap := sandbox.AddBackend(&reg, sandbox.BackendSpec{Name: "snap"}, sandbox.BackendFuncs[sandbox.Env]{
		OpenFunc: func(_ context.Context, env sandbox.Env) (sandbox.Env, error) { return env, nil },
	})
	h.keep = sandbox.AddSessionTool(snap, sandbox.ToolSpec{Name: "take"}, sandbox.Method(func(env sandbox.Env, ctx context.Context, _ struct{}) (struct{}, error) {
		s, err := env.Snapshots()
		if err == nil {
			_, err = s.Take(ctx, strconv.FormatInt(time.Now().UnixNano(), 36), sandbox.SnapshotLimits{})
		}
		return struct{}{}, err
	}))
	var err error
	h.sb, err = sandbox.New(sandbox.Options{Registry: &reg, DataDir: spec.DataDir, Confine: sandbox.Confinement{
		Level: spec.Level, Egress: sandbox.Egress{Allow: []string{spec.Site}},
		Limits: sandbox.Limits{Workspace: spec.Workspace},
	}})
	if err != nil {
		return err
	}
	if err := h.sb.Probe(ctx); err != nil {
		return err
	}
	if spec.Churn {
		h.churn(ctx)
	} else if err := h.open(ctx); err != nil {
		return err
	}
	fmt.Println("ready")
	commands := make(chan string)
	go func() {
		in := bufio.NewScanner(os.Stdin)
		for in.Scan() {
			commands <- in.Text()
		}
	}()
	for {
		select {
		case <-commands:
			if err := h.check(ctx); err != nil {
				return err
			}
			fmt.Println("fine")
		case <-ctx.Done():
			return h.sb.Shutdown(context.Background())
		}
	}
}

// each runs f for all workers at once.
func (h *host) each(f func(i int, w *sandbox.Worker) error) error {
	errs := make([]error, h.spec.Sessions)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() { errs[i] = f(i, h.sb.Worker(fmt.Sprint("worker-", i))) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

func (h *host) open(ctx context.Context) error {
	return h.each(func(i int, w *sandbox.Worker) error {
		if _, err := w.CreateSession(ctx, "bash", sandbox.SessionOptions{}); err != nil {
			return err
		}
		if err := h.run(ctx, w, "echo "+w.ID()+" > note"); err != nil {
			return err
		}
		switch command := kinds[i%len(kinds)]; command {
		case "":
			_, err := h.sh.Start.Call(ctx, w, bash.StartInput{Command: "bash -i"})
			return err
		case tunnel:
			return h.run(ctx, w, command+h.spec.Site)
		case "sleep 1000":
			go h.run(ctx, w, command) // ends with the program
			return nil
		default:
			return h.run(ctx, w, command)
		}
	})
}

func (h *host) run(ctx context.Context, w *sandbox.Worker, command string) error {
	out, err := h.sh.Run.Call(ctx, w, bash.RunInput{Command: command, Timeout: 1000})
	if err == nil && out.ExitCode != 0 {
		err = fmt.Errorf("%.40q: %+v", command, out)
	}
	return err
}

// check looks whether all sessions are as they were.
func (h *host) check(ctx context.Context) error {
	return h.each(func(i int, w *sandbox.Worker) error {
		if kinds[i%len(kinds)] == "sleep 1000" {
			return nil // busy
		}
		if err := h.run(ctx, w, "test $(cat note) = "+w.ID()+" && echo more >> note && sed -i 2,\\$d note"); err != nil {
			return fmt.Errorf("worker %d: %w", i, err)
		}
		ss, err := w.Sessions(ctx)
		if err == nil && (len(ss) != 1 || ss[0].Temporary) {
			err = fmt.Errorf("worker %d has sessions %+v", i, ss)
		}
		return err
	})
}

// churn opens, snapshots, forks and closes workers for ever, on goroutines that
// end with the program.
func (h *host) churn(ctx context.Context) {
	var mu sync.Mutex
	for i := range h.spec.Sessions {
		go func() {
			for round := 0; ctx.Err() == nil; round++ {
				w := h.sb.Worker(fmt.Sprint("churn-", i, "-", round))
				_, err := w.CreateSession(ctx, "bash", sandbox.SessionOptions{})
				if err == nil {
					err = h.run(ctx, w, "mkdir -p a/b/c; for i in $(seq 50); do echo $i > a/b/c/$i; done; sleep 1000 & true")
				}
				if err == nil {
					_, err = h.keep.Call(ctx, w, struct{}{})
				}
				if err == nil {
					to := w.ID() + "-fork"
					if _, err = h.sb.ForkWorkspace(ctx, w.ID(), to, sandbox.ForkOptions{}); err == nil {
						err = h.sb.Worker(to).Close(ctx)
					}
				}
				if err = errors.Join(err, w.Close(ctx)); err != nil && ctx.Err() == nil {
					fmt.Fprintln(os.Stderr, "churn:", err)
					os.Exit(1)
				}
				mu.Lock()
				fmt.Println("round")
				mu.Unlock()
			}
		}()
	}
}
