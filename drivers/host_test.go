package drivers_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
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
		// What runs in the background was forked when the command ended. It may not
		// have become the program yet.
		await(t, "the jail", func() string { return unseen(t, l, cmd.Process.Pid, dir, mark) })
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // killed
		await(t, "the processes of the jail are left", func() string {
			return strings.Join(slices.Collect(maps.Values(processesOf(dir, mark))), "; ")
		})
		if l.name == "docker" {
			await(t, "the container is left", func() string { return strings.Join(containers(t, cmd.Process.Pid), "; ") })
		}
	})
}

// unseen tells why nothing is to be seen yet of the jail that a program made, ""
// once something is: of gVisor itself, or of Docker the process with the mark, in
// a container of that program.
func unseen(t *testing.T, l level, program int, dir, mark string) string {
	t.Helper()
	found := processesOf(dir, mark)
	if len(found) == 0 {
		return "no process is to be seen"
	}
	if l.name != "docker" {
		return ""
	}
	for _, id := range containers(t, program) {
		c, err := pool(t).Client.InspectContainer(id)
		if err != nil {
			continue // that of the probe, which comes and goes
		}
		inside, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", c.State.Pid))
		for pid := range found {
			if at, perr := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", pid)); err == nil && perr == nil && at == inside {
				return ""
			}
		}
	}
	return fmt.Sprintf("no container of the program has one of %v", found)
}

// processesOf returns the arguments of the processes that have dir, or mark, in them.
func processesOf(dir, mark string) map[int]string {
	found := map[int]string{}
	paths, _ := filepath.Glob("/proc/[0-9]*/cmdline") // the pattern is right
	for _, path := range paths {
		b, err := os.ReadFile(path)
		if err != nil || bytes.Contains(b, []byte(hostHelper)) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if err == nil && (bytes.Contains(b, []byte(dir)) || bytes.HasSuffix(b, []byte("\x00"+mark+"\x00"))) {
			found[pid] = strings.ReplaceAll(string(b), "\x00", " ")
		}
	}
	return found
}

// patience is for what never comes. What does come takes milliseconds, or seconds
// on a machine that is busy.
const patience = time.Minute

// await waits until missing, which tells what of it is not as it shall be, returns "".
func await(t *testing.T, what string, missing func() string) {
	t.Helper()
	deadline := time.After(patience)
	for {
		now := missing()
		if now == "" {
			return
		}
		select {
		case <-deadline:
			t.Fatalf("%s: %s", what, now)
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
	gone := func(id string) bool {
		_, err := client.InspectContainer(id)
		var none *dc.NoSuchContainer
		if err != nil && !errors.As(err, &none) {
			t.Fatal(err)
		}
		return err != nil
	}
	for _, name := range []string{"dead", "number reused"} {
		// The engine of another test may be removing it just now.
		await(t, name, func() string {
			if gone(made[name]) {
				return ""
			}
			return "it is not swept"
		})
		delete(made, name)
	}
	for name, id := range made {
		if gone(id) {
			t.Errorf("%s: container %.12s was swept", name, id)
		}
	}
	b.must("true")
}
