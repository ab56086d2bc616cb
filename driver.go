package sandbox

import (
	"slices"

	"github.com/agentflow-go/sandbox/internal/jail"
)

// Driver confines what workers run by other means than this package's own:
// drivers/docker and drivers/gvisor make some. [Options.Drivers] gives one its
// name, and [Confinement.Level] asks for it by that name.
//
// A Driver may be used by any number of sandboxes at once. Making one starts and
// asks nothing; the first program, or [Sandbox.Probe], does, and fails with
// [ErrCannotEnforce] and the remedy where the driver does not work.
//
// The method cannot be implemented outside of this module, since it speaks of
// internal types: what a driver owes to the rest of confinement (which program may
// be reached inside, what its word is taken for) is not settled enough to be
// promised.
type Driver interface {
	// JailDriver returns what starts jails for one sandbox, at the level called
	// name.
	JailDriver(name string) jail.Driver
}

// checkDrivers refuses names that mean something else already.
func checkDrivers(drivers map[string]Driver) error {
	for name, d := range drivers {
		if slices.Contains([]string{"", "auto", "bwrap", "native", "none"}, name) {
			return Errorf(ErrInvalidInput, "Options.Drivers: %q is a level of this package's own; give the driver another name", name)
		}
		if d == nil {
			return Errorf(ErrInvalidInput, "Options.Drivers: %q is nil; leave it out", name)
		}
	}
	return nil
}
