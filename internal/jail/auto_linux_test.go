package jail_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/agentflow-go/sandbox/internal/jail"
	"github.com/agentflow-go/sandbox/internal/seccomp"
	"github.com/agentflow-go/sandbox/internal/usertest"
)

// helperOpen opens a Host and says what came of it. It is run on hosts that are
// broken in one way or another.
func helperOpen() {
	if os.Getenv("JAIL_TEST_FILTERED") != "" {
		check(seccomp.Install(seccomp.Profile{}))
	}
	limit := patience
	if v := os.Getenv("JAIL_TEST_LIMIT"); v != "" {
		d, err := time.ParseDuration(v)
		check(err)
		limit = d
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	begin := time.Now()
	h, err := jail.Open(ctx, jail.Options{Level: os.Getenv("JAIL_TEST_LEVEL")})
	if err != nil {
		fmt.Println("refused:", errors.Is(err, jail.ErrUnavailable), err)
		if took := time.Since(begin); limit < patience && took > limit+15*time.Second {
			fmt.Println("it took", took)
		}
		return
	}
	fmt.Println("opened:", h.Level())
	check(h.Close())
}

// openOn runs helperOpen as the program that argv starts, which ends with the
// helper's own path, with env added to a clean environment.
func openOn(t *testing.T, env []string, argv ...string) string {
	t.Helper()
	argv = append(argv, usertest.Binary(t))
	cmd := exec.CommandContext(t.Context(), argv[0], argv[1:]...)
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "TMPDIR=/tmp", helperVar + "=open"}, env...)
	cmd.Dir = "/"
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%q: %v\n%s", argv, err, out)
	}
	return strings.TrimSpace(string(out))
}

const (
	docker = "--security-opt seccomp=unconfined --security-opt apparmor=unconfined --security-opt systempaths=unconfined"
	// asNobody begins a command that root runs as an ordinary user.
	asNobody = "setpriv --reuid 65534 --regid 65534 --clear-groups"
)

// onlyRoot skips what takes root to set up; the suite runs as root and then again
// as another user.
func onlyRoot(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("setting this up needs root; TestUnprivileged's caller has done it")
	}
}

func TestAutoTakesWhatWorks(t *testing.T) {
	t.Parallel()
	broken := fakeBwrap(t, "echo 'bwrap: Unknown option --bind-fd' >&2; exit 1")
	for _, path := range []string{filepath.Join(t.TempDir(), "none"), broken} {
		h, err := jail.Open(t.Context(), jail.Options{Bwrap: path})
		if err != nil {
			t.Fatal(err)
		}
		if h.Level() != "native" {
			t.Errorf("without a bwrap that works the level is %q, want native", h.Level())
		}
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	}
	if got := openOn(t, []string{"PATH=/nowhere"}); got != "opened: native" {
		t.Errorf("with an empty PATH: %s, want native", got)
	}
}

// TestHostsThatForbid opens hosts on which nothing works, and looks for the reason
// and the remedy of each level.
func TestHostsThatForbid(t *testing.T) {
	t.Parallel()
	// As an ordinary user in a user namespace that may have none below it, by its own
	// setting or by that of the one around it.
	const none = `echo 0 >/proc/sys/user/max_user_namespaces && exec setpriv --inh-caps=-all --ambient-caps=-all --bounding-set=-all "$0"`
	// Masks count for nothing beside another /proc, as a test may have mounted just now.
	const masked = `awk '/ - proc / && $5 != "/proc" { print $5 }' /proc/self/mountinfo | while read -r at; do umount -l "$at" || exit 1; done && ` +
		`mount --bind /dev/null /proc/timer_list && mount -t tmpfs none /proc/fs && exec `
	noMore := strings.Fields("bwrap --dev-bind / / --unshare-user --uid 1000 --gid 1000 --disable-userns --")
	tests := []struct {
		name string
		root bool
		env  []string
		argv []string
		want []string // for each level the reason; then what both remedies are
	}{
		{
			name: "max_user_namespaces is 0",
			argv: []string{"unshare", "--user", "--map-user=1000", "--map-group=1000", "--keep-caps", "sh", "-c", none},
			want: []string{"bwrap: bwrap made no jail", "native: make namespaces: no space left on device", "; allow user namespaces: sysctl -w user.max_user_namespaces=15000"},
		},
		{
			name: "no user namespaces in a sandbox", argv: append(noMore, "env"),
			want: []string{"bwrap: bwrap made no jail", "native: make namespaces: no space left on device", "or in the user namespace around this one", "run it outside"},
		},
		{
			name: "a filter as of containers", env: []string{"JAIL_TEST_FILTERED=1"}, argv: strings.Fields(asNobody + " --no-new-privs"), root: true,
			want: []string{"bwrap:", "native: make namespaces: operation not permitted", "a filter of system calls", docker},
		},
		{
			name: "a filter as of containers, for root", env: []string{"JAIL_TEST_FILTERED=1"}, argv: []string{"env"}, root: true,
			want: []string{"bwrap: root may not make a mount namespace", "native: root may not make a mount namespace", docker},
		},
		{
			name: "a masked /proc", root: true,
			argv: []string{"unshare", "-m", "sh", "-c", masked + asNobody + ` "$0"`},
			want: []string{"mount proc", "native: mount proc on proc: operation not permitted", "the /proc of this container is masked", "procMount: Unmasked"},
		},
		{
			name: "a masked /proc, for root", root: true,
			argv: []string{"unshare", "-m", "sh", "-c", masked + `"$0"`},
			want: []string{"mount proc", "native: mount proc on proc: operation not permitted", "the /proc of this container is masked"},
		},
		{
			name: "root without rights over mounts", root: true,
			argv: strings.Fields("setpriv --bounding-set -sys_admin --inh-caps -sys_admin --"),
			want: []string{"bwrap: root may not make a mount namespace here", "native: root may not make a mount namespace here", "or with CAP_SYS_ADMIN"},
		},
		{
			name: "root of a user namespace", root: true, argv: []string{"unshare", "-Ur"},
			want: []string{"bwrap: root of this user namespace has no users", "native: root of this user namespace has no users", "run the program as an ordinary user"},
		},
		{
			name: "bwrap is missing too", env: []string{"PATH=/nowhere"},
			argv: append([]string{lookPath(t, "bwrap")}, append(noMore[1:], "/usr/bin/env")...),
			want: []string{"bwrap: bwrap is not installed", "for bwrap: apt-get install bubblewrap", "for native: allow more user namespaces"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if tt.root {
				onlyRoot(t)
			}
			got := openOn(t, tt.env, tt.argv...)
			for _, want := range append(tt.want, "refused: true", `level "auto"`) {
				if !strings.Contains(got, want) {
					t.Errorf("got %s\nwant it to have %q", got, want)
				}
			}
			t.Log(got)
		})
	}
}

func lookPath(t *testing.T, name string) string {
	t.Helper()
	p, err := exec.LookPath(name)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestAHangingMountHitsTheDeadline has a file system below /etc that nobody
// serves, as an autofs whose server is away: whatever asks for it hangs.
func TestAHangingMountHitsTheDeadline(t *testing.T) {
	t.Parallel()
	onlyRoot(t)
	for _, level := range []string{"bwrap", "native", "auto"} {
		t.Run(level, func(t *testing.T) {
			t.Parallel()
			script := `exec 9<>/dev/fuse && mount -t fuse -o fd=9,rootmode=40000,user_id=0,group_id=0,allow_other none /etc/ssl/certs && exec ` + asNobody + ` "$0"`
			got := openOn(t, []string{"JAIL_TEST_LIMIT=1s", "JAIL_TEST_LEVEL=" + level}, "unshare", "-m", "bash", "-c", script)
			if !strings.Contains(got, "refused: true") || !strings.Contains(got, "a mount that hangs") || strings.Contains(got, "it took") {
				t.Errorf("%s", got)
			}
		})
	}
}

func TestATemporaryDirectoryByARelativePath(t *testing.T) {
	t.Parallel()
	for _, level := range confined {
		// The helper runs in /.
		if got := openOn(t, []string{"JAIL_TEST_LEVEL=" + level, "TMPDIR=tmp"}); got != "opened: "+level {
			t.Errorf("%q", got)
		}
	}
}
