package jail

import (
	"fmt"
	"os"
	"strings"
)

// Bwrap is the host's process number of the jail's bwrap, or of its first
// process under level none.
func (j *Jail) Bwrap() int { return j.boss.Pid() }

// First is the host's process number of the jail's first process.
func (j *Jail) First() (pid int, err error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/self/fdinfo/%d", j.pidfd))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if n, _ := fmt.Sscanf(line, "Pid: %d", &pid); n == 1 {
			return pid, nil
		}
	}
	return 0, fmt.Errorf("no Pid in %q", b)
}

// ApartDriver is bwrap as a driver that cannot join a network.
func ApartDriver() Driver { return &apartDriver{} }

type apartDriver struct{ bwrapDriver }

func (d *apartDriver) Traits() Traits { return Traits{} }

// KillUser is for the test of left-over processes.
var KillUser = killUser

// KillTime is how long a user's processes get to die.
const KillTime = killTime

// Marker and ExePath are the arguments of a first process.
const (
	Marker  = marker
	ExePath = exePath

	BrokerName = brokerName
)

// LandlockVersion is the kernel's, LandlockLeast the one that jails use.
var LandlockVersion = landlock

const LandlockLeast = landlockVersion

// Broker is the process that forks for the Host; 0: none yet.
func (h *Host) Broker() int {
	h.starter.mu.Lock()
	defer h.starter.mu.Unlock()
	if h.starter.broker == nil {
		return 0
	}
	return h.starter.broker.p.Pid
}
