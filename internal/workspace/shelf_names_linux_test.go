package workspace

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestAnUnknownSnapshotIsAnsweredWithTheNamesThereAre(t *testing.T) {
	t.Parallel()
	var shots []Snapshot
	for i := range 12 {
		shots = append(shots, Snapshot{Name: fmt.Sprint("s", i)})
	}
	for n, want := range map[int]string{
		0: "there is none", 2: "there are s0, s1",
		12: "there are s2, s3, s4, s5, s6, s7, s8, s9, s10, s11 and 2 older ones",
	} {
		if got := known(shots[:n]); got != want {
			t.Errorf("%d snapshots: %q, want %q", n, got, want)
		}
	}
}

// They are made faster than the clock of a file system ticks.
func TestSnapshotsThatAreFoundAgainAreInTheOrderOfTheirMaking(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir(), Options{})
	d := newDir(t, s, worker("w"))
	var want, got []string
	for i := range 16 {
		want = append(want, fmt.Sprint(i))
		snapshot(t, d, want[i])
	}
	release(t, d, true)
	shots, err := newDir(t, s, worker("w")).Snapshots(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, shot := range shots {
		got = append(got, shot.Name)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("snapshots (-want +got):\n%s", diff)
	}
}
