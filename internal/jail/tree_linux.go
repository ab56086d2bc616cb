package jail

import (
	"bytes"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// process is one line of the process table.
type process struct {
	pid, parent, group, session int
	state                       byte
}

// processes reads the process table that /proc shows. What ends meanwhile is
// left out.
func processes() []process {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1) // what could be read is better than nothing
	out := make([]process, 0, len(names))
	for _, n := range names {
		pid, err := strconv.Atoi(n)
		if err != nil {
			continue
		}
		if p, ok := readStat(pid); ok {
			out = append(out, p)
		}
	}
	return out
}

// readStat reads /proc/pid/stat.
func readStat(pid int) (process, bool) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return process{}, false
	}
	// The name is in parentheses and may hold anything, so count from the last.
	i := bytes.LastIndexByte(b, ')')
	if i < 0 {
		return process{}, false
	}
	f := bytes.Fields(b[i+1:])
	if len(f) < 4 || len(f[0]) != 1 {
		return process{}, false
	}
	p := process{pid: pid, state: f[0][0]}
	for j, dst := range []*int{&p.parent, &p.group, &p.session} {
		if *dst, err = strconv.Atoi(string(f[j+1])); err != nil {
			return process{}, false
		}
	}
	return p, true
}

// tree picks from all what belongs together: the processes roots, everything in
// one of sessions, or in one that a member leads, which is added to them, and
// every descendant of a member.
func tree(all []process, roots, sessions map[int]bool) []process {
	in := map[int]bool{}
	var out []process
	for again := true; again; {
		again = false
		for _, p := range all {
			if in[p.pid] || !(roots[p.pid] || in[p.parent] || sessions[p.session]) {
				continue
			}
			in[p.pid] = true
			if p.session == p.pid {
				sessions[p.pid] = true
			}
			out = append(out, p)
			again = true
		}
	}
	return out
}

// noSession is the number of no session.
const noSession = -1

// sweepRounds bounds a sweep. Each round stops what the one before missed, and
// a stopped process makes no more, so a few are enough; a tree that outgrows
// this many is left to the end of its jail.
const sweepRounds = 200

// sweep kills a tree (see there) with what is in the session led: it stops all
// members until a look at the process table finds no new one, then kills them
// together, so that none can have a child behind the sweep's back. Then it looks
// again, for a member may have been forking since before it was stopped; one that
// was killed makes no child any more. keep is never touched.
func sweep(roots map[int]bool, led, keep int) {
	stopped, killed := map[int]bool{keep: true}, map[int]bool{keep: true}
	sessions := map[int]bool{led: true}
	var members []process
	kill := func() (any bool) {
		for _, p := range members {
			if !killed[p.pid] {
				killed[p.pid], any = true, true
				sessions[p.session] = true         // its child is not found as such once it is gone
				_ = unix.Kill(p.pid, unix.SIGKILL) // it may be gone
			}
		}
		return any
	}
	for range sweepRounds {
		members = tree(processes(), roots, sessions)
		fresh := false
		for _, p := range members {
			if !stopped[p.pid] && p.state != 'Z' && p.state != 'X' {
				stopped[p.pid], fresh = true, true
				_ = unix.Kill(p.pid, unix.SIGSTOP) // it may be gone
			}
		}
		if !fresh && !kill() {
			return
		}
	}
	kill()
}

// kill ends the tree of a program: its session and all that descends from it. A
// process that left both, by a double fork with a session of its own, cannot be
// told from another program's; it ends with the jail.
func (s *server) kill(id uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.byID[id]
	if p == nil {
		return nil // nothing can be left of it
	}
	// Once it has ended, its number may be another process's, but not another
	// session's as long as its own has members.
	sweep(map[int]bool{p.pid: !p.ended}, p.pid, os.Getpid())
	return nil
}

// killEverything kills all descendants of this process and waits for them. All
// of them can be found: whoever loses its parent becomes this process's child.
// One that this user may not signal (a set-user-id program) is left.
func (s *server) killEverything() {
	self := os.Getpid()
	immune := map[int]bool{}
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		roots := map[int]bool{}
		for _, p := range processes() {
			if p.parent == self && !immune[p.pid] {
				roots[p.pid] = true
			}
		}
		if len(roots) == 0 {
			return
		}
		sweep(roots, noSession, self)
		for r := range roots {
			if unix.Kill(r, unix.SIGKILL) == unix.EPERM {
				immune[r] = true
				continue
			}
			var ws unix.WaitStatus
			_, _ = unix.Wait4(r, &ws, unix.WALL, nil)
		}
	}
}
