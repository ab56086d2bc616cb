package volume

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// toolTime bounds a run of a program of e2fsprogs. To make a file system takes
// 10 to 30 ms, to check one with a million files some seconds.
const toolTime = 2 * time.Minute

const blockSize = 4096

// mkfs makes the file system.
func mkfs(ctx context.Context, f *os.File, journal bool) error {
	args := []string{
		"-q", "-F", // no questions: it is no block device
		"-b", strconv.Itoa(blockSize),
		"-m", "0", // nothing is reserved for root
		"-i", "4096", // an inode for each 4 KiB: node_modules has many small files
		"-E", "lazy_itable_init=1,lazy_journal_init=1,nodiscard,root_owner=0:0",
	}
	if !journal {
		args = append(args, "-O", "^has_journal")
	}
	return run(ctx, 0, "mkfs.ext4", f, append(args, image3)...)
}

// Resize gives the volume in image, which must not be open, another size in
// bytes. It fails if that is too small for what is in it; then nothing is lost.
func Resize(ctx context.Context, image string, size int64) error {
	if size < MinSize {
		return tooSmall(size)
	}
	f, err := openImage(image)
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return fmt.Errorf("volume: %w", err)
	}
	size -= size % blockSize
	if st.Size() == size {
		return nil
	}
	if err := run(ctx, 1, "e2fsck", f, "-f", "-p", image3); err != nil { // 1: it mended something
		return err
	}
	if size > st.Size() {
		if err := f.Truncate(size); err != nil {
			return fmt.Errorf("volume: %w", err)
		}
	}
	if err := run(ctx, 0, "resize2fs", f, image3, strconv.FormatInt(size/blockSize, 10)); err != nil {
		return err
	}
	if err := f.Truncate(size); err != nil {
		return fmt.Errorf("volume: %w", err)
	}
	return nil
}

// image3 is how a program finds the image.
const image3 = "/proc/self/fd/3"

// run runs a program on the file, which is [image3] to it, with
// nothing of this program's environment. fine is the highest exit status that
// is no failure.
func run(ctx context.Context, fine int, name string, f *os.File, args ...string) error {
	path, err := find(name)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, toolTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.ExtraFiles = []*os.File{f}
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C"}
	cmd.Dir = "/"
	out, err := cmd.CombinedOutput()
	if e, ok := errors.AsType[*exec.ExitError](err); ok && e.ExitCode() > 0 && e.ExitCode() <= fine {
		return nil
	}
	if err != nil {
		return fmt.Errorf("volume: %s: %w: %.300q", name, err, strings.TrimSpace(string(out)))
	}
	return nil
}

// find looks for a program where systems have them, in PATH or not.
func find(name string) (string, error) {
	for _, dir := range []string{"/usr/sbin", "/sbin", "/usr/bin", "/usr/local/sbin"} {
		path := filepath.Join(dir, name)
		if st, err := os.Stat(path); err == nil && st.Mode().IsRegular() && st.Mode()&0o111 != 0 {
			return path, nil
		}
	}
	return "", fmt.Errorf("%w: %s is not installed (apt-get install e2fsprogs, or the like for this system)", ErrUnsupported, name)
}
