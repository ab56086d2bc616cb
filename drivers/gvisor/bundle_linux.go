package gvisor

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"github.com/agentflow-go/sandbox/internal/gate"
	"github.com/agentflow-go/sandbox/internal/jail"
)

// inside is where sandboxes see their door: the program of the first process while
// it starts, then nothing.
const inside = "/.jail"

// perUser are the files of /etc that name the worker's user.
var perUser = [...]string{"passwd", "group"}

func (k *kernel) writeEtc() error {
	return jail.WriteFiles(k.path(etcDir), jail.EtcFiles(jail.UID, jail.GID))
}

// makeRoot makes the directory that is / inside: places to mount at, and links.
func (k *kernel) makeRoot() error {
	root := k.path(rootDir)
	var errs []error
	dir := func(name string) {
		errs = append(errs, os.MkdirAll(root+name, 0o755))
	}
	for _, name := range []string{"/dev", "/etc", "/proc", "/run", "/sys", "/tmp", "/var", jail.Workspace, inside} {
		dir(name)
	}
	errs = append(errs, os.Symlink("../tmp", root+"/var/tmp"))
	for _, f := range k.fixed {
		dir(filepath.Dir(f.Inside))
		st, err := os.Stat(f.Host)
		switch {
		case f.Link != "":
			errs = append(errs, os.Symlink(f.Link, root+f.Inside))
		case err == nil && st.IsDir():
			dir(f.Inside)
		default:
			errs = append(errs, os.WriteFile(root+f.Inside, nil, 0o644))
		}
	}
	for name := range jail.EtcFiles(jail.UID, jail.GID) {
		errs = append(errs, os.WriteFile(root+"/etc/"+name, nil, 0o644))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("gvisor: %w", err)
	}
	return nil
}

// The parts of an OCI runtime specification that are used here.
type (
	spec struct {
		Version  string     `json:"ociVersion"`
		Process  process    `json:"process"`
		Root     root       `json:"root"`
		Hostname string     `json:"hostname"`
		Mounts   []mount    `json:"mounts"`
		Linux    linuxParts `json:"linux"`
	}
	process struct {
		User         user                `json:"user"`
		Args         []string            `json:"args"`
		Cwd          string              `json:"cwd"`
		NoNewPrivs   bool                `json:"noNewPrivileges"`
		Capabilities map[string][]string `json:"capabilities"`
	}
	user struct {
		UID int `json:"uid"`
		GID int `json:"gid"`
	}
	root struct {
		Path     string `json:"path"`
		ReadOnly bool   `json:"readonly"`
	}
	mount struct {
		At      string   `json:"destination"`
		Type    string   `json:"type"`
		Source  string   `json:"source"`
		Options []string `json:"options,omitempty"`
	}
	linuxParts struct {
		Namespaces []namespace `json:"namespaces"`
	}
	namespace struct {
		Type string `json:"type"`
	}
)

// bundle writes the specification for s, and the files that name its user, into dir.
func (k *kernel) bundle(s *jail.Spec, door *gate.Door, dir string) error {
	mounts := []mount{
		{At: "/proc", Type: "proc", Source: "proc"},
		{At: "/dev", Type: "tmpfs", Source: "tmpfs"},
		{At: "/sys", Type: "tmpfs", Source: "tmpfs", Options: []string{"ro", "size=4096", "mode=0555"}},
		{At: "/tmp", Type: "tmpfs", Source: "tmpfs", Options: []string{"mode=1777", "size=" + strconv.FormatInt(s.TmpSize, 10)}},
		{At: "/dev/shm", Type: "tmpfs", Source: "tmpfs", Options: []string{"mode=1777", "size=" + strconv.FormatInt(s.ShmSize, 10)}},
		bind(door.Dir, inside, "ro"),
	}
	for _, f := range k.fixed {
		if f.Link == "" {
			mounts = append(mounts, bind(f.Host, f.Inside, "ro"))
		}
	}
	files := jail.EtcFiles(s.Identity.UID, s.Identity.GID)
	own := map[string]string{}
	for _, name := range perUser {
		own[name] = files[name]
		mounts = append(mounts, bind(filepath.Join(dir, name), "/etc/"+name, "ro"))
		delete(files, name)
	}
	for name := range files {
		mounts = append(mounts, bind(k.path(etcDir, name), "/etc/"+name, "ro"))
	}
	for _, path := range k.site.ReadOnly {
		mounts = append(mounts, bind(path, path, "ro"))
	}
	// Mounts are refused, and all directories above a workspace are this program's
	// alone: its path is as good as its descriptor.
	mounts = append(mounts, bind(s.Binds[0].File.Name(), s.Binds[0].Inside, "rw"))
	text, err := json.Marshal(spec{
		Version: "1.0.2", Hostname: "sandbox", Mounts: mounts,
		Root: root{Path: k.path(rootDir), ReadOnly: true},
		Process: process{
			User: user{s.Identity.UID, s.Identity.GID}, Cwd: "/", NoNewPrivs: true, Capabilities: map[string][]string{},
			Args: append([]string{inside + "/" + gate.ProgramName}, jail.StdinArgs()...),
		},
		Linux: linuxParts{Namespaces: []namespace{{"pid"}, {"network"}, {"ipc"}, {"uts"}, {"mount"}}},
	})
	if err != nil {
		return err
	}
	own["config.json"] = string(text)
	return jail.WriteFiles(dir, own)
}

func bind(source, at, mode string) mount {
	return mount{At: at, Type: "bind", Source: source, Options: []string{"bind", mode}}
}
