package sandbox

import (
	"log/slog"
	"time"
)

// Options configures a [Sandbox]. Only Registry is required.
type Options struct {
	// Registry holds the backends and tools. It belongs to one Sandbox.
	Registry *Registry
	// Logger receives what goes wrong out of callers' sight; nil: nothing is
	// logged.
	Logger *slog.Logger
	// Middleware wraps every call; the first is outermost.
	Middleware []Middleware

	CallTimeout time.Duration // limit of every call; 0: none but the caller's and the tool's
	SessionTTL  time.Duration // idle time of a session; 0: 300 s; negative: never expires
	WorkerTTL   time.Duration // idle workers without sessions are closed after it; 0: 1 h; negative: never
	CloseGrace  time.Duration // how long the end of anything is waited for; 0: 10 s

	MaxCalls    int // calls at once, more wait; calls made by tools are not counted; 0: no limit
	MaxSessions int // sessions at once, more fail with ErrBusy; 0: no limit

	// StrictSessions makes the first call after its session expired or was
	// lost an error (ErrSessionExpired, ErrSessionLost), instead of running
	// it in a temporary session and saying so in Meta.Expired.
	StrictSessions bool
	// ValidateTyped checks typed calls against their schemas too; for tests.
	ValidateTyped bool

	DataDir        string // where workspaces live; "": a temporary directory that Shutdown removes
	KeepWorkspaces bool   // closing a worker leaves its workspace, and the same id finds it again

	// MoveCgroup lets the sandbox move this program into a control group of its own
	// below the one that it runs in, until Shutdown, where version 2 of control
	// groups demands it for limits and the program is alone there: as a container's
	// only program, or as a service with Delegate=yes. Nothing else can then be
	// started in the group above (docker exec), which is why it must be asked for.
	MoveCgroup bool

	// Confine is the policy for everything that workers run.
	Confine Confinement
	// Drivers are further levels of confinement by name, such as docker and
	// gvisor; see [Driver]. Nothing is asked of those that Confine.Level does not
	// name.
	Drivers map[string]Driver
}

// The defaults of Options.
const (
	DefaultSessionTTL = 300 * time.Second
	DefaultWorkerTTL  = time.Hour
	DefaultCloseGrace = 10 * time.Second
)

// withDefaults returns o with zero values replaced.
func (o Options) withDefaults() Options {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	o.SessionTTL = orDefault(o.SessionTTL, DefaultSessionTTL)
	o.WorkerTTL = orDefault(o.WorkerTTL, DefaultWorkerTTL)
	o.CloseGrace = orDefault(o.CloseGrace, DefaultCloseGrace)
	return o
}

func orDefault(d, def time.Duration) time.Duration {
	if d == 0 {
		return def
	}
	return d
}
