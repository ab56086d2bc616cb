package file

import (
	"context"
	"errors"
	"io/fs"
	"path"
	"runtime"

	"github.com/agentflow-go/sandbox"
	"golang.org/x/sync/errgroup"
)

// GrepInput is what file:grep takes.
type GrepInput struct {
	Pattern    string `json:"pattern" jsonschema:"a regular expression in RE2 syntax, matched against each line"`
	Path       string `json:"path,omitzero" jsonschema:"the file or directory to search; default: the workspace"`
	Glob       string `json:"glob,omitzero" jsonschema:"only files whose name matches, such as *.py; with a slash, whose path below path does"`
	IgnoreCase bool   `json:"ignore_case,omitzero"`
	Context    int    `json:"context,omitzero" jsonschema:"lines to return before and after each match, up to 20; default 0"`
	Max        int    `json:"max,omitzero" jsonschema:"matches to return at most; default 200"`
}

// GrepOutput is what file:grep returns.
type GrepOutput struct {
	Matches   []Match `json:"matches"`
	Truncated bool    `json:"truncated" jsonschema:"there may be more; narrow path, glob or pattern, or raise max"`
	Files     int     `json:"files" jsonschema:"text files that were searched"`
	Skipped   int     `json:"skipped" jsonschema:"files left out: binary, or not readable"`
}

// Match is a line that matches.
type Match struct {
	Path   string   `json:"path"`
	Line   int      `json:"line" jsonschema:"counted from 1"`
	Text   string   `json:"text" jsonschema:"the line; of a long one the part around the match"`
	Before []string `json:"before,omitempty"`
	After  []string `json:"after,omitempty"`
}

const (
	defaultMatches = 200
	maxMatches     = 5000
	maxContext     = 20
	grepBatch      = 64 // files that are opened at once
	grepAhead      = 8  // batches that may wait for their turn
)

// Grep searches files. It reads several at once, and returns the matches in the
// order of their paths.
func (s *Session) Grep(ctx context.Context, in GrepInput) (GrepOutput, error) {
	g := grep{}
	var err error
	if g.most, err = orDefault("max", in.Max, defaultMatches, maxMatches); err != nil {
		return GrepOutput{}, err
	}
	if g.around = in.Context; g.around != 0 {
		if err := within("context", g.around, 0, maxContext); err != nil {
			return GrepOutput{}, err
		}
	}
	if g.bytes, err = s.limit(1 << 20); err != nil {
		return GrepOutput{}, err
	}
	if g.re, err = newMatcher(in.Pattern, in.IgnoreCase); err != nil {
		return GrepOutput{}, err
	}
	if in.Glob != "" {
		glob, err := parseGlob("glob", in.Glob)
		if err != nil {
			return GrepOutput{}, err
		}
		g.glob = &glob
	}
	if g.files, err = s.env.Files(); err != nil {
		return GrepOutput{}, err
	}
	out, err := g.run(ctx, orTop(in.Path))
	return out, advise(ctx, g.files, in.Path, err)
}

// grep is one search.
type grep struct {
	files  *sandbox.Files
	re     *matcher
	glob   *globPattern
	most   int
	around int
	bytes  int
}

// found is what a batch of files has.
type found struct {
	matches        []Match
	cut            bool // something was not searched
	files, skipped int
}

type job struct {
	paths  []string
	result chan found // takes one without waiting
}

func (g *grep) run(ctx context.Context, path string) (GrepOutput, error) {
	top, err := g.files.Stat(path)
	if err != nil {
		return GrepOutput{}, err
	}
	caller := ctx
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	jobs, order := make(chan job), make(chan job, grepAhead)
	group, ctx := errgroup.WithContext(ctx)
	cut := false // written before order is closed
	group.Go(func() error {
		defer close(order)
		defer close(jobs)
		if !top.Mode.IsDir() {
			return hand(ctx, []string{path}, jobs, order)
		}
		return g.list(ctx, top.Path, &cut, jobs, order)
	})
	for range min(4, runtime.GOMAXPROCS(0)) {
		group.Go(func() error {
			for j := range jobs {
				j.result <- g.search(ctx, j.paths)
			}
			return nil
		})
	}
	out := g.collect(ctx, cancel, order)
	err = group.Wait()
	if caller.Err() != nil {
		cut, err = true, context.Cause(caller)
	} else if errors.Is(err, context.Canceled) {
		err = nil // it was us
	}
	out.Truncated = out.Truncated || cut
	if err != nil || top.Mode.IsDir() || out.Files > 0 {
		return out, err
	}
	f, err := g.files.Open(path) // says what is wrong with it
	if err != nil {
		return out, err
	}
	f.Close()
	return out, sandbox.Errorf(sandbox.ErrInvalidInput, "search %q: it is not text", path)
}

// list hands out the files below a directory.
func (g *grep) list(ctx context.Context, top string, cut *bool, jobs, order chan<- job) error {
	var batch []string
	o := sandbox.WalkOptions{TypesOnly: true, Skipped: func(string, error) { *cut = true }}
	err := g.files.Walk(ctx, top, o, func(i sandbox.FileInfo) error {
		if i.Mode.IsDir() && path.Base(i.Path) == ".git" {
			return fs.SkipDir
		}
		if !i.Mode.IsRegular() || !g.chosen(below(top, i.Path)) {
			return nil
		}
		if batch = append(batch, i.Path); len(batch) < grepBatch {
			return nil
		}
		full := batch
		batch = nil
		return hand(ctx, full, jobs, order)
	})
	if err != nil || len(batch) == 0 {
		return err
	}
	return hand(ctx, batch, jobs, order)
}

func (g *grep) chosen(rel string) bool {
	if g.glob == nil {
		return true
	}
	if g.glob.base {
		rel = path.Base(rel)
	}
	return g.glob.re.MatchString(rel)
}

// hand gives a batch to a searcher and its place to the collector.
func hand(ctx context.Context, paths []string, jobs, order chan<- job) error {
	j := job{paths, make(chan found, 1)}
	select {
	case order <- j:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case jobs <- j:
		return nil
	case <-ctx.Done():
		j.result <- found{}
		return ctx.Err()
	}
}

// collect joins the batches in their order, until there is enough.
func (g *grep) collect(ctx context.Context, cancel context.CancelFunc, order <-chan job) GrepOutput {
	out := GrepOutput{Matches: []Match{}}
	size := 0
	for j := range order {
		f := <-j.result
		if ctx.Err() != nil {
			continue // drain
		}
		out.Files += f.files
		out.Skipped += f.skipped
		for _, m := range f.matches {
			if size += m.size(); len(out.Matches) == g.most || size > g.bytes {
				out.Truncated = true
				cancel()
				break
			}
			out.Matches = append(out.Matches, m)
		}
		out.Truncated = out.Truncated || f.cut
	}
	return out
}

func (m *Match) size() int {
	n := len(m.Path) + len(m.Text)
	for _, lines := range [][]string{m.Before, m.After} {
		for _, l := range lines {
			n += len(l)
		}
	}
	return n
}

// search searches a batch of files.
func (g *grep) search(ctx context.Context, paths []string) (f found) {
	opened, _ := g.files.OpenAll(paths)
	defer func() {
		for _, file := range opened {
			if file != nil {
				file.Close()
			}
		}
	}()
	var b blocks
	for _, file := range opened {
		if file == nil {
			f.skipped++
			continue
		}
		if ctx.Err() != nil || len(f.matches) > g.most {
			f.cut = true
			break
		}
		matches, cut, text := b.search(ctx, g, file)
		if !text {
			f.skipped++
			continue
		}
		f.files++
		f.matches = append(f.matches, matches...)
		f.cut = f.cut || cut
	}
	return f
}
