package docker

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"

	"github.com/agentflow-go/sandbox/internal/jail"
	"github.com/containerd/errdefs"
	"github.com/moby/moby/client"
)

// repository is the name of the images that are made here.
const repository = "agentflow-sandbox/view"

// findImage sees to it that the engine has the image.
func (e *engine) findImage(ctx context.Context) error {
	if e.image = e.c.Image; e.image != "" {
		_, err := e.cli.ImageInspect(ctx, e.image)
		if err != nil {
			return e.unavailable(fmt.Sprintf("image %q", e.image), err, "images are never pulled: docker pull it, or build it, first")
		}
		return nil
	}
	var err error
	if e.fixed, err = jail.Fixtures(); err != nil {
		return fmt.Errorf("docker: %w", err)
	}
	files, err := skeleton(e.fixed)
	if err != nil {
		return fmt.Errorf("docker: empty image: %w", err)
	}
	sum := sha256.Sum256(files)
	tag := hex.EncodeToString(sum[:8])
	e.image = repository + ":" + tag
	if _, err := e.cli.ImageInspect(ctx, e.image); err == nil {
		return nil
	} else if !errdefs.IsNotFound(err) {
		return fmt.Errorf("docker: image %s: %w", e.image, err)
	}
	r, err := e.cli.ImageImport(ctx, client.ImageImportSource{Source: bytes.NewReader(files), SourceName: "-"}, repository,
		client.ImageImportOptions{Tag: tag, Message: "the frame of a view of the host's files"})
	if err != nil {
		return fmt.Errorf("docker: import image %s: %w", e.image, err)
	}
	// The import is done when the answer ends, and has failed if it says so.
	err = importError(r)
	return errors.Join(err, r.Close())
}

func importError(r io.Reader) error {
	for dec := json.NewDecoder(r); ; {
		var line struct{ Error string }
		if err := dec.Decode(&line); err == io.EOF {
			return nil
		} else if err != nil {
			return fmt.Errorf("docker: import an image: %w", err)
		}
		if line.Error != "" {
			return fmt.Errorf("docker: import an image: %s", line.Error)
		}
	}
}

// skeleton is an archive of the directories, files and links that a view of the
// host's files needs below it, the same for the same view.
func skeleton(fixed []jail.Fixture) ([]byte, error) {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	seen := map[string]bool{"/": true}
	var errs []error
	add := func(h tar.Header) {
		h.Name = h.Name[1:]
		errs = append(errs, w.WriteHeader(&h))
	}
	var dir func(name string, mode int64)
	dir = func(name string, mode int64) {
		if seen[name] {
			return
		}
		dir(path.Dir(name), 0o755)
		seen[name] = true
		add(tar.Header{Typeflag: tar.TypeDir, Name: name, Mode: mode})
	}
	for _, name := range []string{"/dev", "/etc", "/proc", "/run", "/sys", "/var", jail.Workspace, inside} {
		dir(name, 0o755)
	}
	dir("/tmp", 0o1777)
	add(tar.Header{Typeflag: tar.TypeSymlink, Name: "/var/tmp", Linkname: "../tmp", Mode: 0o777})
	for _, f := range fixed {
		dir(path.Dir(f.Inside), 0o755)
		switch {
		case f.Link != "":
			add(tar.Header{Typeflag: tar.TypeSymlink, Name: f.Inside, Linkname: f.Link, Mode: 0o777})
		case isDir(f.Host):
			dir(f.Inside, 0o755)
		default:
			add(tar.Header{Typeflag: tar.TypeReg, Name: f.Inside, Mode: 0o644})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(jail.EtcFiles(jail.UID, jail.GID))) {
		add(tar.Header{Typeflag: tar.TypeReg, Name: "/etc/" + name, Mode: 0o644})
	}
	errs = append(errs, w.Close())
	return out.Bytes(), errors.Join(errs...)
}
