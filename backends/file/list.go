package file

import (
	"context"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"time"

	"github.com/agentflow-go/sandbox"
)

// ListInput is what file:list and file:tree take.
type ListInput struct {
	Path   string `json:"path,omitzero" jsonschema:"the directory; default: the workspace"`
	Hidden bool   `json:"hidden,omitzero" jsonschema:"also names that begin with a dot"`
	Depth  int    `json:"depth,omitzero" jsonschema:"levels to list; default 1 for list, 3 for tree"`
	Max    int    `json:"max,omitzero" jsonschema:"entries to return at most; default 1000"`
}

// ListOutput is what file:list and file:tree return.
type ListOutput struct {
	Entries   []Entry `json:"entries"`
	Truncated bool    `json:"truncated" jsonschema:"there are more entries; list a directory below, or raise max"`
	Note      string  `json:"note,omitzero" jsonschema:"what could not be listed"`
}

// Entry describes a file, directory, link or whatever else there is.
type Entry struct {
	Path     string `json:"path" jsonschema:"relative to the workspace"`
	Type     string `json:"type" jsonschema:"file, directory, symlink, fifo, socket or device"`
	Size     int64  `json:"size" jsonschema:"bytes"`
	Modified string `json:"modified" jsonschema:"time of the last change, UTC"`
	Mode     string `json:"mode" jsonschema:"permissions, octal"`
	Target   string `json:"target,omitzero" jsonschema:"where a symlink leads, as it is written"`
}

func entryOf(i sandbox.FileInfo) Entry {
	return Entry{
		Path: i.Path, Type: i.Kind(), Size: i.Size, Mode: fmt.Sprintf("%04o", i.Mode.Perm()),
		Modified: i.Modified.UTC().Format(time.RFC3339), Target: i.Target,
	}
}

const (
	defaultList = 1000
	maxList     = 10_000
	maxListed   = 1 << 20 // bytes of paths in a list
	maxLevels   = 1000
)

// List lists a directory.
func (s *Session) List(ctx context.Context, in ListInput) (ListOutput, error) {
	return s.list(ctx, in, 1)
}

// Tree lists a directory with what is below.
func (s *Session) Tree(ctx context.Context, in ListInput) (ListOutput, error) {
	return s.list(ctx, in, 3)
}

func (s *Session) list(ctx context.Context, in ListInput, depth int) (ListOutput, error) {
	most, err := orDefault("max", in.Max, defaultList, maxList)
	if err != nil {
		return ListOutput{}, err
	}
	if depth, err = orDefault("depth", in.Depth, depth, maxLevels); err != nil {
		return ListOutput{}, err
	}
	room, err := s.limit(maxListed)
	if err != nil {
		return ListOutput{}, err
	}
	files, err := s.env.Files()
	if err != nil {
		return ListOutput{}, err
	}
	out := ListOutput{Entries: []Entry{}}
	top := orTop(in.Path)
	o := sandbox.WalkOptions{Depth: depth, Skipped: func(_ string, err error) { out.Note, out.Truncated = err.Error(), true }}
	err = files.Walk(ctx, top, o, func(i sandbox.FileInfo) error {
		if !in.Hidden && hidden(i.Path) {
			return skip(i)
		}
		room -= len(i.Path) + len(i.Target)
		if len(out.Entries) == most || room < 0 {
			out.Truncated = true
			return fs.SkipAll
		}
		out.Entries = append(out.Entries, entryOf(i))
		return nil
	})
	return out, advise(ctx, files, top, err)
}

// orTop returns the path of a directory, by default the workspace.
func orTop(path string) string {
	if path == "" {
		return "."
	}
	return path
}

func hidden(p string) bool { return strings.HasPrefix(path.Base(p), ".") }

// skip leaves an entry out, with what is below.
func skip(i sandbox.FileInfo) error {
	if i.Mode.IsDir() {
		return fs.SkipDir
	}
	return nil
}

// StatInput is what file:stat takes.
type StatInput struct {
	Path string `json:"path" jsonschema:"the entry, relative to the workspace or below /workspace/"`
}

// StatOutput is what file:stat returns.
type StatOutput struct {
	Entry
	TargetPath string `json:"target_path,omitzero" jsonschema:"what a symlink leads to, if that is in the workspace"`
	TargetType string `json:"target_type,omitzero" jsonschema:"the type of what it leads to"`
}

// Stat describes one entry.
func (s *Session) Stat(ctx context.Context, in StatInput) (StatOutput, error) {
	files, err := s.env.Files()
	if err != nil {
		return StatOutput{}, err
	}
	info, err := files.Lstat(in.Path)
	if err != nil {
		return StatOutput{}, advise(ctx, files, in.Path, err)
	}
	out := StatOutput{Entry: entryOf(info)}
	if out.Type == "symlink" {
		if real, err := files.Stat(in.Path); err == nil {
			out.TargetPath, out.TargetType = real.Path, real.Kind()
		}
	}
	return out, nil
}
