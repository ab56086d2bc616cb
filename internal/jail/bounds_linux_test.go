package jail_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/agentflow-go/sandbox/internal/jail"
)

func TestFilesAndTerminalsAreBounded(t *testing.T) { eachConfined(t, testFilesAndTerminalsAreBounded) }

func testFilesAndTerminalsAreBounded(t *testing.T, h *jail.Host) {
	p := policy(t, h)
	p.TmpSize, p.ShmSize = 8<<20, 1<<20
	j := newJailOf(t, h, p)
	// Empty files take no byte of the size.
	const fill = `import os, sys
for d in "/tmp", "/dev/shm":
    n = 0
    try:
        while n < 100000:
            open(f"{d}/{n}", "x").close()
            n += 1
    except OSError as e:
        print(d, n, e.strerror)
n, held = 0, []
try:
    while n < 1000:
        held.append(os.open("/dev/ptmx", os.O_RDWR | os.O_NOCTTY))
        n += 1
except OSError as e:
    print("terminals", n, e.strerror)
`
	got, err := run(t, j, jail.Cmd{Path: "/usr/bin/python3", Args: []string{"-c", fill}})
	if err != nil {
		t.Fatalf("%v\n%s", err, got)
	}
	var tmp, shm, terminals int
	if _, err := fmt.Sscanf(got, "/tmp %d No space left on device\n/dev/shm %d No space left on device\nterminals %d No space left on device\n", &tmp, &shm, &terminals); err != nil {
		t.Fatalf("%v: %q", err, got)
	}
	if tmp < 2000 || tmp > 2048 || shm < 1000 || shm > 1024 || terminals != 64 {
		t.Errorf("files in /tmp and /dev/shm, terminals: %d, %d, %d, want about 2048, 1024, 64", tmp, shm, terminals)
	}
	// A terminal is still what it was.
	out := sh(t, newJailOf(t, h, p), `stat -c '%a' /dev/pts/ptmx; script -qc 'stat -c %a "$(tty)"; echo in a terminal' /dev/null </dev/null; findmnt -no OPTIONS /dev/pts /tmp || true`)
	if !strings.HasPrefix(out, "666\n620\r\nin a terminal\r\n") {
		t.Errorf("terminals inside: %q", out)
	}
	t.Log(out)
}
