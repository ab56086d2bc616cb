package sandbox

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"
)

// Config is a configuration file, checked and with its variables expanded. It
// is immutable and may be used concurrently.
//
// What it says of backends and tools is given to [Component]s by
// [Config.Options]; what it says of the HTTP server is in [Config.Server].
// Everything that a file can say, [Options] and Go code can say too.
type Config struct {
	server   ServerConfig
	options  Options // without Registry and Logger
	entries  []configEntry
	drivers  map[string]json.RawMessage // confinement.drivers
	warm     []string
	warnings []Problem
}

// configEntry is one component that the file names and does not switch off.
type configEntry struct {
	kind    ComponentKind
	path    []string // where it is in the file
	class   string   // backend_class; "": not given
	section Section
}

// ServerConfig is the part of a configuration that is about the HTTP server.
type ServerConfig struct {
	Addr               string // host:port to listen on; the port is 18890 and the host 127.0.0.1 unless given
	Title, Description string // "": the server's own
	// TokensFile is the path of a file of tokens, APIKey one more token; "":
	// none. See also AllowedOrigins.
	TokensFile, APIKey string
	AllowedOrigins     []string // origins whose web pages may call; empty: none
	AllowedHosts       []string // Host headers to answer to besides loopback names
	ConfigDirs         []string // directories whose files init/from-config may read; empty: none
	MaxBody            int64    // bytes of a request's body; 0: the server's default
	MaxFile            int64    // bytes of a file that is put into a workspace; 0: the server's default
	MaxBatch           int      // actions of one batch; 0: the server's default
	HeartbeatRefreshes bool     // a heartbeat restarts the idle time of its worker's sessions
	LogLevel           slog.Level
}

// The address that a server listens on unless told otherwise.
const (
	defaultHost = "127.0.0.1"
	defaultPort = 18890
)

// ConfigError is what makes a configuration unusable.
type ConfigError struct {
	Path     string    // the file; "": not from a file
	Problems []Problem // at least one; none is a warning
}

func (e *ConfigError) Error() string {
	var b strings.Builder
	if e.Path != "" {
		b.WriteString(e.Path + ": ")
	}
	for i, p := range e.Problems {
		if i > 0 {
			b.WriteString("\n")
		}
		b.WriteString(p.String())
	}
	return b.String()
}

// String returns the problem on one line.
func (p Problem) String() string {
	s := p.Text
	if p.Key != "" {
		s = p.Key + ": " + s
	}
	if p.Remedy != "" {
		s += " (" + p.Remedy + ")"
	}
	return s
}

// LoadConfig reads a configuration file, expanding ${VAR} from the
// environment. A file that cannot be read gives the error of the system, one
// that cannot be used a [*ConfigError] with every fault in it.
func LoadConfig(path string) (*Config, error) {
	data, err := readBounded(path, maxConfig)
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	c, err := ParseConfig(data, os.LookupEnv)
	if ce, ok := errors.AsType[*ConfigError](err); ok {
		ce.Path = path
	}
	return c, err
}

// maxConfig bounds a configuration file, in bytes. One is written by hand.
const maxConfig = 16 << 20

// readBounded reads a file of at most most bytes.
func readBounded(path string, most int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(data)) > most {
		err = fmt.Errorf("%s is longer than %d bytes; is it a configuration file?", path, most)
	}
	return data, err
}

// ParseConfig reads a configuration. Variables are looked up with env; nil
// means the environment. The error is a [*ConfigError].
func ParseConfig(data []byte, env func(name string) (string, bool)) (*Config, error) {
	if env == nil {
		env = os.LookupEnv
	}
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	tree, order, problem := parseTree(data)
	if problem != nil {
		return nil, &ConfigError{Problems: []Problem{*problem}}
	}
	r := configReader{env: env, order: order, config: &Config{
		server: ServerConfig{Addr: joinAddr(defaultHost, defaultPort)},
	}}
	r.root(tree)
	if len(r.errs) > 0 {
		return nil, &ConfigError{Problems: r.errs}
	}
	return r.config, nil
}

// DefaultConfig is the configuration that a server runs without a file: every
// component that needs nothing configured, and nothing else.
func DefaultConfig(known ...Component) *Config {
	c := &Config{server: ServerConfig{Addr: joinAddr(defaultHost, defaultPort)}}
	for _, comp := range known {
		if !comp.Default {
			continue
		}
		parent := "resources"
		if comp.Kind == KindAPI {
			parent = "apis"
		}
		c.entries = append(c.entries, configEntry{
			kind: comp.Kind, path: []string{parent, comp.Key},
			section: Section{Name: comp.Key, Raw: json.RawMessage("{}")},
		})
	}
	return c
}

// Server returns what the configuration says of the HTTP server.
func (c *Config) Server() ServerConfig {
	s := c.server
	s.AllowedOrigins = slices.Clone(s.AllowedOrigins)
	s.AllowedHosts = slices.Clone(s.AllowedHosts)
	s.ConfigDirs = slices.Clone(s.ConfigDirs)
	return s
}

// SessionTTL returns the idle time of sessions.
func (c *Config) SessionTTL() time.Duration {
	return orDefault(c.options.SessionTTL, DefaultSessionTTL)
}

// Warnings returns what in the file has no effect here, or not the one that
// might be expected.
func (c *Config) Warnings() []Problem { return slices.Clone(c.warnings) }
