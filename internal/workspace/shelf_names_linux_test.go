package workspace

import (
	"fmt"
	"testing"
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
