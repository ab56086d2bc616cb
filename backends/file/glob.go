package file

import (
	"context"
	"io/fs"
	"strings"

	"github.com/agentflow-go/sandbox"
)

// GlobInput is what file:glob takes.
type GlobInput struct {
	Pattern string `json:"pattern" jsonschema:"such as *.txt, src/**/*.go or **/test_*.{py,js}; relative to path"`
	Path    string `json:"path,omitzero" jsonschema:"the directory to search; default: the workspace"`
	Max     int    `json:"max,omitzero" jsonschema:"paths to return at most; default 1000"`
}

// GlobOutput is what file:glob returns.
type GlobOutput struct {
	Paths     []string `json:"paths" jsonschema:"relative to the workspace, sorted by directory"`
	Truncated bool     `json:"truncated" jsonschema:"there may be more; search a directory below, or raise max"`
}

// Glob finds entries by name.
func (s *Session) Glob(ctx context.Context, in GlobInput) (GlobOutput, error) {
	most, err := orDefault("max", in.Max, defaultList, maxList)
	if err != nil {
		return GlobOutput{}, err
	}
	room, err := s.limit(maxListed)
	if err != nil {
		return GlobOutput{}, err
	}
	g, err := parseGlob("pattern", in.Pattern)
	if err != nil {
		return GlobOutput{}, err
	}
	files, err := s.env.Files()
	if err != nil {
		return GlobOutput{}, err
	}
	top, err := files.Stat(orTop(in.Path))
	if err != nil {
		return GlobOutput{}, advise(ctx, files, in.Path, err)
	}
	out := GlobOutput{Paths: []string{}}
	o := sandbox.WalkOptions{Depth: g.depth, TypesOnly: true, Skipped: func(string, error) { out.Truncated = true }}
	err = files.Walk(ctx, top.Path, o, func(i sandbox.FileInfo) error {
		if !g.dots && hidden(i.Path) {
			return skip(i)
		}
		if !g.re.MatchString(below(top.Path, i.Path)) {
			return nil
		}
		if room -= len(i.Path); len(out.Paths) == most || room < 0 {
			out.Truncated = true
			return fs.SkipAll
		}
		out.Paths = append(out.Paths, i.Path)
		return nil
	})
	return out, err
}

// below returns a path relative to the directory that it is in.
func below(top, path string) string {
	if top == "." {
		return path
	}
	return strings.TrimPrefix(path, top+"/")
}
