package workspace

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// nest makes a chain of directories and leaves a file in the last.
func nest(t *testing.T, dir string, depth int) {
	t.Helper()
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	for range depth {
		if err := unix.Mkdirat(fd, "d", 0o755); err != nil {
			t.Fatal(err)
		}
		next, err := unix.Openat(fd, "d", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		unix.Close(fd)
		fd = next
	}
	f, err := unix.Openat(fd, "file", unix.O_WRONLY|unix.O_CREAT|unix.O_CLOEXEC, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	unix.Close(f)
	unix.Close(fd)
}

// TestHostileTreesAreRemoved runs as the user that runs the tests, and as
// another one through TestUnprivileged.
func TestHostileTreesAreRemoved(t *testing.T) {
	t.Parallel()
	outside := t.TempDir()
	write(t, filepath.Join(outside, "victim"))
	tests := []struct {
		name string
		make func(t *testing.T, ws string)
	}{
		{"5,000 nested directories", func(t *testing.T, ws string) { nest(t, ws, 5000) }},
		{"nested directories of mode 000", func(t *testing.T, ws string) {
			nest(t, ws, 40)
			for at := strings.Repeat("/d", 40); at != ""; at = strings.TrimSuffix(at, "/d") {
				if err := os.Chmod(ws+at, 0); err != nil {
					t.Fatal(err)
				}
			}
		}},
		{"a workspace of mode 000", func(t *testing.T, ws string) {
			write(t, filepath.Join(ws, "file"))
			if err := os.Chmod(ws, 0); err != nil {
				t.Fatal(err)
			}
		}},
		{"a directory that cannot be written", func(t *testing.T, ws string) {
			mkdir(t, filepath.Join(ws, "d"), 0o755)
			write(t, filepath.Join(ws, "d", "file"))
			if err := os.Chmod(filepath.Join(ws, "d"), 0o555); err != nil {
				t.Fatal(err)
			}
		}},
		{"links to outside", func(t *testing.T, ws string) {
			for i, target := range []string{outside, filepath.Join(outside, "victim"), "..", "/", "loop4"} {
				if err := os.Symlink(target, filepath.Join(ws, fmt.Sprintf("loop%d", i))); err != nil {
					t.Fatal(err)
				}
			}
		}},
		{"special files", func(t *testing.T, ws string) {
			if err := unix.Mkfifo(filepath.Join(ws, "fifo"), 0o600); err != nil {
				t.Fatal(err)
			}
			fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer unix.Close(fd)
			// A socket's path is short: bind it relative to a descriptor.
			at, err := os.Open(ws)
			if err != nil {
				t.Fatal(err)
			}
			defer at.Close()
			if err := unix.Bind(fd, &unix.SockaddrUnix{Name: fmt.Sprintf("/proc/self/fd/%d/s", at.Fd())}); err != nil {
				t.Fatal(err)
			}
		}},
		{"strange names", func(t *testing.T, ws string) {
			for _, name := range []string{"-rf", "a\nb", "\xff\xfe", strings.Repeat("x", 255), "..."} {
				write(t, filepath.Join(ws, name))
			}
		}},
		{"many files", func(t *testing.T, ws string) {
			for i := range 3 * batch {
				write(t, filepath.Join(ws, fmt.Sprint(i)))
			}
		}},
		{"many files with two names", func(t *testing.T, ws string) {
			mkdir(t, filepath.Join(ws, "a"), 0o755)
			mkdir(t, filepath.Join(ws, "b"), 0o755)
			for i := range (maxLate + 4) * batch {
				at := filepath.Join(ws, "a", fmt.Sprint(i))
				write(t, at)
				if err := os.Link(at, filepath.Join(ws, "b", fmt.Sprint(i))); err != nil {
					t.Fatal(err)
				}
			}
		}},
		{"the workspace replaced by a link", func(t *testing.T, ws string) {
			if err := errors.Join(os.Remove(ws), os.Symlink(outside, ws)); err != nil {
				t.Fatal(err)
			}
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := open(t, t.TempDir(), Options{})
			d := newDir(t, s, own)
			tt.make(t, d.Path())
			release(t, d, false)
			if exists(filepath.Dir(d.Path())) {
				t.Error("the slot is still there")
			}
			if entries, err := os.ReadDir(s.path(trashDir)); err != nil || len(entries) > 0 {
				t.Errorf("trash: %v, %v; want it empty", entries, err)
			}
			if !exists(filepath.Join(outside, "victim")) {
				t.Fatal("a link was followed")
			}
		})
	}
}

func TestHostileTreeInATemporaryDirectory(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	s, err := Open("", Options{})
	if err != nil {
		t.Fatal(err)
	}
	nest(t, newDir(t, s, own).Path(), 3000)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if exists(s.Path()) {
		t.Error("the temporary directory is still there")
	}
}

func TestUnprivileged(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("the other tests ran unprivileged already")
	}
	for _, test := range []string{
		"TestHostileTreesAreRemoved", "TestHostileTreeInATemporaryDirectory", "TestKeptWorkspaces",
		"TestWorkspacesOfAKilledProgram", "TestStoresShareADirectory", "TestOpenRefusesDirectoriesThatAreNotOurs",
		"TestSnapshotKeepsAndRestoresWhatThereIs", "TestHostileTreesAreCopied", "TestSnapshotsAreBounded", "TestSnapshotsOfKeptWorkspaces",
		"TestInterruptedRestoresAreCompleted", "TestARacingWriterGetsNothingFromOutside", "TestAFailedSwapIsUndone",
		"TestSnapshotsOfAWorkspaceOnItsOwnFileSystem",
	} {
		t.Run(test, func(t *testing.T) {
			t.Parallel()
			rerun(t, test, &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}})
		})
	}
}

func TestARacingWriterCannotHoldUpRemoval(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, dir, Options{})
	d := newDir(t, s, own)
	nest(t, d.Path(), 30)
	// What was open before the removal is a way in that no lock closes.
	in, err := os.OpenRoot(d.Path())
	if err != nil {
		t.Fatal(err)
	}
	deep, err := in.OpenRoot("d/d/d")
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	defer deep.Close()
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for _, r := range []*os.Root{in, deep} {
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				// Once its directory is gone it can make nothing any more.
				_ = r.Mkdir(fmt.Sprint(i), 0o700)
				_ = r.WriteFile(fmt.Sprint(i, "/f"), nil, 0o600)
			}
		})
	}
	err = d.Release(false) // may lose, but ends
	close(stop)
	wg.Wait()
	t.Logf("Release against a racing writer: %v", err)
	if exists(filepath.Dir(d.Path())) {
		t.Error("the slot is still there")
	}
	trashIsEmpty(t, s)
}

// The programs that share a data directory empty one trash.
func TestSweepersAreNotInEachOthersWay(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir(), Options{})
	for range 8 {
		dir := filepath.Join(t.TempDir(), "tree")
		mkdir(t, dir, 0o700)
		nest(t, dir, 300)
		if err := os.Rename(dir, s.path(trashDir, trashName())); err != nil {
			t.Fatal(err)
		}
	}
	errs := make(chan error, 4)
	for range cap(errs) {
		go func() { errs <- s.emptyTrash(context.Background()) }()
	}
	for range cap(errs) {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	trashIsEmpty(t, s)
}

func TestMountsAreNotCrossed(t *testing.T) {
	t.Parallel()
	if os.Getenv("WORKSPACE_TEST_MOUNTS") == "" {
		if os.Geteuid() != 0 {
			t.Skip("only root can mount")
		}
		rerun(t, "TestMountsAreNotCrossed", &syscall.SysProcAttr{Unshareflags: unix.CLONE_NEWNS}, "WORKSPACE_TEST_MOUNTS=1")
		return
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		t.Fatal(err)
	}
	outside := t.TempDir()
	write(t, filepath.Join(outside, "victim"))
	for name, mount := range map[string]func(at string) error{
		"another file system": func(at string) error {
			if err := unix.Mount("tmpfs", at, "tmpfs", 0, ""); err != nil {
				return err
			}
			return os.WriteFile(filepath.Join(at, "victim"), nil, 0o600)
		},
		"the same file system": func(at string) error { return unix.Mount(outside, at, "", unix.MS_BIND, "") },
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t, t.TempDir(), Options{})
			d := newDir(t, s, own)
			at := filepath.Join(d.Path(), "a", "mnt")
			if err := os.MkdirAll(at, 0o700); err != nil {
				t.Fatal(err)
			}
			write(t, filepath.Join(d.Path(), "file"))
			if err := mount(at); err != nil {
				t.Fatal(err)
			}
			err := d.Release(false)
			if err == nil || !strings.Contains(err.Error(), "mount point") || !strings.Contains(err.Error(), "workspace/a/mnt") {
				t.Errorf("Release = %v, want an error that names the mount point", err)
			}
			if exists(filepath.Dir(d.Path())) {
				t.Error("the slot is still there")
			}
			left, err := filepath.Glob(s.path(trashDir, "*", "workspace", "a", "mnt"))
			if err != nil || len(left) != 1 {
				t.Fatalf("the mount point is at %v, %v; want it in the trash", left, err)
			}
			if !exists(filepath.Join(left[0], "victim")) {
				t.Error("the mount was crossed")
			}
			if others, _ := filepath.Glob(s.path(trashDir, "*", "workspace", "file")); len(others) > 0 {
				t.Errorf("%v is left beside the mount point", others)
			}
			if err := unix.Unmount(left[0], 0); err != nil {
				t.Fatal(err)
			}
			trashIsEmpty(t, s)
		})
	}
}

func TestProtectedFilesAreRemoved(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir(), Options{})
	d := newDir(t, s, own)
	protect := func(path string, attr int) {
		t.Helper()
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		old, err := unix.IoctlGetUint32(int(f.Fd()), unix.FS_IOC_GETFLAGS)
		if err == nil {
			err = unix.IoctlSetPointerInt(int(f.Fd()), iocSetFlags, int(old)|attr)
		}
		if err != nil {
			t.Skipf("immutable files cannot be made here: %v", err)
		}
	}
	for _, attr := range []int{attrImmutable, attrAppend} {
		sub := filepath.Join(d.Path(), fmt.Sprint(attr))
		mkdir(t, sub, 0o700)
		write(t, filepath.Join(sub, "file"))
		write(t, filepath.Join(sub, "plain"))
		protect(filepath.Join(sub, "file"), attr)
		protect(sub, attr)
	}
	release(t, d, false)
	trashIsEmpty(t, s)
}

func TestAKeptWorkspaceIsGivenToANewUid(t *testing.T) { // counts descriptors: not parallel
	if os.Geteuid() != 0 {
		t.Skip("only root can give files away")
	}
	const old, uid = 54321, 54322
	s := open(t, t.TempDir(), Options{})
	d := newDir(t, s, DirOptions{UID: old, GID: old, Worker: "w"})
	nest(t, d.Path(), 2000)
	mkdir(t, filepath.Join(d.Path(), "wide"), 0o000)
	mkdir(t, filepath.Join(d.Path(), "wide", "sub"), 0o700)
	outside := filepath.Join(t.TempDir(), "victim")
	write(t, outside)
	if err := errors.Join(
		os.Link(outside, filepath.Join(d.Path(), "hard")),
		os.Symlink(outside, filepath.Join(d.Path(), "soft")),
	); err != nil {
		t.Fatal(err)
	}
	var files int
	each(t, d.Path(), func(dir int, name string, st unix.Stat_t) {
		if name == "hard" {
			return
		}
		files++
		if err := unix.Fchownat(dir, name, old, old, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			t.Fatal(err)
		}
	})
	release(t, d, true)

	before := descriptors(t)
	d = newDir(t, s, DirOptions{UID: uid, GID: uid, Worker: "w"})
	if got := descriptors(t); got > before+2 {
		t.Errorf("%d descriptors are open, %d were before", got, before)
	}
	if fi, err := os.Stat(d.Path()); err != nil || fi.Sys().(*syscall.Stat_t).Uid != uid {
		t.Errorf("the workspace: %v, %v; want uid %d", fi, err, uid)
	}
	each(t, d.Path(), func(_ int, name string, st unix.Stat_t) {
		switch {
		case name == "hard":
			if st.Uid != 0 {
				t.Errorf("another user's file was given to uid %d", st.Uid)
			}
			return
		case st.Uid != uid || st.Gid != uid:
			t.Errorf("%s belongs to %d:%d, want %d", name, st.Uid, st.Gid, uid)
		}
		files--
	})
	if files != 0 {
		t.Errorf("%d files were missed", files)
	}
	if fi, err := os.Stat(outside); err != nil || fi.Sys().(*syscall.Stat_t).Uid != 0 {
		t.Errorf("%v, %v: want root's", fi, err)
	}
	release(t, d, false)
}

// each calls fn for every entry below dir. It holds two descriptors.
func each(t *testing.T, dir string, fn func(dir int, name string, st unix.Stat_t)) {
	t.Helper()
	queue := []*os.File{}
	top, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	queue = append(queue, top)
	for len(queue) > 0 {
		f := queue[len(queue)-1]
		queue = queue[:len(queue)-1]
		names, err := f.Readdirnames(-1)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			var st unix.Stat_t
			if err := unix.Fstatat(int(f.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
				t.Fatal(err)
			}
			if st.Mode&unix.S_IFMT == unix.S_IFDIR {
				sub, err := openat(int(f.Fd()), name)
				if err != nil {
					t.Fatal(err)
				}
				queue = append(queue, sub)
			}
			fn(int(f.Fd()), name, st)
		}
		f.Close()
	}
}
