package jail

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/agentflow-go/sandbox/internal/cgroup"
)

// A process that joins a user namespace begins in a control group of version 2
// where there is one. None here has controllers, which matters to limits only.
func TestJoiningStartsInAControlGroup(t *testing.T) {
	t.Parallel()
	root := ""
	for _, dir := range []string{"/sys/fs/cgroup/unified", "/sys/fs/cgroup"} {
		if _, err := os.Stat(dir + "/cgroup.procs"); err == nil && root == "" {
			root = dir
		}
	}
	group := filepath.Join(root, fmt.Sprintf("jail-test-%d", os.Getpid()))
	if err := os.Mkdir(group, 0o755); root == "" || err != nil {
		t.Skipf("no control group of version 2 can be made: %v", err)
	}
	defer os.Remove(group)
	dir, err := os.Open(group)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	s := newStarter()
	defer s.close()
	n, err := newNetwork(s, true, false)
	if err != nil {
		t.Fatal(err)
	}
	defer n.close()
	for _, into := range []bool{true, false} {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		ours, theirs, err := Socket()
		if err != nil {
			t.Fatal(err)
		}
		defer ours.Close()
		sc := newScript()
		defer sc.close()
		if into {
			sc.enter(&cgroup.Entrance{Dir: dir})
		}
		sc.join(n)
		sc.descriptors([]*os.File{os.Stdin, w, w, theirs}, 4)
		sc.exec("/bin/sh", "sh", "-c", "cat /proc/self/cgroup; readlink /proc/self/ns/net")
		p, err := s.launch(sc, 0)
		w.Close()
		theirs.Close()
		if err != nil {
			t.Fatal(err)
		}
		out, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		if st, err := p.Wait(); err != nil || !st.Success() {
			t.Errorf("%v, %v: %s", st, err, out)
		}
		inside := strings.Contains(string(out), "/"+filepath.Base(group)+"\n")
		if inside != into || !strings.HasSuffix(string(out), n.name+"\n") {
			t.Errorf("asked for the group: %v, it was in:\n%swant network %s", into, out, n.name)
		}
	}
}
