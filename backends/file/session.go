package file

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"sync"

	"github.com/agentflow-go/sandbox"
	"github.com/agentflow-go/sandbox/internal/nearest"
	"github.com/agentflow-go/sandbox/internal/workfs"
)

// Session is the state of a session. Its methods are the tools, and may be
// called concurrently.
type Session struct {
	env sandbox.Env
	set settings

	editing sync.Mutex // held from reading to writing by Edit
}

// backend opens Sessions.
type backend struct{}

var _ sandbox.Backend[*Session] = backend{}

// Open opens nothing yet.
func (backend) Open(_ context.Context, env sandbox.Env) (*Session, error) {
	s := &Session{env: env}
	if err := env.Decode(&s.set); err != nil {
		return nil, err
	}
	return s, s.set.check()
}

// Close does nothing: a session holds nothing.
func (backend) Close(context.Context, *Session) error { return nil }

// limit returns how many bytes of content a call returns at most.
func (s *Session) limit(asked int) (int, error) {
	n, err := orDefault("max_bytes", asked, s.set.MaxBytes, maxBytes)
	if most := s.env.Limits().Output; most > 0 {
		n = int(min(int64(n), most))
	}
	return n, err
}

// advise adds to an error what a model may do about it.
func advise(ctx context.Context, files *sandbox.Files, p string, err error) error {
	if err == nil {
		return nil
	}
	var advice string
	switch {
	case errors.Is(err, fs.ErrNotExist):
		advice = missing(ctx, files, p)
	case errors.Is(err, workfs.ErrIsDir):
		advice = "use file:list to see what is in it"
	case errors.Is(err, workfs.ErrOutside):
		advice = "only files in the workspace can be used; copy what is needed into it"
	case errors.Is(err, workfs.ErrTooLarge):
		return err
	}
	if advice == "" {
		return err
	}
	return sandbox.Errorf(sandbox.CodeOf(err), "%w; %s", err, advice)
}

// missing looks for what a path that leads nowhere may have meant.
func missing(ctx context.Context, files *sandbox.Files, p string) string {
	rel, err := files.Clean(p)
	if err != nil {
		return ""
	}
	for rel != "." {
		dir, name := path.Dir(rel), path.Base(rel)
		list, _, err := files.ReadDir(ctx, dir, 1000)
		if err != nil {
			rel = dir
			continue
		}
		names := make([]string, len(list))
		for i, info := range list {
			if names[i] = path.Base(info.Path); names[i] != name {
				continue
			}
			if info.Kind() != "symlink" {
				return "" // it has come meanwhile
			}
			return fmt.Sprintf("%q is a symbolic link to %q, which leads nowhere", rel, info.Target)
		}
		where := "the workspace"
		if dir != "." {
			where = fmt.Sprintf("%q", dir)
		}
		switch near := nearest.Names(name, names, 3); {
		case len(near) > 0:
			return fmt.Sprintf("%s has no %q, but it has %s", where, name, strings.Join(quoted(near), ", "))
		case len(names) == 0:
			return where + " is empty"
		case len(names) <= 20:
			return fmt.Sprintf("%s has no %q; it has %s", where, name, strings.Join(quoted(names), ", "))
		default:
			return fmt.Sprintf("%s has no %q; see what it has with file:list", where, name)
		}
	}
	return ""
}

func quoted(names []string) []string {
	q := make([]string, len(names))
	for i, n := range names {
		q[i] = fmt.Sprintf("%q", n)
	}
	return q
}
