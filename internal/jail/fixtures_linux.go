package jail

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Fixture is one thing that every jail on this host sees: a host's file or
// directory, read-only, or a symbolic link.
type Fixture struct {
	Inside string // absolute
	Host   string // what is bound there; "": it is a link
	Link   string // the link's target, as the host has it
}

// Fixtures lists what every jail sees of the host: /usr, the links or directories
// that stand beside it in the root, and what it may of /etc. Parents come before
// what lies below them.
func Fixtures() ([]Fixture, error) {
	fixed := []Fixture{{Inside: "/usr", Host: "/usr"}}
	for _, dir := range []string{"/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"} {
		st, err := os.Lstat(dir)
		if os.IsNotExist(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if st.Mode()&os.ModeSymlink == 0 {
			fixed = append(fixed, Fixture{Inside: dir, Host: dir})
			continue
		}
		target, err := os.Readlink(dir)
		if err != nil {
			return nil, err
		}
		if abs := filepath.Join("/", target); !below(abs, "/usr") {
			return nil, fmt.Errorf("%s is a link to %q, want one into /usr", dir, target)
		}
		fixed = append(fixed, Fixture{Inside: dir, Link: target})
	}
	for _, name := range etcShared {
		path := "/etc/" + name
		st, err := os.Lstat(path)
		if err != nil {
			continue // not on this host
		}
		if st.Mode()&os.ModeSymlink != 0 {
			target, err := os.Readlink(path)
			if err != nil {
				return nil, err
			}
			abs := target
			if !filepath.IsAbs(abs) {
				abs = filepath.Join(filepath.Dir(path), abs)
			}
			if below(abs, "/usr") {
				fixed = append(fixed, Fixture{Inside: path, Link: target})
				continue
			}
		}
		fixed = append(fixed, Fixture{Inside: path, Host: path})
	}
	return fixed, nil
}

// EtcFiles are the files of /etc that are written for jails, by name, where
// programs see themselves as that user and group.
func EtcFiles(uid, gid int) map[string]string {
	files := map[string]string{}
	for _, made := range etcMade {
		files[made[0]] = made[1]
	}
	if uid != UID || gid != GID {
		files["passwd"], files["group"] = etcPasswd(uid, gid), etcGroup(gid)
	}
	return files
}

// WriteFiles writes files, by name, into dir for programs inside to read. It
// returns all errors.
func WriteFiles(dir string, files map[string]string) error {
	var errs []error
	for name, text := range files {
		path := filepath.Join(dir, name)
		// Whatever the umask: everybody reads them inside.
		errs = append(errs, os.WriteFile(path, []byte(text), 0o644), os.Chmod(path, 0o644))
	}
	return errors.Join(errs...)
}

func etcPasswd(uid, gid int) string {
	return fmt.Sprintf("root:x:0:0:root:/root:/usr/sbin/nologin\nagent:x:%d:%d:agent:%s:/bin/bash\n"+
		"nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n", uid, gid, Workspace)
}

func etcGroup(gid int) string {
	return fmt.Sprintf("root:x:0:\ntty:x:5:\nagent:x:%d:\nnogroup:x:65534:\n", gid)
}
