package file

import (
	"context"
	"encoding/base64"
	"io"
	"strings"

	"github.com/agentflow-go/sandbox"
)

// WriteInput is what file:write and file:append take.
type WriteInput struct {
	Path     string `json:"path" jsonschema:"the file, relative to the workspace or below /workspace/"`
	Content  string `json:"content"`
	Encoding string `json:"encoding,omitzero" jsonschema:"of the content: utf-8 (default) or base64"`
	Mkdirs   *bool  `json:"mkdirs,omitempty" jsonschema:"make directories that are missing; default true"`
}

// WriteOutput is what file:write and file:append return.
type WriteOutput struct {
	Path string `json:"path"`
	Size int64  `json:"size" jsonschema:"bytes of the whole file"`
}

type putFunc = func(*sandbox.Files, string, io.Reader, sandbox.CreateOptions) (sandbox.FileInfo, error)

// Write replaces a file.
func (s *Session) Write(ctx context.Context, in WriteInput) (WriteOutput, error) {
	return s.put(ctx, in, (*sandbox.Files).WriteFile)
}

// Append adds to a file.
func (s *Session) Append(ctx context.Context, in WriteInput) (WriteOutput, error) {
	return s.put(ctx, in, (*sandbox.Files).Append)
}

func (s *Session) put(ctx context.Context, in WriteInput, how putFunc) (WriteOutput, error) {
	content := in.Content
	switch in.Encoding {
	case "", "utf-8":
	case "base64":
		p, err := base64.StdEncoding.DecodeString(content)
		if err != nil {
			return WriteOutput{}, sandbox.Errorf(sandbox.ErrInvalidInput, "/content: not base64: %w; give standard base64 with padding, or encoding utf-8", err)
		}
		content = string(p)
	default:
		return WriteOutput{}, sandbox.Errorf(sandbox.ErrInvalidInput, "/encoding: %q; give utf-8 or base64", in.Encoding)
	}
	if strings.HasSuffix(in.Path, "/") {
		return WriteOutput{}, sandbox.Errorf(sandbox.ErrInvalidInput, "/path: %q names a directory; give the path of a file", in.Path)
	}
	files, err := s.env.Files()
	if err != nil {
		return WriteOutput{}, err
	}
	info, err := how(files, in.Path, strings.NewReader(content), sandbox.CreateOptions{Parents: in.Mkdirs == nil || *in.Mkdirs})
	if err != nil {
		return WriteOutput{}, advise(ctx, files, in.Path, err)
	}
	return WriteOutput{info.Path, info.Size}, nil
}
