package api

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"slices"

	"github.com/agentflow-go/sandbox"
)

// The defaults of [Options].
const (
	DefaultMaxBody  = 32 << 20
	DefaultMaxFile  = 1 << 30
	DefaultMaxBatch = 10_000
	DefaultTitle    = "Sandbox HTTP Service"
)

// Options configures a handler. The zero value serves one user on a loopback
// address: no tokens, no web pages.
type Options struct {
	// Tokens are the secrets that callers may present; empty: none is asked
	// for, and the Host of each request must be a loopback name.
	Tokens []Token
	// AllowedOrigins are the origins (scheme://host[:port]) whose web pages
	// may call; empty: none, CORS is off. "*" means any and needs Tokens.
	AllowedOrigins []string
	// AllowedHosts are names that the Host header may carry besides the
	// loopback ones, without port. Empty: with Tokens any, without them
	// loopback names only. "*" means any.
	AllowedHosts []string
	// MaxBody is how many bytes of a body are read; 0: DefaultMaxBody.
	MaxBody int64
	// MaxFile is how many bytes of a file are taken by PUT; 0: DefaultMaxFile.
	MaxFile int64
	// MaxBatch is how many actions one batch may hold; 0: DefaultMaxBatch.
	MaxBatch int
	// ConfigDirs are the directories whose files init/from-config may read;
	// empty: none.
	ConfigDirs []string
	// HeartbeatRefreshes makes a heartbeat restart the idle time of the
	// worker's sessions; false: it only reports, as the protocol has it.
	HeartbeatRefreshes bool
	// Shutdown is called by the shutdown endpoint. It closes all sessions if
	// cleanupSessions is set, begins to stop the server in the background
	// (http.Server.Shutdown waits for this request's answer), and returns how
	// many sessions it closed. nil: the endpoint refuses.
	Shutdown func(ctx context.Context, cleanupSessions bool) (sessionsCleaned int, err error)
	// Logger receives what callers are not told, such as the stack of a panic;
	// nil: nothing is logged.
	Logger *slog.Logger
	// Title and Version are what /health says of the server; "": DefaultTitle,
	// and nothing.
	Title, Version string
}

// Token is a secret that callers present as "Authorization: Bearer" or
// "X-API-Key".
type Token struct {
	// Secret must not be empty.
	Secret string
	// WorkerPrefix binds the token to worker ids that begin with it. A bound
	// token is refused (403) for other workers, for shutdown, warm-up and
	// totals. "": bound to nothing.
	WorkerPrefix string
}

// New returns the handler that serves ex. It starts nothing, and it is safe for
// concurrent use as any handler is. An error names the option that is wrong.
func New(ex sandbox.Executor, o Options) (http.Handler, error) {
	if ex == nil {
		return nil, errors.New("api: no executor given")
	}
	if o.MaxBody < 0 || o.MaxBatch < 0 || o.MaxFile < 0 {
		return nil, errors.New("api: MaxBody, MaxFile and MaxBatch must not be negative")
	}
	if o.MaxFile == 0 {
		o.MaxFile = DefaultMaxFile
	}
	if o.MaxBody == 0 {
		o.MaxBody = DefaultMaxBody
	}
	if o.MaxBatch == 0 {
		o.MaxBatch = DefaultMaxBatch
	}
	if o.Title == "" {
		o.Title = DefaultTitle
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	auth, err := newAuth(o.Tokens)
	if err != nil {
		return nil, err
	}
	origins, err := newOrigins(o)
	if err != nil {
		return nil, err
	}
	dirs := make([]string, len(o.ConfigDirs))
	for i, dir := range o.ConfigDirs {
		if dirs[i], err = filepath.Abs(dir); err != nil {
			return nil, fmt.Errorf("api: ConfigDirs: %w", err)
		}
	}
	o.ConfigDirs = dirs
	o.AllowedHosts = slices.Clone(o.AllowedHosts)
	_, local := ex.(*sandbox.Sandbox)
	return &server{
		validData: local,
		ex:        ex, o: o, auth: auth, origins: origins,
		routes: routeTable(), replays: newReplays(), status: statusProbe{ex: ex},
	}, nil
}
