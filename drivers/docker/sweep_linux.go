package docker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/client"
	"golang.org/x/sys/unix"
)

// The labels of a container say which process of which machine made it. A process
// number alone may be another's by now; with its start and the boot it is nobody
// else's. Containers end by themselves when their program does, and the engine
// removes them then: what is swept was made but not started when the program died,
// or lost by an engine that was restarted.
const (
	labelBoot  = "agentflow-sandbox.boot"
	labelSpace = "agentflow-sandbox.pidns"
	labelPid   = "agentflow-sandbox.pid"
	labelStart = "agentflow-sandbox.start"
)

func ownLabels() map[string]string {
	boot, _ := os.ReadFile("/proc/sys/kernel/random/boot_id") // "" is nobody's
	space, _ := os.Readlink("/proc/self/ns/pid")
	start, _ := startTime(os.Getpid())
	return map[string]string{
		labelBoot: strings.TrimSpace(string(boot)), labelSpace: space,
		labelPid: strconv.Itoa(os.Getpid()), labelStart: start,
	}
}

// startTime is when a process started, in ticks since the boot.
func startTime(pid int) (string, error) {
	path := fmt.Sprintf("/proc/%d/stat", pid)
	b, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	// The name, in parentheses, may hold anything.
	f := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	if len(f) < 20 {
		return "", fmt.Errorf("%s: %q", path, b)
	}
	return f[19], nil
}

// abandoned tells whether the program that a container belongs to is gone. What
// cannot be told from here is not.
func abandoned(label, own map[string]string) bool {
	for _, l := range []string{labelBoot, labelSpace} {
		if label[l] == "" || label[l] != own[l] {
			return false
		}
	}
	pid, err := strconv.Atoi(label[labelPid])
	if err != nil || pid <= 0 || label[labelStart] == "" {
		return false
	}
	if start, err := startTime(pid); err == nil {
		return start != label[labelStart]
	}
	// That nothing can be read may have other reasons: a /proc that hides others'
	// processes, too many open files.
	return errors.Is(unix.Kill(pid, 0), unix.ESRCH)
}

// sweep removes the containers of programs that are gone.
func (e *engine) sweep(ctx context.Context) error {
	all, err := e.cli.ContainerList(ctx, client.ContainerListOptions{All: true, Filters: make(client.Filters).Add("label", labelPid)})
	if err != nil {
		return fmt.Errorf("docker: list containers: %w", err)
	}
	var errs []error
	for _, c := range all.Items {
		if !abandoned(c.Labels, e.label) {
			continue
		}
		_, err := e.cli.ContainerRemove(ctx, c.ID, client.ContainerRemoveOptions{Force: true, RemoveVolumes: true})
		if err != nil && !errdefs.IsNotFound(err) && !errdefs.IsConflict(err) {
			errs = append(errs, fmt.Errorf("docker: remove container %.12s, which a dead program left: %w", c.ID, err))
		}
	}
	if err := errors.Join(errs...); err != nil {
		e.site.Log.Warn("left-over containers could not be removed", "error", err)
	}
	return nil
}
