package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/agentflow-go/sandbox"
	"github.com/agentflow-go/sandbox/internal/wire"
)

// maxConfig is how many bytes of a configuration file are read.
const maxConfig = 4 << 20

// errNotAllowed is the one error for every path that is not under a configured
// directory, whether or not there is a file: nothing outside shows.
var errNotAllowed = errors.New("not under a directory that the server may read configurations from")

// initFromConfig reads a JSON file on the server, lays overrides over it and
// returns it. It initialises nothing.
func initFromConfig(_ context.Context, q *request) reply {
	worker := q.typedWorker()
	path := q.body.required("config_path")
	overrides := q.body.object("override_params", false)
	if refused := q.refused(worker); refused != nil {
		return *refused
	}
	config, err := readConfig(q.o.ConfigDirs, path)
	if err == nil {
		config, err = override(config, overrides)
	}
	if err != nil {
		r := configFailure(path, err)
		r.data = encode(struct {
			ConfigPath string `json:"config_path"`
		}{path})
		return r
	}
	r := success(struct {
		ConfigLoaded string          `json:"config_loaded"`
		Config       json.RawMessage `json:"config"`
	}{path, config})
	return r
}

func configFailure(path string, err error) reply {
	switch {
	case errors.Is(err, errNotAllowed):
		r := refusal(sandbox.ErrInvalidRequest, fmt.Sprintf("Config file not allowed: %s is %v", path, errNotAllowed))
		r.status = http.StatusForbidden
		return *r
	case errors.Is(err, fs.ErrNotExist):
		r := refusal(sandbox.ErrInvalidRequest, "Config file not found: "+path)
		r.status = http.StatusNotFound
		return *r
	}
	return *refusal(sandbox.ErrUnexpected, err.Error())
}

// readConfig reads a file below one of the directories. A relative path is
// relative to each of them, or to the server's working directory.
func readConfig(dirs []string, path string) (json.RawMessage, error) {
	for _, dir := range dirs {
		candidates := []string{path}
		if filepath.IsAbs(path) {
			rel, err := filepath.Rel(dir, path)
			if err != nil {
				continue
			}
			candidates[0] = rel
		} else if abs, err := filepath.Abs(path); err == nil {
			if rel, err := filepath.Rel(dir, abs); err == nil {
				candidates = append(candidates, rel)
			}
		}
		for _, name := range candidates {
			if !filepath.IsLocal(name) {
				continue
			}
			raw, err := readUnder(dir, name)
			if !errors.Is(err, fs.ErrNotExist) {
				return raw, err
			}
		}
	}
	// Nothing was found. Whether that may be said depends on where the path
	// points: within the directories it may.
	for _, dir := range dirs {
		if rel, err := filepath.Rel(dir, path); !filepath.IsAbs(path) && filepath.IsLocal(path) || err == nil && filepath.IsLocal(rel) {
			return nil, fs.ErrNotExist
		}
	}
	return nil, errNotAllowed
}

// readUnder reads one regular file. Links that lead out of dir are not
// followed, and opening waits for nobody.
func readUnder(dir, name string) (json.RawMessage, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, errNotAllowed
	}
	defer root.Close()
	f, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fs.ErrNotExist
		}
		return nil, errNotAllowed // a link that leads out, or no permission
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, errNotAllowed
	}
	raw, err := io.ReadAll(io.LimitReader(f, maxConfig+1))
	switch {
	case err != nil:
		return nil, errors.New("the file could not be read")
	case len(raw) > maxConfig:
		return nil, fmt.Errorf("the file is larger than %d bytes", maxConfig)
	case !json.Valid(raw):
		return nil, errors.New("the file is not valid JSON")
	}
	if text := strings.TrimSpace(string(raw)); text[0] != '{' {
		return nil, errors.New("the file does not hold a JSON object")
	}
	return raw, nil
}

// override replaces members that config has. Two objects are merged one level
// deep.
func override(config, overrides json.RawMessage) (json.RawMessage, error) {
	var base, over map[string]json.RawMessage
	if err := wire.Unmarshal(overrides, &over); err != nil || len(over) == 0 {
		return config, err
	}
	if err := wire.Unmarshal(config, &base); err != nil {
		return nil, err
	}
	for key, value := range over {
		old, there := base[key]
		if !there {
			continue
		}
		var into, from map[string]json.RawMessage
		if old[0] == '{' && value[0] == '{' && wire.Unmarshal(old, &into) == nil && wire.Unmarshal(value, &from) == nil {
			for k, v := range from {
				into[k] = v
			}
			value = encode(into)
		}
		base[key] = value
	}
	return wire.Marshal(base)
}
