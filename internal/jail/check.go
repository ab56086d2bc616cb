package jail

import (
	"fmt"
	"slices"
)

// limit is one field of Limits as seen by a driver.
type limit struct {
	name    string
	set     bool   // required by the policy
	none    bool   // the policy wants no limit
	reason  string // why the driver cannot enforce it; "": it can
	remedy  string
	problem string // a value that makes no sense
}

// limits lists what l asks for and what the level can do about it.
func limits(level string, l Limits) []limit {
	const cgroup = "no cgroup support yet on this driver"
	ls := []limit{
		{name: "cpu", set: l.CPU > 0, none: l.CPU == -1, reason: cgroup},
		{name: "memory", set: l.Memory > 0, none: l.Memory == -1, reason: cgroup},
		{name: "workspace", set: l.Workspace > 0, none: l.Workspace == -1, reason: "no quota support yet on this driver"},
		{name: "processes", set: l.Processes > 0, none: l.Processes == -1},
		{name: "files", set: l.Files > 0, none: l.Files == -1},
	}
	negative := []bool{l.CPU < 0, l.Memory < 0, l.Workspace < 0, l.Processes < 0, l.Files < 0}
	for i := range ls {
		if level == levelNone {
			ls[i].reason = "level none enforces no limits"
		}
		ls[i].remedy = fmt.Sprintf("leave it 0 for best effort, or name %q in AllowDegraded to run without it", ls[i].name)
		if negative[i] && !ls[i].none {
			ls[i].problem = "want a positive value, 0 for the default, or -1 for none"
		}
	}
	return ls
}

// checkLimits fails closed on a set limit that nothing enforces.
func checkLimits(level string, l Limits, degraded []string) error {
	for _, x := range limits(level, l) {
		if x.problem != "" {
			return fmt.Errorf("jail: limit %s: %s", x.name, x.problem)
		}
		if x.set && x.reason != "" && !slices.Contains(degraded, x.name) {
			return &PolicyError{Limit: x.name, Reason: x.reason, Remedy: x.remedy}
		}
	}
	return nil
}

// unenforced names the limits, default or allowed to be degraded, that nothing
// enforces.
func unenforced(level string, l Limits) []string {
	var out []string
	for _, x := range limits(level, l) {
		if x.reason != "" && !x.none {
			out = append(out, x.name+": "+x.reason)
		}
	}
	return out
}

// checkDegraded refuses names that are no limits, which would be misspelt ones.
func checkDegraded(names []string) error {
	for _, n := range names {
		if !slices.ContainsFunc(limits("", Limits{}), func(l limit) bool { return l.name == n }) {
			return fmt.Errorf("jail: AllowDegraded: unknown limit %q, want cpu, memory, workspace, processes or files", n)
		}
	}
	return nil
}

const (
	levelAuto  = "auto"
	levelBwrap = "bwrap"
	levelNone  = "none"
)

// checkLevel returns the level that name stands for, "auto" included.
func checkLevel(name string) (string, error) {
	switch name {
	case "":
		return levelAuto, nil
	case levelAuto, levelBwrap, levelNone:
		return name, nil
	case "native", "gvisor", "docker":
		return "", &UnavailableError{Level: name, Reason: "this level does not exist yet", Remedy: "use auto, bwrap or none"}
	}
	return "", fmt.Errorf("jail: unknown level %q, want auto, bwrap or none", name)
}
