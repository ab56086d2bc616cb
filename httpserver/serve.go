package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/agentflow-go/sandbox"
	"github.com/agentflow-go/sandbox/httpserver/api"
)

const (
	headerTime = 10 * time.Second // to send the head of a request
	bodyTime   = 2 * time.Minute  // to send its body
	idleTime   = 2 * time.Minute  // between requests of a connection
	// stopTime is what a stop may take beyond what the sandbox grants running
	// calls: for the answers to go out.
	stopTime = 5 * time.Second
)

// serve runs the server until a signal or a caller stops it.
func (p program) serve(f flags, c *sandbox.Config) error {
	server := c.Server()
	log := p.logger(f, server)
	for _, w := range append(c.Warnings(), c.Skipped(p.known...)...) {
		log.Warn(w.Text, "key", w.Key, "remedy", w.Remedy)
	}
	keys, err := tokens(f, server)
	if err != nil {
		return err
	}
	o, err := c.Options(p.known...)
	if err != nil {
		return err
	}
	o.Logger = log
	if f.dataDir != "" {
		o.DataDir = f.dataDir
	}
	listener, err := listen(f, f.address(server.Addr), keys)
	if err != nil {
		return err
	}
	defer listener.Close() // does nothing once the server closed it

	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(signals)

	sb, err := sandbox.New(o)
	if err != nil {
		return err
	}
	s := &running{sb: sb, log: log, stop: make(chan struct{}), grace: o.CloseGrace}
	if s.grace == 0 {
		s.grace = sandbox.DefaultCloseGrace
	}
	err = s.start(f, c, listener, keys, p, signals)
	if errors.Is(err, errInterrupted) {
		return s.end()
	}
	if err != nil {
		return errors.Join(err, s.end())
	}
	return s.run(listener, signals)
}

// listen opens the address. Without tokens only programs on this machine may
// reach it, unless the user says otherwise.
func listen(f flags, addr string, keys []api.Token) (net.Listener, error) {
	l, err := net.Listen("tcp", addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("%s %w: stop it, or choose another address with --addr or server.port", addr, errInUse)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot listen on %s: %w", addr, err)
	}
	if err := exposed(f, addr, l, keys); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// errInUse is wrapped by the error of listen for an address that is taken.
var errInUse = errors.New("is in use by another program")

// open reports whether other machines reach what l serves without a token.
func open(l net.Listener, keys []api.Token) bool {
	tcp, ok := l.Addr().(*net.TCPAddr)
	return (!ok || !tcp.IP.IsLoopback()) && len(keys) == 0
}

// exposed is the error for an address that other machines reach without a
// token; l listens on its host.
func exposed(f flags, addr string, l net.Listener, keys []api.Token) error {
	if open(l, keys) && !f.insecure {
		return fmt.Errorf("%s can be reached from other machines and no token is asked for: "+
			"give a --tokens-file, listen on 127.0.0.1, or take the risk with --insecure", addr)
	}
	return nil
}

// running is a server that was started.
type running struct {
	sb    *sandbox.Sandbox
	log   *slog.Logger
	http  *http.Server
	grace time.Duration

	stop    chan struct{} // closed when a caller asks for the end
	stopped sync.Once
}

// errInterrupted says that a signal ended the start.
var errInterrupted = errors.New("interrupted")

// start warms up, probes the host and says what is there. A signal ends it
// with errInterrupted.
func (s *running) start(f flags, c *sandbox.Config, l net.Listener, keys []api.Token, p program, signals <-chan os.Signal) error {
	ctx, cancel := context.WithCancelCause(context.Background())
	var watch sync.WaitGroup
	done := make(chan struct{})
	watch.Go(func() {
		select {
		case sig := <-signals:
			s.log.Info("stopping before the start is done", "signal", sig.String())
			cancel(errInterrupted)
		case <-done:
		}
	})
	err := s.prepare(ctx, f, c, l, keys, p)
	close(done)
	watch.Wait()
	if context.Cause(ctx) != nil {
		err = errInterrupted
	}
	cancel(nil)
	return err
}

func (s *running) prepare(ctx context.Context, f flags, c *sandbox.Config, l net.Listener, keys []api.Token, p program) error {
	if err := warm(ctx, s.sb, c.Warmup(p.known...)); err != nil {
		return err
	}
	if err := s.sb.Probe(ctx); err != nil {
		return err
	}
	if open(l, keys) {
		s.log.Warn("everybody who reaches this address can run commands: no token is asked for", "addr", l.Addr().String())
	}
	if st, err := s.sb.Status(ctx); err == nil && st.Tools == 0 {
		s.log.Warn("there is nothing to call: the configuration names no resources and no apis")
	}
	handler, err := s.handler(l, c.Server(), keys)
	if err != nil {
		return err
	}
	s.http = &http.Server{
		Handler: limitBody(handler, bodyTime), ReadHeaderTimeout: headerTime, IdleTimeout: idleTime,
		ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	return s.banner(ctx, p.stdout, l.Addr(), keys)
}

func (s *running) handler(l net.Listener, server sandbox.ServerConfig, keys []api.Token) (http.Handler, error) {
	origins := server.AllowedOrigins
	if len(keys) == 0 {
		origins = slices.DeleteFunc(origins, func(o string) bool { return o == "*" })
	}
	hosts := server.AllowedHosts
	if open(l, keys) && len(hosts) == 0 { // as --insecure asks
		hosts = []string{"*"}
	}
	return api.New(s.sb, api.Options{
		Tokens: keys, AllowedOrigins: origins, AllowedHosts: hosts, MaxBody: server.MaxBody, MaxFile: server.MaxFile, MaxBatch: server.MaxBatch,
		ConfigDirs: server.ConfigDirs, HeartbeatRefreshes: server.HeartbeatRefreshes, Shutdown: s.shutdown,
		Logger: s.log, Title: server.Title, Version: version(),
	})
}

// limitBody bounds the time that a request's body may take. The limits of
// http.Server do not stop counting when the body has arrived, and would end
// calls that run long.
func limitBody(next http.Handler, limit time.Duration) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Body != nil && r.Body != http.NoBody {
			rc := http.NewResponseController(w)
			if err := rc.SetReadDeadline(time.Now().Add(limit)); err == nil {
				r.Body = &limitedBody{ReadCloser: r.Body, rc: rc}
			}
		}
		next.ServeHTTP(w, r)
	})
}

// limitedBody lifts the limit once the body has arrived.
type limitedBody struct {
	io.ReadCloser
	rc *http.ResponseController
}

func (b *limitedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if errors.Is(err, io.EOF) {
		// The server reads on, to see whether the caller hangs up.
		if e := b.rc.SetReadDeadline(time.Time{}); e != nil {
			err = e
		}
	}
	return n, err
}

// run serves until something ends it, and then ends everything.
func (s *running) run(l net.Listener, signals <-chan os.Signal) error {
	failed := make(chan error, 1)
	go func() { failed <- s.http.Serve(l) }()
	select {
	case err := <-failed:
		return errors.Join(fmt.Errorf("serve: %w", err), s.end())
	case sig := <-signals:
		s.log.Info("stopping: running calls may finish; a second signal stops at once", "signal", sig.String())
	case <-s.stop:
		s.log.Info("stopping, as a caller asked")
	}
	ended := make(chan error, 1)
	go func() { ended <- s.end() }()
	select {
	case err := <-ended:
		return err
	case sig := <-signals:
		// What workers run dies with this process.
		return fmt.Errorf("stopped at once by a second signal (%s)", sig)
	}
}

// end stops taking requests, and ends the sandbox and all it runs.
func (s *running) end() error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*s.grace+stopTime)
	defer cancel()
	var wg sync.WaitGroup
	var httpErr error
	if s.http != nil {
		wg.Go(func() { httpErr = s.http.Shutdown(ctx) })
	}
	err := s.sb.Shutdown(ctx)
	wg.Wait()
	if httpErr != nil {
		httpErr = errors.Join(fmt.Errorf("some answers did not go out in time: %w", httpErr), s.http.Close())
	}
	return errors.Join(err, httpErr)
}

// shutdown is what the endpoint calls.
func (s *running) shutdown(ctx context.Context, cleanupSessions bool) (int, error) {
	defer s.stopped.Do(func() { close(s.stop) })
	st, err := s.sb.Status(ctx)
	if err != nil || !cleanupSessions {
		return 0, err
	}
	// The caller may hang up: the end comes all the same.
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.grace+stopTime)
	defer cancel()
	return st.Sessions, s.sb.Shutdown(end)
}
