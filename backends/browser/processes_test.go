package browser_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// process is one of the machine's, and no later one of the same number.
type process struct {
	pid   int
	start string // by the kernel's clock
	first int    // of Chromium's above it, which is the browser itself
}

// chromes returns the processes of Chromium that descend from another.
func chromes(t testing.TB, below int) (all []process) {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	type known struct {
		name, start string
		parent      int
	}
	table := map[int]known{}
	for _, file := range files {
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		if err != nil {
			t.Fatal(err)
		}
		name, fields := stat(pid)
		if fields == nil {
			continue // it ended
		}
		parent, _ := strconv.Atoi(fields[1])
		table[pid] = known{name, fields[19], parent}
	}
	isChrome := func(pid int) bool {
		name := table[pid].name
		return strings.HasPrefix(name, "chromium") || strings.HasPrefix(name, "chrome") || strings.HasPrefix(name, "headless")
	}
	for pid, k := range table {
		if !isChrome(pid) {
			continue
		}
		first := pid
		for p := pid; p > 1; p = table[p].parent {
			if p == below {
				all = append(all, process{pid, k.start, first})
				break
			}
			if isChrome(p) {
				first = p
			}
		}
	}
	return all
}

// stat reads the name of a process and what /proc says behind that, from its state on;
// nothing of one that ended.
func stat(pid int) (name string, fields []string) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	open, end := strings.IndexByte(string(raw), '('), strings.LastIndexByte(string(raw), ')')
	if err != nil || open < 0 || end < open {
		return "", nil
	}
	fields = strings.Fields(string(raw[end+1:]))
	if len(fields) < 20 || fields[0] == "Z" || fields[0] == "X" {
		return "", nil
	}
	return string(raw[open+1 : end]), fields
}

func (p process) exists() bool {
	_, fields := stat(p.pid)
	return fields != nil && fields[19] == p.start
}

// end kills a browser that is a child of this program, with all that it started, and
// waits until all of it is gone.
func end(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if err := cmd.Process.Signal(syscall.SIGSTOP); err != nil { // it starts no more
		t.Error(err)
	}
	all := chromes(t, cmd.Process.Pid)
	for _, p := range all {
		syscall.Kill(p.pid, syscall.SIGKILL) // it may be gone
	}
	cmd.Process.Kill() // if it bears another name
	cmd.Wait()         // its error is that it was killed
	awaitEnd(t, all)
}

// awaitEnd waits until processes are gone that were killed: the kernel ends them, each
// in its time.
func awaitEnd(t *testing.T, all []process) {
	t.Helper()
	soon, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for _, p := range all {
		for p.exists() {
			if soon.Err() != nil {
				t.Errorf("process %d is left", p.pid)
				break
			}
			exec.CommandContext(soon, "tail", "--pid", strconv.Itoa(p.pid), "-f", "/dev/null").Run()
		}
	}
}

// status reads a field of what /proc says of a process; "" if it ended.
func status(pid int, field string) string {
	raw, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	_, value, _ := strings.Cut(string(raw), "\n"+field+":")
	value, _, _ = strings.Cut(value, "\n")
	return strings.TrimSpace(value)
}
