package jail

import "cmp"

// hello is the host's first message to a first process: what it is, and what it
// must find itself in before it starts anything.
type hello struct {
	confined         bool
	files, processes int64 // limits of programs; -1: none
	nested, ptrace   bool  // profile of the filter of system calls
	probing          bool  // no filter until the probe, and no programs
	proxy            bool  // a listener of [ProxyAddr] is wanted
	pidfd            bool  // a descriptor of the first process is wanted
	mounts           bool  // a descriptor of its mount namespace is wanted
	home             string

	// Of a confined one.
	uid, gid    int      // the user it must be
	otherKernel bool     // its namespaces cannot be compared with the host's
	network     string   // the namespace that it must be in; "": any but the host's
	ownFiles    bool     // its files are not the host's, wherever they lie
	spaces      []string // the host's namespaces, in the order of nsNames; anyNamespace: not compared
	writable    []string // paths of mounts for writing
}

// anyNamespace stands for a namespace that a jail may share with the host. A
// namespace's real name has a colon and a number.
const anyNamespace = "any"

// hello is what the first process is told.
func (j *Jail) hello() *hello {
	l, t := j.policy.Limits, &j.h.traits
	processes := limitValue(l.Processes, DefaultProcesses)
	if j.policy.Shared && processes > 0 {
		processes *= SharedProcesses
	}
	h := &hello{
		home: j.home, confined: !t.Unconfined,
		files: limitValue(l.Files, DefaultFiles), processes: processes,
		nested: j.nested, ptrace: j.policy.Ptrace, probing: j.policy.probing,
		proxy: j.policy.Proxy != nil && j.net == nil, network: j.net.String(), pidfd: !t.NoPidfd,
		mounts: t.NoBounds && j.h.unbounded == nil,
	}
	if t.Unconfined {
		h.files, h.processes = -1, -1
		return h
	}
	h.uid, h.gid = UID, GID
	if t.HostUser {
		h.uid, h.gid = j.policy.Identity.UID, j.policy.Identity.GID
	}
	h.writable, h.ownFiles = j.writable, t.OwnFiles
	if h.otherKernel = t.OtherKernel; !h.otherKernel {
		h.spaces = t.spaces(j.h.spaces)
	}
	return h
}

func (h *hello) message() message {
	spaces := h.spaces
	if len(spaces) != len(nsNames) {
		spaces = make([]string, len(nsNames))
	}
	return message{
		kind: msgHello,
		nums: []int64{
			protocol, flag(h.confined), h.files, h.processes, flag(h.nested), flag(h.ptrace), flag(h.probing),
			flag(h.proxy), flag(h.pidfd), int64(h.uid), int64(h.gid), flag(h.otherKernel),
			flag(h.mounts), flag(h.ownFiles),
		},
		strs: append(append([]string{h.home, h.network}, spaces...), h.writable...),
	}
}

// parseHello takes a message apart that is one.
func parseHello(m *message) (*hello, error) {
	if m.kind != msgHello || m.num(0) != protocol || len(m.strs) < 2+len(nsNames) {
		return nil, errMessage
	}
	is := func(i int) bool { return m.num(i) == 1 }
	return &hello{
		confined: is(1), files: m.num(2), processes: m.num(3), nested: is(4), ptrace: is(5), probing: is(6),
		proxy: is(7), pidfd: is(8), uid: int(m.num(9)), gid: int(m.num(10)), otherKernel: is(11), mounts: is(12), ownFiles: is(13),
		home: m.strs[0], network: m.strs[1], spaces: m.strs[2 : 2+len(nsNames)], writable: m.strs[2+len(nsNames):],
	}, nil
}

// limitValue is what the first process is told: a number, or -1.
func limitValue(v, def int) int64 {
	return int64(cmp.Or(v, def))
}

// flag is how a message carries a truth.
func flag(b bool) int64 {
	if b {
		return 1
	}
	return 0
}
