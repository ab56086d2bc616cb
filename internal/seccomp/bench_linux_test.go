package seccomp

import (
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func BenchmarkAssemble(b *testing.B) {
	a := arches()[0]
	b.ReportAllocs()
	for b.Loop() {
		assemble(a, Profile{})
	}
}

// measured are calls that the filter always lets through, and those for which it
// looks at arguments.
func measured() map[string]func() {
	return map[string]func(){
		"getpid": func() { syscall.RawSyscall(unix.SYS_GETPID, 0, 0, 0) },
		"ioctl":  func() { syscall.RawSyscall(unix.SYS_IOCTL, ^uintptr(0), unix.TIOCGWINSZ, 0) },
		"openat": func() {
			fd, err := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0)
			if err == nil {
				unix.Close(fd)
			}
		},
	}
}

// cpuTime is what this thread has used, in nanoseconds: other work on the machine
// does not show in it.
func cpuTime() int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts); err != nil {
		panic(err)
	}
	return ts.Nano()
}

// measure is what a child does for BenchmarkCalls.
func measure() {
	n, err := strconv.Atoi(os.Getenv("SECCOMP_TEST_N"))
	call := measured()[os.Getenv("SECCOMP_TEST_CALL")]
	if err != nil || call == nil {
		fmt.Println("nothing to measure", err)
		return
	}
	start := cpuTime()
	for range n {
		call()
	}
	fmt.Println(cpuTime() - start)
}

// BenchmarkCalls compares calls under the filter with the same ones without.
func BenchmarkCalls(b *testing.B) {
	profile, err := json.Marshal(Profile{})
	if err != nil {
		b.Fatal(err)
	}
	for name := range measured() {
		for how, p := range map[string]string{"plain": "none", "filtered": string(profile)} {
			b.Run(name+"/"+how, func(b *testing.B) {
				out, err := runChild(b, childVar+"="+p, "SECCOMP_TEST_DO=bench",
					"SECCOMP_TEST_CALL="+name, "SECCOMP_TEST_N="+strconv.Itoa(b.N))
				if err != nil {
					b.Fatal(err)
				}
				var ns int64
				if _, err := fmt.Sscan(string(out), &ns); err != nil {
					b.Fatalf("%v: %s", err, out)
				}
				b.ReportMetric(float64(ns)/float64(b.N), "ns/call")
			})
		}
	}
}
