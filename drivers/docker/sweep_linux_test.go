package docker

import (
	"archive/tar"
	"bytes"
	"io"
	"maps"
	"os"
	"strconv"
	"testing"

	"github.com/agentflow-go/sandbox/internal/jail"
)

func TestOnlyTheDeadAreAbandoned(t *testing.T) {
	t.Parallel()
	own := ownLabels()
	if own[labelStart] == "" || own[labelBoot] == "" || own[labelSpace] == "" {
		t.Fatalf("own labels %v, want all known", own)
	}
	const none = "4194305" // more than the kernel ever gives
	for name, tt := range map[string]struct {
		change map[string]string
		want   bool
	}{
		"of this program":       {nil, false},
		"of one of that number": {map[string]string{labelStart: "1"}, true},
		"of one that is gone":   {map[string]string{labelPid: none}, true},
		"no number":             {map[string]string{labelPid: "x"}, false},
		"no process's number":   {map[string]string{labelPid: "0"}, false},
		"of a start unknown":    {map[string]string{labelStart: ""}, false},
		"of another boot":       {map[string]string{labelBoot: "b", labelPid: none}, false},
		"of a boot unknown":     {map[string]string{labelBoot: "", labelPid: none}, false},
		"out of sight":          {map[string]string{labelSpace: "pid:[1]", labelPid: none}, false},
	} {
		label := maps.Clone(own)
		maps.Copy(label, tt.change)
		if got := abandoned(label, own); got != tt.want {
			t.Errorf("a container %s: abandoned is %v, want %v", name, got, tt.want)
		}
	}
	if got, err := startTime(os.Getpid()); got != own[labelStart] || err != nil {
		t.Errorf("startTime() = %s, then %s, %v", own[labelStart], got, err)
	}
	if n, err := strconv.Atoi(own[labelStart]); err != nil || n <= 0 {
		t.Errorf("started at %q, want ticks", own[labelStart])
	}
}

// The name of the image is a hash of its content.
func TestTheSkeletonIsTheSameEachTime(t *testing.T) {
	t.Parallel()
	fixed, err := jail.Fixtures()
	if err != nil {
		t.Fatal(err)
	}
	a, err := skeleton(fixed)
	if err != nil {
		t.Fatal(err)
	}
	b, err := skeleton(fixed)
	if err != nil || !bytes.Equal(a, b) {
		t.Errorf("two skeletons of the same view differ (%v)", err)
	}
	seen := map[string]bool{}
	for r := tar.NewReader(bytes.NewReader(a)); ; {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if seen[h.Name] || h.Size != 0 || h.Uid != 0 || h.Mode&0o022 != 0 && h.Mode&0o1000 == 0 && h.Typeflag != tar.TypeSymlink {
			t.Errorf("entry %+v: want empty ones of root's, each once", h)
		}
		seen[h.Name] = true
	}
	for _, name := range []string{"usr", "proc", "workspace", ".jail", "etc/passwd"} {
		if !seen[name] {
			t.Errorf("%s is not there, but only %v", name, seen)
		}
	}
}
