package jail_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/agentflow-go/sandbox/internal/jail"
	"github.com/google/go-cmp/cmp"
)

func requireLandlock(t *testing.T) {
	t.Helper()
	if v := jail.LandlockVersion(); v < jail.LandlockLeast {
		t.Skipf("this kernel has version %d of Landlock, jails use %d and newer", v, jail.LandlockLeast)
	}
}

// own makes a directory of the jail's user with a file in it, outside the jail.
func own(t *testing.T, p jail.Policy) (dir, file string) {
	t.Helper()
	dir = openDir(t)
	file = filepath.Join(dir, "file")
	err := errors.Join(os.WriteFile(file, []byte("of the host\n"), 0o600),
		os.Chown(file, p.Identity.UID, p.Identity.GID), os.Chown(dir, p.Identity.UID, p.Identity.GID))
	if err != nil {
		t.Fatal(err)
	}
	return dir, file
}

// A descriptor that was passed for reading must not become one for writing, not
// even of what belongs to the jail's user: no mount and no mode forbids it.
func TestWhatWasPassedForReadingStaysSo(t *testing.T) {
	t.Parallel()
	requireLandlock(t)
	const script = `cat /proc/self/fd/3; echo x >/proc/self/fd/3; echo x >>/proc/self/fd/3; cat /proc/self/fd/4/file
		touch /proc/self/fd/4/new; mkdir /proc/self/fd/4/dir; rm /proc/self/fd/4/file; mv /proc/self/fd/4/file /tmp; truncate -s 0 /proc/self/fd/3; true`
	for _, level := range levels { // none shows what it is without
		h := open(t, jail.Options{Level: level})
		p := policy(t, h)
		dir, file := own(t, p)
		f, err := os.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		d, err := os.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		out, err := run(t, newJailOf(t, h, p), jail.Cmd{Path: "bash", Args: []string{"-c", script}, Files: []*os.File{f, d}})
		if err != nil {
			t.Fatalf("level %s: %v\n%s", level, err, out)
		}
		if level == "none" {
			if _, err := os.Stat(filepath.Join(dir, "new")); err != nil {
				t.Errorf("level none wrote nothing, so that this test proves nothing: %s", out)
			}
			continue
		}
		if strings.Count(out, "of the host\n") != 2 || strings.Count(out, "Permission denied") != 7-strings.Count(out, "cross-device") {
			t.Errorf("reading twice and writing seven times: %s", out)
		}
		content, err := os.ReadFile(file)
		entries, err2 := os.ReadDir(dir)
		if string(content) != "of the host\n" || err != nil || err2 != nil || len(entries) != 1 {
			t.Errorf("afterwards the file holds %q, %v, its directory %v, %v", content, err, entries, err2)
		}
	}
}

func TestWritingWhereItIsAllowed(t *testing.T) { eachConfined(t, testWritingWhereItIsAllowed) }

func testWritingWhereItIsAllowed(t *testing.T, h *jail.Host) {
	p := policy(t, h)
	j := newJailOf(t, h, p)
	// In the workspace with directories, in /tmp and /dev/shm, in /proc.
	const script = `set -e
		mkdir -p a/b c; echo x >a/b/f; mv a/b/f c/g; ln c/g a/h; ln -s c s; mv c a/c; mkfifo p; truncate -s 9 a/h; rm -r a s p
		for d in /tmp /var/tmp /dev/shm; do mkdir $d/x; echo x >$d/x/f; mv $d/x/f ~/f; mv ~/f $d/f; rm -r $d/x; done
		echo 500 >/proc/self/oom_score_adj; echo name >/proc/self/comm; echo x >/dev/null; echo x >/dev/full && exit 1
		echo x >/dev/stdout; exec 5>/tmp/five; echo x >/proc/self/fd/5; script -qc 'echo x >/dev/tty; echo x >/dev/stderr' /dev/null >/dev/null
		python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind("s")'`
	if out, err := run(t, j, jail.Cmd{Path: "bash", Args: []string{"-c", script}}); err != nil {
		t.Errorf("%v\n%s", err, out)
	}

	dir, file := own(t, p)
	out, err := run(t, j, jail.Cmd{
		Path: "bash", Args: []string{"-ec", "echo new >/mnt/d/new; mkdir /mnt/d/x; mv /mnt/d/new /mnt/d/x; echo y >/mnt/f; echo z >~/z"},
		Mounts: []jail.Mount{{Host: dir, Inside: "/mnt/d", Writable: true}, {Host: file, Inside: "/mnt/f", Writable: true}},
	})
	if err != nil {
		t.Errorf("in writable mounts: %v\n%s", err, out)
	}
	if got, err := os.ReadFile(file); string(got) != "y\n" || err != nil {
		t.Errorf("the mounted file holds %q, %v, want y", got, err)
	}
}

// Programs that were started one by one are one worker's and may look at each
// other: lsof, fuser and debuggers find nothing otherwise.
func TestProgramsOfAJailSeeEachOther(t *testing.T) { eachConfined(t, testProgramsOfAJailSeeEachOther) }

func testProgramsOfAJailSeeEachOther(t *testing.T, h *jail.Host) {
	j := newJail(t, h)
	ask, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, say, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	p, err := j.Start(t.Context(), jail.Cmd{Path: "cat", Env: []string{"SEEN=yes"}, Stdin: ask, Stdout: say})
	ask.Close()
	say.Close()
	if err != nil {
		t.Fatal(err)
	}
	// While it is being executed it cannot be looked at yet.
	if _, err := in.WriteString("x"); err != nil {
		t.Fatal(err)
	}
	echo := make([]byte, 1)
	if _, err := out.Read(echo); err != nil || echo[0] != 'x' {
		t.Fatalf("cat says %q, %v", echo, err)
	}
	got := sh(t, j, fmt.Sprintf(`readlink /proc/%[1]d/cwd; tr '\0' '\n' </proc/%[1]d/environ | grep SEEN; ls /proc/%[1]d/fd | wc -l; kill %[1]d`, p.Pid()))
	if diff := cmp.Diff("/workspace\nSEEN=yes\n3\n", got); diff != "" {
		t.Errorf("what one program sees of another (-want +got):\n%s", diff)
	}
	p.Wait() // killed, as the script's status says
}
