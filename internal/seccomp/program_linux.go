package seccomp

import (
	"fmt"
	"runtime"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"
)

// arch is what differs between architectures.
type arch struct {
	name   string
	audit  uint32 // how the kernel names it to a filter
	number func(call) int
	// known are the ranges of numbers that the rules were made with. All above
	// and between is denied, x32 on amd64 included, whose numbers have bit 30
	// set: a new call is looked at before it is let through.
	known []numbers
}

type numbers struct{ first, last uint32 }

// lastKnown is file_setattr, of Linux 6.17.
const lastKnown = 469

func arches() []arch {
	return []arch{
		{
			name: "amd64", audit: unix.AUDIT_ARCH_X86_64, number: func(c call) int { return c.amd64 },
			known: []numbers{{0, 336}, {424, lastKnown}},
		},
		{
			name: "arm64", audit: unix.AUDIT_ARCH_AARCH64, number: func(c call) int { return c.arm64 },
			known: []numbers{{0, 243}, {260, 294}, {424, lastKnown}},
		},
	}
}

// Program returns the filter of p for the architecture that this program was
// built for. It is an error that there is none.
func Program(p Profile) ([]unix.SockFilter, error) {
	i := slices.IndexFunc(arches(), func(a arch) bool { return a.name == runtime.GOARCH })
	if i < 0 {
		return nil, fmt.Errorf("seccomp: no filter for architecture %s, want amd64 or arm64", runtime.GOARCH)
	}
	return assemble(arches()[i], p), nil
}

// Install puts the filter of p on the whole process, all its threads and
// whatever they start, for good. The caller must have set no_new_privs or have
// CAP_SYS_ADMIN. After an error the filter is on no thread.
func Install(p Profile) error {
	prog, err := Program(p)
	if err != nil {
		return err
	}
	fprog := unix.SockFprog{Len: uint16(len(prog)), Filter: &prog[0]}
	tid, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER,
		unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&fprog)))
	if errno != 0 {
		return fmt.Errorf("seccomp: install the filter: %w", errno)
	}
	if tid != 0 {
		return fmt.Errorf("seccomp: install the filter: thread %d has another one of its own", tid)
	}
	return nil
}

// assemble writes the program of p for a.
func assemble(a arch, p Profile) []unix.SockFilter {
	b := &builder{}
	search := b.search(lay(a, b, rules(p)))
	numbered := b.load(offNumber, search)
	b.load(offArch, b.jump(unix.BPF_JEQ, a.audit, numbered, kill(b)))
	return b.program()
}

// lay sorts all numbers that there can be into spans, and writes what is done
// about them. Each rule is written once.
func lay(a arch, b *builder, rs []rule) []span {
	allowed, unknown := allow(b), fail(unix.ENOSYS)(b)
	denied := map[uint32]node{}
	for _, r := range rs {
		do := r.do(b)
		for _, c := range r.calls {
			if n := a.number(c); n != none {
				denied[uint32(n)] = do
			}
		}
	}
	var spans []span
	add := func(from uint32, do node) {
		if len(spans) == 0 || spans[len(spans)-1].do != do {
			spans = append(spans, span{from, do})
		}
	}
	next := uint32(0)
	for _, k := range a.known {
		if k.first != next {
			add(next, unknown)
		}
		for n := k.first; n <= k.last; n++ {
			if do, ok := denied[n]; ok {
				add(n, do)
			} else {
				add(n, allowed)
			}
		}
		next = k.last + 1
	}
	add(next, unknown)
	return spans
}
