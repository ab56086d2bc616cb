package file

import (
	"context"
	"errors"

	"github.com/agentflow-go/sandbox"
	"github.com/agentflow-go/sandbox/internal/workfs"
)

// maxCopy is how many bytes one copy copies.
const maxCopy = 4 << 30

// MkdirInput is what file:mkdir takes.
type MkdirInput struct {
	Path string `json:"path" jsonschema:"the directory, relative to the workspace or below /workspace/"`
}

// MkdirOutput is what file:mkdir returns.
type MkdirOutput struct {
	Path string `json:"path"`
}

// Mkdir makes a directory and those above it.
func (s *Session) Mkdir(ctx context.Context, in MkdirInput) (MkdirOutput, error) {
	files, err := s.env.Files()
	if err != nil {
		return MkdirOutput{}, err
	}
	info, err := files.Mkdir(in.Path, sandbox.MkdirOptions{Parents: true})
	return MkdirOutput{info.Path}, advise(ctx, files, in.Path, err)
}

// DeleteInput is what file:delete takes.
type DeleteInput struct {
	Path      string `json:"path" jsonschema:"the entry, relative to the workspace or below /workspace/"`
	Recursive bool   `json:"recursive,omitzero" jsonschema:"a directory with all that is in it"`
}

// DeleteOutput is what file:delete returns.
type DeleteOutput struct {
	Path string `json:"path"`
}

// Delete removes an entry; of a link the link itself.
func (s *Session) Delete(ctx context.Context, in DeleteInput) (DeleteOutput, error) {
	files, err := s.env.Files()
	if err != nil {
		return DeleteOutput{}, err
	}
	info, err := files.Lstat(in.Path)
	if err != nil {
		return DeleteOutput{}, advise(ctx, files, in.Path, err)
	}
	if in.Recursive {
		err = files.RemoveAll(ctx, in.Path)
	} else {
		err = files.Remove(in.Path)
	}
	if errors.Is(err, workfs.ErrNotEmpty) {
		return DeleteOutput{}, sandbox.Errorf(sandbox.CodeOf(err), "%w; delete it with recursive true if all of it is to go", err)
	}
	return DeleteOutput{info.Path}, advise(ctx, files, in.Path, err)
}

// MoveInput is what file:move and file:copy take.
type MoveInput struct {
	From      string `json:"from" jsonschema:"the entry, relative to the workspace or below /workspace/"`
	To        string `json:"to" jsonschema:"its new path"`
	Overwrite bool   `json:"overwrite,omitzero" jsonschema:"replace a file that is there"`
}

// MoveOutput is what file:move and file:copy return.
type MoveOutput struct {
	Path string `json:"path" jsonschema:"the new path"`
	Type string `json:"type"`
}

// Move renames an entry.
func (s *Session) Move(ctx context.Context, in MoveInput) (MoveOutput, error) {
	return s.move(ctx, in, func(files *sandbox.Files, o sandbox.MoveOptions) (sandbox.FileInfo, error) {
		return files.Rename(in.From, in.To, o)
	})
}

// Copy copies an entry.
func (s *Session) Copy(ctx context.Context, in MoveInput) (MoveOutput, error) {
	return s.move(ctx, in, func(files *sandbox.Files, o sandbox.MoveOptions) (sandbox.FileInfo, error) {
		return files.Copy(ctx, in.From, in.To, o)
	})
}

func (s *Session) move(ctx context.Context, in MoveInput, how func(*sandbox.Files, sandbox.MoveOptions) (sandbox.FileInfo, error)) (MoveOutput, error) {
	files, err := s.env.Files()
	if err != nil {
		return MoveOutput{}, err
	}
	info, err := how(files, sandbox.MoveOptions{Overwrite: in.Overwrite, Parents: true, MaxBytes: maxCopy})
	if sandbox.CodeOf(err) == sandbox.ErrConflict {
		there, serr := files.Lstat(in.To)
		switch {
		case serr == nil && there.Mode.IsDir():
			err = sandbox.Errorf(sandbox.ErrConflict, "%w; to is a directory that exists: give the new path in it, such as %s/name", err, there.Path)
		case serr == nil && !in.Overwrite:
			err = sandbox.Errorf(sandbox.ErrConflict, "%w; set overwrite to replace it", err)
		}
	}
	return MoveOutput{info.Path, info.Kind()}, advise(ctx, files, in.From, err)
}
