package sandbox

import (
	"context"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/agentflow-go/sandbox/internal/jail"
	"github.com/agentflow-go/sandbox/internal/size"
	"github.com/agentflow-go/sandbox/internal/volume"
)

// limitNames are the limits that AllowDegraded may name.
const limitNames = "cpu, memory, workspace, processes, files"

// minMemory is the smallest limit of memory. A first process and a shell with a
// small program take up to 4 MiB; with less no jail starts, for reasons that
// seem to be others.
const minMemory = 16 << 20

// checkConfinement refuses values that mean nothing, before any host is asked.
// drivers are the names of further levels.
func checkConfinement(c Confinement, drivers ...string) error {
	// Whether this host has the level is for Probe to find out.
	levels := []string{"auto", "bwrap", "docker", "gvisor", "native", "none"}
	for _, name := range drivers {
		if name != "" && !slices.Contains(levels, name) {
			levels = append(levels, name)
		}
	}
	if c.Level != "" && !slices.Contains(levels, c.Level) {
		return Errorf(ErrInvalidInput, "confinement.level: %q is no level (known are %s)", c.Level, strings.Join(levels, ", "))
	}
	for _, name := range c.AllowDegraded {
		if !slices.Contains(strings.Split(limitNames, ", "), name) {
			return Errorf(ErrInvalidInput, "confinement.allow_degraded: %q is no limit (known are %s)", name, limitNames)
		}
	}
	for _, l := range c.Limits.list() {
		if (l.value < 0 && l.value != -1) || math.IsNaN(l.value) {
			return Errorf(ErrInvalidInput, "confinement.limits.%s: %s is no limit (a limit is positive, 0 for the default or -1 for none)", l.name, l.text(l.value))
		}
	}
	if m := c.Limits.Memory; m > 0 && m < minMemory {
		return Errorf(ErrInvalidInput, "confinement.limits.memory: %s is too little to start anything; want at least %s, or -1 for no limit", size.Format(m), size.Format(minMemory))
	}
	if w := c.Limits.Workspace; w > 0 && w < volume.MinSize {
		return Errorf(ErrInvalidInput, "confinement.limits.workspace: %s is too little for a file system; want at least %s, or -1 for no limit", size.Format(w), size.Format(volume.MinSize))
	}
	_, err := allowList(c.Egress)
	return err
}

type namedLimit struct {
	name  string
	value float64
	def   float64 // what 0 stands for; 0: no bound by default
	bytes bool
}

// text writes a value of the limit.
func (l namedLimit) text(v float64) string {
	if l.bytes && v > 0 && v < math.MaxInt64 {
		return size.Format(int64(v))
	}
	return strconv.FormatFloat(v, 'f', -1, 64)
}

func (l Limits) list() []namedLimit {
	return []namedLimit{
		{"cpu", l.CPU, 0, false},
		{"memory", float64(l.Memory), jail.DefaultMemory, true},
		{"workspace", float64(l.Workspace), 0, true},
		{"output", float64(l.Output), 0, true},
		{"processes", float64(l.Processes), jail.DefaultProcesses, false},
		{"files", float64(l.Files), jail.DefaultFiles, false},
	}
}

// narrow returns the sandbox's policy as a session narrows it; nil for the
// sandbox's own. A session that asks for more than the sandbox allows is
// refused.
func narrow(base Confinement, s *Confinement) (*Confinement, error) {
	if s == nil {
		return nil, nil
	}
	if err := checkConfinement(*s, base.Level); err != nil {
		return nil, err
	}
	if s.Level != "" && s.Level != base.Level {
		return nil, widens("level", strconv.Quote(s.Level), "the sandbox's level applies to all sessions")
	}
	for _, name := range s.AllowDegraded {
		if !slices.Contains(base.AllowDegraded, name) {
			return nil, widens("allow_degraded", strconv.Quote(name), "the sandbox requires this limit")
		}
	}
	for _, host := range s.Egress.Allow {
		if !slices.Contains(base.Egress.Allow, host) {
			return nil, widens("egress.allow", strconv.Quote(host), "the sandbox does not allow it")
		}
	}
	own := s.Limits.list()
	for i, b := range base.Limits.list() {
		bound := b.value
		if bound == 0 {
			bound = b.def
		}
		if v := own[i].value; bound > 0 && (v == -1 || v > bound) {
			return nil, widens("limits."+b.name, b.text(v), "the sandbox's limit is "+b.text(bound))
		}
	}
	if s.ReadOnly != nil && !sameSet(s.ReadOnly, base.ReadOnly) {
		return nil, Errorf(ErrCannotEnforce, "confinement.read_only: is the sandbox's to set, the same for all sessions; leave it out")
	}
	if v := s.Limits.Workspace; v > 0 && v != base.Limits.Workspace && !slices.Contains(base.AllowDegraded, "workspace") {
		return nil, Errorf(ErrCannotEnforce, "confinement.limits.workspace: %s for one session: all sessions of a worker share its workspace, whose size is the sandbox's to set; leave it out", size.Format(v))
	}
	out := *s
	out.Level, out.ReadOnly = base.Level, base.ReadOnly
	if s.AllowDegraded == nil {
		out.AllowDegraded = base.AllowDegraded
	}
	if s.Egress.Allow == nil {
		out.Egress.Allow = base.Egress.Allow
	}
	out.Egress.Check = both(base.Egress.Check, s.Egress.Check)
	inherit(&out.Limits.CPU, base.Limits.CPU)
	inherit(&out.Limits.Memory, base.Limits.Memory)
	inherit(&out.Limits.Workspace, base.Limits.Workspace)
	inherit(&out.Limits.Output, base.Limits.Output)
	inherit(&out.Limits.Processes, base.Limits.Processes)
	inherit(&out.Limits.Files, base.Limits.Files)
	return &out, nil
}

// keeps refuses a confinement asked for, which narrow made want of, of a session
// that exists and has another: its programs run under that one. ws.mu is held.
func (s *session) keeps(asked, want *Confinement) error {
	if asked == nil {
		return nil
	}
	e := &Error{Code: ErrConflict, Session: s.id, Data: map[string]any{"resource_type": s.b.spec.Name, "session_id": s.id}}
	have := s.policyOf()
	switch {
	case s.checks || asked.Egress.Check != nil:
		e.Message = "with an Egress.Check, of which none equals another"
	case have.Level != want.Level || have.Limits != want.Limits ||
		!sameSet(have.Egress.Allow, want.Egress.Allow) || !sameSet(have.AllowDegraded, want.AllowDegraded):
		e.Message = "with another confinement"
	default:
		return nil
	}
	e.Message = "session " + s.id + " exists " + e.Message + "; destroy it first to have it under this one"
	return e
}

func sameSet(a, b []string) bool {
	within := func(a, b []string) bool {
		return !slices.ContainsFunc(a, func(v string) bool { return !slices.Contains(b, v) })
	}
	return within(a, b) && within(b, a)
}

// narrowsEgress tells whether a session's policy, nil for none, lets less out than
// base, from which narrow took the rest.
func narrowsEgress(base Confinement, s *Confinement) bool {
	if s == nil {
		return false
	}
	if s.Egress.Check != nil {
		return true
	}
	return s.Egress.Allow != nil && slices.ContainsFunc(base.Egress.Allow, func(host string) bool { return !slices.Contains(s.Egress.Allow, host) })
}

func inherit[T comparable](v *T, base T) {
	var zero T
	if *v == zero {
		*v = base
	}
}

func both(a, b func(context.Context, Dial) error) func(context.Context, Dial) error {
	if a == nil || b == nil {
		if a == nil {
			return b
		}
		return a
	}
	return func(ctx context.Context, d Dial) error {
		if err := a(ctx, d); err != nil {
			return err
		}
		return b(ctx, d)
	}
}

func widens(field, value, why string) error {
	return Errorf(ErrDenied, "confinement.%s: %s would widen the sandbox's policy: %s; a session may only narrow it", field, value, why)
}
