package drivers_test

import (
	"os"
	"testing"

	"github.com/agentflow-go/sandbox"
	"github.com/agentflow-go/sandbox/sandboxtest"
)

// allEscapes, in the environment, makes the suite try every case. Each is a Python
// program, which takes a second of a processor in gVisor: without it one in
// someEscapes is tried, and all of expected.
const (
	allEscapes  = "ESCAPES"
	someEscapes = 8
)

// expected are the cases that succeed, by level, and why that reaches nothing
// outside of the jail of whoever tries.
var expected = map[string]map[string]string{
	"docker": {
		"processes/namespaces": "containers share the host's user namespace, where they have no capabilities",
	},
	"gvisor": {
		"files/device-node":         "the device is one of gVisor's own",
		"proc/first-environ":        "gVisor of 2022 shows a process that is not dumpable to its user; the environment is empty but for a PATH",
		"proc/first-fd":             "the same",
		"proc/first-fd-open":        "the same: sockets cannot be opened again, pipes are those of its own session's programs",
		"proc/first-maps":           "the same",
		"proc/first-smaps":          "the same",
		"proc/first-auxv":           "the same",
		"proc/oom-score":            "gVisor keeps the value and does nothing with it",
		"network/route":             "refused with another error than Linux's",
		"network/privileged-option": "there is no network whose packets could be marked",
		"privileges/nice":           "gVisor keeps the value and does nothing with it",
		"devices/fuse":              "gVisor's own",
		"devices/tun":               "gVisor's own",
		"devices/list":              "the two above",
		"lifetime/kill-first":       "gVisor of 2022 lets a program kill process 1: its session ends, and is reported as lost",
		"lifetime/socket-of-first":  "what is opened is not the socket, which cannot be opened again",
		"resources/processes":       "gVisor knows no limit of processes: the control group of its worker ends the whole session",
	},
}

// A case that was renamed would otherwise be excused under a name that none has.
func TestExpectedCasesExist(t *testing.T) {
	t.Parallel()
	exists := map[string]bool{}
	for _, e := range sandboxtest.Escapes() {
		exists[e.Name] = true
	}
	for level, cases := range expected {
		for name := range cases {
			if !exists[name] {
				t.Errorf("%s: no case is called %s", level, name)
			}
		}
	}
}

func TestNothingEscapes(t *testing.T) {
	t.Parallel()
	eachLevel(t, func(t *testing.T, l level) {
		var cases []sandboxtest.Escape
		for i, e := range sandboxtest.Escapes() {
			if _, known := expected[l.name][e.Name]; e.Known == "" && (known || i%someEscapes == 0 || os.Getenv(allEscapes) == "all") {
				cases = append(cases, e)
			}
		}
		results, err := sandboxtest.TryEscapes(t.Context(), l.options(sandbox.Confinement{}), cases)
		if err != nil {
			t.Fatal(err)
		}
		count := map[sandboxtest.Outcome]int{}
		for _, r := range results {
			count[r.Outcome]++
			why, known := expected[l.name][r.Escape.Name]
			t.Logf("%s %s: %s %s", r.Outcome, r.Escape.Name, r.Detail, why)
			bad := r.Outcome == sandboxtest.Escaped || r.Outcome == sandboxtest.Broken
			if bad && !known {
				t.Errorf("%s: it tried to %s: %s: %s", r.Escape.Name, r.Escape.Tries, r.Outcome, r.Detail)
			}
			if known && r.Outcome == sandboxtest.Stopped {
				t.Logf("NOW STOPPED %s: take it off the list", r.Escape.Name)
			}
		}
		t.Logf("%s: %d of %d cases (%s=all tries all): %d stopped, %d escaped and listed, %d skipped", l.name, len(results),
			len(sandboxtest.Escapes()), allEscapes, count[sandboxtest.Stopped], count[sandboxtest.Escaped]+count[sandboxtest.Broken], count[sandboxtest.Skipped])
	})
}
