package jail

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// probeTime bounds a probe, whatever the caller's patience. It takes half a second,
// but with a container engine on a busy machine more than ten.
const probeTime = 30 * time.Second

// probe runs a jail that tries what must not be possible.
func (h *Host) probe(ctx context.Context) (err error) {
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	id, err := h.Identity()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "jail-probe-")
	if err == nil {
		dir, err = filepath.Abs(dir) // TMPDIR need not be
	}
	if err != nil {
		return fmt.Errorf("jail: probe: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir), id.Release()) }()
	// The canary may be read by everybody, its directory be entered: only the
	// jail's view keeps it out of sight.
	canary, workspace := filepath.Join(dir, "canary"), filepath.Join(dir, "workspace")
	err = errors.Join(
		os.Chmod(dir, 0o755),
		os.WriteFile(canary, []byte("canary"), 0o644),
		os.Mkdir(workspace, 0o700),
		os.Chown(workspace, id.UID, id.GID))
	if err != nil {
		return fmt.Errorf("jail: probe: %w", err)
	}
	j, err := h.NewJail(ctx, Policy{Identity: id, Workspace: workspace, probing: true})
	if err != nil {
		return fmt.Errorf("jail: probe: %w", err)
	}
	defer func() { err = errors.Join(err, j.Close()) }()
	m, err := j.request(ctx, &message{kind: msgProbe, strs: []string{canary}}, nil, nil)
	if err != nil {
		return fmt.Errorf("jail: probe: %w", err)
	}
	if len(m.strs) > 0 {
		e := &UnavailableError{
			Level:  h.Level(),
			Reason: "the probe could do what a jail must forbid: " + strings.Join(m.strs, "; "),
			Remedy: "look for an old or changed bwrap",
		}
		if strings.Contains(e.Reason, "seccomp:") {
			e.Remedy = filterRemedy
		}
		return e
	}
	return nil
}

// unavailable explains why bwrap made no jail, from what it complained of.
func unavailable(complaint string, cause error) error {
	e := &UnavailableError{Level: levelBwrap, Err: cause, Reason: "bwrap made no jail"}
	if complaint != "" {
		e.Reason += fmt.Sprintf(": %q", complaint)
	} else if cause != nil {
		e.Reason += ": " + cause.Error()
	}
	switch {
	case strings.Contains(complaint, "Unknown option"):
		e.Remedy = "install bubblewrap 0.8 or newer, with --bind-fd and --disable-userns (apt-get install bubblewrap)"
	case hangs(cause):
		e.Remedy = "bwrap hangs; run it by hand to see why: bwrap --unshare-user --ro-bind /usr /usr /usr/bin/true"
	default:
		e.Remedy = remedy(levelBwrap, complaint, cause)
	}
	return e
}

func hangs(cause error) bool {
	return errors.Is(cause, context.DeadlineExceeded) || errors.Is(cause, os.ErrDeadlineExceeded)
}

// remedy says what to do about a jail that could not be made, by what a driver
// complains of.
func remedy(level, complaint string, cause error) string {
	has := func(parts ...string) bool {
		for _, p := range parts {
			if strings.Contains(strings.ToLower(complaint), p) {
				return true
			}
		}
		return false
	}
	switch {
	case cause != nil && strings.Contains(cause.Error(), "seccomp:"):
		return filterRemedy
	case has("mount proc"):
		return "the /proc of this container is masked: " + containerRemedy
	case has("find source path"):
		return "the user that workers run as must be able to enter every directory above that path"
	case has("function not implemented"):
		return "use Linux 5.12 or newer; " + containerRemedy
	case has("namespace", "uid map", "gid map", "uid_map", "gid_map", "setgroups", "operation not permitted", "permission denied"):
		return userNSRemedy(level, has("no space left", "enospc"))
	case hangs(cause):
		return "a mount of this host hangs: look for one that does not answer with ls /usr /etc, or try another host"
	}
	return ""
}

const filterRemedy = "use a kernel with CONFIG_SECCOMP_FILTER; " + containerRemedy

const containerRemedy = "with Docker run the container with --security-opt seccomp=unconfined --security-opt apparmor=unconfined " +
	"--security-opt systempaths=unconfined; on Kubernetes give the pod hostUsers: false, procMount: Unmasked and an Unconfined seccomp profile"

// userNSRemedy says how to allow user namespaces here; full tells that there are
// as many as may be.
func userNSRemedy(level string, full bool) string {
	is := func(path, value string) bool {
		b, err := os.ReadFile(path)
		return err == nil && strings.TrimSpace(string(b)) == value
	}
	var out []string
	if is("/proc/sys/kernel/unprivileged_userns_clone", "0") {
		out = append(out, "allow user namespaces: sysctl -w kernel.unprivileged_userns_clone=1")
	}
	if is("/proc/sys/user/max_user_namespaces", "0") {
		out = append(out, "allow user namespaces: sysctl -w user.max_user_namespaces=15000")
	} else if full {
		out = append(out, "allow more user namespaces, here or in the user namespace around this one: sysctl -w user.max_user_namespaces=15000; "+
			"if this program runs in a sandbox such as bwrap --disable-userns, run it outside")
	}
	if is("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1") {
		what := "give /usr/bin/bwrap a profile with \"userns,\""
		if level == levelNative {
			what = "use level bwrap, and " + what + "; or give this program one, which what \"go run\" makes cannot have"
		}
		out = append(out, "AppArmor restricts user namespaces: "+what+
			" (or, for the whole machine, sysctl -w kernel.apparmor_restrict_unprivileged_userns=0)")
	}
	if len(out) == 0 && filtered() {
		out = append(out, "a filter of system calls, as containers have, forbids user namespaces: "+containerRemedy)
	}
	if len(out) == 0 {
		out = append(out, "user namespaces seem to be forbidden: "+containerRemedy)
	}
	return strings.Join(out, "; ")
}

// filtered tells whether this program runs under a filter of system calls.
func filtered() bool {
	b, err := os.ReadFile("/proc/self/status")
	return err == nil && strings.Contains(string(b), "\nSeccomp:\t2")
}
