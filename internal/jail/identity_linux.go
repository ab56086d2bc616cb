package jail

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/agentflow-go/sandbox/internal/reserve"
	"golang.org/x/sys/unix"
)

// Worker uids are uidBase to uidBase+reserve.Max-1. systemd's table of uids
// (UIDS-GIDS.md) leaves 1,879,048,192 to 2,147,352,575 unused, above what
// container managers and subordinate ids take, and the numbers stay below 2^31
// for programs that keep them in a signed integer.
const uidBase = 1_900_000_000

// uidDir holds the lock file of the worker uids of the whole machine. It is
// directly below /run, where only root can make it: below /run/lock, which all
// may write on many systems, anybody could take its name first.
const uidDir = "/run/agentflow-sandbox"

// Identity is the host user that a worker's programs run as. As root each has a
// user of its own that no other program on the machine uses; else all have the
// host program's. Its directory must belong to UID and GID.
type Identity struct {
	UID, GID int

	h *Host
	n int // the reservation; -1: the host program's own user
	// group bounds what runs for the worker, together.
	group workerGroup
	// net is what its jails share of a network.
	net workerNet

	once sync.Once
	err  error
}

// Identity returns an identity for a worker. What is left of a former holder's
// processes is killed first. The caller calls [Identity.Release] once the
// worker's jails are closed.
func (h *Host) Identity() (*Identity, error) {
	if h.uids == nil {
		return h.known(&Identity{UID: os.Getuid(), GID: os.Getgid(), h: h, n: -1}), nil
	}
	for {
		n, dirty, err := h.uids.Take()
		if err != nil {
			return nil, fmt.Errorf("jail: identity: %w", err)
		}
		uid := uidBase + n
		if dirty {
			if err := killUser(uid, killTime); err != nil {
				// The number stays taken, and the next one is tried.
				h.log.Warn("a worker uid still has processes of a former program and is not used", "uid", uid, "error", err)
				continue
			}
		}
		return h.known(&Identity{UID: uid, GID: uid, h: h, n: n}), nil
	}
}

// known lets Close find the identity's group.
func (h *Host) known(id *Identity) *Identity {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.workers[id] = struct{}{}
	return id
}

// Release gives the identity back, after killing what still runs as it. When
// that fails the identity stays out of use, and Release says why. Calls after
// the first return what the first did.
func (id *Identity) Release() error {
	id.once.Do(func() {
		id.h.mu.Lock()
		delete(id.h.workers, id)
		id.h.mu.Unlock()
		group := id.group.close()
		if id.n < 0 {
			id.err = group
			return
		}
		defer func() { id.err = errors.Join(id.err, group) }()
		if id.err = killUser(id.UID, killTime); id.err == nil {
			id.err = id.h.uids.Release(id.n)
			if errors.Is(id.err, reserve.ErrClosed) {
				id.err = nil // the host was closed, and all its numbers with it
			}
		}
	})
	return id.err
}

// openUIDs opens the machine's lock file of worker uids.
func openUIDs(level string) (*reserve.File, error) {
	if err := mapped(level, uidBase, reserve.Max); err != nil {
		return nil, err
	}
	if err := os.Mkdir(uidDir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return nil, fmt.Errorf("jail: directory of worker uids: %w", err)
	}
	var st unix.Stat_t
	if err := unix.Lstat(uidDir, &st); err != nil {
		return nil, fmt.Errorf("jail: directory of worker uids: %w", err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR || st.Uid != 0 || st.Mode&0o077 != 0 {
		return nil, fmt.Errorf("jail: %s is not a directory of root's with mode 0700: somebody else made it; remove it", uidDir)
	}
	return reserve.Open(uidDir + "/uids")
}

// mapped checks that this user namespace has the uids and gids from first on.
func mapped(level string, first, count int) error {
	for _, path := range []string{"/proc/self/uid_map", "/proc/self/gid_map"} {
		b, err := os.ReadFile(path)
		if err != nil {
			return fmt.Errorf("jail: %w", err)
		}
		ok := false
		for line := range strings.Lines(string(b)) {
			f := strings.Fields(line)
			if len(f) != 3 {
				continue
			}
			from, err1 := strconv.Atoi(f[0])
			n, err2 := strconv.Atoi(f[2])
			ok = ok || (err1 == nil && err2 == nil && from <= first && first+count <= from+n)
		}
		if !ok {
			return &UnavailableError{
				Level:  level,
				Reason: fmt.Sprintf("root of this user namespace has no users %d to %d for workers", first, first+count-1),
				Remedy: "run the program as an ordinary user, or without user-namespace remapping",
			}
		}
	}
	return nil
}

// killTime bounds the killing of a user's processes.
const killTime = 5 * time.Second

// killUser kills every process of a user and waits until none is left.
func killUser(uid int, limit time.Duration) error {
	deadline := time.Now().Add(limit)
	for {
		found := processesOf(uid)
		if len(found) == 0 {
			return nil
		}
		for _, pid := range found {
			if err := killOne(pid, uid, deadline); err != nil {
				return err
			}
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("jail: processes of uid %d are still there after %v", uid, limit)
		}
	}
}

// killOne kills a process, if it is still that user's, and waits for its end. The
// descriptor is opened before the check, so that a number used again meanwhile
// is not mistaken for it.
func killOne(pid, uid int, deadline time.Time) error {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return nil // gone
	}
	defer unix.Close(fd)
	if !isUser(pid, uid) {
		return nil
	}
	if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err != nil && err != unix.ESRCH {
		return fmt.Errorf("jail: kill process %d of uid %d: %w", pid, uid, err)
	}
	if !gone(fd, time.Until(deadline)) {
		return fmt.Errorf("jail: process %d of uid %d does not die", pid, uid)
	}
	return nil
}

// gone waits up to limit for the end of a process, and of its pid namespace when
// it was the first process of one.
func gone(pidfd int, limit time.Duration) bool {
	deadline := time.Now().Add(limit)
	for {
		ms := max(0, int(time.Until(deadline).Milliseconds()))
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}, ms)
		if err == unix.EINTR {
			continue
		}
		return err == nil && n > 0
	}
}

// processesOf lists the processes that run, in whatever sense, as uid. Zombies
// are their parents' business.
func processesOf(uid int) (pids []int) {
	for _, p := range processes() {
		if p.state != 'Z' && p.state != 'X' && isUser(p.pid, uid) {
			pids = append(pids, p.pid)
		}
	}
	return pids
}

// isUser tells whether any of the process's four uids is uid.
func isUser(pid, uid int) bool {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		return false
	}
	want := strconv.Itoa(uid)
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "Uid:"); ok {
			for _, f := range strings.Fields(rest) {
				if f == want {
					return true
				}
			}
			return false
		}
	}
	return false
}
