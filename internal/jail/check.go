package jail

import (
	"fmt"
	"slices"

	"github.com/agentflow-go/sandbox/internal/cgroup"
)

// limit is one field of Limits as seen by a driver.
type limit struct {
	name    string
	set     bool   // required by the policy
	none    bool   // there is to be no limit
	group   bool   // the worker's control group has it
	reason  string // why it cannot be enforced; "": it can
	partial string // what is missing of its enforcement; "": nothing
	remedy  string
	problem string // a value that makes no sense
}

// limits lists what l asks for and what the level, and the control groups and
// workspaces that support and quota tell of, can do about it.
func limits(level string, l Limits, support func(cgroup.Controller) error, quota func(int64) error) []limit {
	why := func(c cgroup.Controller) string {
		if err := support(c); err != nil {
			return err.Error()
		}
		return ""
	}
	ls := []limit{
		{name: "cpu", set: l.CPU > 0, none: l.CPU == -1 || l.CPU == 0, group: true, reason: why(cgroup.CPU)},
		{name: "memory", set: l.Memory > 0, none: l.Memory == -1, group: true, reason: why(cgroup.Memory)},
		{name: "workspace", set: l.Workspace > 0, none: l.Workspace == -1 || l.Workspace == 0},
		{name: "processes", set: l.Processes > 0, none: l.Processes == -1, group: true, reason: why(cgroup.Pids)},
		{name: "files", set: l.Files > 0, none: l.Files == -1},
	}
	if processes := &ls[3]; level == levelNone {
		ls[4].reason = "level none does not enforce it"
	} else if processes.reason != "" {
		// The jail's resource limit holds all the same.
		processes.reason, processes.partial = "", "counted in each session, not over all of a worker's: "+processes.reason
	}
	if l.Workspace > 0 {
		if err := quota(l.Workspace); err != nil {
			ls[2].reason = err.Error()
		}
	}
	negative := []bool{l.CPU < 0, l.Memory < 0, l.Workspace < 0, l.Processes < 0, l.Files < 0}
	given := []bool{l.CPU == -1, l.Memory == -1, l.Workspace == -1, l.Processes == -1, l.Files == -1}
	for i := range ls {
		ls[i].remedy = fmt.Sprintf("leave it 0 for best effort, or name %q in AllowDegraded to run without it", ls[i].name)
		if negative[i] && !given[i] {
			ls[i].problem = "want a positive value, 0 for the default, or -1 for none"
		}
	}
	return ls
}

// checkLimits fails closed on a set limit that nothing enforces.
func checkLimits(limits []limit, degraded []string) error {
	for _, x := range limits {
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
// enforces, or not wholly.
func unenforced(limits []limit) []string {
	var out []string
	for _, x := range limits {
		if why := x.reason + x.partial; why != "" && !x.none {
			out = append(out, x.name+": "+why)
		}
	}
	return out
}

// checkDegraded refuses names that are no limits, which would be misspelt ones.
func checkDegraded(names []string) error {
	for _, n := range names {
		if !slices.Contains([]string{"cpu", "memory", "workspace", "processes", "files"}, n) {
			return fmt.Errorf("jail: AllowDegraded: unknown limit %q, want cpu, memory, workspace, processes or files", n)
		}
	}
	return nil
}

const (
	levelAuto   = "auto"
	levelBwrap  = "bwrap"
	levelNative = "native"
	levelNone   = "none"
)

// checkLevel returns the level that name stands for, "auto" included.
func checkLevel(name string) (string, error) {
	switch name {
	case "":
		return levelAuto, nil
	case levelAuto, levelBwrap, levelNative, levelNone:
		return name, nil
	case "gvisor", "docker":
		return "", &UnavailableError{Level: name, Reason: "this program was not given its driver", Remedy: "hand it in: Options.Drivers, package drivers/" + name}
	}
	return "", fmt.Errorf("jail: unknown level %q, want auto, bwrap, native or none", name)
}
