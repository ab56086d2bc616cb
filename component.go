package sandbox

import (
	"context"
	"encoding/json"
)

// Component is something that a configuration file may name: a backend under
// "resources", a group of tools under "apis", or a level under "confinement". The
// root package knows none; this module's are collected in httpserver/builtin, and
// a program may put its own beside them.
type Component struct {
	Kind    ComponentKind // resource, api or driver
	Key     string        // its key in the file: bash, websearch, docker
	Classes []string      // values of backend_class that mean it, besides Key
	// Register adds its backend and tools to r. The key may be set without
	// any settings. An error refuses the file.
	Register func(r *Registry, s Section) error
	// Check looks at the settings and the host without starting anything that
	// stays, for --validate; nil: nothing to check.
	Check func(ctx context.Context, s Section) []Problem
	// Driver makes a level's driver from confinement.drivers.<key>; for
	// KindDriver, which needs nothing else. An error refuses the file.
	Driver func(s Section) (Driver, error)
	// Default puts the component into the embedded default configuration: it
	// needs nothing configured.
	Default bool
}

// ComponentKind is the section of the file that a [Component] is named in.
type ComponentKind string

// The kinds of components.
const (
	KindResource ComponentKind = "resource"
	KindAPI      ComponentKind = "api"
	KindDriver   ComponentKind = "driver" // its key is a confinement.level
)

// Section is a component's part of a configuration file, with variables
// expanded and comments removed.
type Section struct {
	Name        string          // the key in the file; a resource's backend is registered under it
	Description string          // resources.<name>.description
	Pool        int             // resources.<name>.pool
	Raw         json.RawMessage // resources.<name>.config, apis.<name> or confinement.drivers.<name>, a JSON object
}

// Problem is something that is wrong with a configuration.
type Problem struct {
	Key     string // path in the file, such as resources.bash.config.cwd
	Text    string
	Remedy  string
	Warning bool // the server starts all the same
}
