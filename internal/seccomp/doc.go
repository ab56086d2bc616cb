// Package seccomp is the filter of system calls of a jail: which calls the
// programs of a worker may not make, and the small assembler that turns that list
// into a program for the kernel's filter machine.
//
// # Shape
//
// The filter is a denylist: agents run whatever Linux programs there are, and an
// allowlist would break the next one. What it takes away is what no program of an
// agent needs and what the kernel's past holes were in. It is a second line
// behind namespaces and missing capabilities, never a level of its own.
//
// A call of another architecture than the program's own kills the process: its
// numbers mean other calls, and no program of this system makes one by accident.
// Numbers that the list below was not made with, and on amd64 the x32 ones, are
// answered with ENOSYS, as by a kernel that does not have them yet; so are calls
// whose arguments lie in memory, where a filter cannot look, and for which every
// caller has an older way ready. Everything else that is denied is answered with
// EPERM, but for sockets, where callers expect to hear that there is no such
// family.
//
// An argument that the kernel takes as 32 bits is compared as 32 bits: the upper
// half is ignored by the kernel, so that a filter which compares all 64 is passed
// by setting a bit there.
//
// # Cost
//
// The number is found by binary search, about nine instructions, and a kernel of
// 5.11 or newer notes the calls that are allowed whatever their arguments are and
// never runs the filter for them.
package seccomp
