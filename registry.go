package sandbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/agentflow-go/sandbox/internal/wire"
)

// Registry collects the backends and tools of one [Sandbox]. The zero value is
// ready. [New] freezes it: what is added later is a fault. It may be used
// concurrently.
type Registry struct {
	owner atomic.Pointer[Sandbox]

	mu       sync.Mutex // guards everything below, until frozen
	tools    []*toolEntry
	backends []*backendEntry
	faults   []error
	frozen   bool
}

// Err returns every bad registration so far, joined, each with the file and
// line of the caller that made it; nil if all are good. [New] returns it too.
func (r *Registry) Err() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return errors.Join(r.faults...)
}

// toolEntry is a registered tool without its types.
type toolEntry struct {
	reg     *Registry
	info    ToolInfo
	spec    ToolSpec
	backend *backendEntry // nil: none
	in      *wire.Schema
	out     *wire.Schema
	handle  any // the *Tool[In, Out]
	fault   error
	limit   *limitError // the nearer of the tool's and the sandbox's; nil: none; set by New
	// invocation makes a call of the tool with JSON input.
	invocation func(sb *Sandbox, w *Worker, params json.RawMessage) *Invocation
}

// backendEntry is a registered backend without the type of its state.
type backendEntry struct {
	reg      *Registry
	spec     BackendSpec
	sessions bool
	where    string
	fault    error

	open     func(context.Context, Env) (any, error)
	close    func(context.Context, any) error
	bind     func(context.Context, any, Env) error // nil: no such hook; so for the next three
	warmup   func(context.Context, Env) error
	shutdown func(context.Context) error
	health   func(context.Context) error

	backendState
}

func (b *backendEntry) faultf(format string, args ...any) {
	b.fault = badRegistration(b.where, "backend", b.spec.Name, fmt.Errorf(format, args...), b.fault)
}

func (t *toolEntry) faultf(where, format string, args ...any) {
	t.fault = badRegistration(where, "tool", t.spec.Name, fmt.Errorf(format, args...), t.fault)
}

func badRegistration(where, kind, name string, err, before error) error {
	e := Errorf(ErrBadRegistration, "%s: %s %q: %w", where, kind, name, err)
	if before != nil {
		return errors.Join(before, e)
	}
	return e
}

// setHooks finds the optional hooks of a backend.
func (b *backendEntry) setHooks(v any) {
	if h, ok := v.(Warmer); ok {
		b.warmup = h.Warmup
	} else if hasMethod(v, "Warmup") {
		b.faultf("its method Warmup does not fit sandbox.Warmer")
	}
	if h, ok := v.(Shutdowner); ok {
		b.shutdown = h.Shutdown
	} else if hasMethod(v, "Shutdown") {
		b.faultf("its method Shutdown does not fit sandbox.Shutdowner")
	}
	if h, ok := v.(HealthChecker); ok {
		b.health = h.Health
	} else if hasMethod(v, "Health") {
		b.faultf("its method Health does not fit sandbox.HealthChecker")
	}
}

func hasMethod(v any, name string) bool {
	_, ok := reflect.TypeOf(v).MethodByName(name)
	return ok
}

var namePattern = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,64}$`)

const nameRule = "1 to 64 letters, digits, _ - or dots"

// addBackend takes the backend into the registry.
func (r *Registry) addBackend(b *backendEntry) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !namePattern.MatchString(b.spec.Name) {
		b.faultf("its name must be %s", nameRule)
	}
	if cfg, err := mergeConfig(b.spec.Config, nil); err != nil {
		b.faultf("its Config must be a JSON object: %w", err)
	} else {
		b.spec.Config = cfg
	}
	if b.spec.MaxSessions < 0 || b.spec.Pool < 0 {
		b.faultf("MaxSessions and Pool must not be negative")
	}
	for _, other := range r.backends {
		if other.spec.Name == b.spec.Name {
			b.faultf("the name is taken by %s", other.where)
		}
	}
	if r.frozen {
		b.faultf("the registry already belongs to a Sandbox; register before New")
	}
	if b.fault != nil {
		r.faults = append(r.faults, b.fault)
	}
	r.backends = append(r.backends, b)
}

// addTool registers fn, or sfn for a session tool, and returns its handle.
func addTool[In, Out any](r *Registry, spec ToolSpec, b *backendEntry, where string, fn ToolFunc[In, Out], sfn SessionFunc[any, In, Out]) *Tool[In, Out] {
	e := &toolEntry{reg: r, spec: spec, backend: b}
	t := &Tool[In, Out]{entry: e, fn: fn, sfn: sfn}
	e.handle = t
	e.invocation = t.invocation
	if fn == nil && sfn == nil {
		e.faultf(where, "no function given")
	}
	e.setInfo(where, sfn != nil)
	var err error
	if e.in, err = schemaOf[In](spec.InputSchema); err != nil {
		e.faultf(where, "input: %w", err)
	} else if !e.in.IsObject() {
		e.faultf(where, "input: the schema's type must be object, for params is one")
	} else {
		e.info.InputSchema = e.in.JSON()
	}
	if e.out, err = schemaOf[Out](spec.OutputSchema); err != nil {
		e.faultf(where, "output: %w", err)
	} else {
		e.info.OutputSchema = e.out.JSON()
	}
	r.add(e, where)
	return t
}

func schemaOf[T any](given json.RawMessage) (*wire.Schema, error) {
	t := reflect.TypeFor[T]()
	var s *wire.Schema
	var err error
	if given != nil {
		s, err = wire.ParseSchema(given)
	} else {
		s, err = wire.InferSchema(t)
	}
	if err != nil {
		return nil, err
	}
	return s.DecodedInto(t), nil
}

// setInfo derives what listings say from the spec.
func (e *toolEntry) setInfo(where string, session bool) {
	spec, group, name := e.spec, "", e.spec.Name
	if e.backend != nil {
		group = e.backend.spec.Name
	} else if before, after, ok := strings.Cut(name, ":"); ok {
		group, name = before, after
		if !namePattern.MatchString(group) {
			e.faultf(where, "the group before the colon must be %s", nameRule)
		}
	}
	if !namePattern.MatchString(name) {
		e.faultf(where, "its name must be %s", nameRule)
	}
	e.info = ToolInfo{
		Name: name, FullName: name, Label: spec.Label, Session: session,
		Description: spec.Description, Aliases: spec.Aliases,
		ReadOnly: spec.ReadOnly, Idempotent: spec.Idempotent, Hidden: spec.Hidden,
	}
	if group != "" {
		e.info.FullName = group + ":" + name
	}
	switch {
	case e.backend != nil:
		e.info.Backend, e.info.Label = group, group
	case spec.Label == "":
		e.info.Label = group
	}
	for _, alias := range spec.Aliases {
		if before, after, ok := strings.Cut(alias, ":"); !namePattern.MatchString(before) || ok && !namePattern.MatchString(after) {
			e.faultf(where, "alias %q must be name or group:name, each %s", alias, nameRule)
		}
	}
	if spec.Timeout < 0 {
		e.faultf(where, "Timeout must not be negative")
	}
	if spec.Decode > Trusted {
		e.faultf(where, "Decode must be Strict, IgnoreUnknown or Trusted")
	}
}

// add takes the tool into the registry.
func (r *Registry) add(e *toolEntry, where string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	taken := map[string]bool{}
	for _, other := range r.tools {
		taken[other.info.FullName] = true
		for _, alias := range other.info.Aliases {
			taken[alias] = true
		}
	}
	for _, name := range append([]string{e.info.FullName}, e.info.Aliases...) {
		if taken[name] {
			e.faultf(where, "the name %q is taken", name)
		}
		taken[name] = true
	}
	if e.backend != nil && e.backend.reg != r {
		e.faultf(where, "its backend belongs to another registry")
	}
	if r.frozen {
		e.faultf(where, "the registry already belongs to a Sandbox; register before New")
	}
	if e.fault != nil {
		r.faults = append(r.faults, e.fault)
	}
	r.tools = append(r.tools, e)
}

// freeze gives the registry to sb.
func (r *Registry) freeze(sb *Sandbox) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.frozen {
		return Errorf(ErrBadRegistration, "Options.Registry already belongs to another Sandbox; make a new Registry")
	}
	if err := errors.Join(r.faults...); err != nil {
		return err
	}
	r.frozen = true
	for _, e := range r.tools {
		e.limit = limitOf(e.spec.Timeout, sb.opts.CallTimeout)
	}
	r.owner.Store(sb)
	return nil
}

// caller returns the file and line that called into this package's Add
// functions.
func caller() string {
	pcs := make([]uintptr, 16)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs)])
	for {
		f, more := frames.Next()
		if !strings.HasPrefix(f.Function, "github.com/agentflow-go/sandbox.Add") {
			return fmt.Sprintf("%s:%d", f.File, f.Line)
		}
		if !more {
			return "unknown caller"
		}
	}
}
