package sandbox_test

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/agentflow-go/sandbox"
)

func TestAnExistingSessionIsNotGivenOutUnderAnotherConfinement(t *testing.T) {
	t.Parallel()
	sb := newSandbox(t, newFake(sandbox.BackendSpec{}, sandbox.BackendFuncs[*counter]{}).reg, sandbox.Options{
		Confine: sandbox.Confinement{Egress: sandbox.Egress{Allow: []string{"a.example", "b.example"}}, Limits: sandbox.Limits{Files: 200}, AllowDegraded: []string{"cpu"}},
	})
	allow := func(hosts ...string) *sandbox.Confinement {
		return &sandbox.Confinement{Egress: sandbox.Egress{Allow: append([]string{}, hosts...)}}
	}
	limits := func(l sandbox.Limits) *sandbox.Confinement { return &sandbox.Confinement{Limits: l} }
	check := &sandbox.Confinement{Egress: sandbox.Egress{Check: func(context.Context, sandbox.Dial) error { return nil }}}
	for _, tc := range []struct {
		name        string
		have, asked *sandbox.Confinement
		want        sandbox.Code // 0: the existing session
	}{
		{"nothing asked", limits(sandbox.Limits{Processes: 3}), nil, 0},
		{"zero is the sandbox's", nil, &sandbox.Confinement{}, 0},
		{"the sandbox's, written out", nil, &sandbox.Confinement{Egress: sandbox.Egress{Allow: []string{"b.example", "a.example"}}, Limits: sandbox.Limits{Files: 200}}, 0},
		{"the same again", allow("a.example"), allow("a.example"), 0},
		{"no network", nil, allow(), sandbox.ErrConflict},
		{"fewer hosts", nil, allow("a.example"), sandbox.ErrConflict},
		{"more hosts than it has", allow("a.example"), allow("a.example", "b.example"), sandbox.ErrConflict},
		{"a limit", nil, limits(sandbox.Limits{Processes: 3}), sandbox.ErrConflict},
		{"another limit", limits(sandbox.Limits{Processes: 4}), limits(sandbox.Limits{Processes: 3}), sandbox.ErrConflict},
		{"the sandbox's of a narrowed one", limits(sandbox.Limits{Processes: 4}), &sandbox.Confinement{}, sandbox.ErrConflict},
		{"degraded no more", nil, &sandbox.Confinement{AllowDegraded: []string{}}, sandbox.ErrConflict},
		{"a check", check, check, sandbox.ErrConflict},
		{"no check", check, &sandbox.Confinement{}, sandbox.ErrConflict},
		{"no level", nil, &sandbox.Confinement{Level: "nonsense"}, sandbox.ErrInvalidInput},
		{"no pattern", nil, allow("https://a.example"), sandbox.ErrInvalidInput},
		{"wider network", nil, allow("example.com:443"), sandbox.ErrDenied},
		{"wider limit", nil, limits(sandbox.Limits{Files: 201}), sandbox.ErrDenied},
		{"workspace", nil, limits(sandbox.Limits{Workspace: 1 << 20}), sandbox.ErrCannotEnforce},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			w := sb.Worker(tc.name)
			first, err := w.CreateSession(t.Context(), "fake", sandbox.SessionOptions{Confinement: tc.have})
			if err != nil {
				t.Fatal(err)
			}
			again := sandbox.SessionOptions{Confinement: tc.asked, Config: []byte(`{"another":1}`)}
			got, err := w.CreateSession(t.Context(), "fake", again)
			if sandbox.CodeOf(err) != tc.want || (err == nil) != (got.Existing && got.ID == first.ID) {
				t.Errorf("created again: %+v, %v; want code %d", got, err, tc.want)
			}
			if infos, err := w.Sessions(t.Context()); err != nil || len(infos) != 1 || infos[0].ID != first.ID {
				t.Errorf("sessions %+v, %v; want the first one only", infos, err)
			}
			if tc.name == "no level" && !strings.HasSuffix(err.Error(), "none)") {
				t.Errorf("%v; want the known levels, and no more", err)
			}
			if tc.want == sandbox.ErrConflict && (!strings.Contains(err.Error(), "destroy it first") || !strings.Contains(err.Error(), first.ID)) {
				t.Errorf("%v; want the session and what to do", err)
			}
			if err := w.DestroySession(t.Context(), "fake"); err != nil {
				t.Fatal(err)
			}
			// A fresh session is refused for the same reasons, but for the conflict.
			if _, fresh := w.CreateSession(t.Context(), "fake", again); tc.want == 0 || tc.want == sandbox.ErrConflict {
				if fresh != nil {
					t.Errorf("fresh session: %v", fresh)
				}
			} else if fresh == nil || fresh.Error() != err.Error() {
				t.Errorf("fresh session: %v; want %v", fresh, err)
			}
		})
	}
}

func TestFaultsOfLimitsAreWrittenAsPeopleDo(t *testing.T) {
	t.Parallel()
	sb := newSandbox(t, newFake(sandbox.BackendSpec{}, sandbox.BackendFuncs[*counter]{}).reg, sandbox.Options{
		Confine: sandbox.Confinement{Limits: sandbox.Limits{Memory: 1 << 30, Processes: 2_000_000, CPU: 1.5}},
	})
	const wider = " would widen the sandbox's policy: the sandbox's limit is "
	const none = " is no limit (a limit is positive"
	const little = " is too little to start anything; want at least 16 MiB"
	for _, tc := range []struct {
		limits sandbox.Limits
		code   sandbox.Code
		want   string
	}{
		{sandbox.Limits{Memory: 8 << 30}, sandbox.ErrDenied, "memory: 8 GiB" + wider + "1 GiB"},
		{sandbox.Limits{Memory: -1}, sandbox.ErrDenied, "memory: -1" + wider + "1 GiB"},
		{sandbox.Limits{Memory: math.MaxInt64}, sandbox.ErrDenied, wider + "1 GiB"},
		{sandbox.Limits{Processes: 30_000_000}, sandbox.ErrDenied, "processes: 30000000" + wider + "2000000"},
		{sandbox.Limits{CPU: 2.5}, sandbox.ErrDenied, "cpu: 2.5" + wider + "1.5"},
		{sandbox.Limits{CPU: math.NaN()}, sandbox.ErrInvalidInput, "cpu: NaN" + none},
		{sandbox.Limits{Files: -30_000_000}, sandbox.ErrInvalidInput, "files: -30000000" + none},
		{sandbox.Limits{Workspace: 3 << 20}, sandbox.ErrCannotEnforce, "workspace: 3 MiB for one session"},
		{sandbox.Limits{Memory: 1000}, sandbox.ErrInvalidInput, "memory: 1000 bytes" + little},
		{sandbox.Limits{Memory: 64 << 10}, sandbox.ErrInvalidInput, "memory: 64 KiB" + little},
		{sandbox.Limits{Memory: 16<<20 - 1}, sandbox.ErrInvalidInput, little},
		{sandbox.Limits{Memory: 16 << 20}, 0, ""},
	} {
		_, err := sb.Worker("w").CreateSession(t.Context(), "fake", sandbox.SessionOptions{Confinement: &sandbox.Confinement{Limits: tc.limits}})
		if sandbox.CodeOf(err) != tc.code || err != nil && !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%+v: %v; want code %d, %q", tc.limits, err, tc.code, tc.want)
		}
	}
}

func TestTooLittleMemoryIsRefusedByNew(t *testing.T) {
	t.Parallel()
	_, err := sandbox.New(sandbox.Options{Registry: new(sandbox.Registry), Confine: sandbox.Confinement{Limits: sandbox.Limits{Memory: 1 << 20}}})
	if !errors.Is(err, sandbox.ErrInvalidInput) || !strings.Contains(err.Error(), "confinement.limits.memory: 1 MiB is too little") {
		t.Errorf("New = %v", err)
	}
}
