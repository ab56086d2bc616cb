package file

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/agentflow-go/sandbox"
	"github.com/agentflow-go/sandbox/internal/workfs"
)

// EditInput is what file:edit takes.
type EditInput struct {
	Path  string `json:"path" jsonschema:"the file, relative to the workspace or below /workspace/"`
	Edits []Edit `json:"edits" jsonschema:"replacements, made in this order"`
}

// Edit is one replacement.
type Edit struct {
	Old string `json:"old" jsonschema:"the exact text to replace, with spaces, indentation and line ends"`
	New string `json:"new" jsonschema:"what to put there; empty to delete"`
	All bool   `json:"all,omitzero" jsonschema:"replace every occurrence; otherwise there must be exactly one"`
}

// EditOutput is what file:edit returns.
type EditOutput struct {
	Path         string `json:"path"`
	Replacements int    `json:"replacements"`
	Diff         string `json:"diff" jsonschema:"what has changed, as a unified diff"`
	Truncated    bool   `json:"truncated" jsonschema:"the diff is longer than what is shown of it"`
}

const (
	maxEditFile = 16 << 20 // bytes of a file to edit, before and after
	maxEdits    = 1000
)

// Edit makes all of the edits or none.
func (s *Session) Edit(ctx context.Context, in EditInput) (EditOutput, error) {
	if len(in.Edits) == 0 || len(in.Edits) > maxEdits {
		return EditOutput{}, sandbox.Errorf(sandbox.ErrInvalidInput, "/edits: %d of them; give 1 to %d", len(in.Edits), maxEdits)
	}
	files, err := s.env.Files()
	if err != nil {
		return EditOutput{}, err
	}
	s.editing.Lock() // edits of one session do not lose each other's work
	defer s.editing.Unlock()
	f, err := files.Open(in.Path)
	if err != nil {
		return EditOutput{}, advise(ctx, files, in.Path, err)
	}
	defer f.Close()
	path := f.Info().Path
	before, more, err := readRange(f, 0, maxEditFile)
	if err != nil {
		return EditOutput{}, err
	}
	if more {
		return EditOutput{}, sandbox.Errorf(sandbox.ErrTooLarge, "edit %q: it has %d bytes, more than the %d that can be edited; use a program such as sed", path, f.Info().Size, maxEditFile)
	}
	version, err := f.Version()
	if err != nil {
		return EditOutput{}, err
	}
	after, n, err := apply(ctx, path, string(before), in.Edits)
	if err != nil {
		return EditOutput{}, err
	}
	w, err := files.Create(path, sandbox.CreateOptions{Version: version})
	if err != nil {
		return EditOutput{}, err
	}
	defer w.Close()
	if _, err := w.Write([]byte(after)); err != nil {
		return EditOutput{}, err
	}
	if _, err := w.Commit(); errors.Is(err, workfs.ErrChanged) {
		return EditOutput{}, sandbox.Errorf(sandbox.ErrConflict, "edit %q: something else has changed it meanwhile, nothing was written; read it again and repeat the edit", path)
	} else if err != nil {
		return EditOutput{}, err
	}
	out := EditOutput{Path: path, Replacements: n}
	out.Diff, out.Truncated = unified(path, string(before), after)
	return out, nil
}

// apply makes the edits in a text and returns it with their number.
func apply(ctx context.Context, path, text string, edits []Edit) (string, int, error) {
	total := 0
	for i, e := range edits {
		if err := ctx.Err(); err != nil {
			return "", 0, err
		}
		refuse := func(format string, args ...any) (string, int, error) {
			what := fmt.Sprintf("/edits/%d/old of %q", i, path)
			return "", 0, sandbox.Errorf(sandbox.ErrInvalidInput, "%s: %s; no edit was made", what, fmt.Sprintf(format, args...))
		}
		switch {
		case e.Old == "":
			return refuse("it is empty; give the text to replace, or use file:write for a whole file")
		case e.Old == e.New:
			return refuse("it is the same as new, nothing would change")
		}
		n := strings.Count(text, e.Old)
		if n == 0 && strings.Contains(text, "\r\n") {
			// A model writes \n for the end of a line, whatever the file has.
			if windows := crlf(e.Old); windows != e.Old {
				if n = strings.Count(text, windows); n > 0 {
					e.Old, e.New = windows, crlf(e.New)
				}
			}
		}
		switch {
		case n == 0:
			return refuse("the text does not occur%s", candidate(text, e.Old, i))
		case n > 1 && !e.All:
			return refuse("the text occurs %d times (%s); add lines around it so that it occurs once, or set all", n, places(text, e.Old))
		case len(text)+n*(len(e.New)-len(e.Old)) > maxEditFile:
			return refuse("with new in its place the file would have more than %d bytes", maxEditFile)
		}
		text = strings.ReplaceAll(text, e.Old, e.New)
		total += n
	}
	return text, total, nil
}

// crlf gives every line the ending of Windows.
func crlf(s string) string {
	return strings.ReplaceAll(strings.ReplaceAll(s, "\r\n", "\n"), "\n", "\r\n")
}

// places names the lines in which old begins.
func places(text, old string) string {
	const most = 8
	var at []string
	line, rest := 1, text
	for {
		i := strings.Index(rest, old)
		if i < 0 {
			break
		}
		if len(at) == most {
			at = append(at, "…")
			break
		}
		line += strings.Count(rest[:i], "\n")
		at = append(at, fmt.Sprint(line))
		line += strings.Count(rest[i:i+len(old)], "\n")
		rest = rest[i+len(old):]
	}
	return "beginning in lines " + strings.Join(at, ", ")
}
