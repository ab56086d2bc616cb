package drivers_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/agentflow-go/sandbox"
	"github.com/agentflow-go/sandbox/backends/bash"
	"github.com/agentflow-go/sandbox/drivers/docker"
	"github.com/agentflow-go/sandbox/drivers/gvisor"
	"github.com/ory/dockertest/v3"
	dc "github.com/ory/dockertest/v3/docker"
)

// hostHelper, as the first argument, makes the test binary a program that starts
// something in a sandbox and waits to be killed.
const hostHelper = "drivers-test-host"

// helpHost takes the level, the engine's socket, a data directory, and a mark for
// the process to start.
func helpHost(args []string) {
	var reg sandbox.Registry
	sh := bash.Register(&reg, bash.Config{})
	sb, err := sandbox.New(sandbox.Options{
		Registry: &reg, DataDir: args[2], Confine: sandbox.Confinement{Level: args[0]},
		Drivers: map[string]sandbox.Driver{
			"docker": docker.Driver(docker.Config{Host: args[1]}),
			"gvisor": gvisor.Driver(gvisor.Config{Platform: "ptrace"}),
		},
	})
	if err == nil {
		w := sb.Worker("w")
		if _, err = w.CreateSession(context.Background(), "bash", sandbox.SessionOptions{}); err == nil {
			_, err = sh.Run.Call(context.Background(), w, bash.RunInput{Command: "setsid sleep " + args[3] + " </dev/null >/dev/null 2>&1 & touch started"})
		}
	}
	fmt.Println("ready", err)
	_, _ = io.Copy(io.Discard, os.Stdin) // until it is killed
}

func TestEverythingEndsWithTheProgram(t *testing.T) {
	t.Parallel()
	eachLevel(t, func(t *testing.T, l level) {
		dir := t.TempDir()
		mark := fmt.Sprint(100000 + time.Now().UnixNano()%1e9)
		cmd := exec.CommandContext(t.Context(), "/proc/self/exe", hostHelper, l.name, dockerHost, dir, mark)
		if _, err := cmd.StdinPipe(); err != nil {
			t.Fatal(err)
		}
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		line, err := bufio.NewReader(out).ReadString('\n')
		if line != "ready <nil>\n" {
			t.Fatalf("the program says %q, %v", line, err)
		}
		jails := processesOf(dir, mark)
		if len(jails) == 0 {
			t.Fatal("nothing of the jail is to be seen")
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // killed
		await(t, "the processes of the jail", func() string { return strings.Join(processesOf(dir, mark), "; ") })
		if l.name == "docker" {
			await(t, "the container", func() string { return strings.Join(containers(t, cmd.Process.Pid), "; ") })
		}
	})
}

// processesOf lists the processes whose arguments have dir, or mark, in them.
func processesOf(dir, mark string) (found []string) {
	paths, _ := filepath.Glob("/proc/[0-9]*/cmdline") // the pattern is right
	for _, path := range paths {
		b, err := os.ReadFile(path)
		if err != nil || bytes.Contains(b, []byte(hostHelper)) {
			continue
		}
		if bytes.Contains(b, []byte(dir)) || bytes.HasSuffix(b, []byte("\x00"+mark+"\x00")) {
			found = append(found, path+": "+strings.ReplaceAll(string(b), "\x00", " "))
		}
	}
	return found
}

// await waits until left returns "".
func await(t *testing.T, what string, left func() string) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	for {
		now := left()
		if now == "" {
			return
		}
		select {
		case <-deadline:
			t.Fatalf("%s are left: %s", what, now)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// containers lists those that a program made.
func containers(t testing.TB, pid int) (ids []string) {
	t.Helper()
	all, err := pool(t).Client.ListContainers(dc.ListContainersOptions{
		All: true, Filters: map[string][]string{"label": {fmt.Sprintf("agentflow-sandbox.pid=%d", pid)}},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range all {
		ids = append(ids, c.ID)
	}
	return ids
}

func pool(t testing.TB) *dockertest.Pool {
	t.Helper()
	p, err := dockertest.NewPool(dockerHost)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// A container that was made and not started when its program died does not end by
// itself: the next program removes it, and only it.
func TestContainersOfDeadProgramsAreSwept(t *testing.T) {
	t.Parallel()
	l := dockerLevel(t)
	b := l.newBox(t, sandbox.Confinement{}) // makes the image
	client := pool(t).Client
	// This test's is among them; those of others come and go.
	var c *dc.Container
	var errs error
	for _, id := range containers(t, os.Getpid()) {
		found, err := client.InspectContainer(id)
		if err == nil {
			c = found
			break
		}
		errs = errors.Join(errs, err)
	}
	if c == nil {
		t.Fatalf("no container of this program: %v", errs)
	}
	ended := exec.CommandContext(t.Context(), "true")
	if err := ended.Run(); err != nil {
		t.Fatal(err)
	}
	made := map[string]string{}
	for name, change := range map[string]map[string]string{
		"dead":            {"agentflow-sandbox.pid": fmt.Sprint(ended.Process.Pid)},
		"number reused":   {"agentflow-sandbox.start": "1"},
		"other boot":      {"agentflow-sandbox.boot": "0-0", "agentflow-sandbox.pid": fmt.Sprint(ended.Process.Pid)},
		"out of sight":    {"agentflow-sandbox.pidns": "pid:[1]", "agentflow-sandbox.pid": fmt.Sprint(ended.Process.Pid)},
		"of this program": {},
	} {
		labels := map[string]string{}
		for k, v := range c.Config.Labels {
			labels[k] = v
		}
		for k, v := range change {
			labels[k] = v
		}
		n, err := client.CreateContainer(dc.CreateContainerOptions{Config: &dc.Config{Image: c.Config.Image, Cmd: []string{"/none"}, Labels: labels}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = client.RemoveContainer(dc.RemoveContainerOptions{ID: n.ID, Force: true}) }) // it may be swept
		made[name] = n.ID
	}
	l.newBox(t, sandbox.Confinement{})
	for name, id := range made {
		_, err := client.InspectContainer(id)
		if swept := name == "dead" || name == "number reused"; swept != (err != nil) {
			t.Errorf("%s: container %.12s: %v, want swept %v", name, id, err, swept)
		}
	}
	b.must("true")
}
