package seccomp

import (
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

var update = flag.Bool("update", false, "write the golden files anew")

func profiles() []Profile {
	return []Profile{{}, {NestedUserNS: true}, {Ptrace: true}, {NestedUserNS: true, Ptrace: true}}
}

// each runs f for every architecture and profile.
func each(t *testing.T, f func(t *testing.T, a arch, p Profile, names map[uint32]string)) {
	t.Helper()
	for _, a := range arches() {
		for _, p := range profiles() {
			t.Run(fmt.Sprintf("%s%+v", a.name, p), func(t *testing.T) {
				t.Parallel()
				f(t, a, p, systemCalls(t, a.name))
			})
		}
	}
}

func TestNumbersAreTheSystems(t *testing.T) {
	t.Parallel()
	for _, a := range arches() {
		names := systemCalls(t, a.name)
		numbers := map[string]uint32{}
		for nr, name := range names {
			numbers[name] = nr
		}
		seen := map[string]bool{}
		for _, r := range rules(Profile{}) {
			for _, c := range r.calls {
				if seen[c.name] {
					t.Errorf("%s is in two rules", c.name)
				}
				seen[c.name] = true
				nr, ok := numbers[c.name]
				if got := a.number(c); got != none && !ok || ok && got != int(nr) {
					t.Errorf("%s on %s is %d, want %d (%v)", c.name, a.name, got, nr, ok)
				}
			}
		}
		for nr := range uint32(lastKnown + 1) {
			in := false
			for _, k := range a.known {
				in = in || nr >= k.first && nr <= k.last
			}
			if _, ok := names[nr]; ok != in {
				t.Errorf("number %d of %s (%q): known %v, want %v", nr, a.name, names[nr], in, ok)
			}
		}
	}
}

func TestGolden(t *testing.T) {
	t.Parallel()
	for _, a := range arches() {
		for name, p := range map[string]Profile{"agent": {}, "chromium": {NestedUserNS: true}} {
			got := disassemble(assemble(a, p), systemCalls(t, a.name))
			path := filepath.Join("testdata", a.name+"-"+name+".txt")
			if *update {
				if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("%s has changed; if that is meant, run with -update (-want +got):\n%s", path, diff)
			}
		}
	}
}

func TestEveryNumber(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, a arch, p Profile, names map[uint32]string) {
		prog := assemble(a, p)
		const x32 = 0x40000000
		longest, total := 0, 0
		check := func(d callData) {
			want := model(a, names, p, d)
			got, steps, err := run(prog, d)
			if got != want || err != nil {
				t.Errorf("%+v (%s) = %s, %v, want %s", d, names[d.nr], verdictName(got), err, verdictName(want))
			}
			if d.nr <= 500 {
				longest, total = max(longest, steps), total+steps
			}
		}
		for nr := range uint32(501) {
			// All zero, all ones, and what is most often passed.
			for _, arg := range []uint64{0, math.MaxUint64, 0o644} {
				args := [6]uint64{arg, arg, arg, arg, arg, arg}
				check(callData{nr: nr, arch: a.audit, args: args})
				check(callData{nr: nr | x32, arch: a.audit, args: args})
				check(callData{nr: nr, arch: unix.AUDIT_ARCH_I386, args: args})
				check(callData{nr: nr, arch: unix.AUDIT_ARCH_ARM, args: args})
			}
		}
		for _, nr := range []uint32{501, 511, 512, 547, 1000, x32 - 1, x32, x32 + 512, 1 << 31, math.MaxUint32} {
			check(callData{nr: nr, arch: a.audit})
		}
		if longest > 20 || len(prog) > 300 {
			t.Errorf("%d instructions, up to %d for one call; want fewer", len(prog), longest)
		}
		t.Logf("%d instructions, up to %d for one call, %.1f on average", len(prog), longest, float64(total)/(501*12))
	})
}

// argumentTests are the rules about arguments, in the order of the policy. What
// is denied is denied with EPERM unless it says otherwise.
var argumentTests = []struct {
	call    string
	arg     int
	rest    [6]uint64
	allowed []uint64
	denied  []uint64
	errno   unix.Errno
	profile Profile
}{
	{
		call:    "clone",
		allowed: []uint64{0, 17, 0x3d0f00 /* a thread */, 0x01200011 /* fork */, 1<<32 | 17},
		denied:  []uint64{0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000, 0x10000011, 1<<63 | 0x10000000, math.MaxUint64},
	},
	{
		call: "clone", profile: Profile{NestedUserNS: true},
		allowed: []uint64{0, 17, 0x10000011, 0x70000011},
		denied:  []uint64{0x20000, 0x10020000, 0x2000000, 0x4000000, 0x8000000, 1<<40 | 0x20000},
	},
	{call: "unshare", denied: []uint64{0, 0x200, 0x10000000, math.MaxUint64}},
	{
		call: "unshare", profile: Profile{NestedUserNS: true},
		allowed: []uint64{0, 0x10000000, 0x70000000},
		denied:  []uint64{0x20000, 0x10020000, 0x80, 0x2000000, 0x80000000, 1<<32 | 0x10000000, math.MaxUint64},
	},
	{call: "chroot", denied: []uint64{0, math.MaxUint64}},
	{call: "chroot", profile: Profile{NestedUserNS: true}, allowed: []uint64{0, math.MaxUint64}},
	{call: "ptrace", denied: []uint64{0, 16, math.MaxUint64}},
	{call: "ptrace", profile: Profile{Ptrace: true}, allowed: []uint64{0, 16, math.MaxUint64}},
	{call: "prlimit64", arg: 2, allowed: []uint64{0, 1, math.MaxUint64}}, // its own
	{call: "prlimit64", arg: 2, rest: [6]uint64{0, 4}, allowed: []uint64{0}, denied: []uint64{1, 1 << 32, math.MaxUint64}, errno: pretend},
	{call: "prlimit64", arg: 2, rest: [6]uint64{1 << 32, 1<<32 | 4}, allowed: []uint64{0}, denied: []uint64{1}, errno: pretend},
	{call: "prlimit64", arg: 3, rest: [6]uint64{0, 4, 1}, denied: []uint64{1, 1 << 32}}, // the old limit would not be told
	{call: "prlimit64", arg: 3, rest: [6]uint64{0, 4, 0}, allowed: []uint64{0, 1, 1 << 32}},
	{call: "prlimit64", arg: 2, rest: [6]uint64{1, 4}, allowed: []uint64{0}, denied: []uint64{1}},
	{call: "setrlimit", allowed: []uint64{0, 7, 12}, denied: []uint64{4, 1<<32 | 4}, errno: pretend},
	{call: "mmap", arg: 3, allowed: []uint64{0, 0x22, 0x20022, 0x80000}, denied: []uint64{0x40022, 0x54040022, 1<<32 | 0x40000}, errno: unix.ENOMEM},
	{call: "memfd_create", arg: 1, allowed: []uint64{0, 3, 8, 1 << 34}, denied: []uint64{4, 5, 1<<32 | 4, 0xffffffff}, errno: unix.EINVAL},
	{call: "shmget", arg: 2, allowed: []uint64{0o1600, 0o600}, denied: []uint64{0o5600, 1<<32 | 0o4000}, errno: unix.ENOMEM},
	{call: "prlimit64", arg: 2, rest: [6]uint64{1}, allowed: []uint64{0}, denied: []uint64{1, 1 << 32, math.MaxUint64}},
	{call: "prlimit64", arg: 2, rest: [6]uint64{1 << 32}, allowed: []uint64{0, 1 << 32}}, // pid 0 to the kernel
	{
		call:    "personality",
		allowed: []uint64{0, 8, 0x20000, 0x20008, 0xffffffff, math.MaxUint64, 1<<32 | 8},
		denied:  []uint64{1, 9, 0x40000, 0x400000, 0x20009, 1<<32 | 0x40000},
	},
	{call: "prctl", allowed: []uint64{15, 22, 36, 38}, denied: []uint64{35, 1<<32 | 35, 1<<63 | 35}},
	{
		call: "ioctl", arg: 1,
		allowed: []uint64{0x5401, 0x5413, 0x5414, 0x540e, 0x5411, 0x541b, 0x541e, 0x5422, 0x5424},
		denied:  []uint64{0x5412, 0x541c, 0x541d, 0x5423, 1<<32 | 0x5412, 1<<63 | 0x5412, 0xffffffff<<32 | 0x5423},
	},
	{
		call: "socket", rest: [6]uint64{0, 1}, errno: unix.EAFNOSUPPORT,
		allowed: []uint64{1, 2, 10, 16, 1<<32 | 2},
		denied:  []uint64{0, 3, 9, 11, 15, 17, 21, 29, 31, 38, 40, 44, 45, 1<<32 | 40, 1<<63 | 40, math.MaxUint64},
	},
	{
		call: "socket", arg: 2, rest: [6]uint64{16}, errno: unix.EPROTONOSUPPORT,
		allowed: []uint64{0, 1 << 32}, denied: []uint64{1, 2, 9, 12, 15, 16, 1<<32 | 9},
	},
	{
		call: "socket", arg: 2, rest: [6]uint64{2, 0x80801}, errno: unix.EPROTONOSUPPORT,
		allowed: []uint64{0, 1, 6, 17, 58, 1<<32 | 6}, denied: []uint64{2, 33, 115, 132, 136, 255, 256, 262, 1<<32 | 132},
	},
	{
		call: "socket", arg: 1, rest: [6]uint64{10}, errno: unix.ESOCKTNOSUPPORT,
		allowed: []uint64{1, 2, 3, 0x80001, 0x802, 0x80803, 1<<32 | 1}, denied: []uint64{0, 4, 5, 6, 10, 0x80006, 1<<32 | 6},
	},
	{call: "socketpair", errno: unix.EAFNOSUPPORT, allowed: []uint64{1}, denied: []uint64{30, 40}},
	{call: "chmod", arg: 1, allowed: []uint64{0, 0o777, 0o1777, 0o100755}, denied: []uint64{0o4755, 0o2755, 0o6000, 1<<32 | 0o4000}},
	{call: "fchmod", arg: 1, allowed: []uint64{0o1777}, denied: []uint64{0o4755, 0o2755, 1<<63 | 0o2000}},
	{call: "fchmodat", arg: 2, allowed: []uint64{0o1777}, denied: []uint64{0o4755, 0o2755, 1<<63 | 0o2000}},
	{call: "fchmodat2", arg: 2, allowed: []uint64{0o1777}, denied: []uint64{0o4755, 0o2755, 1<<63 | 0o2000}},
	{call: "creat", arg: 1, allowed: []uint64{0o1777}, denied: []uint64{0o4755, 0o2755}},
	{call: "mknod", arg: 1, allowed: []uint64{0o10777}, denied: []uint64{0o104755, 0o102755}},
	{call: "mknodat", arg: 2, allowed: []uint64{0o10777}, denied: []uint64{0o104755, 0o102755}},
	{call: "open", arg: 2, rest: [6]uint64{0, 0o1101}, allowed: []uint64{0, 0o1777}, denied: []uint64{0o4755, 1<<32 | 0o2000}},
	{call: "open", arg: 2, rest: [6]uint64{0, 0o200000}, allowed: []uint64{0, 0o4755, math.MaxUint64}}, // no mode: garbage
	{call: "openat", arg: 3, rest: [6]uint64{0, 0, 0o100}, allowed: []uint64{0, 0o1777}, denied: []uint64{0o4755, 0o2000}},
	{call: "openat", arg: 3, rest: [6]uint64{0, 0, 0o20200002}, allowed: []uint64{0}, denied: []uint64{0o4755, 0o2000}},
	{call: "openat", arg: 3, rest: [6]uint64{0, 0, 1<<32 | 0o100}, denied: []uint64{0o4755}},
	{call: "openat", arg: 3, rest: [6]uint64{0, 0, 0o2000000}, allowed: []uint64{0o4755}},
}

// pretend, as an error number, is success without the call.
const pretend = unix.Errno(0xffff)

func TestArguments(t *testing.T) {
	t.Parallel()
	for _, a := range arches() {
		names := systemCalls(t, a.name)
		numbers := map[string]uint32{}
		for nr, name := range names {
			numbers[name] = nr
		}
		for _, tt := range argumentTests {
			nr, ok := numbers[tt.call]
			if !ok {
				continue // arm64 has only the newer of two
			}
			prog := assemble(a, tt.profile)
			errno := tt.errno
			switch errno {
			case 0:
				errno = unix.EPERM
			case pretend:
				errno = 0
			}
			check := func(value uint64, want uint32) {
				d := callData{nr: nr, arch: a.audit, args: tt.rest}
				d.args[tt.arg] = value
				got, _, err := run(prog, d)
				if got != want || err != nil {
					t.Errorf("%s, %+v: %s%#x = %s, %v, want %s", a.name, tt.profile, tt.call, d.args, verdictName(got), err, verdictName(want))
				}
			}
			for _, v := range tt.allowed {
				check(v, unix.SECCOMP_RET_ALLOW)
			}
			for _, v := range tt.denied {
				check(v, unix.SECCOMP_RET_ERRNO|uint32(errno))
			}
		}
	}
}

func FuzzAgainstTheModel(f *testing.F) {
	type machine struct {
		a     arch
		names map[uint32]string
		progs [4][]unix.SockFilter
	}
	var ms []machine
	for _, a := range arches() {
		m := machine{a: a, names: systemCalls(f, a.name)}
		for i, p := range profiles() {
			m.progs[i] = assemble(a, p)
		}
		ms = append(ms, m)
	}
	f.Add(uint8(0), uint32(16), uint64(0), uint64(1<<32|0x5412), uint64(0), uint64(0))
	f.Add(uint8(1), uint32(198), uint64(16), uint64(3), uint64(9), uint64(0))
	f.Add(uint8(2), uint32(272), uint64(0x10000000), uint64(0), uint64(0), uint64(0))
	f.Add(uint8(4), uint32(257), uint64(0), uint64(0), uint64(0o100), uint64(0o4755))
	f.Add(uint8(8), uint32(1), uint64(0), uint64(0), uint64(0), uint64(0))
	f.Fuzz(func(t *testing.T, which uint8, nr uint32, a0, a1, a2, a3 uint64) {
		m := ms[which&1]
		pi := int(which >> 1 & 3)
		d := callData{nr: nr, arch: m.a.audit, args: [6]uint64{a0, a1, a2, a3}}
		if which&8 != 0 {
			d.arch = ms[1-which&1].a.audit
		}
		want := model(m.a, m.names, profiles()[pi], d)
		got, _, err := run(m.progs[pi], d)
		if got != want || err != nil {
			t.Errorf("%s, %+v, %+v (%s) = %s, %v, want %s", m.a.name, profiles()[pi], d, m.names[nr], verdictName(got), err, verdictName(want))
		}
	})
}
