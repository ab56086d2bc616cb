package seccomp

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// callData is struct seccomp_data: one system call as a filter sees it.
type callData struct {
	nr, arch uint32
	args     [6]uint64
}

// run is the kernel's filter machine, as far as the programs here use it. What
// the kernel would refuse to load, and what the programs here have no use for, is
// an error. steps counts instructions.
func run(prog []unix.SockFilter, d callData) (verdict uint32, steps int, err error) {
	mem := make([]byte, 64)
	binary.LittleEndian.PutUint32(mem[0:], d.nr)
	binary.LittleEndian.PutUint32(mem[4:], d.arch)
	for i, a := range d.args {
		binary.LittleEndian.PutUint64(mem[16+8*i:], a)
	}
	var acc uint32
	loaded := false
	for pc := 0; ; pc++ {
		if pc < 0 || pc >= len(prog) {
			return 0, steps, fmt.Errorf("ran off the program at %d", pc)
		}
		steps++
		in := prog[pc]
		branch := func(cond bool) {
			if cond {
				pc += int(in.Jt)
			} else {
				pc += int(in.Jf)
			}
		}
		switch in.Code {
		case unix.BPF_LD | unix.BPF_W | unix.BPF_ABS:
			if in.K%4 != 0 || in.K > 60 {
				return 0, steps, fmt.Errorf("%d: load of %d", pc, in.K)
			}
			acc, loaded = binary.LittleEndian.Uint32(mem[in.K:]), true
		case unix.BPF_RET | unix.BPF_K:
			return in.K, steps, nil
		case unix.BPF_JMP | unix.BPF_JA:
			pc += int(in.K)
		case unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K:
			branch(acc == in.K)
		case unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K:
			branch(acc >= in.K)
		case unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K:
			branch(acc&in.K != 0)
		default:
			return 0, steps, fmt.Errorf("%d: instruction %#x", pc, in.Code)
		}
		if !loaded {
			return 0, steps, fmt.Errorf("%d: a comparison with nothing", pc)
		}
	}
}

// verdictName is how goldens and failures call a verdict.
func verdictName(v uint32) string {
	switch {
	case v == unix.SECCOMP_RET_ALLOW:
		return "allow"
	case v == unix.SECCOMP_RET_KILL_PROCESS:
		return "kill the process"
	case v&unix.SECCOMP_RET_ACTION_FULL == unix.SECCOMP_RET_ERRNO:
		return unix.ErrnoName(unix.Errno(v & unix.SECCOMP_RET_DATA))
	}
	return fmt.Sprintf("%#x", v)
}

// disassemble writes a program for people, with the names of the numbers that it
// is compared with.
func disassemble(prog []unix.SockFilter, names map[uint32]string) string {
	var b strings.Builder
	number := false // what was loaded last is the number of the call
	for i, in := range prog {
		fmt.Fprintf(&b, "%3d  ", i)
		k := fmt.Sprintf("%#x", in.K)
		if number {
			k = fmt.Sprint(in.K)
			if n := names[in.K]; n != "" {
				k += " " + n
			}
		}
		jump := func(op string) {
			fmt.Fprintf(&b, "if %s %s goto %d else %d\n", op, k, i+1+int(in.Jt), i+1+int(in.Jf))
		}
		switch in.Code {
		case unix.BPF_LD | unix.BPF_W | unix.BPF_ABS:
			number = in.K == offNumber
			what := map[uint32]string{offNumber: "number", offArch: "architecture"}[in.K]
			if in.K >= offArgs {
				what = fmt.Sprintf("argument %d, %s half", (in.K-offArgs)/8, [2]string{"lower", "upper"}[in.K/4%2])
			}
			fmt.Fprintf(&b, "load %s\n", what)
		case unix.BPF_RET | unix.BPF_K:
			fmt.Fprintf(&b, "%s\n", verdictName(in.K))
		case unix.BPF_JMP | unix.BPF_JA:
			fmt.Fprintf(&b, "goto %d\n", i+1+int(in.K))
		case unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K:
			jump("==")
		case unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K:
			jump(">=")
		case unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K:
			jump("&")
		default:
			fmt.Fprintf(&b, "%+v\n", in)
		}
	}
	return b.String()
}

// TestFarJumps checks what the real programs are too short for: that a jump over
// more than 255 instructions arrives.
func TestFarJumps(t *testing.T) {
	t.Parallel()
	b := &builder{}
	const count = 2000
	// A chain of comparisons, each with a verdict of its own, and one that they
	// all share, which is far from most.
	shared := b.load(offArgs, b.jump(unix.BPF_JEQ, 7, allow(b), kill(b)))
	next := shared
	for i := range uint32(count) {
		do := shared
		if i%3 != 0 {
			do = b.ret(unix.SECCOMP_RET_ERRNO | i)
		}
		next = b.jump(unix.BPF_JEQ, i, do, next)
	}
	b.load(offNumber, next)
	prog := b.program()
	for i := range uint32(count + 1) {
		for _, arg := range []uint64{7, 8} {
			want := uint32(unix.SECCOMP_RET_ERRNO | i)
			if i%3 == 0 || i == count {
				want = map[uint64]uint32{7: unix.SECCOMP_RET_ALLOW, 8: unix.SECCOMP_RET_KILL_PROCESS}[arg]
			}
			got, _, err := run(prog, callData{nr: i, args: [6]uint64{arg}})
			if got != want || err != nil {
				t.Fatalf("number %d, argument %d = %s, %v, want %s", i, arg, verdictName(got), err, verdictName(want))
			}
		}
	}
}
