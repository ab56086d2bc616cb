package jail

import (
	"bytes"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// What the host program was given before others on its machine, by a service
// manager or an administrator, is not for what runs in jails: a share of the
// processors or real time, and that it is not killed when memory runs out.

// ordinary makes the calling thread, and what it starts from then on, a user of the
// processors and disks like any other. One that has less than others keeps to that.
func ordinary() error {
	if err := ordinaryOnDisks(); err != nil {
		return err
	}
	attr, err := unix.SchedGetAttr(0, 0)
	if err == unix.ENOSYS || err == unix.EPERM {
		return nil // gVisor's kernel, or a filter, which forbids to set it as well
	}
	if err != nil {
		return fmt.Errorf("look at own scheduling: %w", err)
	}
	switch attr.Policy {
	case unix.SCHED_FIFO, unix.SCHED_RR, unix.SCHED_DEADLINE:
	default:
		if attr.Nice >= 0 {
			return nil
		}
	}
	if err := unix.SchedSetAttr(0, &unix.SchedAttr{Policy: unix.SCHED_NORMAL}, 0); err != nil {
		return fmt.Errorf("give up own scheduling: %w", err)
	}
	return nil
}

// ordinaryOnDisks is ordinary for what threads have before others on disks (ioprio).
func ordinaryOnDisks() error {
	const (
		thisThread        = 1
		classShift        = 13
		realTime, best    = 1, 2
		byDefault, middle = 0, 4 // what follows from the processors; the middle of a class
	)
	v, _, errno := unix.Syscall(unix.SYS_IOPRIO_GET, thisThread, 0, 0)
	if errno != 0 {
		return nil // no such thing here, or a filter, which forbids to set it as well
	}
	class, level := v>>classShift, v&7
	if class != realTime && (class != best || level >= middle) {
		return nil
	}
	if _, _, errno := unix.Syscall(unix.SYS_IOPRIO_SET, thisThread, 0, byDefault); errno != 0 {
		return fmt.Errorf("give up own class on disks: %w", errno)
	}
	return nil
}

// protected tells whether this program is killed later than others when memory
// runs out, and with it what it starts.
func protected() bool {
	b, err := os.ReadFile("/proc/self/oom_score_adj") // before the first jail there is nothing to say about an error
	return err == nil && bytes.HasPrefix(b, []byte("-"))
}

// unprotect takes that from a process that was just started. Root does so for
// good; else what runs there can take it back (the kernel keeps the least that
// root has set), if only up to what the host program has.
func unprotect(pid int) error {
	return os.WriteFile("/proc/"+strconv.Itoa(pid)+"/oom_score_adj", []byte("0"), 0)
}

// noRealTime takes from this program, and what it starts, the right to raise its
// priority, which users get on some desktops.
func noRealTime() error {
	for _, resource := range []int{unix.RLIMIT_NICE, unix.RLIMIT_RTPRIO} {
		var l unix.Rlimit
		if err := unix.Getrlimit(resource, &l); err != nil {
			return fmt.Errorf("read resource limit %d: %w", resource, err)
		}
		if l.Max == 0 {
			continue
		}
		if err := unix.Setrlimit(resource, &unix.Rlimit{}); err != nil {
			return fmt.Errorf("lower resource limit %d: %w", resource, err)
		}
	}
	return nil
}
