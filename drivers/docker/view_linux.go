package docker

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/agentflow-go/sandbox/internal/gate"
	"github.com/agentflow-go/sandbox/internal/jail"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	"github.com/moby/moby/client"
)

// inside is where containers see their door: the program and the socket of the
// first process while it starts, then nothing.
const inside = "/.jail"

// writeEtc writes those files of /etc that are the same for all.
func (e *engine) writeEtc() error {
	e.etc = filepath.Join(e.site.StateDir, "etc")
	if err := os.Mkdir(e.etc, 0o755); err != nil {
		return fmt.Errorf("docker: %w", err)
	}
	return jail.WriteFiles(e.etc, jail.EtcFiles(jail.UID, jail.GID))
}

// perUser are the files of /etc that name the worker's user.
var perUser = [...]string{"passwd", "group"}

// masked is what /proc must not show: the engine's own list and what level bwrap
// masks. Paths that do not exist are passed over.
var masked = []string{
	"/proc/acpi", "/proc/asound", "/proc/fs", "/proc/interrupts", "/proc/kcore", "/proc/key-users", "/proc/keys", "/proc/kmsg",
	"/proc/latency_stats", "/proc/pressure", "/proc/sched_debug", "/proc/scsi", "/proc/sysrq-trigger", "/proc/timer_list", "/proc/timer_stats",
	"/sys/firmware", "/sys/devices/virtual/powercap",
}

// options say how the container of s is made. Its door and the files that name its
// user lie in door.
func (e *engine) options(s *jail.Spec, door *gate.Door) client.ContainerCreateOptions {
	user := fmt.Sprintf("%d:%d", s.Identity.UID, s.Identity.GID)
	mounts := []mount.Mount{bind(door.Dir, inside, true)}
	for _, f := range e.fixed {
		if f.Link == "" {
			mounts = append(mounts, bind(f.Host, f.Inside, true))
		}
	}
	for name := range jail.EtcFiles(jail.UID, jail.GID) {
		dir := e.etc
		if slices.Contains(perUser[:], name) {
			dir = door.Dir
		}
		mounts = append(mounts, bind(filepath.Join(dir, name), "/etc/"+name, true))
	}
	for _, path := range e.site.ReadOnly {
		mounts = append(mounts, bind(path, path, true))
	}
	// The only one, as Mounts are refused. Its path, not the descriptor: what a link
	// of /proc leads to cannot be bound in the container's mount namespace. All
	// directories above it are this program's alone.
	workspace := bind(s.Binds[0].File.Name(), s.Binds[0].Inside, !s.Binds[0].Writable)
	workspace.BindOptions.NonRecursive = true
	mounts = append(mounts, workspace)
	tmpfs := func(size int64) string {
		return fmt.Sprintf("rw,nosuid,nodev,exec,mode=1777,size=%d,nr_inodes=%d", size, jail.MaxFiles(size))
	}
	host := &container.HostConfig{
		NetworkMode: "none", IpcMode: "private", CgroupnsMode: "private", AutoRemove: true,
		CapDrop: []string{"ALL"}, SecurityOpt: []string{"no-new-privileges"}, ReadonlyRootfs: true,
		MaskedPaths: masked, LogConfig: container.LogConfig{Type: "none"}, Runtime: e.c.Runtime,
		Mounts: mounts,
		Tmpfs: map[string]string{
			"/tmp": tmpfs(s.TmpSize), "/dev/shm": tmpfs(s.ShmSize),
			"/sys": "ro,nosuid,nodev,noexec,size=4k,mode=0555", // hides what it would show of the host
		},
	}
	if !e.joins {
		l := s.Effective()
		host.Memory, host.MemorySwap, host.NanoCPUs = l.Memory, l.Memory, int64(l.CPU*1e9)
		if l.Pids > 0 {
			pids := int64(l.Pids + jail.JailTasks)
			host.PidsLimit = &pids
		}
	}
	return client.ContainerCreateOptions{
		HostConfig: host,
		Config: &container.Config{
			Image: e.image, User: user, Hostname: "sandbox", WorkingDir: "/", Labels: e.label,
			Entrypoint:  append([]string{inside + "/" + gate.ProgramName}, jail.ConnectArgs(inside+"/"+gate.SocketName)...),
			Healthcheck: &container.HealthConfig{Test: []string{"NONE"}},
		},
	}
}

func bind(source, target string, readOnly bool) mount.Mount {
	return mount.Mount{
		Type: mount.TypeBind, Source: source, Target: target, ReadOnly: readOnly,
		BindOptions: &mount.BindOptions{Propagation: mount.PropagationRPrivate},
	}
}

func isDir(path string) bool {
	st, err := os.Stat(path)
	return err == nil && st.IsDir()
}
