package nearest_test

import (
	"testing"

	"github.com/agentflow-go/sandbox/internal/nearest"
	"github.com/google/go-cmp/cmp"
)

func TestNames(t *testing.T) {
	t.Parallel()
	known := []string{"bash:run", "bash:start", "browser:goto", "file:read", "echo", "websearch"}
	tests := []struct {
		name string
		want []string
	}{
		{"bash:rnu", []string{"bash:run"}}, // neighbours swapped
		{"Bash:Run", []string{"bash:run"}}, // case
		{"bash_run", []string{"bash:run"}}, // separator
		{"goto", []string{"browser:goto"}}, // part of a name
		{"ehco", []string{"echo"}},
		{"serperkey", nil},
		{"", nil},
		{"bash:srart", []string{"bash:start"}},
	}
	for _, tt := range tests {
		if diff := cmp.Diff(tt.want, nearest.Names(tt.name, known, 3)); diff != "" {
			t.Errorf("Names(%q) mismatch (-want +got):\n%s", tt.name, diff)
		}
	}
}

func TestNamesReturnsAtMost(t *testing.T) {
	t.Parallel()
	if got := nearest.Names("aa", []string{"ab", "aa", "ac"}, 1); len(got) != 1 || got[0] != "aa" {
		t.Errorf("Names = %q, want the closest one only", got)
	}
}
