package code

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/agentflow-go/sandbox"
)

// Config configures the backend. The zero value is useful.
type Config struct {
	Name        string // of the backend; "": code
	Description string // "": a standard text
	Pool        int    // sessions kept open ahead of demand, with their first language started
	MaxSessions int    // open at once; 0: no limit

	// The rest are defaults of the sessions; a session's own configuration has
	// the keys languages, interpreters, env, timeout (seconds), max_output,
	// kernel and kernels.

	// Languages are those that can be run, the first of them by default. nil:
	// python, javascript and bash, and those of Kernels.
	Languages []string
	// Interpreters are programs by language, as processes see them. Default:
	// python /usr/bin/python3, javascript /usr/bin/node, bash /bin/bash.
	Interpreters map[string]string
	Env          map[string]string // added to the environment
	Timeout      time.Duration     // of a call that gives none; 0: 60 s
	MaxOutput    int               // bytes of each stream, and of the value, in a result; 0: 1 MiB
	// Kernel is "jupyter" to run the languages of Kernels in Jupyter kernels,
	// which needs jupyter_client in the Python; "": the drivers of this package.
	Kernel string
	// Kernels are names of Jupyter kernels by language. nil: python python3.
	Kernels map[string]string
}

// settings are a session's configuration.
type settings struct {
	Languages    []string          `json:"languages,omitempty"`
	Interpreters map[string]string `json:"interpreters,omitempty"`
	Env          map[string]string `json:"env,omitempty"`
	Timeout      float64           `json:"timeout,omitzero"` // seconds
	MaxOutput    int               `json:"max_output,omitzero"`
	Kernel       string            `json:"kernel,omitzero"`
	Kernels      map[string]string `json:"kernels,omitempty"`
}

const (
	python, javascript, bash = "python", "javascript", "bash"
	jupyter                  = "jupyter"

	defaultTimeout = 60 * time.Second
	maxTimeout     = 24 * time.Hour
	defaultOutput  = 1 << 20
	maxOutput      = 4 << 20
	maxCode        = 8 << 20
)

// aliases are other names of languages.
func aliases(language string) []string {
	switch language {
	case python:
		return []string{"py", "python3"}
	case javascript:
		return []string{"js", "node", "nodejs"}
	case bash:
		return []string{"sh", "shell"}
	}
	return nil
}

// settings returns the sessions' defaults.
func (c Config) settings() settings {
	return settings{
		Languages: slices.Clone(c.Languages), Interpreters: maps.Clone(c.Interpreters), Env: maps.Clone(c.Env),
		Timeout: c.Timeout.Seconds(), MaxOutput: c.MaxOutput, Kernel: c.Kernel, Kernels: maps.Clone(c.Kernels),
	}
}

// check fills in defaults and refuses what makes no sense.
func (c *settings) check() error {
	if c.Timeout == 0 {
		c.Timeout = defaultTimeout.Seconds()
	}
	if c.MaxOutput == 0 {
		c.MaxOutput = defaultOutput
	}
	if _, err := seconds("timeout", c.Timeout); err != nil {
		return err
	}
	if c.MaxOutput < 0 || c.MaxOutput > maxOutput {
		return sandbox.Errorf(sandbox.ErrInvalidInput, "/max_output: %d bytes; give 1 to %d", c.MaxOutput, maxOutput)
	}
	for k, v := range c.Env {
		if k == "" || strings.ContainsAny(k, "=\x00") || strings.Contains(v, "\x00") {
			return sandbox.Errorf(sandbox.ErrInvalidInput, "/env: %q: %q; a name is not empty and without =, and neither has a NUL", k, v)
		}
	}
	switch {
	case c.Kernel == "":
		if len(c.Kernels) > 0 {
			return sandbox.Errorf(sandbox.ErrInvalidInput, "/kernels: given without /kernel; set that to %q", jupyter)
		}
	case c.Kernel != jupyter:
		return sandbox.Errorf(sandbox.ErrInvalidInput, "/kernel: %q; give %q, or nothing for the drivers of this package", c.Kernel, jupyter)
	case len(c.Kernels) == 0:
		c.Kernels = map[string]string{python: "python3"}
	}
	for language, name := range c.Kernels {
		if name == "" || strings.ContainsAny(name, "/\x00") || strings.HasPrefix(name, "-") {
			return sandbox.Errorf(sandbox.ErrInvalidInput, "/kernels/%s: %q; give the name of an installed kernel", language, name)
		}
	}
	if len(c.Languages) == 0 {
		c.Languages = []string{python, javascript, bash}
		for _, language := range slices.Sorted(maps.Keys(c.Kernels)) {
			if !slices.Contains(c.Languages, language) {
				c.Languages = append(c.Languages, language)
			}
		}
	}
	for i, language := range c.Languages {
		if slices.Index(c.Languages, language) < i {
			return sandbox.Errorf(sandbox.ErrInvalidInput, "/languages/%d: %q is there twice", i, language)
		}
		if aliases(language) == nil && c.Kernels[language] == "" {
			return sandbox.Errorf(sandbox.ErrInvalidInput, "/languages/%d: %q; there are %s, %s, %s and those of /kernels", i, language, python, javascript, bash)
		}
	}
	for language, program := range c.Interpreters {
		if aliases(language) == nil {
			return sandbox.Errorf(sandbox.ErrInvalidInput, "/interpreters: %q; there are %s, %s and %s", language, python, javascript, bash)
		}
		if !path.IsAbs(program) || strings.Contains(program, "\x00") {
			return sandbox.Errorf(sandbox.ErrInvalidInput, "/interpreters/%s: %q; give an absolute path", language, program)
		}
	}
	return nil
}

// interpreter returns the program that runs a language.
func (c *settings) interpreter(language string) string {
	if p := c.Interpreters[language]; p != "" {
		return p
	}
	switch language {
	case javascript:
		return "/usr/bin/node"
	case bash:
		return "/bin/bash"
	}
	return "/usr/bin/python3"
}

// seconds checks a time limit.
func seconds(name string, s float64) (time.Duration, error) {
	if !(s > 0 && s <= maxTimeout.Seconds()) {
		return 0, sandbox.Errorf(sandbox.ErrInvalidInput, "/%s: %v seconds; give more than 0 and at most %v", name, s, maxTimeout.Seconds())
	}
	return time.Duration(s * float64(time.Second)), nil
}

// environ is the environment of the interpreters, beside the clean one.
func (c *settings) environ(home string) []string {
	env := []string{
		"SANDBOX_HOME=" + home,
		"MPLBACKEND=agg", "MPLCONFIGDIR=/tmp/.matplotlib",
		"MATPLOTLIBRC=/dev/null", // Debian keeps it in /etc, which jails do not see
		"NODE_PATH=" + home + "/" + packagesDir + "/node/node_modules",
		"TERM=dumb", "NO_COLOR=1",
	}
	for _, k := range slices.Sorted(maps.Keys(c.Env)) {
		env = append(env, fmt.Sprintf("%s=%s", k, c.Env[k]))
	}
	return env
}

// packagesDir is where packages are installed, in the workspace.
const packagesDir = ".packages"
