package cgroup

import (
	"bytes"
	"errors"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// OOMKills is how many processes of the group the kernel has killed so far
// because memory ran out, the group's or the machine's; -1 without the memory
// controller.
func (g *Group) OOMKills() int64 {
	for _, l := range g.legs {
		switch {
		case !l.is(Memory):
		case l.h.v2:
			return readKey(l.dir, "memory.events", "oom_kill")
		default:
			return readKey(l.dir, "memory.oom_control", "oom_kill")
		}
	}
	return -1
}

// Usage tells what the group and those below it use.
func (g *Group) Usage() Usage {
	u := Usage{Memory: -1, MemoryPeak: -1, Pids: -1, CPU: -1, Throttled: -1}
	for _, l := range g.legs {
		for _, c := range l.has {
			switch {
			case c == Memory && l.h.v2:
				u.Memory, u.MemoryPeak = readInt(l.dir, "memory.current"), readInt(l.dir, "memory.peak")
			case c == Memory:
				u.Memory, u.MemoryPeak = readInt(l.dir, "memory.usage_in_bytes"), readInt(l.dir, "memory.max_usage_in_bytes")
			case c == Pids:
				u.Pids = readInt(l.dir, "pids.current")
			case c == CPU:
				u.Throttled = readKey(l.dir, "cpu.stat", "nr_throttled")
				if us := readKey(l.dir, "cpu.stat", "usage_usec"); us >= 0 {
					u.CPU = time.Duration(us) * time.Microsecond
				} else if ns := readInt(l.dir, "cpuacct.usage"); ns >= 0 { // mounted together
					u.CPU = time.Duration(ns)
				}
			}
		}
	}
	return u
}

// readInt reads a file that holds one number; -1 if it does not.
func readInt(dir, name string) int64 {
	b, err := readFile(dir+"/"+name, make([]byte, 1024))
	if err != nil {
		return -1
	}
	n, err := strconv.ParseInt(string(bytes.TrimSpace(b)), 10, 64)
	if err != nil {
		return -1
	}
	return n
}

// readKey reads the number of key from a file of lines "key number"; -1 if there
// is none.
func readKey(dir, name, key string) int64 {
	b, err := readFile(dir+"/"+name, make([]byte, 1024))
	if err != nil {
		return -1
	}
	for line := range bytes.Lines(b) {
		f := bytes.Fields(line)
		if len(f) == 2 && string(f[0]) == key {
			if n, err := strconv.ParseInt(string(f[1]), 10, 64); err == nil {
				return n
			}
		}
	}
	return -1
}

// readFile reads a control file, or what b has room for. Package os would have the
// runtime poll the file as it polls pipes, which takes longer than all the rest
// and wakes a thread.
func readFile(path string, b []byte) ([]byte, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	n, err := unix.Read(fd, b)
	return b[:max(n, 0)], err
}

// write writes a value into a control file, which must be there.
func write(dir, name, value string) error {
	f, err := os.OpenFile(dir+"/"+name, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(value)
	return errors.Join(err, f.Close())
}

// writeIfThere is write for files that not every kernel has.
func (k *kernel) writeIfThere(dir, name, value string) error {
	err := k.write(dir, name, value)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	return err
}
