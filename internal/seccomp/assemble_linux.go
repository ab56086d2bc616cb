package seccomp

import "golang.org/x/sys/unix"

// node is a place in a program that can be jumped to: what runs from there on.
type node int

// builder assembles a program from its end to its start, so that a jump, which
// can only go forward, is made when its targets stand already. Its zero value is
// ready.
//
// The distance of a conditional jump has 8 bits. A target that is farther away
// gets a stand-in on the near side: a copy when it is a verdict, else a jump
// without condition, whose distance has 32.
type builder struct {
	rev  []unix.SockFilter // the program, last instruction first
	rets map[uint32]node   // the nearest copy of each verdict
}

// ret ends the program with a verdict.
func (b *builder) ret(verdict uint32) node {
	if n, ok := b.rets[verdict]; ok {
		return n
	}
	if b.rets == nil {
		b.rets = map[uint32]node{}
	}
	n := b.add(unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: verdict})
	b.rets[verdict] = n
	return n
}

// load loads 32 bits of the call's description (struct seccomp_data) and goes on
// with next.
func (b *builder) load(offset uint32, next node) node {
	if b.distance(next) != 0 {
		b.standIn(next) // what stands behind this in the program runs next
	}
	return b.add(unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: offset})
}

// jump compares what was loaded last with k in the way of op (unix.BPF_JEQ,
// BPF_JGE, BPF_JSET) and goes on with yes or no.
func (b *builder) jump(op uint16, k uint32, yes, no node) node {
	if yes == no {
		return yes
	}
	yes, no = b.nearest(yes), b.nearest(no)
	for b.distance(yes) > 255 || b.distance(no) > 255 {
		// A stand-in moves the other target one farther away.
		if b.distance(yes) > 255 {
			yes = b.standIn(yes)
		} else {
			no = b.standIn(no)
		}
	}
	return b.add(unix.SockFilter{
		Code: unix.BPF_JMP | op | unix.BPF_K, K: k,
		Jt: uint8(b.distance(yes)), Jf: uint8(b.distance(no)),
	})
}

// nearest returns the nearest copy of n when that is a verdict, else n.
func (b *builder) nearest(n node) node {
	if at := b.rev[n]; at.Code == unix.BPF_RET|unix.BPF_K {
		return b.rets[at.K]
	}
	return n
}

// standIn puts something here that does what n does.
func (b *builder) standIn(n node) node {
	if at := b.rev[n]; at.Code == unix.BPF_RET|unix.BPF_K {
		b.rets[at.K] = b.add(at)
		return b.rets[at.K]
	}
	return b.add(unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JA, K: uint32(b.distance(n))})
}

// distance is how many instructions the next one to be added must skip to reach n.
func (b *builder) distance(n node) int { return len(b.rev) - 1 - int(n) }

func (b *builder) add(i unix.SockFilter) node {
	b.rev = append(b.rev, i)
	return node(len(b.rev) - 1)
}

// program returns the program in the order in which it runs, from n, which must
// have been added last.
func (b *builder) program() []unix.SockFilter {
	out := make([]unix.SockFilter, len(b.rev))
	for i, ins := range b.rev {
		out[len(out)-1-i] = ins
	}
	return out
}

// The offsets in struct seccomp_data. Every architecture here is little-endian.
const (
	offNumber = 0
	offArch   = 4
	offArgs   = 16
)

// action is a verdict on a call, which may depend on its arguments.
type action func(b *builder) node

func allow(b *builder) node { return b.ret(unix.SECCOMP_RET_ALLOW) }

func kill(b *builder) node { return b.ret(unix.SECCOMP_RET_KILL_PROCESS) }

// fail makes the call return an error number without being made.
func fail(errno unix.Errno) action {
	return func(b *builder) node { return b.ret(unix.SECCOMP_RET_ERRNO | uint32(errno)) }
}

// oneOf asks whether the lower half of an argument is one of values.
func oneOf(arg uint32, values []uint32, yes, no action) action {
	return func(b *builder) node {
		next, match := no(b), yes(b)
		for _, v := range values {
			next = b.jump(unix.BPF_JEQ, v, match, next)
		}
		return b.load(offArgs+8*arg, next)
	}
}

// anyBit asks whether the lower half of an argument has any bit of mask.
func anyBit(arg, mask uint32, yes, no action) action {
	return func(b *builder) node {
		return b.load(offArgs+8*arg, b.jump(unix.BPF_JSET, mask, yes(b), no(b)))
	}
}

// wide asks whether the upper half of an argument has any bit.
func wide(arg uint32, yes, no action) action {
	return func(b *builder) node {
		return b.load(offArgs+8*arg+4, b.jump(unix.BPF_JEQ, 0, no(b), yes(b)))
	}
}

// null asks whether an argument is a null pointer. All of it is looked at: a program
// may choose a pointer whose lower half is 0.
func null(arg uint32, yes, no action) action { return wide(arg, no, anyBit(arg, ^uint32(0), no, yes)) }

// span says what is done about the numbers from one on, up to the next span's.
type span struct {
	from uint32
	do   node
}

// search finds the span that the loaded number lies in.
func (b *builder) search(spans []span) node {
	if len(spans) == 1 {
		return spans[0].do
	}
	mid := len(spans) / 2
	above := b.search(spans[mid:])
	below := b.search(spans[:mid])
	return b.jump(unix.BPF_JGE, spans[mid].from, above, below)
}
