package reclaimtest

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// trace is what a host program has on the machine.
type trace struct {
	dataDir string
	pids    map[int]string      // with the time each began, which a number used again does not share
	spaces  map[string]*os.File // network and pid namespaces: "net:[…]", held so that the kernel gives no other the same number
	groups  []string            // control groups
}

// stat returns the parent of a process and when it began.
func stat(pid int) (parent int, began string, ok bool) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, "", false
	}
	f := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	if len(f) < 20 || f[0] == "Z" || f[0] == "X" { // the parent's to reap
		return 0, "", false
	}
	parent, err = strconv.Atoi(f[1])
	return parent, f[19], err == nil
}

func pids() (all []int) {
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		if n, err := strconv.Atoi(e.Name()); err == nil {
			all = append(all, n)
		}
	}
	return all
}

// spacesOf returns the names and paths of a process's namespaces.
func spacesOf(pid int) map[string]string {
	links := map[string]string{}
	for _, kind := range []string{"net", "pid"} {
		path := fmt.Sprintf("/proc/%d/ns/%s", pid, kind)
		if link, err := os.Readlink(path); err == nil {
			links[link] = path
		}
	}
	return links
}

// traceOf finds everything of the host program pid.
func traceOf(t *testing.T, pid int, dataDir string) *trace {
	t.Helper()
	tr := &trace{dataDir: dataDir, pids: map[int]string{}, spaces: map[string]*os.File{}}
	children := map[int][]int{}
	began := map[int]string{}
	for _, p := range pids() {
		if parent, at, ok := stat(p); ok {
			children[parent] = append(children[parent], p)
			began[p] = at
		}
	}
	own := spacesOf(os.Getpid())
	for queue := []int{pid}; len(queue) > 0; queue = queue[1:] {
		p := queue[0]
		tr.pids[p] = began[p]
		for link, path := range spacesOf(p) {
			if own[link] != "" || tr.spaces[link] != nil {
				continue
			}
			f, err := os.Open(path)
			if err != nil {
				continue // it has ended
			}
			t.Cleanup(func() { f.Close() })
			// What was opened may not be what was there a moment ago.
			link, err = os.Readlink(fmt.Sprintf("/proc/self/fd/%d", f.Fd()))
			if err != nil {
				t.Fatal(err)
			}
			if own[link] == "" {
				tr.spaces[link] = f
			}
		}
		queue = append(queue, children[p]...)
	}
	tr.groups = groupsOf(pid)
	return tr
}

// groupsOf lists the control groups that are named after a program.
func groupsOf(pid int) (dirs []string) {
	name := fmt.Sprintf("agentflow-sandbox-%d-", pid)
	_ = filepath.WalkDir("/sys/fs/cgroup", func(path string, d os.DirEntry, err error) error {
		if err == nil && d.IsDir() && strings.HasPrefix(d.Name(), name) {
			dirs = append(dirs, path)
		}
		return nil
	})
	return dirs
}

// alive describes what still runs, or is mounted, of the program.
func (tr *trace) alive() (left []string) {
	for _, p := range pids() {
		parent, began, ok := stat(p)
		if !ok {
			continue
		}
		if at, known := tr.pids[p]; known && at == began {
			left = append(left, describe("process", p))
			continue
		}
		if p == os.Getpid() {
			continue // it holds them
		}
		for link := range spacesOf(p) {
			if tr.spaces[link] != nil {
				left = append(left, describe(link, p))
				break
			}
		}
		if parent == os.Getpid() {
			continue // it has this program's descriptors until it has executed its own
		}
		// A descriptor of a namespace keeps it, whoever has it.
		fds, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", p))
		for _, fd := range fds {
			if to, err := os.Readlink(fd); err == nil && tr.spaces[to] != nil {
				left = append(left, describe("descriptor of "+to, p))
			}
		}
	}
	for _, dir := range tr.groups {
		_ = filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
			if b, err := os.ReadFile(filepath.Join(path, "cgroup.procs")); err == nil && len(b) > 0 {
				left = append(left, path+" has "+strings.Join(strings.Fields(string(b)), " "))
			}
			return nil
		})
	}
	mounts, _ := os.ReadFile("/proc/self/mountinfo")
	for line := range strings.Lines(string(mounts)) {
		f := strings.Fields(line)
		// Other programs mount namespaces of theirs, as Docker does.
		if len(f) > 3 && tr.spaces[f[3]] != nil || strings.Contains(line, tr.dataDir+"/") || strings.Contains(line, "/run/agentflow-sandbox") {
			left = append(left, "mount "+line)
		}
	}
	backing, _ := filepath.Glob("/sys/block/loop*/loop/backing_file")
	for _, path := range backing {
		if b, err := os.ReadFile(path); err == nil && strings.HasPrefix(string(b), tr.dataDir+"/") {
			left = append(left, path+" is "+strings.TrimSpace(string(b)))
		}
	}
	return left
}

func describe(what string, pid int) string {
	cmd, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	return fmt.Sprintf("%s: %d %q", what, pid, strings.ReplaceAll(string(cmd), "\x00", " "))
}

// goneTime is how long what was killed may take: on an idle machine it takes less
// than a hundredth of it, on a busy one with others' tests some seconds.
const goneTime = time.Minute

// wantGone waits until left returns nothing.
func wantGone(t *testing.T, what string, left func() []string) {
	t.Helper()
	begin := time.Now()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for time.Since(begin) < goneTime {
		if len(left()) == 0 {
			t.Logf("%s: nothing left after %v", what, time.Since(begin).Round(time.Millisecond))
			return
		}
		<-tick.C
	}
	t.Errorf("%s: %v later there is still\n%s", what, goneTime, strings.Join(left(), "\n"))
}

// directories lists what workers have below a data directory.
func directories(dataDir string) (left []string) {
	for _, pattern := range []string{"slots/*", "state/*", "trash/*"} {
		found, _ := filepath.Glob(filepath.Join(dataDir, pattern))
		left = append(left, found...)
	}
	return left
}
